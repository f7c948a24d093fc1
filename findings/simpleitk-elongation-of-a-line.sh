#!/usr/bin/env bash
# SimpleITK gives the longest and the flattest objects the elongation and flatness 0, the least there is.
#
# Guess:    elongation and flatness are ratios of axes, 1 for a disk and a ball. They grow as an object gets longer or flatter, and a
#           line of one pixel has infinity or NaN.
# Truth:    a line two pixels wide and 16 long has an elongation of 9.2, one that is one pixel wide has 0. A plate of two planes
#           has a flatness of 5.7, one of a single plane 0, and in a stack a line has both 0.
# Matters:  "elongation > 3" finds fibres and bacteria, except the thinnest; objects found in one plane only, common in stacks
#           of few planes, look the least flat of all, and plots and means take the 0 for a measurement.
# Instead:  from GetPrincipalMoments, with 1/12 (a pixel's own spread) added to each; or drop rows where the smallest is 0.
# Seen:     SimpleITK 2.5.7 with numpy 2.4.6, on 2026-11-29.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile SimpleITK==2.5.7 numpy==2.4.6
venv/bin/python - <<'PY'
from importlib.metadata import version

import numpy as np
import SimpleITK

print("SimpleITK", version("SimpleITK"), "numpy", np.__version__)


def measured(shape, *box):
    labels = np.zeros(shape, np.uint8)
    labels[box] = 1
    shapes = SimpleITK.LabelShapeStatisticsImageFilter()
    shapes.Execute(SimpleITK.GetImageFromArray(labels))
    found = shapes.GetElongation(1), shapes.GetFlatness(1)
    size = labels.sum()
    print(shape, size, "pixels, elongation %.2f, flatness %.2f" % found, "moments", shapes.GetPrincipalMoments(1))
    spread = np.array(shapes.GetPrincipalMoments(1)) + 1 / 12
    return *found, float(np.sqrt(spread[-1] / spread[-2]))


def run(first, last):
    return slice(first, last)


thick = measured((20, 20), run(5, 7), run(2, 18))
thin = measured((20, 20), run(5, 6), run(2, 18))
assert thick[0] > 9 and thin[0] == 0
assert thin[2] > 1.5 * thick[2] > 7  # with the spread of a pixel, the thin line is the longer one
two_planes = measured((10, 20, 20), run(4, 6), run(5, 15), run(3, 17))
one_plane = measured((10, 20, 20), run(4, 5), run(5, 15), run(3, 17))
assert two_planes[1] > 5 and one_plane[1] == 0
assert measured((10, 20, 20), run(4, 5), run(5, 6), run(3, 17))[:2] == (0, 0)
PY
