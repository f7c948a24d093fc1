#!/usr/bin/env bash
# With scikit-image 0.26, MONAI's RemoveSmallObjects also removes objects of exactly the size to keep.
#
# Guess:    min_size=3 keeps objects of 3 pixels: "objects smaller than this size are removed".
# Truth:    MONAI hands the number on by its position. scikit-image 0.26 has put max_size there, which removes what is
#           smaller or equal, so that objects of 3 pixels go. With 0.25 they stay.
# Matters:  the same pipeline gives other objects after an update of a library that it never imports. Sizes of exactly
#           min_size are common where it is the smallest size, such as spots of 4 pixels.
# Instead:  min_size=2 with scikit-image 0.26, or its remove_small_objects by keyword.
# Seen:     MONAI 1.6.1 with scikit-image 0.25.2 and 0.26.0 and torch 2.14.1, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile torch==2.14.1 monai==1.6.1 numpy==2.4.6 scikit-image==0.26.0
cat > sizes.py <<'PY'
import sys

import skimage
import torch
from monai.transforms import RemoveSmallObjects

mask = torch.zeros(1, 5, 12)
mask[0, 1, 1:3] = 1
mask[0, 1, 4:7] = 1
mask[0, 1, 8:12] = 1
kept = RemoveSmallObjects(min_size=3)(mask)[0, 1]
sizes = [int(kept[a:b].sum()) for a, b in ((1, 3), (4, 7), (8, 12))]
print("scikit-image", skimage.__version__, "objects of 2, 3 and 4 px become", sizes)
assert sizes == [0, int(sys.argv[1]), 4]
PY
venv/bin/python -W ignore sizes.py 0
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile scikit-image==0.25.2 numpy==2.4.6
venv/bin/python -W ignore sizes.py 3
