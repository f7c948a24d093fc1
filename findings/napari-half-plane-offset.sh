#!/usr/bin/env bash
# A napari layer that lies half a plane off never shows every second of its planes.
#
# Guess:    with labels moved by half a plane (translate 0.5 in z) every step of the slider shows the next
#           plane of both image and labels, one of them rounded consistently up or down.
# Truth:    the plane is found by rounding half to even: at 0.5, 1.5, 2.5, 3.5 napari shows planes 0, 2,
#           2, 4. For labels moved by +0.5 the steps of the image show label planes 1, 1, 3, 3, 5, 5 of 6:
#           half of them twice, the others never.
# Matters:  half-plane offsets are what stacks binned by two in z have, and coarser levels of an OME-Zarr.
#           An annotator scrolls through the whole stack and paints on half of it; every second plane
#           stays empty.
# Instead:  a whole number of planes as translate in labels to be edited, or resample the labels.
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
from napari.components import ViewerModel

print("napari", napari.__version__, "numpy", np.__version__)
# Every plane holds its own number, from 1.
stack = np.full((6, 4, 4), 1) * np.arange(1, 7)[:, None, None]


def planes_shown(offset):
    viewer = ViewerModel()
    image = viewer.add_image(stack.astype(np.uint16))
    labels = viewer.add_labels(stack, translate=(offset, 0, 0))
    shown = []
    for step in range(6):
        viewer.dims.set_current_step(0, step)
        point = viewer.dims.point
        shown.append([int(layer.get_value(point, world=True)) for layer in (image, labels)])
    image_planes, label_planes = map(list, zip(*shown))
    print(f"labels moved by {offset}: image {image_planes}, labels {label_planes}")
    assert image_planes == [1, 2, 3, 4, 5, 6]
    return label_planes


assert planes_shown(0) == [1, 2, 3, 4, 5, 6]
assert planes_shown(0.5) == [1, 1, 3, 3, 5, 5]
PY
