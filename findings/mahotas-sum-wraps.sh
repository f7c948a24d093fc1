#!/usr/bin/env bash
# mahotas sums the brightness of an object in the image's own pixel type, and wraps around.
#
# Guess:    labeled_sum(image, labels) widens small integers, as numpy.sum and scipy.ndimage.sum do.
# Truth:    the sum has the image's type. 400 pixels of 200 in uint8 sum to 128 instead of 80000; a 16-bit
#           object of 400 x 400 pixels wraps as well; a boolean image, summed to count pixels, gives True.
#           labeled_max and labeled_size are right, and so is a float image.
# Matters:  total fluorescence per cell is the commonest measure there is. The wrapped numbers look like
#           noise rather than like an error, and small, dim cells keep their right values.
# Instead:  mahotas.labeled_sum(image.astype(float), labels), or scipy.ndimage.sum_labels.
# Seen:     mahotas 1.4.19, scipy 1.17.1, numpy 2.4.6, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile mahotas==1.4.19 scipy==1.17.1 numpy==2.4.6
venv/bin/python - <<'PY'
import mahotas
import numpy as np
import scipy
from scipy import ndimage

print("mahotas", mahotas.__version__, "scipy", scipy.__version__, "numpy", np.__version__)


def sums(image):
    labels = np.ones(image.shape, int)
    wrapped = mahotas.labeled_sum(image, labels)[1]
    right = ndimage.sum_labels(image, labels, 1)
    print(f"{image.dtype} {image.shape}: mahotas {wrapped}, scipy {right:.0f}")
    return wrapped, right


assert sums(np.full((20, 20), 200, np.uint8)) == (80000 % 256, 80000)
assert sums(np.full((400, 400), 60000, np.uint16)) == (9_600_000_000 % 65536, 9_600_000_000)
assert sums(np.ones((20, 20), bool)) == (True, 400)
assert sums(np.full((20, 20), 200, np.float32)) == (80000, 80000)
PY
