"""What speed costs: masks with 8 bits and at smaller inputs, beside those of the model as it is.

`python -m benchmarks.choices --data real.npz` clicks on objects of real images the way of the
product, held-out images first, and compares masks with the annotation and with one another.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from benchmarks.model_card import ask_product, mask_overlap, objects_of, product_plane
from napari_sam3.core.prompts import PromptSet
from napari_sam3.inference.cache import EmbeddingCache
from sam3 import Predictor, load_predictor
from sam3.training.data import load_real
from sam3.training.prompts import central_point

_OBJECTS = 8  # an image


def choices() -> dict[str, Predictor]:
    """Return the embedded model with each choice; the first is the model as it is."""
    return {
        "float32": load_predictor(device="cpu"),
        "int8": load_predictor(device="cpu", precision="int8"),
        "336 px": load_predictor(device="cpu", resolution=336),
        "252 px": load_predictor(device="cpu", resolution=252),
    }


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="npz of real images")
    parser.add_argument("--images", type=int, default=100)
    arguments = parser.parse_args()
    train, held_out = load_real(arguments.data)
    others = max(0, arguments.images - len(held_out))
    samples = held_out[: arguments.images] + train[:: max(1, len(train) // max(1, others))][:others]
    predictors = choices()
    truth, alike = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    for number, sample in enumerate(samples):
        plane = product_plane(sample)
        caches = {name: EmbeddingCache() for name in predictors}
        for mask in objects_of(sample, _OBJECTS):
            click = PromptSet.from_arrays(central_point(mask)[None], [1])
            found = {
                name: ask_product(plane, click, predictor, caches[name]).mask.to_array(mask.shape)
                for name, predictor in predictors.items()
            }
            for name, one in found.items():
                alike[name].append(mask_overlap(one, found["float32"]))
                if number < len(held_out):
                    truth[name].append(mask_overlap(one, mask))
    print(
        f"| choice | IoU with float32, {len(samples)} images, {len(alike['float32'])} objects ",
        end="",
    )
    print(
        f"| IoU with the truth, {len(truth['float32'])} objects of held-out images |\n|---|---|---|"
    )
    for name in predictors:
        print(f"| {name} | {np.mean(alike[name]):.3f} | {np.mean(truth[name]):.3f} |")


if __name__ == "__main__":
    main()
