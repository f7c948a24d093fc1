#!/usr/bin/env bash
# The medians of objects in SimpleITK are read off a histogram of the whole image: a hot pixel elsewhere moves them.
#
# Guess:    the median of a label is the middle value of its own pixels, as in numpy and scikit-image.
# Truth:    LabelIntensityStatisticsImageFilter and LabelStatisticsImageFilter lay bins (128 and 256 by
#           default) from the smallest to the largest value of the whole image, and interpolate in the bin that holds
#           the middle. A cell with a median of 996 in a 16-bit image gets 1057.9 or 931.4 once a single pixel far from it
#           is saturated. The mean is exact.
# Matters:  the median is chosen because it is robust. Here one hot pixel, another cell or another field of view changes
#           it by more than the differences between cells; with float images in 0 to 1 as well.
# Instead:  numpy.median or skimage.measure.regionprops on the pixels, or set the number of bins so that a bin is one
#           grey value wide.
# Seen:     SimpleITK 2.5.7, numpy 2.4.6, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile SimpleITK==2.5.7 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import SimpleITK as sitk

print("SimpleITK", sitk.__version__, "numpy", np.__version__)
rng = np.random.default_rng(0)
image = rng.normal(1000, 50, (50, 50)).round().astype(np.uint16)
labels = np.zeros((50, 50), np.uint16)
labels[5:20, 5:20] = 1
true = float(np.median(image[labels == 1]))


def medians():
    intensity = sitk.LabelIntensityStatisticsImageFilter()
    intensity.Execute(sitk.GetImageFromArray(labels), sitk.GetImageFromArray(image))
    statistics = sitk.LabelStatisticsImageFilter()
    statistics.Execute(sitk.GetImageFromArray(image), sitk.GetImageFromArray(labels))
    assert np.isclose(statistics.GetMean(1), image[labels == 1].mean())
    return intensity.GetMedian(1), statistics.GetMedian(1)


before = medians()
image[40, 40] = 65535  # far from the object
after = medians()
print("numpy:", true)
print("SimpleITK, clean image: %.1f and %.1f" % before)
print("SimpleITK, one saturated pixel elsewhere: %.1f and %.1f" % after)
assert all(abs(value - true) < 3 for value in before)
assert all(abs(value - true) > 50 for value in after)
PY
