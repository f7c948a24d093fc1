#!/usr/bin/env bash
# The marching-cubes surface of a trimesh voxel grid ignores the grid's own scale and position.
#
# Guess:    VoxelGrid(mask, transform).marching_cubes lies where the grid lies, in micrometres.
# Truth:    bounds, volume, points and as_boxes() of the grid follow the transform. The surface is in voxels
#           from 0: with voxels of 2 x 0.5 x 0.5 a cell of 62.5 cubic micrometres has a surface around 118.2.
# Matters:  the transform is given to bring in the voxel size, and this one surface of the same object drops
#           it. Stacks are stretched along z, so shapes, areas and contacts are wrong, not only sizes.
# Instead:  grid.marching_cubes.apply_transform(grid.transform), on a copy.
# Seen:     trimesh 5.2.0, numpy 2.4.6, scikit-image 0.26.0, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile trimesh==5.2.0 numpy==2.4.6 scikit-image==0.26.0
venv/bin/python - <<'PY'
import numpy as np
import trimesh

print("trimesh", trimesh.__version__, "numpy", np.__version__)
mask = np.zeros((12, 12, 12), bool)
mask[2:7, 2:7, 2:7] = True
grid = trimesh.voxel.VoxelGrid(mask, transform=np.diag([2, 0.5, 0.5, 1]))


def show(name, thing):
    print(f"{name}: volume {thing.volume:.1f}, from {thing.bounds[0]} to {thing.bounds[1]}")
    return round(float(thing.volume), 1), thing.bounds.tolist()


around = [[3, 0.75, 0.75], [13, 3.25, 3.25]]
assert show("grid                ", grid) == (62.5, around)
assert show("boxes               ", grid.as_boxes()) == (62.5, around)
assert show("marching cubes      ", grid.marching_cubes) == (118.2, [[1.5] * 3, [6.5] * 3])
moved = grid.marching_cubes.copy().apply_transform(grid.transform)
assert show("and then transformed", moved) == (59.1, around)
PY
