#!/usr/bin/env bash
# skimage.io.imread turns a TIFF stack of three or four planes into a colour image, whatever the file says.
#
# Guess:    a stack of 3 grey planes of 5 x 6 px, written and marked as such, is read as (3, 5, 6), as by tifffile.
# Truth:    it comes back as (5, 6, 3), one of 4 planes as (5, 6, 4); 2 or 5 planes keep their order, and so does a
#           series of 2 x 5 planes, but not one of 2 x 3. Neither the grey photometric interpretation nor the axes that
#           ImageJ or OME metadata name are heeded.
# Matters:  a script tested on stacks of 20 planes labels, measures or crops along the wrong axis for the one short
#           stack of the folder. Labels of a 3-plane stack are shown by napari as a colour picture.
# Instead:  tifffile.imread, which skimage uses inside.
# Seen:     scikit-image 0.26.0, tifffile 2026.3.3, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile scikit-image==0.26.0 tifffile==2026.3.3 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import skimage
import tifffile
from skimage import io

print("scikit-image", skimage.__version__, "tifffile", tifffile.__version__)
for shape in ((2, 5, 6), (3, 5, 6), (4, 5, 6), (5, 5, 6), (2, 3, 5, 6)):
    stack = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    axes = "TZYX"[-stack.ndim :]
    for kind in ({}, {"imagej": True}, {"ome": True}):
        tifffile.imwrite("stack.ome.tif", stack, photometric="minisblack", metadata={"axes": axes}, **kind)
        read = io.imread("stack.ome.tif")
        with tifffile.TiffFile("stack.ome.tif") as file:
            named = file.series[0].axes
        print(f"written {shape} {axes}, file says {named}, skimage reads {read.shape}")
        assert np.array_equal(tifffile.imread("stack.ome.tif"), stack)
        swapped = shape[-3] in (3, 4)
        assert read.shape == ((*shape[:-3], *shape[-2:], shape[-3]) if swapped else shape)
        assert np.array_equal(read, np.moveaxis(stack, -3, -1) if swapped else stack)
PY
