#!/usr/bin/env bash
# Cellpose's last step, filling holes, deletes cells that lie in the hole of another.
#
# Guess:    fill_holes_and_remove_small_masks fills holes of background. A cell inside a ring-shaped one is no hole and stays, and
#           so does the background between them, or goes to one of the two.
# Truth:    each mask is looked at by itself, so that everything inside it counts as its hole: the inner cell vanishes, whatever
#           its size, and the ids are renumbered as if it had never been. In an image without background the other half of the
#           name fails: the smallest id is then taken for the background and kept, however small.
# Matters:  the function ends each run of Cellpose and is used alone for the masks of others: rosettes, cysts, engulfed cells,
#           glomeruli and parasites in cells lose what is inside, and the count of cells falls.
# Instead:  fill holes of background only: connected components of masks == 0 that touch one single label.
# Seen:     cellpose 4.2.1.1 with torch 2.14.1 and numpy 2.4.6, on 2026-11-29.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile torch==2.14.1 numpy==2.4.6 scipy==1.17.1 tqdm opencv-python-headless fastremap fill-voids
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile --no-deps cellpose==4.2.1.1
venv/bin/python - <<'PY'
from importlib.metadata import version

import numpy as np
from cellpose.utils import fill_holes_and_remove_small_masks as clean

print("cellpose", version("cellpose"), "torch", version("torch"), "numpy", np.__version__)


def areas(masks):
    return {int(i): int(n) for i, n in zip(*np.unique(masks, return_counts=True), strict=True)}


ring = np.zeros((44, 44), np.int32)
ring[2:32, 2:32], ring[4:30, 4:30], ring[6:28, 6:28] = 1, 0, 2
ring[36:42, 36:42] = 3
cleaned = clean(ring.copy())
print("a cell of 484 pixels within a ring, and a third cell:", areas(ring), "become", areas(cleaned))
assert areas(ring) == {0: 1192, 1: 224, 2: 484, 3: 36}
assert areas(cleaned) == {0: 1000, 1: 900, 2: 36}

full = np.full((10, 10), 2, np.int32)
full[0, :3] = 1
print("without background, a mask of 3 pixels:", areas(full), "become", areas(clean(full.copy(), min_size=15)))
assert areas(clean(full.copy(), min_size=15)) == {1: 3, 2: 97}
full[9, 9] = 0
assert areas(clean(full.copy(), min_size=15)) == {0: 4, 1: 96}
PY
