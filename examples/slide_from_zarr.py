"""Label objects of a slide in OME-Zarr; only the chunks under them are read.

Run ``python examples/slide_from_zarr.py --output slide``. A slide of 6000 x 8000 px is made of
the plugin's sample nuclei, with gaps as between sections; your own goes the same way. Nothing is
downloaded.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import zarr

from napari_sam3 import PromptSet, open_labels
from napari_sam3.batch import BatchPrompts, Placed, segment
from napari_sam3.layers.sample_data import nuclei

SHAPE, CHUNK = (6000, 8000), 500
CONTRAST = (400, 6000)
#: Row and column of the two sections, and (x, y) of clicks in them.
PLACES = ((1000, 1500), (4000, 6000))
CLICKS = ((1804, 1038), (1690, 1158), (6259, 4196))


def main(argv: list[str] | None = None) -> Path:
    """Click on objects, and return the labels."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("slide"))
    folder = parser.parse_args(argv).output
    slide = make_slide(folder / "slide.zarr")  # or the path of an OME-Zarr of yours
    clicks = {number: PromptSet.from_arrays(points=[at]) for number, at in enumerate(CLICKS, 1)}
    # A slide has no axis before rows and columns: its one plane is at no place at all.
    prompts = BatchPrompts({(): clicks})
    output: Path = folder / "labels.ome.zarr"
    # Most of this slide is empty, so what is black and white is told rather than found.
    (result,) = segment(slide, Placed(prompts), output=output, overwrite=True, contrast=CONTRAST)
    for one in result.objects:
        print(f"label {one.id}: {one.mask.area} px, score {one.score:.2f}")
    labels = open_labels(output, read_only=True)
    written = len(list((output / "0").rglob("c/*/*")))
    chunks = np.prod([-(-n // c) for n, c in zip(SHAPE, labels.array.chunks, strict=True)])
    print(f"{output}: {len(labels.levels)} levels, {written} of {chunks} chunks written")
    return output


def make_slide(path: Path) -> Path:
    """Put nuclei at two places of an otherwise empty slide; empty chunks take no room."""
    section = nuclei()[0][0]
    slide = zarr.create_array(
        path,
        shape=SHAPE,
        chunks=(CHUNK, CHUNK),
        dtype=section.dtype,
        fill_value=int(np.median(section)),
        dimension_names=("y", "x"),
        overwrite=True,
    )
    for row, column in PLACES:
        slide[row : row + section.shape[0], column : column + section.shape[1]] = section
    return path


if __name__ == "__main__":
    main()
