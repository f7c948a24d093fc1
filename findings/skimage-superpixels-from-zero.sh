#!/usr/bin/env bash
# Two of the three superpixel methods of scikit-image number from 0, and their first region is then lost.
#
# Guess:    slic, felzenszwalb and quickshift give label images that regionprops can measure: all regions.
# Truth:    slic numbers from 1; quickshift and felzenszwalb from 0. For regionprops, clear_border, napari
#           and every other reader of labels 0 is background: of four quarters of an image quickshift
#           finds all four and three are measured.
# Matters:  superpixels are a usual start for hand labelling. The region in the top left corner, often the
#           background and sometimes a cell, cannot be picked, and areas do not add up to the image.
# Instead:  add 1 to the result of quickshift and felzenszwalb.
# Seen:     scikit-image 0.26.0, numpy 2.4.6, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile scikit-image==0.26.0 numpy==2.4.6
venv/bin/python -W ignore - <<'PY'
import numpy as np
import skimage
from skimage.measure import regionprops
from skimage.segmentation import felzenszwalb, quickshift, slic

print("skimage", skimage.__version__, "numpy", np.__version__)
image = np.zeros((40, 40, 3))
image[:20, :20], image[20:, 20:], image[:20, 20:, 0] = 1, 0.5, 1


def measured(name, labels):
    regions, area = len(np.unique(labels)), int(sum(r.area for r in regionprops(labels)))
    counted = len(regionprops(labels))
    print(f"{name}: ids from {labels.min()}, {regions} regions, {counted} measured, {area} px")
    return int(labels.min()), regions - counted, area


assert measured("slic        ", slic(image, 4, enforce_connectivity=False)) == (1, 0, 1600)
assert measured("quickshift  ", quickshift(image, ratio=1, max_dist=30, kernel_size=3)) == (0, 1, 1200)
start, lost, area = measured("felzenszwalb", felzenszwalb(image))
assert (start, lost) == (0, 1) and area < 1600
PY
