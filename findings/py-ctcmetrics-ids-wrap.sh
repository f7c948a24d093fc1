#!/usr/bin/env bash
# py-ctcmetrics scores a perfect result as 0 if its track ids are above half of what the pixel type holds.
#
# Guess:    tracks compared with an exact copy of themselves have SEG, DET and TRA of 1, with any ids that fit into the masks.
# Truth:    the ids of the result are shifted by the largest id of the truth in the masks' own type, where they wrap around and
#           fall onto those of the truth and the background. In 16 bits, the format of the Cell Tracking Challenge, all is well
#           with ids up to 32767; with 100 cells above that all scores are 0. In 8 bits, 200 cells have a TRA of 0.2. "Valid" stays 1.
# Matters:  ids above 32767 are usual where every daughter and every gap starts a new track, or ids come from a database. Scores
#           drop a little if a few ids are concerned, and look like those of a weaker tracker.
# Instead:  write both masks as 32 bits, or renumber the tracks from 1.
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


def scores(name, cells, first, dtype):
    frame = np.zeros((120, 120), int)
    for i in range(cells):
        y, x = divmod(i, 20)
        frame[6 * y : 6 * y + 5, 6 * x : 6 * x + 5] = first + i
    masks = np.stack([frame] * 3).astype(dtype)
    write(f"{name}/01_GT/TRA", "man_track", "man_track", masks)
    write(f"{name}/01_GT/SEG", "man_seg", None, masks)
    write(f"{name}/01_RES", "mask", "res_track", masks)
    with redirect_stdout(None):
        found = evaluate_sequence(f"{name}/01_RES", f"{name}/01_GT", ["Valid", "SEG", "DET", "TRA"], threads=1)
    found = {key: round(float(found[key]), 2) for key in ("Valid", "SEG", "DET", "TRA")}
    print(f"{cells} cells from id {first} on, {np.dtype(dtype)}: {found}")
    return list(found.values())


assert scores("a", 100, 1, np.uint16) == [1, 1, 1, 1]
assert scores("b", 100, 32668, np.uint16) == [1, 1, 1, 1]
assert scores("c", 100, 32768, np.uint16) == [1, 0, 0, 0]
assert scores("d", 100, 32768, np.uint32) == [1, 1, 1, 1]
assert scores("e", 200, 1, np.uint8)[3] < 0.3
PY
