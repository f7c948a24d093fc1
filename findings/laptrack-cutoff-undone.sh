#!/usr/bin/env bash
# A smaller cutoff for links in LapTrack does nothing by itself: gap closing joins the same points again.
#
# Guess:    LapTrack(cutoff=10), in squared px as its documentation says, does not link a cell that jumps 5 px
#           (25 squared px) from one frame to the next.
# Truth:    it is linked. Gap closing is on by default with a cutoff of its own (225, that is 15 px), and it joins
#           the ends of tracks in neighbouring frames too, where there is no gap. Only with gap_closing_cutoff set
#           to the same value or to False is the cell split into two tracks.
# Matters:  lowering the cutoff is what one does when different cells are joined. The tracks stay the same, and the
#           cutoff seems to have no influence.
# Instead:  set both: LapTrack(cutoff=d**2, gap_closing_cutoff=d**2).
# Seen:     laptrack 0.17.1, pandas 2.3.3, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile laptrack==0.17.1 pandas==2.3.3
venv/bin/python -W ignore - <<'PY'
from importlib.metadata import version

import pandas as pd
from laptrack import LapTrack

print("laptrack", version("laptrack"), "pandas", pd.__version__)
points = pd.DataFrame({"frame": [0, 1], "y": [0.0, 0.0], "x": [0.0, 5.0]})


def tracks(**settings):
    table, _, _ = LapTrack(**settings).predict_dataframe(
        points, coordinate_cols=["y", "x"], frame_col="frame"
    )
    found = table["track_id"].nunique()
    print(settings, "->", found, "track(s) for a jump of 5 px")
    return found


assert tracks(cutoff=10) == 1
assert tracks(cutoff=10, gap_closing_cutoff=False) == 2
assert tracks(cutoff=10, gap_closing_cutoff=10) == 2
assert tracks(cutoff=30, gap_closing_cutoff=False) == 1
PY
