#!/usr/bin/env bash
# elf's per-object scores name split and merge the wrong way round, and so do its overlap criteria with truth and prediction.
#
# Guess:    object_vi returns "split-vi and merge-vi" of each object, as variation_of_information does of the image: a cell cut in
#           two has a split of 1 and no merge. A found piece of a quarter of a cell fits by "iop" (over the prediction) and not
#           by "iot" (over the truth).
# Truth:    variation_of_information says (1, 0) for the cut cell, object_vi (0, 1). For two cells found as one it is (0, 1) and
#           (1, 0). The piece fits by "iot" and not by "iop": both divide by the area of the other image. No error, no warning.
# Matters:  lists of the worst splits for proofreading are lists of merges. A criterion meant to forgive objects that are too
#           small forgives those that are too large.
# Instead:  swap the pair that object_vi returns, and the names of the two criteria; "iou" is right.
# Seen:     python-elf 0.9.2 with bioimage-cpp 0.10.0 and numpy 2.4.6, on 2026-11-30.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile python-elf==0.9.2 bioimage-cpp==0.10.0 numpy==2.4.6
venv/bin/python -W ignore - <<'PY'
from importlib.metadata import version

import numpy as np
from elf.evaluation import matching, object_vi, variation_of_information

print(*(f"{name} {version(name)}" for name in ("python-elf", "bioimage-cpp", "numpy")))
one = np.ones((10, 10), np.uint32)
two = one.copy()
two[5:] = 2


def pair(numbers):
    return tuple(abs(round(float(number), 3)) for number in numbers)


print("(split, merge)")
for title, found, truth, expected in ("one cell cut in two", two, one, (1, 0)), ("two cells found as one", one, two, (0, 1)):
    whole, cells = pair(variation_of_information(found, truth)), object_vi(found, truth)
    cells = {int(cell): pair(scores) for cell, scores in cells.items()}
    print(f"{title}: variation_of_information {whole}, object_vi {cells}")
    assert whole == expected
    assert all(scores == expected[::-1] for scores in cells.values())

cell = np.pad(one, 5)
piece = np.zeros_like(cell)
piece[5:10, 5:10] = 1
inside = piece.sum() / cell.sum()
fits = {name: matching(piece, cell, threshold=0.5, criterion=name)["f1"] for name in ("iou", "iot", "iop")}
print(f"a piece of {inside:.2f} of a cell, all of it within the cell; f1 by criterion:", fits)
assert fits == {"iou": 0, "iot": 1, "iop": 0}
assert matching(cell, piece, threshold=0.5, criterion="iop")["f1"] == 1
PY
