#!/usr/bin/env bash
# imea's circumscribing and inscribing circles of a particle grow with its distance from the corner of the image.
#
# Guess:    a disc 40 pixels across has a circumscribing and an inscribing circle of about 40, wherever it lies.
# Truth:    30 pixels from both sides the circles are 68 and 11, and 300 pixels further on 916 and 837: the centroid is counted
#           from the particle's own box, the outline from the corner of the image. The other diameters are right.
# Matters:  both columns of the table of shapes measure where a particle lies. Cut out one by one they are right, so small tests
#           pass.
# Instead:  diameter_min_enclosing_circle and diameter_max_inclosing_circle, or a crop of each object.
# Seen:     imea 0.3.5 with opencv-python 5.0.0.93, scikit-image 0.26.0 and numpy 2.4.6, on 2026-11-30.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile imea==0.3.5 opencv-python==5.0.0.93 scikit-image==0.26.0 numpy==2.4.6
venv/bin/python -W ignore - <<'PY'
from importlib.metadata import version

import imea
import numpy as np

print(*(f"{name} {version(name)}" for name in ("imea", "opencv-python", "scikit-image", "numpy")))
y, x = np.mgrid[:400, :400]
circles = ["diameter_circumscribing_circle", "diameter_inscribing_circle"]
others = ["diameter_min_enclosing_circle", "diameter_max_inclosing_circle"]


def measured(center):
    disc = (y - center) ** 2 + (x - center) ** 2 <= 20**2
    row = imea.shape_measurements_2d(disc, 1.0).iloc[0]
    sizes = [round(float(row[name])) for name in circles + others]
    print(f"centre {center}: circumscribing {sizes[0]}, inscribing {sizes[1]}, enclosing {sizes[2]}, inclosing {sizes[3]}")
    return sizes


assert measured(30) == [68, 11, 40, 40]
assert measured(130)[0] > 300
assert measured(330) == [916, 837, 40, 40]
PY
