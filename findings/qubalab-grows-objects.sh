#!/usr/bin/env bash
# Labels turned into QuPath objects by qubalab and drawn again are one pixel larger, right and below.
#
# Guess:    ImageFeature.create_from_label_image and LabeledImageServer are a pair: the same labels
#           return.
# Truth:    the outlines go along the pixel edges (2 x 2 pixels: 0 to 2), and are drawn as if the edge
#           itself belonged to the object: 3 x 3 pixels. Gaps of one pixel between cells close. Each round
#           trip adds a row and a column more, and where cells touch the later one wins. A single pixel
#           becomes four.
# Matters:  training data taken from QuPath this way has cells that are too large and merge; the bias is
#           one-sided, so masks are also shifted by half a pixel against the image.
# Instead:  draw the geometries with rasterio.features.rasterize, which fills by pixel centres: exact.
# Seen:     qubalab 0.2.1, rasterio 1.4.4, numpy 2.4.6, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile qubalab==0.2.1 rasterio==1.4.4 numpy==2.4.6
venv/bin/python -W ignore - <<'PY'
from importlib.metadata import version

import numpy as np
from qubalab.images.labeled_server import LabeledImageServer
from qubalab.images.metadata.image_metadata import ImageMetadata
from qubalab.images.metadata.image_shape import ImageShape
from qubalab.images.metadata.pixel_calibration import PixelCalibration
from qubalab.objects.image_feature import ImageFeature
from rasterio.features import rasterize

print(*(f"{name} {version(name)}" for name in ("qubalab", "rasterio", "numpy")))
labels = np.zeros((12, 12), np.int32)
labels[1:3, 1:3], labels[1:3, 4:6], labels[8, 8] = 1, 2, 3


def outlined(image):
    return ImageFeature.create_from_label_image(image)


def drawn(features):
    shape = (ImageShape(12, 12),)
    image = ImageMetadata("image", "image", shape, PixelCalibration(), False, np.uint8)
    return np.asarray(LabeledImageServer(image, features).read_region(1))[0].astype(np.int32)


def areas(image):
    return np.bincount(image.ravel(), minlength=4)[1:].tolist()


once = drawn(outlined(labels))
twice = drawn(outlined(once))
print("pixels of three objects:", areas(labels), "after one round trip:", areas(once))
print("after two:", areas(twice))
print(once)
assert areas(labels) == [4, 4, 1] and areas(once) == [9, 9, 4]
assert sum(areas(twice)) > sum(areas(once))
exact = rasterize([(f.geometry, i) for i, f in enumerate(outlined(labels), 1)], labels.shape)
assert (exact == labels).all()
PY
