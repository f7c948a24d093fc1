#!/usr/bin/env bash
# ROIs with half-pixel corners written by roifile lose the half when read-roi reads them.
#
# Guess:    both libraries follow ImageJ's format, so 2.5 comes back as 2.5.
# Truth:    read-roi gives 2. The file holds whole and sub-pixel coordinates, and a bit that says that the
#           second kind counts. read-roi uses them only if no other option bit is set beside it; roifile
#           sets two more by default. All corners move up and to the left, by up to a pixel, and are ints.
# Matters:  outlines exported at pixel edges or centres, the usual way out of a label image, shift and
#           shrink; read-roi is what many notebooks use for RoiSet.zip.
# Instead:  read with roifile (coordinates()), or write with that one option only.
# Seen:     roifile 2026.2.10, read-roi 1.6.0, numpy 2.4.6, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile roifile==2026.2.10 read-roi==1.6.0 numpy==2.4.6
venv/bin/python - <<'PY'
from importlib.metadata import version

import numpy as np
import roifile
from read_roi import read_roi_file

print(*(f"{name} {version(name)}" for name in ("roifile", "read-roi", "numpy")))
corners = np.array([[2.5, 2.5], [6.5, 2.5], [6.5, 6.5], [2.5, 6.5]])
roi = roifile.ImagejRoi.frompoints(corners)


def read_both(name):
    roi.tofile(f"{name}.roi")
    one = roifile.ImagejRoi.fromfile(f"{name}.roi").coordinates().tolist()
    shape = read_roi_file(f"{name}.roi")[name]
    other = [list(corner) for corner in zip(shape["x"], shape["y"])]
    print(f"{roi.options!r}\n  roifile:  {one}\n  read-roi: {other}")
    return one, other


assert read_both("usual") == (corners.tolist(), np.floor(corners).tolist())
roi.options = roifile.ROI_OPTIONS.SUB_PIXEL_RESOLUTION
assert read_both("single") == (corners.tolist(), corners.tolist())
PY
