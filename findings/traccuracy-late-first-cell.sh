#!/usr/bin/env bash
# traccuracy's CTCMatcher compares the wrong frames if the first cell does not appear in the first frame: TRA of 0 for a copy.
#
# Guess:    tracks compared with an exact copy of themselves have TRA and DET of 1, also where the first frames are empty.
# Truth:    of six frames, with the first cells in frame 0, 1, 2 and 3, TRA is 1, 0.78, 0.44 and 0. The matcher counts the
#           frames of the masks from 0 and those of the graph from the first that has a cell. It so compares the masks of frame
#           0 with the nodes of frame 3, and never comes to the last masks. Nothing warns; IOUMatcher finds every node.
# Matters:  movies that begin before the first division, infection or spot are common, and crops of tracks in time more so. Trackers
#           are ranked by these numbers, and for a few empty frames at the start the loss looks like that of a poor tracker.
# Instead:  give the segmentation from the first frame with a cell on, or use IOUMatcher.
# Seen:     traccuracy 0.4.3 with networkx 3.6.1 and numpy 2.4.6, on 2026-11-29.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile traccuracy==0.4.3 networkx==3.6.1 numpy==2.4.6
venv/bin/python -W ignore - 2>errors.txt <<'PY' || { tail -20 errors.txt; exit 1; }
from importlib.metadata import version

import networkx
import numpy as np
from traccuracy import TrackingGraph, run_metrics
from traccuracy.matchers import CTCMatcher, IOUMatcher
from traccuracy.metrics import BasicMetrics, CTCMetrics

print(*(f"{name} {version(name)}" for name in ("traccuracy", "networkx", "numpy")))


def tracks(first, cropped):
    masks, graph = np.zeros((6, 40, 40), np.uint16), networkx.DiGraph()
    for cell, y in ((1, 5), (2, 20)):
        for t in range(first, 6):
            masks[t, y : y + 5, 5 + t : 10 + t] = cell
            graph.add_node(10 * cell + t, t=t, y=y + 2, x=7 + t, segmentation_id=cell)
            if t > first:
                graph.add_edge(10 * cell + t - 1, 10 * cell + t)
    return TrackingGraph(graph, segmentation=masks[first:] if cropped else masks, location_keys=["y", "x"])


def scores(first, matcher, metric, cropped=False):
    pair = {"gt_data": tracks(first, cropped), "pred_data": tracks(first, cropped)}
    results, _ = run_metrics(**pair, matcher=matcher, metrics=[metric])
    return results[0]["results"]


found = []
for first in range(4):
    ctc = scores(first, CTCMatcher(), CTCMetrics())
    print("first cells in frame", first, {name: round(float(ctc[name]), 3) for name in ("TRA", "DET", "LNK")})
    found.append(round(float(ctc["TRA"]), 2))
    assert scores(first, IOUMatcher(iou_threshold=0.5, one_to_one=True), BasicMetrics())["Node F1"] == 1
assert found == [1, 0.78, 0.44, 0]
cropped = scores(3, CTCMatcher(), CTCMetrics(), cropped=True)["TRA"]
print("first cells in frame 3, masks from there on: TRA", cropped)
assert cropped == 1
PY
