#!/usr/bin/env bash
# SpatialData turns labels into polygons half a pixel away from where it says that the labels are.
#
# Guess:    to_polygons(labels) outlines the pixels, with holes; rasterize() of the polygons at the same
#           pixel size gives the labels back.
# Truth:    the centroid of a label counts from pixel edges (pixel 18 is at 18.5), its polygon from pixel
#           centres (18.0). Corners are cut: one pixel becomes a diamond of area 0.5. A hole becomes a
#           second part lying on the first, an invalid polygon whose area is too LARGE. Back as an image,
#           the single pixel is gone, a hole is filled, squares lose a corner and ids are 1, 2, 3 (the old
#           ones are in attrs["label_index_to_category"]).
# Matters:  transcripts are assigned to cells by polygons, and cells are placed by label centroids: the
#           two differ by half a pixel everywhere, and areas of small or hollow cells are wrong.
# Instead:  outlines along pixel edges, such as rasterio.features.shapes, stored as shapes with the label
#           as index; keep the label image for measuring.
# Seen:     spatialdata 0.7.3, shapely 2.2.0, xarray 2026.9.0, dask 2026.1.1, numpy 2.4.6, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile spatialdata==0.7.3 shapely==2.2.0 xarray==2026.9.0 dask==2026.1.1 numpy==2.4.6
venv/bin/python -W ignore - 2>stderr.txt <<'PY' || { cat stderr.txt; exit 1; }
from importlib.metadata import version

import numpy as np
from spatialdata import get_centroids, rasterize, to_polygons
from spatialdata.models import Labels2DModel

print(*(f"{name} {version(name)}" for name in ("spatialdata", "shapely", "numpy")))
image = np.zeros((20, 20), np.uint32)
image[2:6, 2:6], image[3:5, 3:5] = 7, 0  # a ring of 12 pixels
image[10:12, 10:12] = 9
image[18, 18] = 70000
labels = Labels2DModel.parse(image, dims=("y", "x"))
polygons = to_polygons(labels)

of_labels, of_polygons = get_centroids(labels).compute(), get_centroids(polygons).compute()
shift = (of_labels - of_polygons.loc[of_labels.index]).to_numpy()
print("centroid of the label minus centroid of its polygon:", shift.tolist())
assert np.allclose(shift, 0.5)

areas, valid = polygons.geometry.area.to_dict(), polygons.geometry.is_valid.to_dict()
print("areas", areas, "valid", valid)
assert areas == {7: 19.0, 9: 3.5, 70000: 0.5} and not valid[7]

back = rasterize(
    polygons,
    ("x", "y"),
    min_coordinate=[0, 0],
    max_coordinate=[20, 20],
    target_coordinate_system="global",
    target_unit_to_pixels=1,
    return_regions_as_labels=True,
)
values, counts = np.unique(np.asarray(back.data), return_counts=True)
names = back.attrs["label_index_to_category"]
print("pixels before", {7: 12, 9: 4, 70000: 1}, "after", dict(zip(values[1:], counts[1:])), names)
assert values.tolist() == [0, 1, 2] and counts.tolist() == [382, 15, 3]
assert names == {1: 7, 2: 9, 3: 70000}
PY
