#!/usr/bin/env bash
# Labels saved with the header of an 8-bit image come back as 256 different fractions, and objects are one.
#
# Guess:    Nifti1Image(labels, image.affine, image.header) keeps the voxel size of the image, and labels of uint16 are
#           saved as uint16; or, if the header's type decides, ids above 255 are refused or wrapped.
# Truth:    the type of the header decides, and values that do not fit are scaled into it without a word: 300 ids are
#           read back as 256 multiples of 1.17, as float64. Id 1 is 1.17, ids 3 and 4 are both 3.52.
# Matters:  giving the image's header is how scale and orientation are kept. With fewer than 256 objects all is well,
#           so that the first large stack is the one that breaks.
# Instead:  set_data_dtype(labels.dtype) on a copy of the header, which then needs no scaling.
# Seen:     nibabel 5.4.2, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile nibabel==5.4.2 numpy==2.4.6
venv/bin/python -W error - <<'PY'
import nibabel
import numpy as np

brightness = np.random.default_rng(0).integers(0, 255, (10, 10, 10), dtype=np.uint8)
nibabel.save(nibabel.Nifti1Image(brightness, np.eye(4)), "image.nii")
image = nibabel.load("image.nii")


def saved_and_read(labels, header):
    nibabel.save(nibabel.Nifti1Image(labels, image.affine, header), "labels.nii")
    return np.asanyarray(nibabel.load("labels.nii").dataobj)


ids = np.arange(1000, dtype=np.uint16).reshape(10, 10, 10)
few, many = ids % 200, ids % 300
print("200 ids:", saved_and_read(few, image.header).dtype)
read = saved_and_read(many, image.header)
print("300 ids:", read.dtype, len(np.unique(read)), "different;", read.ravel()[:6].round(2))
assert np.array_equal(saved_and_read(few, image.header), few)
assert read.dtype == np.float64
assert len(np.unique(read)) == 256
np.testing.assert_allclose(read.ravel()[[1, 3, 4]], [1.1725, 3.5176, 3.5176], atol=1e-3)

header = image.header.copy()
header.set_data_dtype(many.dtype)
assert np.array_equal(saved_and_read(many, header), many)
PY
