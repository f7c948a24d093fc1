#!/usr/bin/env bash
# Tiles blended by tiler with a Hann window come back with the outermost pixels of the image set to 0.
#
# Guess:    an image cut into tiles and merged again is the same image with any window, as the sum is divided by the weights.
# Truth:    "hann", "bartlett" and "barthann" weigh the rim of a tile with 0. Inside the image another tile covers it; at the
#           border nothing does, and 0 / 0 is made 0 without a warning. The first row and column are black, and the last ones
#           where a tile ends with the image. Reflected or wrapped tiles are no help, as they are filled up only behind the
#           last pixel. "hamming" and "triang" are exact.
# Matters:  probabilities of 0 along the border: cells there lose a row, and those cut to a line are lost. Filters that clear
#           objects at the border no longer find them, so cut cells are measured as whole ones.
# Instead:  "triang" or "hamming", or calculate_padding and recalculate before cutting.
# Seen:     tiler 0.6.0, numpy 2.4.6, scikit-image 0.26.0, on 2026-11-30.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile tiler==0.6.0 numpy==2.4.6 scikit-image==0.26.0
venv/bin/python -W error - <<'PY'
from importlib.metadata import version

import numpy as np
from skimage.segmentation import clear_border
from tiler import Merger, Tiler

print(*(f"{name} {version(name)}" for name in ("tiler", "numpy", "scikit-image")))
masks = np.zeros((48, 64), np.uint16)
masks[20:30, 0:10], masks[44:, 20:30], masks[0, 40:50], masks[20:30, 30:40] = 1, 2, 3, 4


def merged(window, mode="reflect", padded=False):
    tiler = Tiler(masks.shape, (16, 16), overlap=0.5, mode=mode)
    image, extra = masks, None
    if padded:
        shape, extra = tiler.calculate_padding()
        tiler.recalculate(data_shape=shape)
        image = np.pad(masks, extra, mode="reflect")
    merger = Merger(tiler, window=window)
    for number, tile in tiler(image):
        merger.add(number, tile)
    return merger.merge(unpad=True, extra_padding=extra, dtype=np.float64)


exact = [window for window in ("boxcar", "triang", "hamming") if np.allclose(merged(window), masks)]
print("exact:", exact)
assert exact == ["boxcar", "triang", "hamming"]
for window in ("hann", "bartlett", "barthann"):
    for mode in ("reflect", "constant", "edge", "wrap"):
        found = merged(window, mode)
        rim = np.ones(masks.shape, bool)
        rim[1:-1, 1:-1] = False
        assert np.allclose(found[~rim], masks[~rim]) and not found[rim].any()
found = merged("hann").round().astype(int)
print("pixels of four cells:", np.bincount(masks.flat)[1:], "after blending with hann:", np.bincount(found.flat)[1:])
print("cells not at the border:", np.unique(clear_border(masks))[1:], "after blending:", np.unique(clear_border(found))[1:])
assert np.unique(clear_border(masks))[1:].tolist() == [4]
assert np.unique(clear_border(found))[1:].tolist() == [1, 2, 4]
assert np.allclose(merged("hann", padded=True), masks)
PY
