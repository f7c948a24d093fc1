#!/usr/bin/env bash
# scipy.ndimage.binary_closing removes pixels: objects are eaten away from the border of the image.
#
# Guess:    closing fills gaps and never takes a pixel away (it is extensive, as the textbooks say).
# Truth:    outside the image counts as background for the erosion half, so every iteration eats one pixel
#           from whatever touches the border. A 7 x 7 image that is all object keeps 25 pixels after
#           closing once, 1 after three times. border_value=1 makes it worse in the other half: the
#           dilation then grows in from outside. skimage.morphology.closing keeps all 49.
# Matters:  the usual clean-up of masks, per tile or per crop, leaves a frame of lost pixels around each
#           tile; stitched, a grid of gaps cuts cells in two.
# Instead:  skimage.morphology.closing, or pad with mode="edge" by the number of iterations and crop.
# Seen:     scipy 1.17.1, scikit-image 0.26.0, numpy 2.4.6, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile scipy==1.17.1 scikit-image==0.26.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import scipy
import skimage
from scipy import ndimage
from skimage.morphology import closing, diamond

print("scipy", scipy.__version__, "skimage", skimage.__version__, "numpy", np.__version__)
full, corner = np.ones((7, 7), bool), np.zeros((7, 7), bool)
corner[:2, :2] = True
counts = [int(ndimage.binary_closing(full, iterations=n).sum()) for n in (1, 2, 3)]
print("49 pixels after closing 1, 2 and 3 times:", counts)
assert counts == [25, 9, 1]

one_side = ndimage.binary_closing(corner, border_value=1).sum()
print("4 pixels in a corner, border_value 1:", int(one_side))
assert one_side > 4
padded = ndimage.binary_closing(np.pad(full, 3, mode="edge"), iterations=3)[3:-3, 3:-3]
print("padded:", int(padded.sum()), "skimage:", int(closing(full, diamond(3)).sum()))
assert padded.all() and closing(full, diamond(3)).all()
PY
