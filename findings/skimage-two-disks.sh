#!/usr/bin/env bash
# scikit-image has two functions disk(radius), and for a radius of 1 one has 1 pixel, the other 5.
#
# Guess:    skimage.draw.disk and skimage.morphology.disk of one radius are the same pixels.
# Truth:    draw.disk leaves out pixels at exactly the radius, morphology.disk takes them in. Radius 1: 1
#           and 5 pixels; 2: 9 and 13; 5: 69 and 81.
# Matters:  spots, nuclei for tests and seeds are drawn with one and dilated or opened with the other: an
#           opening by the same "disk" removes every spot that was drawn.
# Instead:  draw.disk(centre, radius + 0.5), or stay with one of the two.
# Seen:     scikit-image 0.26.0, numpy 2.4.6, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile scikit-image==0.26.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import skimage
from skimage import draw, morphology

print("skimage", skimage.__version__, "numpy", np.__version__)
expected = {1: (1, 5), 2: (9, 13), 3: (25, 29), 5: (69, 81)}
for radius, counts in expected.items():
    spot = np.zeros((21, 21), bool)
    spot[draw.disk((10, 10), radius)] = True
    footprint = morphology.disk(radius)
    left = int(morphology.opening(spot, footprint).sum())
    print(f"radius {radius}: draw {spot.sum()}, morphology {footprint.sum()}, opened {left}")
    assert (spot.sum(), footprint.sum(), left) == (*counts, 0)
PY
