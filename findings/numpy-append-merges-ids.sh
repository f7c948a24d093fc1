#!/usr/bin/env bash
# np.append turns uint64 ids into floats, so that neighbouring ids above 2**53 become one.
#
# Guess:    since NumPy 2, a Python integer takes the type of the array: np.append(ids, 0) stays uint64, as ids + 0 does.
# Truth:    append first makes an int64 array of the 0. uint64 and int64 have no common integer type, so the result is
#           float64: 2**53 and 2**53 + 1 are equal in it. np.insert keeps uint64, np.union1d goes the way of append.
# Matters:  segment ids of connectomics and hashes of objects are uint64 above 2**53. Adding the background before
#           np.unique or searchsorted merges them, without a warning.
# Instead:  np.append(ids, ids.dtype.type(0)).
# Seen:     NumPy 2.4.6, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile numpy==2.4.6
venv/bin/python -W error - <<'PY'
import numpy as np

ids = np.array([2**53, 2**53 + 1], np.uint64)
appended = np.append(ids, 0)
print("ids + 0:", (ids + 0).dtype, "append:", appended.dtype, "insert:", np.insert(ids, 2, 0).dtype)
print("union1d:", np.union1d(ids, [0]).dtype)
print("different ids, with the background:", len(np.unique(appended)))
assert (ids + 0).dtype == np.uint64
assert np.insert(ids, 2, 0).dtype == np.uint64
assert appended.dtype == np.float64
assert np.union1d(ids, [0]).dtype == np.float64
assert len(np.unique(appended)) == 2
assert len(np.unique(np.append(ids, np.uint64(0)))) == 3
PY
