#!/usr/bin/env bash
# Nyxus gives one square a solidity between 0.1 and 1.2, depending on where it lies, and an equivalent diameter of 127.
#
# Guess:    a square of 10 x 10 pixels is convex: its hull has 100 pixels or, between pixel centres, 81, and its solidity is near 1
#           everywhere in the image. The diameter of a circle of the same area is 11.3, and the Euler number of an object without
#           holes is 1.
# Truth:    the area of the hull grows with the distance from the origin: 81 in the top-left corner, 171 at (10, 10), 981 at
#           (100, 120), so that the solidity goes from 1.23 to 0.10. The diameter is 4 area / pi, without the square root. The Euler
#           number is 0 for squares and -1 for disks, and each hole takes 1 away. Area, perimeter and axes are right.
# Matters:  solidity sorts lobed and merged cells from round ones; here it says where in the image a cell lies. Filters on the
#           diameter drop everything.
# Instead:  area_convex, solidity, equivalent_diameter_area and euler_number of skimage.measure.regionprops.
# Seen:     nyxus 0.11.0 with numpy 2.2.6, on 2026-11-29.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile nyxus==0.11.0 numpy==2.2.6
venv/bin/python - <<'PY'
from importlib.metadata import version

import numpy as np
from nyxus import Nyxus

print("nyxus", version("nyxus"), "numpy", np.__version__)
names = ["AREA_PIXELS_COUNT", "CONVEX_HULL_AREA", "SOLIDITY", "DIAMETER_EQUAL_AREA", "EULER_NUMBER"]
image = (np.random.default_rng(0).random((200, 200)) * 1000 + 500).astype(np.uint16)
y, x = np.mgrid[:200, :200]


def measured(text, mask):
    table = Nyxus(names).featurize(image, mask.astype(np.uint16))
    values = {name: round(float(table[name].iloc[0]), 2) for name in names}
    print(text, values)
    return values


for corner, solidity in (((0, 0), 1.23), ((10, 10), 0.58), ((100, 120), 0.10)):
    square = np.zeros((200, 200), bool)
    square[corner[0] : corner[0] + 10, corner[1] : corner[1] + 10] = True
    values = measured(f"square at {corner}:", square)
    assert values["AREA_PIXELS_COUNT"] == 100 and values["SOLIDITY"] == solidity
    assert values["DIAMETER_EQUAL_AREA"] == 127.32 == round(4 * 100 / np.pi, 2)
    assert values["EULER_NUMBER"] == 0

disk = (y - 90) ** 2 + (x - 30) ** 2 <= 400
assert measured("disk of radius 20:", disk)["EULER_NUMBER"] == -1
disk[88:92, 28:32] = False
assert measured("with a hole:", disk)["EULER_NUMBER"] == -2
PY
