#!/usr/bin/env bash
# trackpy's drift forgets what moved while frames were missing, and its correction then adds the error to all later frames.
#
# Guess:    all particles move 2 px a frame, and frames 4 and 5 were left out as blurred. Linking bridges the gap, so
#           compute_drift gives 2 px times the frame, and subtract_drift leaves every particle where it was.
# Truth:    only steps between neighbouring frame numbers are averaged, and their sum goes on after the gap as if
#           nothing had moved: 8 px at frame 7 instead of 14. The first frame after the gap has no drift at all and is
#           not corrected: everything is 12 px off there, and 6 px from frame 7 on.
# Matters:  a stage that drifts is the reason to call it, and bad frames are dropped before linking. Displacements,
#           MSD and flows get a jump at the gap that no particle made.
# Instead:  interpolate the positions of the tracks in the missing frames, and compute the drift of that.
# Seen:     trackpy 0.7, pandas 3.1.1, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile trackpy==0.7 pandas==3.1.1 numpy==2.4.6
venv/bin/python -W ignore - <<'PY'
import numpy as np
import pandas as pd
import trackpy

trackpy.quiet()
first = np.random.default_rng(0).uniform(0, 5000, (50, 2))
rows = [(t, x + 2 * t, y) for t in range(10) if t not in (4, 5) for x, y in first]
tracks = trackpy.link(pd.DataFrame(rows, columns=["frame", "x", "y"]), 8, memory=2)
lengths = tracks.groupby("particle").size()
drift = trackpy.compute_drift(tracks)
still = trackpy.subtract_drift(tracks.copy(), drift)
one = still[still["particle"] == 0]
off = one["x"].to_numpy() - one["x"].iloc[0]
print("{} tracks of {} frames each".format(len(lengths), lengths.unique()))
print("frame", drift.index.tolist())
print("drift", drift["x"].round(6).tolist())
print("one corrected particle, from its first place:", off.round(6).tolist())
assert len(lengths) == 50
assert lengths.unique().tolist() == [8]
assert drift.index.tolist() == [1, 2, 3, 7, 8, 9]
np.testing.assert_allclose(drift["x"], [2, 4, 6, 8, 10, 12])
np.testing.assert_allclose(off, [0, 0, 0, 0, 12, 6, 6, 6])
PY
