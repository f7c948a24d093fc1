#!/usr/bin/env bash
# kornia labels an object that is longer than 100 pixels as many objects.
#
# Guess:    connected_components of a bar of 300 pixels and a square of 10 gives two labels; num_iterations is a limit
#           that ends in a warning if it is too small.
# Truth:    a label moves one pixel with each of the 100 iterations, and what has not been reached keeps a number of its
#           own: the bar is 200 objects, without a warning. A disc of 220 pixels across is about nine thousand.
# Matters:  tested on small nuclei it is right to the pixel. Neurites, vessels, roots and large cells are counted by the
#           hundred.
# Instead:  set num_iterations to the longest path inside an object, or label with scipy.ndimage on the CPU.
# Seen:     kornia 0.9.0 with torch 2.14.1, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile torch==2.14.1 kornia==0.9.0 numpy==2.4.6
venv/bin/python - <<'PY'
import torch
from kornia.contrib import connected_components


def count(mask, **options):
    labels = connected_components(mask[None, None], **options)
    return len(labels.unique()) - 1


mask = torch.zeros(40, 310)
mask[2, 5:305] = 1
mask[20:30, 20:30] = 1
rows, columns = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
disc = ((rows - 128) ** 2 + (columns - 128) ** 2 < 110**2).float()
print("a bar and a square:", count(mask), "- with 300 iterations:", count(mask, num_iterations=300))
print("one disc:", count(disc), "- with 300 iterations:", count(disc, num_iterations=300))
assert count(mask) == 201
assert count(mask[:, :105]) == 2
assert count(mask, num_iterations=300) == 2
assert count(disc) > 1000
assert count(disc, num_iterations=300) == 1
PY
