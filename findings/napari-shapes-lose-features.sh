#!/usr/bin/env bash
# napari saves the features of a Points layer, but drops those of a Shapes layer.
#
# Guess:    layer.save("x.csv") writes the features of both: the class or id of each point and outline.
# Truth:    the CSV of points has a column per feature. The CSV of shapes has the vertices only: ids,
#           classes and names are gone, with no warning, and opening the file gives an empty table.
# Matters:  outlines drawn by hand with a class each are hours of work, and Save Selected Layers says that
#           it worked. What is lost is seen at the next start.
# Instead:  save layer.features.to_csv beside it, in the order of the column "index", or write GeoJSON.
# Seen:     napari 0.9.2, numpy 2.4.6, on 2026-11-28 (without a window).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile napari==0.9.2 numpy==2.4.6
venv/bin/python -W ignore - <<'PY'
import napari
import numpy as np
from napari.components import ViewerModel
from napari.layers import Points, Shapes
from npe2 import PluginManager

print("napari", napari.__version__, "numpy", np.__version__)
PluginManager.instance().discover()
features = {"cell_type": ["neuron"]}
outline = np.array([[2, 2], [2, 6], [6, 6], [6, 2]])
Points([[1, 2]], features=features).save("points.csv")
Shapes([outline], features=features).save("shapes.csv")
columns = {}
for name in ("points", "shapes"):
    with open(f"{name}.csv") as file:
        columns[name] = file.readline().strip().split(",")
    print(name, columns[name])
assert columns["points"] == ["index", "axis-0", "axis-1", "cell_type"]
assert columns["shapes"] == ["index", "shape-type", "vertex-index", "axis-0", "axis-1"]
viewer = ViewerModel()
opened = [len(viewer.open(f"{name}.csv", plugin="napari")[0].features.columns) for name in columns]
print("feature columns after opening", opened)
assert opened == [1, 0]
PY
