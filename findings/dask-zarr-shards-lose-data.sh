#!/usr/bin/env bash
# Dask blocks that match the chunks of a sharded Zarr array overwrite each other when stored in parallel.
#
# Guess:    one block per chunk is the rule for safe parallel writing, so da.store(..., lock=False) is
#           fine.
# Truth:    the unit of writing is the shard: each task reads the whole shard, changes its chunk and
#           writes the shard back. Tasks of one shard undo each other: most values stay 0, with no error.
#           array.chunks, and da.from_zarr, name the inner chunks, so code that checks the alignment
#           passes. One block per shard keeps everything.
# Matters:  shards are the cure of Zarr 3 for millions of small files, and label stacks are written by
#           workers plane by plane. Lost planes look like planes without cells.
# Instead:  rechunk to array.shards before storing without a lock, and in worker processes always, since a
#           lock of threads does not reach them.
# Seen:     dask 2026.8.0, zarr 3.1.6, numpy 2.4.6, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile "dask[array]==2026.8.0" zarr==3.1.6 numpy==2.4.6
venv/bin/python - <<'PY'
from importlib.metadata import version

import dask
import dask.array
import numpy as np
import zarr

print(*(f"{name} {version(name)}" for name in ("dask", "zarr", "numpy")))
labels = np.arange(1, 4097)


def planes_lost(block, lock=False):
    array = zarr.create_array(
        "labels.zarr", shape=(4096,), chunks=(16,), shards=(512,), dtype="int64", overwrite=True
    )
    blocks = dask.array.from_array(labels, chunks=block)
    with dask.config.set(scheduler="threads", num_workers=8):
        dask.array.store(blocks, array, lock=lock)
    return int((array[:] != labels).sum())


seen = dask.array.from_zarr(zarr.create_array({}, shape=(64,), chunks=(16,), shards=(64,), dtype="i8"))
print("from_zarr of chunks 16 in shards of 64 has blocks of", seen.chunksize)
assert seen.chunksize == (16,)
# Which ones are lost is a matter of timing: a few tries make sure that some are.
lost = max(planes_lost(16) for _ in range(5))
print(f"one block per chunk: up to {lost} of 4096 lost; with a lock {planes_lost(16, lock=True)};", end=" ")
print(f"one block per shard: {planes_lost(512)}")
assert lost > 0
assert planes_lost(16, lock=True) == planes_lost(512) == 0
PY
