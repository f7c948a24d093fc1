#!/usr/bin/env bash
# A table of regionprops given to a napari Labels layer shows every object the numbers of the next one.
#
# Guess:    features with a column "label", as regionprops_table writes them, belong to those labels; or
#           napari refuses the table because it wants a column "index".
# Truth:    without "index" napari takes the row number for the label. Rows count from 0 and labels from
#           1: label 1 gets the area of label 2, and the last label "[No Properties]". The status bar even
#           prints the other object's own label beside the value.
# Matters:  one looks up a strange cell by pointing at it. With ids that have gaps the table is wrong in
#           other ways, and nothing warns.
# Instead:  rename the column: features=table.rename(columns={"label": "index"}).
# Seen:     napari 0.9.2, scikit-image 0.26.0, pandas 2.3.3, numpy 2.4.6, on 2026-11-28 (without a
#           window).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile napari==0.9.2 scikit-image==0.26.0 pandas==2.3.3 numpy==2.4.6
venv/bin/python -W ignore - <<'PY'
from importlib.metadata import version

import numpy as np
import pandas as pd
from napari.layers import Labels
from skimage.measure import regionprops_table

print(*(f"{name} {version(name)}" for name in ("napari", "scikit-image", "pandas", "numpy")))
cells = np.zeros((8, 12), int)
cells[1:3, 1:3], cells[1:4, 5:8], cells[4:8, 8:12] = 1, 2, 3
table = pd.DataFrame(regionprops_table(cells, properties=("label", "area")))
print(table)


def shown(features):
    layer = Labels(cells, features=features)
    texts = [layer.get_status(point)["value"] for point in ((1, 1), (1, 5), (5, 9))]
    print(texts)
    return texts


wrong = shown(table)
assert wrong[0].startswith("1;") and "label: 2, area: 9" in wrong[0]
assert wrong[1].startswith("2;") and "label: 3, area: 16" in wrong[1]
assert "[No Properties]" in wrong[2]
right = shown(table.rename(columns={"label": "index"}))
assert [text.split("area: ")[1].removesuffix(".0") for text in right] == ["4", "9", "16"]
PY
