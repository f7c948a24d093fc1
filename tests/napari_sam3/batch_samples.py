"""A small stack and a question of each mode; run as a program, a batch that can be killed."""

from __future__ import annotations

import dataclasses
import sys
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from napari_sam3.batch import (
    Automatic,
    BatchPrompts,
    EndRules,
    Mode,
    Placed,
    Propagate,
    Repeated,
    segment,
)
from napari_sam3.core.prompts import PromptSet
from napari_sam3.inference.automatic.settings import AutomaticSettings
from napari_sam3.labels.ome_zarr import open_labels
from sam3.config import get_preset
from sam3.model_builder import build_click_model
from sam3.predictor import Predictor

PLANES = 7
MODES = ("placed", "repeated", "propagate", "automatic")
# Random weights know no objects: nothing ends, and everything counts.
LOOSE = EndRules(min_area=1)
ANYTHING = AutomaticSettings(seeds="grid", grid=3, min_score=0, min_stability=0, max_share=1)


def small_predictor() -> Predictor:
    """Random weights, the embedded architecture, a small input."""
    config = dataclasses.replace(get_preset("tiny"), resolution=112)
    return Predictor(build_click_model(config, seed=0).eval(), device="cpu")


def stack(planes: int = PLANES) -> npt.NDArray[np.uint16]:
    """Discs that wander, planes x 60 x 80."""
    rows, columns = np.mgrid[:60, :80]
    noise = np.random.default_rng(0).integers(0, 200, (planes, 60, 80))
    image = np.full((planes, 60, 80), 300) + noise
    for z in range(planes):
        for row, column in ((20, 20 + z), (38 - z, 55)):
            image[z, (rows - row) ** 2 + (columns - column) ** 2 < 11**2] += 2500
    return image.astype(np.uint16)


def question(name: str) -> Mode:
    """A question about the stack."""
    first, second = PromptSet(box=(8, 8, 33, 32)), PromptSet(((55.0, 34.0), (20.0, 20.0)), (1, 0))
    if name == "repeated":
        return Repeated({1: first, 2: second})
    if name == "automatic":
        return Automatic(ANYTHING, tile=48)
    prompts = BatchPrompts({(2,): {1: first, 4: second}, (5,): {1: first.with_point(25, 20)}})
    return Propagate(prompts, rules=LOOSE) if name == "propagate" else Placed(prompts)


def write_ome_files(folder: Path, planes: Iterable[npt.NDArray[Any]]) -> Path:
    """Write a stack of 60 x 80 px as OME-TIFF with a file for each plane; return the first file."""
    planes = list(planes)
    ids = [f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, str(z))}" for z in range(len(planes))]
    parts = "".join(
        f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{z}.ome.tif">{name}</UUID></TiffData>'
        for z, name in enumerate(ids)
    )
    for z, plane in enumerate(planes):
        about = (
            f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{ids[z]}">'
            '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" '
            f'SizeX="80" SizeY="60" SizeZ="{len(planes)}" SizeC="1" SizeT="1">'
            f'<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{parts}</Pixels></Image></OME>'
        )
        tifffile.imwrite(folder / f"{z}.ome.tif", plane, description=about, metadata=None)
    return folder / "0.ome.tif"


def pixels(path: Path) -> npt.NDArray[Any]:
    """All labels of an output."""
    return np.asarray(open_labels(path, read_only=True).array[:])


def main() -> None:
    image, output, name = np.load(sys.argv[1]), sys.argv[2], sys.argv[3]
    import torch

    torch.set_num_threads(1)
    predictor = small_predictor()
    print("begun", flush=True)
    for result in segment(image, question(name), predictor, output=output):
        print(*result.position, int(result.skipped), flush=True)


if __name__ == "__main__":
    main()
