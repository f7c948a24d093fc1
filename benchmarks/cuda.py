"""Encode and click on a CUDA device, beside transformers: `python -m benchmarks.cuda`.

Both full-size models have random weights, run in bfloat16 in the same process and take turns. It
writes docs/benchmarks-cuda.md and needs no screen.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import skimage.data
import torch

from benchmarks.automatic import label_plane
from benchmarks.embedded import embedded_rows
from benchmarks.full_size import OTHER, click_row, shallow, transformers_model, wait
from benchmarks.measure import Fact, Row, describe_machine, measure, take_turns
from benchmarks.profile import flops
from benchmarks.report import Line, Section, write_report
from napari_sam3.inference.automatic.settings import AutomaticSettings
from sam3 import Predictor, load_predictor
from sam3.config import ModelConfig, get_preset
from sam3.model_builder import build_click_model

REPORT = Path(__file__).parent.parent / "docs" / "benchmarks-cuda.md"
_SIDE = 8192  # of the square product that gives the chip's rate
_BATCH = 8
_BOXES = 64


def cuda_rows(config: ModelConfig, *, device: str, repeats: int) -> Iterator[Line]:
    """Measure the full-size model: as it is, compiled, on ready pixels, in a batch, and a click."""
    ours = Predictor(build_click_model(config), device, "bfloat16")
    other = transformers_model(config).to(device, torch.bfloat16)
    side = config.resolution
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    pixels = torch.tensor(image).permute(2, 0, 1)[None].float().div(127.5).sub(1).to(device)
    half = pixels.bfloat16()
    label = f"*{config.name}*, {side} x {side} px, bfloat16"

    def network() -> object:
        with torch.autocast(device, torch.bfloat16):
            return wait(ours.model.encode(pixels))

    def by_other() -> object:
        return wait(other.get_image_embeddings(half))

    with torch.inference_mode():
        rate = _product_rate(device, repeats)
        yield Fact("rate of bfloat16 matrix products", f"{rate / 1e12:.0f} TFLOP/s", f"{_SIDE}³")
        work, work_of_other = flops(network), flops(by_other)

        def row(what: str, function: Callable[[], object]) -> Row:
            mine, theirs = take_turns(function, by_other, repeats=repeats, warm_up=3)
            share = work / mine.median / rate
            share_of_other = work_of_other / theirs.median / rate
            shares = f"{share:.0%} and {share_of_other:.0%} of the rate"
            return Row(f"{what}, {label}: {shares}", mine, theirs, OTHER)

        yield row("encode an image", lambda: wait(ours.encode(image)))
        yield row("the network alone, on pixels that are there", network)
        ours.model.trunk.compile_blocks()
        first = measure(network, repeats=1, warm_up=0)
        yield Row("the first image with compiled blocks, torch's caches as they are", first)
        yield row("encode an image, compiled", lambda: wait(ours.encode(image)))
        yield row("the network alone, compiled", network)
        together = measure(lambda: wait(ours.encode_batch([image] * _BATCH)), repeats=repeats // 2)
        yield Row(f"encode {_BATCH} images in one call, compiled, each", together.each_of(_BATCH))

        features, embeddings = ours.encode(image), other.get_image_embeddings(half)
        yield click_row(ours, other, features, embeddings, label, repeats=4 * repeats)
        ours.fix_shapes()
        ours.predict(features, [[side / 2, side / 2]], [1])  # records the graph
        graphs = f"{label}, as a graph"
        yield click_row(ours, other, features, embeddings, graphs, repeats=4 * repeats)


def rows_beside_the_cpu(device: str, *, repeats: int) -> Iterator[Row]:
    """Measure the embedded model on the device beside the CPU: many boxes, and finding all."""
    pair = [load_predictor(device=where) for where in (device, "cpu")]
    image = skimage.data.coins()
    pictures = [predictor.encode(image) for predictor in pair]
    corners = np.random.default_rng(0).uniform((5, 5), (320, 240), (_BOXES, 2))
    boxes = np.concatenate([corners, corners + 50], axis=1)
    colours = np.repeat(image[..., None], 3, axis=2)

    def box(which: int, crop: bool) -> object:
        return pair[which].predict(pictures[which], box=boxes, multimask_output=False, crop=crop)

    def find(which: int) -> object:
        return label_plane(colours, pair[which], AutomaticSettings())

    def row(what: str, run: Callable[[int], object]) -> Row:
        turns = take_turns(lambda: run(0), lambda: run(1), repeats=max(repeats // 6, 1))
        return Row(what, *turns, other_name="CPU")

    yield row(f"{_BOXES} boxes in one call, *tiny*", lambda which: box(which, False))
    yield row(f"{_BOXES} boxes in one call, as crops, *tiny*", lambda which: box(which, True))
    yield row("find all objects of an image, encoding included, *tiny*", find)


def _product_rate(device: str, repeats: int) -> float:
    """Operations a second of a large square product on random numbers."""
    a, b = torch.randn(2, _SIDE, _SIDE, device=device).bfloat16()
    times = measure(lambda: wait(a @ b), repeats=repeats, warm_up=5)
    return 2 * _SIDE**3 / times.median


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--shallow", action="store_true", help="2 blocks only: a trial")
    parser.add_argument("--output", type=Path, default=REPORT)
    arguments = parser.parse_args()
    config = shallow() if arguments.shallow else get_preset("sam3")
    repeats, device = arguments.repeats, arguments.device
    sections = [
        Section("Full-size model", cuda_rows(config, device=device, repeats=repeats)),
        Section("Embedded model", embedded_rows(load_predictor(device=device), repeats=repeats)),
        Section("Beside the CPU", rows_beside_the_cpu(device, repeats=repeats)),
    ]
    write_report(
        arguments.output,
        sections,
        describe_machine(),
        str(datetime.date.today()),
        command="python -m benchmarks.cuda",
    )


if __name__ == "__main__":
    main()
