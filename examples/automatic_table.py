"""Find all nuclei of an image without a click, and export a table of them.

Run ``python examples/automatic_table.py --output found``. The image is the plugin's sample
"Nuclei, 16 bit", whose true labels are known; labels go to a TIFF for Fiji, and areas and centres
in micrometres to a CSV for R, Excel or pandas.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas

from napari_sam3 import AutomaticSettings, ImageAxes, export_labels
from napari_sam3.batch import Automatic, segment
from napari_sam3.layers.sample_data import nuclei

#: Size of a pixel in micrometres.
PIXEL = 0.325


def main(argv: list[str] | None = None) -> dict[str, Path]:
    """Find the nuclei, and return the files by their kinds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("found"))
    folder = parser.parse_args(argv).output
    image, truth = (data[:256] for data, _, _ in nuclei())  # half of it, to be quick
    # The nuclei are 18 to 38 px wide: nothing else is looked for.
    settings = AutomaticSettings(blob_radii=(8, 20), min_area=150)
    (result,) = segment(image, Automatic(settings))
    labels = result.labels
    axes = ImageAxes.of("yx", units=("micrometer",) * 2, scale=(PIXEL,) * 2)
    files = {
        "labels": export_labels(labels, folder / "labels.tif", axes=axes, overwrite=True),
        "table": export_labels(labels, folder / "nuclei.csv", axes=axes, overwrite=True),
    }
    table = pandas.read_csv(files["table"])
    print(table[["id", "area_physical", "centroid_y_physical", "centroid_x_physical"]].head())
    print(
        f"{len(table)} nuclei found, {len(np.unique(truth)) - 1} are there; "
        f"median area {table['area_physical'].median():.1f} square micrometres"
    )
    return files


if __name__ == "__main__":
    main()
