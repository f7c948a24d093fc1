#!/usr/bin/env bash
# cp_measure's radial distribution of an 8- or 16-bit image is wrong: its sums wrap around.
#
# Guess:    the fractions of the brightness per ring are ratios, so that an image as the camera gives it, in uint16, has the same as
#           the one in float. The documentation asks for floats in 0 to 1, "to match CellProfiler's input convention".
# Truth:    the sums per ring are kept in the type of the pixels, modulo 65,536 or 256. In an image of one grey value, 1000, MeanFrac
#           must be 1 in every ring of every object and RadialCV 0; as uint16 the first lies between 0.1 and 7.9, the second is up to
#           0.56; nothing warns. int64 and float32 are right. Granularity differs between
#           uint16 and float too, but not between uint8 and float.
# Matters:  these columns go into profiles of cells beside others that are right, and look like biology: rings of brightness
#           where there are none.
# Instead:  image.astype(float) / 65535 before all measurements.
# Seen:     cp-measure 0.3.0 with numpy 2.4.6, on 2026-11-29.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile cp-measure==0.3.0 numpy==2.4.6
venv/bin/python -W ignore - <<'PY'
from importlib.metadata import version

import numpy as np
from cp_measure.bulk import get_core_measurements

print("cp-measure", version("cp-measure"), "numpy", np.__version__)
measurements = get_core_measurements()
labels = np.zeros((80, 80), np.int32)
labels[5:20, 5:25], labels[30:50, 30:60], labels[60:70, 10:50] = 1, 2, 3


def rings(image, name):
    table = measurements["radial_distribution"](labels, image)
    return np.array([table[f"RadialDistribution_{name}_{i}of4"] for i in (1, 2, 3, 4)])


for dtype, grey in ((float, 1000), (np.float32, 1000), (np.int64, 1000), (np.uint16, 1000), (np.uint8, 100)):
    image = np.full((80, 80), grey, dtype)
    mean, spread = rings(image, "MeanFrac"), rings(image, "RadialCV")
    print(np.dtype(dtype), "image of", grey, "MeanFrac", mean.min().round(2), "to", mean.max().round(2), end=" ")
    print("RadialCV up to", spread.max().round(2))
    if dtype in (np.uint16, np.uint8):
        assert mean.max() > 2 and spread.max() > 0.3
    else:
        assert np.allclose(mean, 1, atol=1e-4) and np.allclose(spread, 0, atol=1e-3)

noise = (np.random.default_rng(0).random((80, 80)) * 20000).astype(np.uint16)
grains = [measurements["granularity"](labels, noise.astype(t))["Granularity_1"] for t in (np.uint16, float)]
print("Granularity_1 of noise as uint16 and float:", *grains)
assert not np.allclose(*grains, rtol=0.01)
PY
