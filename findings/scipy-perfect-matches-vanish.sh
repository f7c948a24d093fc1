#!/usr/bin/env bash
# scipy.sparse.csgraph.min_weight_full_bipartite_matching never uses an edge of weight 0: perfect pairs are not matched.
#
# Guess:    an edge of weight 0 is the cheapest of all, so objects that overlap perfectly (cost 1 - IoU = 0) are
#           matched with each other, as by scipy.optimize.linear_sum_assignment.
# Truth:    a weight of 0 means "no edge" here, also where it is stored explicitly in the sparse matrix. Two cells
#           that did not move between two frames, with another candidate each, are matched crosswise: the total
#           cost is 1.8 instead of 0. There is a warning about removed weights, and a result all the same. With
#           one perfect candidate alone there is an error that no full matching exists.
# Matters:  the sparse function is the natural choice to link thousands of cells with few candidates each. The
#           better the segmentation, the more costs are exactly 0. Linking works on moving cells and swaps those
#           that rest.
# Instead:  add 1 to every cost: each full matching has equally many edges, so the best one stays the best.
# Seen:     scipy 1.17.1, numpy 2.4.6, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile scipy==1.17.1 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import scipy
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching as match

print("scipy", scipy.__version__, "numpy", np.__version__)
rows, columns = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
costs = np.array([0.0, 0.9, 0.9, 0.0])  # two cells at rest, and each one's overlap with its neighbour
graph = coo_array((costs, (rows, columns))).tocsr()
dense = graph.toarray()
print("stored edges:", graph.nnz)
_, sparse_pairs = match(graph)
_, dense_pairs = linear_sum_assignment(dense)
_, shifted_pairs = match(coo_array((costs + 1, (rows, columns))).tocsr())
for name, pairs in (("sparse", sparse_pairs), ("dense", dense_pairs), ("sparse, costs + 1", shifted_pairs)):
    print(f"{name}: partners {pairs.tolist()}, total cost {dense[[0, 1], pairs].sum():.1f}")
assert graph.nnz == 4
assert sparse_pairs.tolist() == [1, 0]
assert dense_pairs.tolist() == shifted_pairs.tolist() == [0, 1]
alone = coo_array((np.array([0.0, 0.2]), (np.array([0, 1]), np.array([0, 1])))).tocsr()
try:
    match(alone)
except ValueError as error:
    print("one candidate each, one of them perfect:", error)
else:
    raise SystemExit("a matching was found")
PY
