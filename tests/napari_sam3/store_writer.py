"""Fills a store until it is killed: run as a program by the tests of the store."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from napari_sam3.core.rendering import Rendering
from napari_sam3.inference.store.store import EmbeddingStore
from sam3.features import ImageFeatures
from sam3.model.click_model import EncodedImage

FIELDS = 150


def key_of(number: int) -> str:
    return f"{number:032x}"


def features_of(number: int, dtype: torch.dtype = torch.float32) -> ImageFeatures:
    """Features that can be told from their number: 84 kB, a field's worth of files."""
    made = torch.Generator().manual_seed(number)
    shapes = ((1, 64, 16, 16), (1, 4, 32, 32), (1, 1, 16, 16))
    tensors = (torch.randn(shape, generator=made).to(dtype) for shape in shapes)
    return ImageFeatures(EncodedImage(*tensors), (40 + number, 50), "weights", 448)


def put(store: EmbeddingStore, number: int) -> None:
    limits = ((0.0, float(number)),)
    store.put(
        key_of(number),
        features_of(number),
        preset="tiny",
        precision="float32",
        rendering=Rendering(("DAPI",), limits),
    )


def same(features: ImageFeatures, number: int) -> bool:
    wanted = features_of(number)
    about = (features.size, features.fingerprint, features.resolution)
    return about == (wanted.size, wanted.fingerprint, wanted.resolution) and all(
        torch.equal(a, b) for a, b in zip(features.encoded, wanted.encoded, strict=True)
    )


if __name__ == "__main__":
    first, step = int(sys.argv[2]), int(sys.argv[3])
    store = EmbeddingStore(Path(sys.argv[1]))
    print("open", flush=True)
    for number in range(first, FIELDS, step):
        put(store, number)
