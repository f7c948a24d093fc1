#!/usr/bin/env bash
# panoptica counts objects that touch at a corner as two on a plane and as one in a stack of that plane.
#
# Guess:    connected components follow one rule; an axis of length 1 changes nothing.
# Truth:    planes go to SciPy, which parts pixels that touch at corners only, stacks to cc3d, which joins voxels that
#           touch in any way. Scored as (12, 12), a mask of two such squares has 2 objects, as (1, 12, 12) it has 1.
# Matters:  PQ, RQ and counts of the same masks differ between a 2D and a 3D evaluation; dense nuclei merge in 3D.
# Instead:  ConnectedComponentsInstanceApproximator(cca_backend=...), the same for both, or labels of one's own.
# Seen:     panoptica 1.3.3, SciPy 1.17.1, connected-components-3d 3.29.0, on 2026-11-30; the same with panoptica 1.5.1.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile --only-binary :all: \
    panoptica==1.3.3 numpy==1.26.4 pandas==2.3.3 plotly==5.24.1 connected-components-3d==3.29.0 scipy==1.17.1
venv/bin/python -W ignore - <<'PY'
from importlib.metadata import version

import numpy as np
from panoptica import (
    ConnectedComponentsInstanceApproximator,
    InputType,
    NaiveThresholdMatching,
    Panoptica_Evaluator,
)

print(*(f"{name} {version(name)}" for name in ("panoptica", "scipy", "connected-components-3d")))
plane = np.zeros((12, 12), np.uint8)
plane[2:5, 2:5] = plane[5:8, 5:8] = 1


def objects(mask):
    evaluator = Panoptica_Evaluator(
        expected_input=InputType.SEMANTIC,
        instance_approximator=ConnectedComponentsInstanceApproximator(),
        instance_matcher=NaiveThresholdMatching(),
    )
    result = evaluator.evaluate(mask, mask.copy(), verbose=False)["ungrouped"]
    result = result[0] if isinstance(result, tuple) else result
    return int(result.num_ref_instances)


on_plane, in_stack = objects(plane), objects(plane[None])
print(f"objects on the plane: {on_plane}, in a stack of that plane alone: {in_stack}")
assert (on_plane, in_stack) == (2, 1)
PY
