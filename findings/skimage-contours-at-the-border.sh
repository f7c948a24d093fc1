#!/usr/bin/env bash
# The contour of a cell at the border of the image is open, and closing it cuts the cell.
#
# Guess:    find_contours(mask, 0.5) followed by polygon2mask gives the mask back, for every object.
# Truth:    it does inside the image. Where an object touches the border the contour stops there, with a
#           different first and last point. Every polygon tool joins the two by a straight line: a square
#           of 4 x 4 in the corner comes back with 6 of its 16 pixels.
# Matters:  outlines for GeoJSON, COCO or ROI files are made this way. Only cells at the border lose area,
#           so a look at the middle of the field shows nothing.
# Instead:  pad the mask by one pixel of background first and take 1 off the coordinates.
# Seen:     scikit-image 0.26.0, numpy 2.4.6, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile scikit-image==0.26.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import skimage
from skimage.draw import polygon2mask
from skimage.measure import find_contours

print("skimage", skimage.__version__, "numpy", np.__version__)


def back(name, mask, pad=0):
    """Return the number of pixels that the outline of a mask encloses."""
    (contour,) = find_contours(np.pad(mask, pad).astype(float), 0.5)
    closed = bool(np.array_equal(contour[0], contour[-1]))
    again = polygon2mask(mask.shape, contour - pad)
    print(f"{name}: {mask.sum()} pixels, closed {closed}, {again.sum()} pixels from the outline")
    return closed, int(again.sum())


inside, corner = np.zeros((12, 12), bool), np.zeros((12, 12), bool)
inside[3:7, 3:7], corner[:4, :4] = True, True
assert back("inside      ", inside) == (True, 16)
assert back("in a corner ", corner) == (False, 6)
assert back("padded      ", corner, pad=1) == (True, 16)
PY
