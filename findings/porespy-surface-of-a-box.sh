#!/usr/bin/env bash
# porespy gives every box the same surface, of 6.9, and cubes a sphericity of up to 179.
#
# Guess:    a cube of 16 voxels has a surface of 6 x 16 x 16 = 1,536, a little less where the mesh rounds its edges, and a
#           sphericity of 0.81. No solid has one above 1.
# Truth:    the surface is 6.9 for boxes of 2 to 16 voxels, wherever they lie, so that the sphericity is 2.8 to 179. Solids
#           that do not fill their bounding box get a surface that is too large: a ball of radius 10 has 1,696 instead of
#           1,257, and a sphericity of 0.74.
# Matters:  sphericity sorts grains, pores, nuclei and debris. Crystals and blocky grains come out rounder than a ball, and balls
#           less round than a cube should be.
# Instead:  skimage.measure.marching_cubes on the padded and blurred region, then mesh_surface_area.
# Seen:     porespy 3.2.0 with scikit-image 0.26.0, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile porespy==3.2.0 scikit-image==0.26.0 scipy==1.17.1 numpy==2.4.6
venv/bin/python -W ignore - <<'PY'
import numpy as np
import porespy

grid = np.mgrid[:40, :40, :40] - 20


def measured(solid):
    region = porespy.metrics.regionprops_3D(solid.astype(int))[0]
    return float(region.surface_area), float(region.sphericity)


for side in (2, 4, 16):
    cube = ((grid >= 0) & (grid < side)).all(axis=0)
    surface, sphericity = measured(cube)
    print("cube of", side, "surface", round(surface, 1), "of", 6 * side**2, "sphericity", round(sphericity, 2))
    assert abs(surface - 6.9) < 0.1
    assert sphericity > 2.5

surface, sphericity = measured((grid**2).sum(axis=0) <= 100)
print("ball of radius 10, surface", round(surface), "of", round(4 * np.pi * 100), "sphericity", round(sphericity, 2))
assert surface > 1.3 * 4 * np.pi * 100
assert sphericity < 0.8
PY
