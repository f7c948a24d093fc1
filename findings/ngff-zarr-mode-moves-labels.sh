#!/usr/bin/env bash
# ngff-zarr's pyramid by most frequent label (DASK_IMAGE_MODE) moves labels and eats two of their sides.
#
# Guess:    each pixel of the next level is the most frequent label of the block of pixels under it.
# Truth:    the window is centred one pixel up and left of the block, and ties go to the smaller label, so to
#           the background. A cell of 8 x 8 on even pixels keeps 36 to 48 of its 64, and its centre moves by 1
#           or 2 pixels; a spot of 2 x 2 vanishes; a cube of 8 keeps 216 of 512. At a factor of 4 it is worse.
# Matters:  the levels of the image beside it are in place, so labels slide off their cells when one zooms
#           out, and counts from a lower level miss small objects. This method is the one named for labels.
# Instead:  Methods.ITKWASM_LABEL_IMAGE, which keeps all of these in place.
# Seen:     ngff-zarr 0.18.2, dask-image 2026.5.0, dask 2025.11.0, numpy 2.4.6, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile \
  ngff-zarr==0.18.2 dask-image==2026.5.0 dask==2025.11.0 itkwasm-downsample==2.0.2 numpy==2.4.6
venv/bin/python -W ignore - <<'PY'
from contextlib import redirect_stdout
from os import devnull

import numpy as np
from ngff_zarr import Methods, to_multiscales, to_ngff_image

labels = np.zeros((32, 32), np.uint16)
labels[8:16, 8:16], labels[8:16, 16:24], labels[20:22, 20:22] = 1, 3, 2
cube = np.zeros((16, 16, 16), np.uint16)
cube[4:12, 4:12, 4:12] = 1


def half(array, method):
    """Return the size of each label, in pixels of the full image, and the centre of the first one."""
    with open(devnull, "w") as quiet, redirect_stdout(quiet):
        level = to_multiscales(to_ngff_image(array, dims="zyx"[-array.ndim :]), [2], method=method).images[1]
        data = np.asarray(level.data)
    sizes = {int(v): int((data == v).sum()) * 2**array.ndim for v in np.unique(array[array > 0])}
    places = zip(level.dims, np.nonzero(data == 1), strict=True)
    centre = [float(i.mean() * level.scale[d] + level.translation[d]) for d, i in places]
    print(f"{method.name}: sizes {sizes}, centre of label 1 {centre}")
    return sizes, centre


good, mode = Methods.ITKWASM_LABEL_IMAGE, Methods.DASK_IMAGE_MODE
assert half(labels, good) == ({1: 64, 2: 4, 3: 64}, [11.5, 11.5])
assert half(labels, mode) == ({1: 48, 2: 0, 3: 36}, [12.5, 13.5])
assert half(cube, good) == ({1: 512}, [7.5, 7.5, 7.5])
assert half(cube, mode) == ({1: 216}, [8.5, 8.5, 8.5])
PY
