#!/usr/bin/env bash
# pyvips rotates labels by right angles one pixel too far: a side of the image is lost, and background comes in.
#
# Guess:    Image.rotate(90) and (180) move whole pixels, so with interpolation "nearest" nothing is lost: the same as rot90() and
#           rot180().
# Truth:    a turn of 180 degrees takes everything a pixel too far right and down (at some sizes only most of it): the last row and
#           column are lost, the first are zeros. After 90 degrees some rows or columns come twice as well. Bilinear interpolation
#           shifts objects as far.
# Matters:  labels and images augmented or aligned by rotate() are a pixel apart from those turned by NumPy or rot90(), and cells
#           at two sides of a tile vanish, without any error.
# Instead:  rot90(), rot180() and rot270() for right angles.
# Seen:     pyvips 3.2.0 with pyvips-binary 8.18.7 and numpy 2.4.6, on 2026-11-29.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile pyvips==3.2.0 pyvips-binary==8.18.7 numpy==2.4.6
venv/bin/python - <<'PY'
from importlib.metadata import version

import numpy as np
import pyvips

print("pyvips", version("pyvips"), "binary", version("pyvips-binary"), "numpy", np.__version__)
nearest = pyvips.Interpolate.new("nearest")

for side in (4, 8, 33):
    labels = np.arange(1, side**2 + 1, dtype=np.int32).reshape(side, side)
    image = pyvips.Image.new_from_array(labels)
    assert (image.rot180().numpy() == labels[::-1, ::-1]).all()
    assert (image.rot90().numpy() == np.rot90(labels, -1)).all()
    for angle in (90, 180):
        turned = image.rotate(angle, interpolate=nearest).numpy()
        lost = len(np.setdiff1d(labels, turned))
        print(f"{side} x {side} objects of one pixel turned by {angle} degrees: {lost} lost, {(turned == 0).sum()} px of background")
        assert turned.shape == labels.shape and lost >= side and (turned == 0).any()
    if side > 8:
        continue
    half = image.rotate(180, interpolate=nearest).numpy()
    assert (half[1:, 1:] == labels[::-1, ::-1][:-1, :-1]).all() and not half[0].any() and not half[:, 0].any()

square = np.zeros((100, 100), np.float32)
square[40:60, 40:60] = 1
turned = pyvips.Image.new_from_array(square).rotate(180).numpy()
centre = np.argwhere(turned > 0.5).mean(axis=0)
print("centre of a square after half a turn, bilinear:", centre, "instead of [49.5 49.5]")
assert (centre == 50.5).all()
PY
