#!/usr/bin/env bash
# xarray opens the same label array as NaN and floats from Zarr format 2, as integers from format 3.
#
# Guess:    a uint64 label image written by zarr with fill_value=0 opens as uint64 in both formats.
# Truth:    in format 2 xarray takes the fill value for "missing": background becomes NaN, the type
#           float64, and ids beyond 2**53 lose their last digits. In format 3 it does not. labels == 0
#           finds nothing and labels > 0 still works, so half of a notebook goes on as before. No warning.
# Matters:  OME-Zarr 0.4 is format 2 and 0.5 is format 3; moving a data set from one to the other changes
#           what the analysis sees. 0 is both the usual fill value and the usual background.
# Instead:  xarray.open_zarr(..., mask_and_scale=False) for labels, or write them with fill_value=None.
# Seen:     xarray 2026.9.0, zarr 3.1.6, numpy 2.4.6, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile xarray==2026.9.0 zarr==3.1.6 numpy==2.4.6
venv/bin/python -W ignore - <<'PY'
from importlib.metadata import version

import numpy as np
import xarray
import zarr

print(*(f"{name} {version(name)}" for name in ("xarray", "zarr", "numpy")))
labels = np.array([[0, 1], [2**53 + 1, 0]], np.uint64)


def opened(zarr_format, fill_value=0, **options):
    path = f"{zarr_format}-{fill_value}.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    names = {"attributes": {"_ARRAY_DIMENSIONS": ["y", "x"]}}
    if zarr_format == 3:
        names = {"dimension_names": ["y", "x"]}
    array = group.create_array(
        "cells", shape=(2, 2), chunks=(2, 2), dtype="uint64", fill_value=fill_value, **names
    )
    array[:] = labels
    cells = xarray.open_zarr(path, consolidated=False, chunks=None, **options)["cells"].values
    print(f"format {zarr_format}, fill value {fill_value}, {options}: {cells.dtype}")
    print("  ", cells.tolist())
    return cells


old, new = opened(2), opened(3)
assert old.dtype == np.float64 and np.isnan(old[labels == 0]).all()
assert int(old[1, 0]) == 2**53 and not (old == 0).any()
assert new.dtype == np.uint64 and (new == labels).all()
assert (opened(2, mask_and_scale=False) == labels).all()
assert (opened(2, fill_value=None) == labels).all()
PY
