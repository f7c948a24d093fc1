#!/usr/bin/env bash
# ncolor gives touching cells the same colour, and reports no conflict.
#
# Guess:    ncolor.label turns any label image into few colours of which touching cells have different ones; where that cannot be
#           kept, check_conflicts raises.
# Truth:    a filament a pixel wide that crosses a cell gets the colour of the cell, and six bars a pixel wide side by side all
#           get one colour. In dense tissue of 200 cells, nine of ten images have touching pairs with one colour. By default the cells are
#           first expanded and cleaned of thin parts and bridges; contacts that go with these are not seen, by the check neither.
#           ncolor.connect, of the same package, lists the pairs as touching.
# Matters:  colours are kept and learned instead of ids because the pieces of each colour are the cells. Here touching cells
#           become one when they are read back.
# Instead:  expand=False or expand_mode="standard", with which no touching pair was alike.
# Seen:     ncolor 2.3.0, numpy 2.4.6, scipy 1.17.1, scikit-image 0.26.0, on 2026-11-30.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile \
    ncolor==2.3.0 numpy==2.4.6 scipy==1.17.1 scikit-image==0.26.0
venv/bin/python -W ignore - <<'PY'
from importlib.metadata import version

import ncolor
import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

print(*(f"{name} {version(name)}" for name in ("ncolor", "numpy", "scipy", "scikit-image")))


def alike(labels, **options):
    colours = ncolor.label(labels, check_conflicts=True, **options)
    pairs = sum(colours[labels == a][0] == colours[labels == b][0] for a, b in ncolor.connect(labels))
    return int(pairs), sum(ndimage.label(colours == colour)[1] for colour in np.unique(colours[colours > 0]))


def crossed(width):
    labels = np.ones((20, 20), np.int32)
    labels[:, 10 : 10 + width] = 2
    return labels


bars = np.zeros((12, 30), np.int32)
bars[3:9, 3:27] = np.arange(1, 7)[:, None]
print("(touching pairs alike, objects read back)")
for title, labels in (("filament, 1 wide", crossed(1)), ("filament, 2 wide", crossed(2)), ("6 bars, 1 wide", bars)):
    print(f"{title}: {alike(labels)}, without expansion {alike(labels, expand=False)}")
assert alike(crossed(1)) == (1, 1) and alike(crossed(2)) == (0, 3)
assert alike(bars) == (5, 1) and alike(bars, expand=False) == (0, 6)

images, lost = 0, 0
for seed in range(10):
    seeds = np.zeros((200, 200), np.int32)
    seeds.flat[np.random.default_rng(seed).choice(seeds.size, 200, replace=False)] = np.arange(1, 201)
    tissue = watershed(np.zeros(seeds.shape), seeds)
    pairs, objects = alike(tissue)
    images, lost = images + (pairs > 0), lost + 200 - objects
    assert alike(tissue, expand=False) == alike(tissue, expand_mode="standard") == (0, 200)
print("tissue of 200 cells:", images, "of 10 images with touching pairs alike,", lost, "of 2000 cells lost")
assert images >= 5
PY
