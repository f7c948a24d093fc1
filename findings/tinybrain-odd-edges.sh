#!/usr/bin/env bash
# tinybrain's average of an image of odd size leaves the last row or column as whatever was in memory.
#
# Guess:    an even field of brightness 101, 5 x 4 pixels, averaged over 2 x 2, is 101 everywhere; at the odd edge, the
#           mean of the pixels that are there.
# Truth:    the last row is 0, or other numbers from one call to the next. With 2 x 2 x 2 it is right, as are even
#           sizes, and asking for two levels at once makes the first one right as well.
# Matters:  it makes the levels of Neuroglancer volumes, where planes of odd size are common: a dark or noisy line at
#           one edge of the level, which the next levels take over.
# Instead:  pad to an even size, or ask for num_mips=2 and use the first.
# Seen:     tinybrain 1.7.0, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile tinybrain==1.7.0 numpy==2.4.6
venv/bin/python -W error - <<'PY'
import numpy as np
import tinybrain

plane = 2, 2, 1


def averaged(shape, factor=plane, **options):
    field = np.full(shape, 101, np.uint8)
    return tinybrain.downsample_with_averaging(field, factor, **options)[0]


wrong = 0
for shape in [(5, 4, 1), (7, 6, 1), (9, 8, 1), (101, 100, 1)]:
    half = averaged(shape)
    print(shape[:2], "->", half.shape[:2], "last row", half[-1, :4, 0].tolist())
    assert (half[:-1] == 101).all()
    wrong += bool((half[-1] != 101).any())
assert wrong
assert (averaged((6, 6, 1)) == 101).all()
assert (averaged((5, 4, 4), (2, 2, 2)) == 101).all()
assert (averaged((5, 4, 1), num_mips=2) == 101).all()
PY
