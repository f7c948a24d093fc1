#!/usr/bin/env bash
# adapted_rand_error returns what its documentation calls the recall as precision, and the other way round.
#
# Guess:    a cell cut in two costs recall (pairs of pixels that belong together are parted) and leaves
#           precision at 1; two cells joined cost precision. So say the docstring and the literature.
# Truth:    for the cut cell the values in place of (precision, recall) are (0.67, 1.0), for the joined
#           cells (1.0, 0.43): the pairs are divided by those of the other image. The error itself does
#           not care, but its weight alpha is on the wrong side as well.
# Matters:  over- and under-segmentation are told apart by these two numbers, and the usual cure (raise or
#           lower a threshold) then makes the model worse.
# Instead:  swap them, after checking with a cut cell as below that the version in use still does it.
# Seen:     scikit-image 0.26.0, numpy 2.4.6, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile scikit-image==0.26.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import skimage
from skimage.metrics import adapted_rand_error

print("skimage", skimage.__version__, "numpy", np.__version__)
truth = np.array([[1, 1, 1, 1, 2, 2, 2, 2]])
cut = np.array([[1, 1, 3, 3, 2, 2, 2, 2]])
joined = np.array([[1, 1, 1, 1, 1, 1, 1, 1]])


def by_definition(truth, test):
    """Count the pairs of pixels that share a label, as the docstring words it."""
    pairs = np.triu(np.ones((truth.size, truth.size), bool), 1)
    in_truth, in_test = (pairs & (image.ravel()[:, None] == image.ravel()) for image in (truth, test))
    both = (in_truth & in_test).sum()
    return both / in_test.sum(), both / in_truth.sum()


for name, test in {"cut in two": cut, "joined": joined}.items():
    defined, returned = by_definition(truth, test), adapted_rand_error(truth, test)[1:]
    print(f"{name:10}  defined: precision {defined[0]:.2f}, recall {defined[1]:.2f}", end="")
    print(f"  returned: {returned[0]:.2f}, {returned[1]:.2f}")
    assert np.allclose(returned, defined[::-1]) and not np.allclose(returned, defined)
PY
