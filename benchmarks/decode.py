"""What follows the encoder: a click, many boxes, and many objects by way of a session.

`python -m benchmarks.decode` prints the rows that `benchmarks.run` puts into the report. The
decoder is that of the full-size model with random weights; its trunk has one block, since features
are random too. The masks of random weights are noise all over the image: the dearest there are to
fill, upsample and part into islands.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.full_size import OTHER, shortened, transformers_model
from benchmarks.measure import Fact, Row, measure, take_turns
from napari_sam3.core.planes import plane_from_array
from napari_sam3.core.prompts import PromptSet
from napari_sam3.inference.cache import EmbeddingCache
from napari_sam3.session.session import LabelingSession
from sam3 import ImageFeatures, Predictor
from sam3.config import get_preset
from sam3.model.click_model import EncodedImage
from sam3.model_builder import build_click_model

__all__ = ["decode_rows"]

SIZE = (1200, 1800)
BOXES, CLICKS = 64, 256
_RUNS = 3


def decode_rows(*, repeats: int = 15, device: str = "cpu") -> Iterator[Row | Fact]:
    """Measure the decoder beside the one of transformers, and objects by way of a session.

    Parameters
    ----------
    repeats : int
        Of a click; what takes longer is repeated less.
    device : str
        Where both models run.
    """
    pair = Pair(device)
    label = f"{SIZE[1]} x {SIZE[0]} px, full-size decoder, encoding left out"
    yield Row(
        f"one click, three masks at the image's size, {label}",
        *take_turns(pair.our_click, pair.their_click, repeats=repeats),
        other_name=OTHER,
    )
    yield Row(
        f"{BOXES} boxes in one call, a mask each at the image's size, {label}",
        *take_turns(pair.our_boxes, pair.their_boxes, repeats=max(3, repeats // 5)),
        other_name=OTHER,
    )
    if sys.platform.startswith("linux"):
        ours, theirs = (_peak_in_new_process(which) for which in ("ours", "theirs"))
        yield Fact(
            f"most memory that {BOXES} such boxes take beside the models and the image's features",
            f"{ours / 1e6:.0f} MB",
            f"{OTHER} {theirs / 1e6:.0f} MB, {ours / theirs:.2f} of it",
        )
    for side, where in ((1008, "one field"), (2016, "several fields")):
        yield _objects_row(pair.ours, side, where)


class Pair:
    """Both models, the same random features, and the same prompts."""

    def __init__(self, device: str, *, theirs: bool = True) -> None:
        config = shortened(get_preset("sam3"))
        self.side = config.resolution
        self.ours = Predictor(build_click_model(config), device=device)
        if theirs:
            self.theirs = transformers_model(config).to(device)
        self.features = _random_features(self.ours, SIZE)
        encoded = self.features.encoded
        self.embeddings = [encoded.fine, encoded.middle, encoded.embedding]
        corners = np.random.default_rng(0).uniform(0, 1000, (BOXES, 2))
        sides = np.random.default_rng(1).uniform(50, 190, (BOXES, 2))
        self.boxes = np.concatenate([corners, corners + sides], 1)

    def our_click(self) -> Any:
        """Three masks of a click in the middle."""
        return self.ours.predict(self.features, [[SIZE[1] / 2, SIZE[0] / 2]], [1])

    def their_click(self) -> Any:
        """Three masks of a click in the middle."""
        device, middle = self.embeddings[0].device, self.side / 2
        return self._masks(
            input_points=torch.tensor([[[[middle, middle]]]], device=device),
            input_labels=torch.tensor([[[1]]], device=device),
            multimask_output=True,
        )

    def our_boxes(self) -> Any:
        """Return a mask a box."""
        return self.ours.predict(self.features, box=self.boxes, multimask_output=False)

    def their_boxes(self) -> Any:
        """Return a mask a box."""
        scale = self.side / np.array([SIZE[1], SIZE[0]] * 2)
        boxes = torch.tensor(self.boxes * scale, dtype=torch.float32)[None]
        return self._masks(input_boxes=boxes.to(self.embeddings[0].device), multimask_output=False)

    def _masks(self, **prompts: Any) -> Any:
        with torch.inference_mode():
            answer = self.theirs(image_embeddings=list(self.embeddings), **prompts)
            logits = answer.pred_masks[0]
            masks = torch.nn.functional.interpolate(logits, SIZE, mode="bilinear") > 0
            return masks.cpu().numpy()


def _objects_row(predictor: Predictor, side: int, where: str) -> Row:
    """Click objects of a plane by way of a session, and write them into its labels."""
    rng = np.random.default_rng(0)
    plane = plane_from_array(rng.integers(0, 256, (side, side), np.uint8))
    places = rng.uniform(10, side - 10, (CLICKS, 2))
    clicks = [PromptSet.from_arrays(points=[place], labels=[1]) for place in places]
    cache = EmbeddingCache()

    def label() -> None:
        # The level is pinned: noise that meets the border of a field says nothing of the object.
        session = LabelingSession(predictor, cache=cache, mode="many", level=0)
        labels = np.zeros((side, side), np.uint32)
        session.set_plane(plane, 0, labels)
        session.set_objects(clicks)
        session.predict()
        session.accept()
        assert labels.any()

    # The run that warms up encodes the fields.
    whole = measure(label, repeats=_RUNS)
    return Row(
        f"an object of {CLICKS} clicks on {side} x {side} px in {where}, written into labels",
        whole.each_of(CLICKS),
        other_name=f"full-size decoder, fields encoded before: {len(cache)}",
    )


def _random_features(predictor: Predictor, size: tuple[int, int]) -> ImageFeatures:
    channels, grid = predictor.config.channels, predictor.config.grid
    draw = torch.Generator().manual_seed(0)
    shapes = (channels, grid), (channels // 4, 2 * grid), (channels // 8, 4 * grid)
    tensors = (torch.randn(1, deep, wide, wide, generator=draw) for deep, wide in shapes)
    encoded = EncodedImage(*(tensor.to(predictor.device) for tensor in tensors))
    return ImageFeatures(encoded, size, predictor.fingerprint, predictor.config.resolution)


def _peak_in_new_process(which: str) -> int:
    """Bytes that boxes take in a process of their own."""
    command = [sys.executable, "-m", "benchmarks.decode", "--peak", which]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1])


def _peak(function: Callable[[], object]) -> int:
    """Most resident bytes beyond those before the call."""
    import psutil

    process, done = psutil.Process(), threading.Event()
    before: int = process.memory_info().rss
    seen = [before]

    def watch() -> None:
        while not done.wait(0.002):
            seen.append(process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    result = function()
    seen.append(process.memory_info().rss)
    done.set()
    watcher.join()
    del result
    return max(seen) - before


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peak", choices=["ours", "theirs"], help="print bytes for the boxes only")
    arguments = parser.parse_args()
    if arguments.peak:
        pair = Pair("cpu", theirs=arguments.peak == "theirs")
        click, boxes = (
            (pair.our_click, pair.our_boxes)
            if arguments.peak == "ours"
            else (pair.their_click, pair.their_boxes)
        )
        click()
        print(_peak(boxes))
        return
    for row in decode_rows(repeats=arguments.repeats, device=arguments.device):
        print(row.line, flush=True)


if __name__ == "__main__":
    main()
