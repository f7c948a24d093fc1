#!/usr/bin/env bash
# trimesh fills a mesh with voxels that stick out by half a voxel: a ball of radius 10 gains a fifth.
#
# Guess:    mesh.voxelized(pitch).fill() takes the voxels whose centre lies inside, so the volume comes back.
# Truth:    it takes every voxel that the surface touches as well. At a pitch of 1 a ball of radius 5 grows
#           by 44 %, of 10 by 21 %, of 20 by 10 %. A cube of 5 has 125 voxels, and 216 when it is moved by 0.1.
# Matters:  surfaces of cells from Imaris, Blender or a marching-cubes export are made into labels this way.
#           Cells grow and touch, and small ones more than large ones.
# Instead:  test the voxel centres: mesh.contains(points), or pyvista's voxelize_binary_mask.
# Seen:     trimesh 5.2.0, numpy 2.4.6, scipy 1.17.1, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile trimesh==5.2.0 numpy==2.4.6 scipy==1.17.1
venv/bin/python - <<'PY'
import numpy as np
import trimesh

print("trimesh", trimesh.__version__, "numpy", np.__version__)
for radius, voxels, percent in ((5, 751, 44), (10, 5041, 21), (20, 36821, 10)):
    ball = trimesh.creation.icosphere(subdivisions=4, radius=radius)
    filled = ball.voxelized(1).fill().volume
    gain = round(100 * (filled / ball.volume - 1))
    print(f"ball of radius {radius}: volume {ball.volume:.0f}, filled {filled:.0f}, {gain} % more")
    assert (filled, gain) == (voxels, percent)
cubes = []
for shift in (0, 0.1, 0.25):
    cube = trimesh.creation.box((5, 5, 5)).apply_translation((shift,) * 3)
    cubes.append(round(cube.voxelized(1).fill().volume))
    print(f"cube of 5 moved by {shift}: {cubes[-1]}")
assert cubes == [125, 216, 216]
PY
