#!/usr/bin/env bash
# Datumaro's polygons of masks leave out every object up to two pixels wide, and fill the rings.
#
# Guess:    masks_to_polygons gives every mask a polygon. Small objects become a little smaller or larger, and a ring gets a second
#           polygon or is cut open, since the format knows no holes.
# Truth:    of masks of 1 x 1, 1 x 10, 2 x 2, 2 x 10 and 10 x 2 pixels nothing is left, whatever their length; it is said at debug level
#           only. 3 x 3 pixels become a polygon of area 4, 10 x 10 one of 81. A ring of 512 pixels becomes a disk of 690.
# Matters:  Datumaro converts between the formats of labelling tools, and those with polygons only go through here. Bacteria,
#           fibres and spots vanish from the data without a word, and all others lose half a pixel on each side.
# Instead:  keep masks (COCO with RLE), or trace pixel edges with rasterio.features.shapes and check that the number of objects stays.
# Seen:     datumaro 1.13.12 with opencv-python-headless 4.14.0.94 and numpy 2.4.6, on 2026-11-29.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile datumaro==1.13.12 opencv-python-headless==4.14.0.94 numpy==2.4.6
venv/bin/python -W ignore - <<'PY'
from importlib.metadata import version

import numpy as np
from datumaro import Dataset, DatasetItem, Mask

print(*(f"{name} {version(name)}" for name in ("datumaro", "opencv-python-headless", "numpy")))
sizes = [(1, 1), (1, 10), (2, 2), (2, 10), (10, 2), (3, 3), (10, 10)]
masks = []
for height, width in sizes:
    mask = np.zeros((40, 40), bool)
    mask[5 : 5 + height, 5 : 5 + width] = True
    masks.append(mask)
y, x = np.mgrid[:40, :40] - 20
masks.append((y**2 + x**2 <= 225) & (y**2 + x**2 > 64))

annotations = [Mask(mask, label=0, id=number) for number, mask in enumerate(masks, 1)]
data = Dataset.from_iterable([DatasetItem("image", annotations=annotations)], categories=["cell"])
data.transform("masks_to_polygons")
areas = {polygon.id: polygon.get_area() for polygon in next(iter(data)).annotations}
for number, mask in enumerate(masks, 1):
    name = "%d x %d" % sizes[number - 1] if number <= len(sizes) else "ring"
    print(name, "pixels:", int(mask.sum()), "polygon:", areas.get(number, "none"))
assert areas == {6: 4, 7: 81, 8: 690}
PY
