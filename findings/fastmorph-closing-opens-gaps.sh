#!/usr/bin/env bash
# fastmorph's closing of labels opens gaps of two pixels between all cells that touch.
#
# Guess:    fastmorph.closing is the closing of every label by itself: it fills gaps and notches, never takes a pixel away, and
#           leaves two rectangles that touch as they are.
# Truth:    the dilation cannot go into a neighbour, but the erosion that follows takes the neighbour for background. Each of the
#           two loses a column, and of a sheet of touching cells of 6 x 6 pixels 44 % is left. background_only=False and
#           erode_border=False change next to nothing.
# Matters:  closing is the last clean-up of segmentations, and this package is made for dense ones, where every contact is lost:
#           graphs of neighbours are empty afterwards, and areas and volumes too small.
# Instead:  mode=fastmorph.Mode.grey keeps both rectangles; for holes alone, fastmorph.fill_holes.
# Seen:     fastmorph 1.10.0 with numpy 2.4.6, on 2026-11-29.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile fastmorph==1.10.0 numpy==2.4.6
venv/bin/python - <<'PY'
from importlib.metadata import version

import fastmorph
import numpy as np

print("fastmorph", version("fastmorph"), "numpy", np.__version__)
pair = np.zeros((9, 14), np.uint32)
pair[2:7, 2:7], pair[2:7, 7:12] = 1, 2
closed = fastmorph.closing(pair)
print("one row before and after:", pair[4], closed[4], sep="\n")
assert (pair[4, 6:8] == [1, 2]).all() and (closed[4, 6:8] == 0).all()
assert (fastmorph.closing(pair, background_only=False) == closed).all()

alone = np.where(pair == 1, pair, 0)
assert (fastmorph.closing(alone) == alone).all()
grey = fastmorph.closing(pair, mode=fastmorph.Mode.grey)
print("in grey mode:", grey[4], sep="\n")
assert (grey == pair).all()

rows, columns = np.mgrid[:300, :300] // 6
sheet = (rows * 50 + columns + 1).astype(np.uint32)
for erode_border in (True, False):
    left = (fastmorph.closing(sheet, erode_border=erode_border) > 0).mean()
    print("of a sheet of cells is left:", round(float(left), 3), "with erode_border", erode_border)
    assert left < 0.5
PY
