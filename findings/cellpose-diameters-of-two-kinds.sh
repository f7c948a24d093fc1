#!/usr/bin/env bash
# Cellpose's diameters of cells are 11 % smaller than the median diameter that comes with them.
#
# Guess:    utils.diameters returns "the median diameter and an array of diameters": for discs of one size, the same number,
#           and the median of the array for others.
# Truth:    for five equal discs, 20 pixels across, the median is 20.06 and each diameter 17.78. The array holds the square roots
#           of the areas, and only the median is scaled to that of a disc. radius_distribution does the same with radii. Where
#           no pixel is background, the first cell is left out as if it were the background.
# Matters:  diameters of cells go into tables and histograms, and the median into the diameter to segment with: volumes from the
#           array are 30 % too small, and the two numbers contradict each other.
# Instead:  multiply the array by 2 / sqrt(pi).
# Seen:     cellpose 4.2.1.1 with torch 2.14.1 and numpy 2.4.6, on 2026-11-30.
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
from cellpose.utils import diameters, radius_distribution

print("cellpose", version("cellpose"), "torch", version("torch"), "numpy", np.__version__)
y, x = np.mgrid[:30, :30]
disc = (y - 14.5) ** 2 + (x - 14.5) ** 2 <= 10**2
masks = np.concatenate([disc * cell for cell in range(1, 6)]).astype(np.uint16)
median, cells = diameters(masks)
_, median_radius, radii = radius_distribution(masks, bins=5)
print("five discs, 20 pixels across: median", round(float(median), 2), "of", cells.round(2).tolist())
print("their radii: median", round(float(median_radius), 2), "of", radii.round(2).tolist())
print("volume of a ball from the array, to that from the median:", round(float((cells[0] / median) ** 3), 2))
assert len(cells) == 5 and abs(median - 20) < 0.1 and (abs(cells - 17.78) < 0.01).all()
assert abs(median_radius - 10) < 0.05 and (abs(radii - 8.89) < 0.01).all()
filled = np.kron(np.arange(1, 5).reshape(2, 2), np.ones((6, 6), int))
print("four cells without background:", len(diameters(filled)[1]), "diameters")
assert len(diameters(filled)[1]) == 3
PY
