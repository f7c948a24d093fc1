#!/usr/bin/env bash
# safetensors saves a transposed NumPy array with its values in the wrong places, without an error.
#
# Guess:    safetensors.numpy.save copies what is not contiguous, or refuses it as safetensors.torch does.
# Truth:    it writes the memory as it lies under the shape of the view. The shape is right and the values
#           are scrambled: array.T, Fortran order, and every crop of columns array[:, :2].
# Matters:  pycocotools.mask.decode returns masks in Fortran order, ITK-born volumes are transposed to z,
#           y, x, and embeddings of tiles are crops. A cache of these is garbage with a valid header.
# Instead:  numpy.ascontiguousarray(array) for every array that is saved.
# Seen:     safetensors 0.8.0, numpy 2.4.6, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile safetensors==0.8.0 numpy==2.4.6
venv/bin/python - <<'PY'
from importlib.metadata import version

import numpy as np
from safetensors.numpy import load, save

print("safetensors", version("safetensors"), "numpy", np.__version__)
table = np.arange(8).reshape(2, 4)
arrays = {
    "Fortran order": (np.asfortranarray(table), [[0, 4, 1, 5], [2, 6, 3, 7]]),
    "transposed": (table.T, [[0, 1], [2, 3], [4, 5], [6, 7]]),
    "crop of columns": (table[:, :2], [[0, 1], [2, 3]]),
    "contiguous": (table, table.tolist()),
}
for name, (array, expected) in arrays.items():
    back = load(save({"array": array}))["array"].tolist()
    print(f"{name}: saved {array.tolist()}, loaded {back}")
    assert back == expected
    assert (back == array.tolist()) == (name == "contiguous")
PY
