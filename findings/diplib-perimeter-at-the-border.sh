#!/usr/bin/env bash
# DIPlib's perimeter leaves out what lies on the border of the image, so that cut objects are rounder than a circle.
#
# Guess:    the perimeter of a square of 10 x 10 pixels is about 38, wherever it lies, and half a disk, cut by the border, is less
#           round than the whole one.
# Truth:    the side along the border is not counted: 29.3 instead of 38.1 at the border, 3.14 for an object that fills an image
#           of any size. 4 pi area / perimeter^2 then exceeds 1 and is clipped, so that the half disk and the square at the border
#           have a roundness of exactly 1. P2A is not clipped and falls below its minimum of 1. ConvexPerimeter, of the same call,
#           does count that side.
# Matters:  roundness and P2A sort round cells from others. In tiles and crops, cut cells are the roundest of all.
# Instead:  pad the labels by one pixel of background before measuring.
# Seen:     diplib 3.6.1 with numpy 2.4.6, on 2026-11-29.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile diplib==3.6.1 numpy==2.4.6
venv/bin/python - <<'PY'
from importlib.metadata import version

import diplib
import numpy as np

print("diplib", version("diplib"), "numpy", np.__version__)


def measured(labels):
    names = ["Perimeter", "ConvexPerimeter", "Roundness", "P2A"]
    table = diplib.MeasurementTool.Measure(diplib.Image(labels.astype(np.uint32)), features=names)
    return {name: float(table[1][name][0]) for name in names}


def show(text, values):
    print(text, {name: round(value, 3) for name, value in values.items()})


y, x = np.mgrid[:60, :60]
inside = measured((y >= 1) & (y < 11) & (x >= 5) & (x < 15))
at_the_border = measured((y < 10) & (x >= 5) & (x < 15))
show("square inside:", inside)
show("square at the border:", at_the_border)
assert inside["Perimeter"] > 38 and at_the_border["Perimeter"] < 30
assert inside["ConvexPerimeter"] == at_the_border["ConvexPerimeter"]
assert inside["Roundness"] < 0.9 and at_the_border["Roundness"] == 1

whole = measured((y - 30) ** 2 + (x - 30) ** 2 <= 408)
half = (y**2 + (x - 30) ** 2 <= 408)
show("disk:", whole)
show("half of it, cut by the border:", measured(half))
show("half of it, padded:", measured(np.pad(half, 1)))
assert whole["Roundness"] < 0.99 and measured(half)["Roundness"] == 1
assert measured(half)["P2A"] < 0.6 and measured(np.pad(half, 1))["Roundness"] < 0.8
for side in (60, 600):
    assert abs(measured(np.ones((side, side)))["Perimeter"] - np.pi) < 0.01
PY
