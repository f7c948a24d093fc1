#!/usr/bin/env bash
# After an empty frame, funtracks' candidate graph joins cells three frames apart and leaves out the true next frame.
#
# Guess:    edges go from each frame to the next one, as the documentation says. Where a frame is empty there are none over it,
#           and behind it they start again.
# Truth:    with frame 2 of 0 to 5 empty, the pairs of frames are 0-1, 1-4 and 4-5: the cells before the gap are joined to those
#           of the second frame behind it, and 3-4 is missing. The search for neighbours goes on with the cells of the last
#           frame before the gap. motile_toolbox, which it comes from, does the same; no warning in either.
# Matters:  frames in which nothing was found (out of focus, a pump, a field still empty) are everyday. The solver can only choose
#           among these edges: the cells of one frame lose all their links, others jump three frames at a distance meant for one.
# Instead:  build a graph for each run of frames with cells, or check that every edge spans one frame.
# Seen:     funtracks 2.2.0 with tracksdata 0.1.0rc12, motile_toolbox 0.4.0 with networkx 3.6.1, numpy 2.4.6, on 2026-11-30.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile \
    funtracks==2.2.0 tracksdata==0.1.0rc12 motile_toolbox==0.4.0 networkx==3.6.1 numpy==2.4.6
venv/bin/python -W ignore - 2>errors.txt <<'PY' || { tail -20 errors.txt; exit 1; }
from collections import Counter
from importlib.metadata import version

import motile_toolbox.candidate_graph
import numpy as np
from funtracks.candidate_graph import compute_graph_from_seg

print(*(f"{name} {version(name)}" for name in ("funtracks", "tracksdata", "motile_toolbox", "networkx", "numpy")))


def movie(empty):
    masks = np.zeros((6, 40, 40), np.uint16)
    for t in set(range(6)) - empty:
        for cell, y in ((1, 5), (2, 20)):
            masks[t, y : y + 5, 5 + t : 10 + t] = 10 * t + cell
    return masks


def frames(edges):
    return dict(sorted(Counter((int(a) // 10, int(b) // 10) for a, b in edges).items()))


for empty in (set(), {2}):
    masks = movie(empty)
    graph = compute_graph_from_seg(masks, max_edge_distance=5)
    edges = graph.edge_attrs().select("source_id", "target_id").rows()
    older = motile_toolbox.candidate_graph.compute_graph_from_seg(masks, max_edge_distance=5)
    print("empty frames:", empty or "none", "- edges between frames:", frames(edges))
    assert frames(edges) == frames(older.edges)
    assert graph.num_nodes() == older.number_of_nodes() == 12 - 2 * len(empty)
    assert frames(edges) == ({(0, 1): 2, (1, 4): 2, (4, 5): 2} if empty else {(t, t + 1): 2 for t in range(5)})
PY
