#!/usr/bin/env bash
# PyVista's surfaces of labels have lost up to nine tenths of a small object's volume.
#
# Guess:    contour_labels() smooths the steps of the voxels away and keeps the size within a few per cent, as
#           a marching-cubes surface does: its smoothing is called constrained.
# Truth:    each point may move by the diagonal of a voxel. A cube of 27 voxels has a surface that encloses
#           1.9, a ball of 136 has 58, one of 552 has 400, one of 7208 has 6796. Smoothing is on by default.
# Matters:  volumes, surfaces and sphericity are read off this mesh. Small nuclei, vesicles and young cells
#           shrink most, so two groups of different size differ by more than they do.
# Instead:  contour_labels(smoothing=False) for the volume, which is then exact; count voxels for small ones.
# Seen:     pyvista 0.49.1, vtk 9.7.2, numpy 2.4.6, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile pyvista==0.49.1 vtk==9.7.2 numpy==2.4.6
venv/bin/python -W ignore - <<'PY'
import numpy as np
import pyvista

print("pyvista", pyvista.__version__, "numpy", np.__version__)


def volumes(name, mask):
    """Return the voxels of a mask and the volume inside its plain and its default surface."""
    grid = pyvista.ImageData(dimensions=mask.shape)
    grid.point_data["labels"] = mask.astype(np.uint8).ravel(order="F")
    plain, smooth = grid.contour_labels(smoothing=False).volume, grid.contour_labels().volume
    print(f"{name}: {mask.sum()} voxels, {plain:.1f} without smoothing, {smooth:.1f} by default")
    assert abs(plain - mask.sum()) < 1e-6
    return int(mask.sum()), round(smooth, 1)


cube = np.zeros((9, 9, 9), bool)
cube[3:6, 3:6, 3:6] = True
assert volumes("cube of 3", cube) == (27, 1.9)
square = (np.mgrid[:30, :30, :30] - 14.5) ** 2
found = [volumes(f"ball of radius {r}", square.sum(0) <= r * r) for r in (3, 5, 12)]
assert found == [(136, 58.5), (552, 399.7), (7208, 6796.3)]
PY
