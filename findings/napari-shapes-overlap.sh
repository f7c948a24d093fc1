#!/usr/bin/env bash
# Where two napari shapes overlap, to_labels() gives the pixels to the shape that is hidden.
#
# Guess:    the label image looks like the canvas: the shape drawn last lies on top and wins.
# Truth:    the canvas shows the last shape, a click hits the last shape, but to_labels() writes the first
#           one over it. After move_to_front() of the lower shape both change sides together.
# Matters:  people outline touching cells one after the other, and cut the overlap by drawing the next
#           cell over the last. The exported labels have the cut on the wrong cell.
# Instead:  to_masks() and combine them in the order of the layer's z_index yourself, or avoid overlap.
# Seen:     napari 0.9.2, numpy 2.4.6, on 2026-11-28 (without a window).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile napari==0.9.2 numpy==2.4.6
venv/bin/python -W ignore - <<'PY'
import napari
import numpy as np
from napari.layers import Shapes

print("napari", napari.__version__, "numpy", np.__version__)


def square(start, stop):
    return np.array([[start, start], [start, stop], [stop, stop], [stop, start]])


layer = Shapes([square(0, 5), square(3, 8)], shape_type="polygon")
both = (4, 4)


def label_and_hit():
    label, hit = int(layer.to_labels((10, 10))[both]) - 1, layer.get_value(both)[0]
    print(f"overlap: a click hits shape {hit}, to_labels gives shape {label}")
    return label, hit


print(layer.to_labels((10, 10)))
assert label_and_hit() == (0, 1)
layer.selected_data = {0}
layer.move_to_front()
assert label_and_hit() == (1, 0)
PY
