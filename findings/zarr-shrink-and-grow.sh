#!/usr/bin/env bash
# Shrinking a Zarr array and growing it again brings deleted planes back, but only some of them.
#
# Guess:    resize() to fewer planes drops the rest; after growing again the new planes hold the fill
#           value, as they do in HDF5.
# Truth:    only whole chunks outside the new shape are deleted. The chunk that the new edge cuts through
#           keeps its old contents, which are visible again as soon as the array grows. Of planes 7 to 12,
#           two come back and four are zero. With shards it is the whole shard. TensorStore does the same,
#           so reading with another library does not help.
# Matters:  a label stack cropped to the frames that were annotated and later extended (a longer movie, an
#           append) shows stale objects in frames that nobody labelled.
# Instead:  write the fill value over the part to drop before resize(), or make a new array.
# Seen:     zarr 3.1.6, tensorstore 0.1.86, h5py 3.16.0, numpy 2.4.6, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile zarr==3.1.6 tensorstore==0.1.86 h5py==3.16.0 numpy==2.4.6
venv/bin/python - <<'PY'
from importlib.metadata import version

import h5py
import numpy as np
import tensorstore
import zarr

print(*(f"{name} {version(name)}" for name in ("zarr", "tensorstore", "h5py", "numpy")))
planes = np.arange(1, 13, dtype="uint16")


def zarr_array(**layout):
    array = zarr.create_array(store={}, shape=(12,), dtype="uint16", fill_value=0, **layout)
    array[:] = planes
    array.resize((6,))
    array.resize((12,))
    return array[:].tolist()


def tensorstore_array():
    grid = {"name": "regular", "configuration": {"chunk_shape": [4]}}
    metadata = {"shape": [12], "chunk_grid": grid, "data_type": "uint16"}
    array = tensorstore.open(
        {"driver": "zarr3", "kvstore": {"driver": "memory"}, "metadata": metadata}, create=True
    ).result()
    array[:] = planes
    array = array.resize(exclusive_max=[6]).result()
    return array.resize(exclusive_max=[12]).result().read().result().tolist()


def hdf5_array():
    with h5py.File("labels.h5", "w") as file:
        array = file.create_dataset("labels", data=planes, chunks=(4,), maxshape=(None,))
        array.resize((6,))
        array.resize((12,))
        return array[:].tolist()


chunked, sharded = zarr_array(chunks=(4,)), zarr_array(chunks=(4,), shards=(12,))
print("zarr, chunks of 4            ", chunked)
print("zarr, chunks of 4, one shard ", sharded)
print("tensorstore, chunks of 4     ", tensorstore_array())
print("HDF5, chunks of 4            ", hdf5_array())
assert chunked == tensorstore_array() == [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0]
assert sharded == planes.tolist()
assert hdf5_array() == [1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0, 0]
PY
