#!/usr/bin/env bash
# cv2.imwrite saves an int32 label image as an 8-bit PNG, clips all ids to 255 and returns True.
#
# Guess:    an error, as Pillow, imageio and ITK raise one, or a 16-bit PNG; PNG has 16 bits.
# Truth:    anything but uint8 and uint16 is clipped to uint8: all objects from 255 on become one object,
#           and a negative "ignore" label becomes background. The call returns True and a warning goes to
#           the log. int32 is what cv2.connectedComponents itself returns. As TIFF the same array is kept.
# Matters:  PNG label images are what the 2-D challenges and trainers ask for. With up to 254 objects in a
#           test image nothing is seen.
# Instead:  check the largest id and write labels.astype(np.uint16), or write TIFF.
# Seen:     opencv-python-headless 5.0.0.93, numpy 2.4.6, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile opencv-python-headless==5.0.0.93 numpy==2.4.6
venv/bin/python - <<'PY'
import cv2
import numpy as np

print("opencv", cv2.__version__, "numpy", np.__version__)
spots = np.zeros((40, 40), np.uint8)
spots[::2, ::2] = 1
count, labels = cv2.connectedComponents(spots)
print(count - 1, "objects as", labels.dtype)
assert labels.dtype == np.int32 and count - 1 == 400

for name in ("labels.png", "labels.tif"):
    saved = cv2.imwrite(name, labels)
    read = cv2.imread(name, cv2.IMREAD_UNCHANGED)
    print(f"{name}: imwrite {saved}, {read.dtype}, {len(np.unique(read)) - 1} objects")
    assert saved
    assert len(np.unique(read)) - 1 == (255 if name.endswith("png") else 400)
assert cv2.imread("labels.png", cv2.IMREAD_UNCHANGED).dtype == np.uint8
PY
