#!/usr/bin/env bash
# pyvips measures all objects with ids above 65535 as one.
#
# Guess:    hist_find_indexed(labels) sums the image under each label, hist_find() counts their pixels. Labels of 32 bits are taken
#           as they are, or refused.
# Truth:    both cast the labels to 16 bits and clip them: every object above 65535 is added to object 65535. Negative labels are
#           added to the background. No error, no warning.
# Matters:  these are the way to measure objects on slides that do not fit into memory, and slides are where there are more than
#           65535 cells: the last "cell" is as large as all the others that came after it.
# Instead:  relabel tile by tile, or measure with a library that takes ids of 32 bits.
# Seen:     pyvips 3.2.0 with pyvips-binary 8.18.7 and numpy 2.4.6, on 2026-11-29.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile pyvips==3.2.0 pyvips-binary==8.18.7 numpy==2.4.6
venv/bin/python - <<'PY'
from importlib.metadata import version

import numpy as np
import pyvips

print("pyvips", version("pyvips"), "binary", version("pyvips-binary"), "numpy", np.__version__)

ids = np.array([5, 65535, 65536, 70001], np.uint32)
image = np.array([1, 10, 100, 1000], np.float32)
labels = pyvips.Image.new_from_array(np.tile(ids, (16, 1)))
pixels = pyvips.Image.new_from_array(np.tile(image, (16, 1)))
print("the labels as held:", labels.format, np.unique(labels.numpy()))
assert labels.format == "uint" and (np.unique(labels.numpy()) == ids).all()

counts, sums = labels.hist_find().numpy().ravel(), pixels.hist_find_indexed(labels).numpy().ravel()
print("pixels of each label:", {int(i): int(counts[i]) for i in np.flatnonzero(counts)}, "of", {int(i): 16 for i in ids})
print("sums of each label:", {int(i): float(sums[i]) for i in np.flatnonzero(sums)})
assert len(counts) == 65536 and counts[5] == 16 and counts[65535] == 48
assert sums[5] == 16 and sums[65535] == 16 * 1110

negative = pyvips.Image.new_from_array(np.array([[-3, -1, 0, 2]], np.int32)).hist_find().numpy().ravel()
print("pixels of -3, -1, 0 and 2:", {int(i): int(negative[i]) for i in np.flatnonzero(negative)})
assert negative[0] == 3 and negative[2] == 1
PY
