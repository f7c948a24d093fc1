#!/usr/bin/env bash
# StarDist scores an empty image on which nothing was found as 0, so a perfect result over images is not 1.
#
# Guess:    precision and F1 of "no objects, none found" are undefined: NaN, or 1, or the image is left out of the mean,
#           as matching_dataset's two ways of averaging should agree on a perfect result.
# Truth:    every such image counts 0. A perfect result on three images, one of them empty, has a mean F1 of 0.67 with
#           by_image=True and of 1 without.
# Matters:  empty tiles and empty planes are part of every stack and slide, and the mean by image is what papers on
#           nuclei report. A model that finds objects in empty images gets the same 0 as one that finds none.
# Instead:  score empty images by themselves: matching(...).n_true and n_pred say which they are.
# Seen:     stardist 0.9.2, numpy 2.4.6, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile stardist==0.9.2 numpy==2.4.6
venv/bin/python -W ignore - <<'PY'
import numpy as np
from stardist.matching import matching, matching_dataset

cells = np.zeros((40, 40), int)
cells[5:15, 5:15], cells[20:30, 20:35] = 1, 2
empty = np.zeros_like(cells)
wrong = matching(empty, cells)
right = matching(empty, empty)
means = [matching_dataset(images, images, by_image=by_image, show_progress=False).f1
         for images in ([cells, cells], [cells, cells, empty]) for by_image in (False, True)]
print("empty, nothing found: precision {}, recall {}, F1 {}".format(right.precision, right.recall, right.f1))
print("empty, two found: F1 {}".format(wrong.f1))
print("perfect on two images: F1 {:.2f} in all, {:.2f} by image; with an empty one: {:.2f} and {:.2f}".format(*means))
assert (right.precision, right.recall, right.f1, wrong.f1) == (0, 0, 0, 0)
np.testing.assert_allclose(means, [1, 1, 1, 2 / 3])
PY
