#!/usr/bin/env bash
# Cellpose's stitching of planes gives cells that an empty plane separates the same id.
#
# Guess:    cells in planes 0, 2 and 4, with empty planes between them, get three ids, all the more if they lie in different
#           corners. The function has a branch for empty planes.
# Truth:    all three get the id 1. As long as no two neighbouring planes have both had cells, ids start anew after each empty
#           plane. After such a pair they go on as they should, so it is the planes at the beginning that suffer.
# Matters:  the first planes of a stack are out of focus, with few cells and empty planes between them: exactly there different
#           cells become one object in several pieces, and counts, volumes and positions are wrong without a word.
# Instead:  cc3d.connected_components of the result: pieces that do not touch get an id each.
# Seen:     cellpose 4.2.1.1 with torch 2.14.1 and numpy 2.4.6, on 2026-11-29.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile torch==2.14.1 numpy==2.4.6 scipy==1.17.1 tqdm opencv-python-headless fastremap fill-voids
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile --no-deps cellpose==4.2.1.1
venv/bin/python - 2>errors.txt <<'PY' || { tail -20 errors.txt; exit 1; }
from importlib.metadata import version

import numpy as np
from cellpose.utils import stitch3D

print("cellpose", version("cellpose"), "torch", version("torch"), "numpy", np.__version__)


def stitched(planes):
    masks = np.zeros((planes, 20, 20), np.uint16)
    for z, corner in cells.items():
        masks[z, corner : corner + 4, corner : corner + 4] = 1
    found = stitch3D(masks)
    ids = {z: int(found[z].max()) for z in cells}
    print("cells in planes", list(cells), "apart in y and x too, have the ids", list(ids.values()))
    return list(ids.values())


cells = {0: 1, 2: 7, 4: 13}
assert stitched(5) == [1, 1, 1]
cells = {0: 1, 1: 1, 3: 7, 5: 13}  # the first two overlap: one cell
assert stitched(6) == [1, 1, 2, 3]
PY
