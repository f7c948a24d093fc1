#!/usr/bin/env bash
# zmesh moves the whole mesh by one voxel when asked to close it at the border of the image.
#
# Guess:    close=True adds the missing end caps; all else stays where it is.
# Truth:    all vertices are one voxel further along every axis than without it, in physical units (with a
#           voxel of 5 x 2 x 1 by 5, 2 and 1). The open mesh agrees with skimage.measure.marching_cubes.
# Matters:  objects cut by the border of a field of view need closing to have a volume. Their meshes lie
#           beside the image and beside the open meshes of the same labels: by a plane, in z often the
#           largest step.
# Instead:  subtract the voxel size from the vertices of a closed mesh; compare with one open mesh.
# Seen:     zmesh 1.15.0, numpy 2.4.6, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile zmesh==1.15.0 numpy==2.4.6
venv/bin/python - <<'PY'
from importlib.metadata import version

import numpy as np
import zmesh

print("zmesh", version("zmesh"), "numpy", np.__version__)
labels = np.zeros((6, 7, 8), np.uint32)
labels[1, 2:4, 3:6] = 5  # well inside the image: nothing to close


def first_corner(voxel, close):
    mesher = zmesh.Mesher(voxel)
    mesher.mesh(labels, close=close)
    corner = mesher.get(5).vertices.min(axis=0)
    print(f"voxel {voxel}, close {close}: the mesh begins at {corner.tolist()}")
    return corner


for voxel in ((1, 1, 1), (5, 2, 1)):
    corner = np.multiply((0.5, 1.5, 2.5), voxel)
    assert np.allclose(first_corner(voxel, close=False), corner)
    assert np.allclose(first_corner(voxel, close=True), corner + voxel)
PY
