#!/usr/bin/env bash
# py-ctcmetrics never looks at the cell with the lowest id where a tissue fills the frame: missing it costs nothing.
#
# Guess:    in a frame of nine cells without a background pixel, a result that misses one of them has a SEG of 8/9, whichever
#           one it is, and a copy of the truth has 1.
# Truth:    the first id of a frame is taken for the background, there or not. Missing cell 1 leaves SEG, DET and TRA at 1;
#           missing any other gives a SEG of 7/8. A copy of the truth is no valid result and has no scores at all, as the tracks
#           of cell 1 are said not to be in the masks. One background pixel in all frames of both, and all is as guessed.
# Matters:  epithelia, and embryos cropped to their inside, have no background. There the score is that of the other cells.
# Instead:  pad both masks by a row of background.
# Seen:     py-ctcmetrics 1.3.3 with numpy 2.4.6, tifffile 2026.3.3 and scikit-learn 1.9.1, on 2026-11-30.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile \
    py-ctcmetrics==1.3.3 numpy==2.4.6 tifffile==2026.3.3 scikit-learn==1.9.1
venv/bin/python -W ignore - <<'PY'
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tifffile
from ctc_metrics.scripts.evaluate import evaluate_sequence

print(*(f"{name} {version(name)}" for name in ("py-ctcmetrics", "numpy", "tifffile", "scikit-learn")))


def write(folder, mask, table, masks):
    Path(folder).mkdir(parents=True)
    for t, frame in enumerate(masks):
        tifffile.imwrite(f"{folder}/{mask}{t:03d}.tif", frame)
    if table:
        rows = [(cell, 0, len(masks) - 1, 0) for cell in np.unique(masks[masks > 0])]
        np.savetxt(f"{folder}/{table}.txt", rows, fmt="%d")


def scores(name, missed, padded=False):
    frame = np.kron(np.arange(1, 10).reshape(3, 3), np.ones((6, 6), int)).astype(np.uint16)
    truth = np.pad(np.stack([frame] * 3), ((0, 0), (0, int(padded)), (0, 0)))
    write(f"{name}/01_GT/TRA", "man_track", "man_track", truth)
    write(f"{name}/01_GT/SEG", "man_seg", None, truth)
    write(f"{name}/01_RES", "mask", "res_track", np.where(truth == missed, 0, truth) if missed else truth)
    with redirect_stdout(None):
        found = evaluate_sequence(f"{name}/01_RES", f"{name}/01_GT", ["Valid", "SEG", "DET", "TRA"], threads=1)
    found = {key: None if found[key] is None else round(float(found[key]), 3) for key in ("Valid", "SEG", "DET", "TRA")}
    print("with a row of background:" if padded else "without background:", f"cell {missed} missed" if missed else "a copy", found)
    return list(found.values())


assert scores("a", 1) == [1, 1, 1, 1]
assert scores("b", 5)[1] == 0.875
assert scores("c", None) == [0, None, None, None]
assert scores("d", 1, padded=True)[1] == scores("e", 5, padded=True)[1] == 0.889
assert scores("f", None, padded=True) == [1, 1, 1, 1]
PY
