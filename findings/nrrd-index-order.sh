#!/usr/bin/env bash
# pynrrd with index_order="C" turns the array round but not the spacings that come with it.
#
# Guess:    nrrd.write(path, stack, {"spacings": [5, 2, 1]}, index_order="C") says that axis 0 of the
#           stack (z) has a spacing of 5.
# Truth:    the sizes are written reversed (4 3 2 for a stack of 2 x 3 x 4), the spacings as given. The
#           file says that x has 5 and z has 1. pynrrd reads back what it wrote, so a round trip looks
#           right; SimpleITK (and so ITK-SNAP, 3D Slicer) sees planes 1 apart and pixels 5 wide.
# Matters:  anisotropic stacks are the rule in microscopy. Volumes, distances and 3-D views are wrong in
#           every other program, and only there.
# Instead:  with index_order="C" give every per-axis field of the header in x, y, z order, reversed.
# Seen:     pynrrd 1.1.3, SimpleITK 2.5.7, numpy 2.4.6, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile pynrrd==1.1.3 SimpleITK==2.5.7 numpy==2.4.6
venv/bin/python - <<'PY'
from importlib.metadata import version

import nrrd
import numpy as np
import SimpleITK

print(*(f"{name} {version(name)}" for name in ("pynrrd", "SimpleITK", "numpy")))
stack, spacing_zyx = np.zeros((2, 3, 4), np.uint16), [5.0, 2.0, 1.0]
nrrd.write("stack.nrrd", stack, {"spacings": spacing_zyx}, index_order="C")

array, header = nrrd.read("stack.nrrd", index_order="C")
image = SimpleITK.ReadImage("stack.nrrd")
print("pynrrd:   ", array.shape, header["spacings"].tolist(), "sizes", header["sizes"].tolist())
print("SimpleITK: x, y, z size", image.GetSize(), "spacing", image.GetSpacing())
assert array.shape == (2, 3, 4) and header["spacings"].tolist() == spacing_zyx
assert header["sizes"].tolist() == [4, 3, 2]
assert image.GetSize() == (4, 3, 2)
assert image.GetSpacing() == (5.0, 2.0, 1.0)  # right would be (1, 2, 5)
PY
