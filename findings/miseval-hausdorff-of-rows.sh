#!/usr/bin/env bash
# miseval's Hausdorff distance compares rows of pixels, not outlines: 0 for an object moved straight down, however far.
#
# Guess:    the Hausdorff distance of an object and the same object 60 pixels away is 60, whichever way it was moved, and its
#           average Hausdorff distance ("AHD", which the package recommends for outlines) is about that or less.
# Truth:    "HD" hands both images to a function for lists of points, which takes each row of pixels for one point. Moved down,
#           the rows are the same ones in another order: 0, a perfect score. Moved sideways it is 3.2, the square root of the
#           object's width, and 2.4 for 3 pixels. "AHD" is the plain Hausdorff distance, the largest one and no average: a
#           single stray pixel gives 100, where the average distance of the outlines is 1.4. Nothing warns.
# Matters:  the names are those of published measures, and the numbers look like distances in pixels. A method that finds
#           objects at the wrong height gets a distance of 0.
# Instead:  take miseval's "AHD" for the Hausdorff distance, and medpy's assd for the average one.
# Seen:     miseval 1.3.0 with hausdorff 0.2.6, medpy 0.5.2 and numpy 2.4.6, on 2026-11-30.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile miseval==1.3.0 hausdorff==0.2.6 medpy==0.5.2 numpy==2.4.6
venv/bin/python -W ignore - <<'PY'
from importlib.metadata import version

import numpy as np
from medpy.metric.binary import assd, hd
from miseval import evaluate

print(*(f"{name} {version(name)}" for name in ("miseval", "hausdorff", "medpy", "numpy")))
truth = np.zeros((100, 100), np.uint8)
truth[10:20, 10:20] = 1


def compared(title, found):
    said = [float(evaluate(truth, found, metric=name)) for name in ("HD", "AHD")]
    numbers = *said, float(hd(found, truth)), float(assd(found, truth))
    print(f"{title:16} miseval HD {numbers[0]:4.1f}, AHD {numbers[1]:5.1f}; medpy hd {numbers[2]:5.1f}, assd {numbers[3]:4.1f}")
    return [round(number, 1) for number in numbers]


assert compared("3 pixels right", np.roll(truth, 3, axis=1))[:3] == [2.4, 3, 3]
assert compared("60 pixels right", np.roll(truth, 60, axis=1))[:3] == [3.2, 60, 60]
assert compared("60 pixels down", np.roll(truth, 60, axis=0))[:3] == [0, 60, 60]
stray = truth.copy()
stray[90, 90] = 1
assert compared("one stray pixel", stray) == [1, 100.4, 100.4, 1.4]
PY
