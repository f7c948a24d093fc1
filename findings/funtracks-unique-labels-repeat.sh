#!/usr/bin/env bash
# funtracks' ensure_unique_labels gives the same labels twice if a frame is empty.
#
# Guess:    labels that start at 1 in every frame come back with no label in two frames, as the name says.
# Truth:    it adds the largest label of the frame before. For an empty frame that is 0, so counting starts anew behind it: with
#           frame 2 empty, frames 0 and 3 both have 1 and 2. motile_toolbox, which it comes from, does the same, and its candidate
#           graph then keeps one node for each pair: 6 of 10 cells, with edges from a node to itself. funtracks' graph refuses.
# Matters:  it is the step that motile_toolbox asks for before tracking. One frame without cells, and the first frames of the
#           movie disappear from the graph without a word.
# Instead:  add a running total that never falls, or relabel with the number of objects so far.
# Seen:     funtracks 2.2.0, motile_toolbox 0.4.0 with networkx 3.6.1, numpy 2.4.6, on 2026-11-30.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile \
    funtracks==2.2.0 tracksdata==0.1.0rc12 motile_toolbox==0.4.0 networkx==3.6.1 numpy==2.4.6
venv/bin/python -W ignore - 2>errors.txt <<'PY' || { tail -20 errors.txt; exit 1; }
from importlib.metadata import version

import motile_toolbox.utils
import networkx
import numpy as np
from funtracks import candidate_graph
from funtracks.utils import ensure_unique_labels
from motile_toolbox.candidate_graph import compute_graph_from_seg

print(*(f"{name} {version(name)}" for name in ("funtracks", "motile_toolbox", "networkx", "numpy")))


def movie(empty):
    masks = np.zeros((6, 40, 40), np.uint16)
    for t in set(range(6)) - empty:
        masks[t, 5:10, 5 + t : 10 + t] = 1
        masks[t, 20:25, 5 + t : 10 + t] = 2
    return masks


for empty, nodes in (set(), 12), ({2}, 6):
    unique = ensure_unique_labels(movie(empty))
    assert (unique == motile_toolbox.utils.ensure_unique_labels(movie(empty))).all()
    labels = [np.unique(frame[frame > 0]).tolist() for frame in unique]
    graph = compute_graph_from_seg(unique, max_edge_distance=8)
    loops = networkx.number_of_selfloops(graph)
    print("empty frames:", empty or "none", "- labels:", labels, "- nodes:", graph.number_of_nodes(), "- edges to itself:", loops)
    assert graph.number_of_nodes() == nodes and bool(loops) == bool(empty)
    assert (labels[3] == labels[0] == [1, 2]) == bool(empty)
    try:
        assert candidate_graph.compute_graph_from_seg(unique, max_edge_distance=8).num_nodes() == 12
    except ValueError as error:
        print("funtracks' own graph:", error)
        assert empty
    else:
        assert not empty
PY
