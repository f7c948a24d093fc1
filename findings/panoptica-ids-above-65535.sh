#!/usr/bin/env bash
# panoptica scores a label image against itself below 1 if it holds ids above 65,535.
#
# Guess:    ids are only names; a label image matches itself, whatever its objects are called.
# Truth:    the objects with ids from 65,536 on never match: of two objects with ids 1 and 65,536 one is missed and one
#           invented (PQ 0.5), and with both above it the PQ is 0. No error, no warning. 65,535 is fine.
# Matters:  stitched tiles, tracked or merged volumes and labels coded by class * 100,000 have such ids, and a good
#           segmentation is then scored as a bad one.
# Instead:  skimage.segmentation.relabel_sequential before scoring, for both images.
# Seen:     panoptica 1.3.3, numpy 1.26.4, on 2026-11-30; the same with 1.5.1, which must be given SimpleITK, nibabel,
#           pynrrd and torch before it can be imported. 2.x was not tried.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile --only-binary :all: \
    panoptica==1.3.3 numpy==1.26.4 pandas==2.3.3 plotly==5.24.1
venv/bin/python -W ignore - <<'PY'
from importlib.metadata import version

import numpy as np
from panoptica import InputType, NaiveThresholdMatching, Panoptica_Evaluator

print(*(f"{name} {version(name)}" for name in ("panoptica", "numpy")))


def score(first, second):
    labels = np.zeros((12, 12), np.uint32)
    labels[2:5, 2:5], labels[6:9, 6:9] = first, second
    evaluator = Panoptica_Evaluator(
        expected_input=InputType.UNMATCHED_INSTANCE, instance_matcher=NaiveThresholdMatching()
    )
    result = evaluator.evaluate(labels, labels.copy(), verbose=False)["ungrouped"]
    result = result[0] if isinstance(result, tuple) else result
    return result.tp, result.fp, result.fn, float(result.pq)


for ids, expected in (
    ((1, 65_535), (2, 0, 0, 1.0)),
    ((1, 65_536), (1, 1, 1, 0.5)),
    ((70_000, 70_001), (0, 2, 2, 0.0)),
):
    found = score(*ids)
    print(f"ids {ids}, scored against themselves: tp, fp, fn, PQ = {found}")
    assert found == expected
PY
