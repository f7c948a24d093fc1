"""Time of a propagated plane, and of a step of the tracker.

`python -m benchmarks.propagation_time` prints the rows that `benchmarks.run` puts into the report.
A plane with 16 discs is measured beside encoding it and decoding 16 masks once: what is left is the
cost of propagation itself. A step of the full-size tracker is measured beside the one in
transformers, with random weights and a trunk of one block, whose features are there before both;
at half the resolution of the model, because at all of it 9 steps of both take minutes.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.full_size import OTHER, vision_of, wait
from benchmarks.long_series import ENDLESS, tracker_memory
from benchmarks.measure import Row, take_turns
from napari_sam3.core.fields import FINEST_LEVEL, field_side
from napari_sam3.core.masks import PlaneMask
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.inference.tracking.ending import EndRules
from napari_sam3.inference.tracking.propagate import ObjectPrompt, propagate
from sam3 import Predictor, load_predictor
from sam3.config import ModelConfig, get_preset
from sam3.model_builder import build_click_model
from sam3.tracking.session import TrackingSession
from sam3.tracking.steps import TrackingSteps

__all__ = ["propagation_time_rows", "tracker_row"]

_ACROSS = 4  # discs in a row, and rows of them
_PROMPTED = (slice(100, 150), slice(100, 150))  # rows and columns of the object that is tracked
_WINDOW = 8  # frames after which as much is remembered as ever
_SIDE = 504  # px of the frames


def propagation_time_rows(
    predictor: Predictor, *, planes: int = 6, repeats: int = 3
) -> Iterator[Row]:
    """Measure a propagated plane of 16 objects beside encoding and decoding it.

    Parameters
    ----------
    predictor : Predictor
        The model, which is also measured with a memory, its own or one of random weights.
    planes : int
        Planes that each run propagates to.
    repeats : int
        Runs of each way.
    """
    scene = _Scene(predictor, planes)
    ways = dict([("mask by mask", None), tracker_memory(predictor)])
    for way, memory in ways.items():
        rules = EndRules.calibrated() if memory is None else ENDLESS
        ours, alone = take_turns(
            lambda rules=rules, memory=memory: scene.propagate(rules, memory),  # type: ignore[misc]
            scene.encode_and_decode,
            repeats=repeats,
        )
        yield Row(
            f"one propagated plane with {_ACROSS**2} objects, *{way}*",
            ours.each_of(planes),
            alone.each_of(planes),
            f"encode and decode {_ACROSS**2} masks once, propagation is "
            f"{ours.median / alone.median:.2f} of it:",
        )


class _Scene:
    """Planes with 16 discs each, as small as the smallest field, so that one holds them all."""

    def __init__(self, predictor: Predictor, planes: int) -> None:
        self._predictor = predictor
        side = field_side(predictor.config.resolution, FINEST_LEVEL)
        rows, columns = np.ogrid[:side, :side]
        step, radius = side / _ACROSS, side / 12
        rng = np.random.default_rng(0)
        middles = (np.arange(_ACROSS) + 0.5) * step
        self._discs = [
            (rows - y) ** 2 + (columns - x) ** 2 < radius**2 for y in middles for x in middles
        ]
        self._images = []
        for _ in range(planes + 1):
            light = rng.normal(40, 6, (side, side))
            light[np.any(self._discs, axis=0)] += 110
            grey = np.clip(light, 0, 255).astype(np.uint8)
            self._images.append(np.repeat(grey[..., None], 3, axis=2))
        side = predictor.config.mask_size
        self._logits = torch.nn.functional.interpolate(
            torch.tensor(np.stack(self._discs)[:, None]).float() * 5 - 2.5, (side, side)
        ).numpy()

    def propagate(self, rules: EndRules, memory: Any) -> None:
        """Propagate all discs from the first plane to the others."""
        prompts = [
            ObjectPrompt(0, number, mask=PlaneMask.from_array(disc))
            for number, disc in enumerate(self._discs, start=1)
        ]
        planes = [ArrayPlane(image) for image in self._images]
        found = list(propagate(planes, prompts, self._predictor, memory=memory, rules=rules))
        assert len(found) == len(prompts) * len(planes), "an object ended"

    def encode_and_decode(self) -> None:
        """Encode each plane, and decode its masks from mask prompts, all in one call."""
        for image in self._images[1:]:
            features = self._predictor.encode(image)
            self._predictor.predict(features, mask_input=self._logits, multimask_output=False)


def tracker_row(*, repeats: int = 3, device: str = "cpu", config: ModelConfig | None = None) -> Row:
    """Measure a step of the tracker with one object, beside transformers, turn by turn."""
    full = config or get_preset("sam3").with_resolution(_SIDE)
    short = dataclasses.replace(
        full, trunk=dataclasses.replace(full.trunk, depth=1, global_blocks=(0,))
    )
    frames = _WINDOW + repeats + 1
    with torch.inference_mode():
        ours = our_steps(short, device, frames)
        theirs = transformers_steps(short, device, frames)
        turns = take_turns(ours, theirs, repeats=repeats, warm_up=_WINDOW)
    ratio = turns[0].median / turns[1].median
    return Row(
        f"one step of the tracker, one object, {full.resolution} x {full.resolution} px, memory "
        f"full, encoding left out, *{full.name}*, random weights",
        *turns,
        other_name=f"{ratio:.2f} of {OTHER}",
    )


def our_steps(config: ModelConfig, device: str, frames: int) -> Callable[[], object]:
    """Return a function that tracks a clicked object to the next frame each time it is called."""
    predictor = Predictor(build_click_model(config).eval(), device=device)
    steps = TrackingSteps(predictor, tracker_memory(predictor)[1])
    features = predictor.encode(_noise(config.resolution))
    session = TrackingSession(steps, frames)
    square = np.zeros((config.resolution,) * 2, np.float32)
    square[_PROMPTED] = 1
    session.draw(0, 1, features, torch.from_numpy(square))
    session.commit(lambda _: features)
    turns = count(1)

    def step() -> object:
        frame = next(turns)
        session.step(frame, lambda _: features)
        session.forget(frame)
        return wait(None)

    return step


def transformers_steps(config: ModelConfig, device: str, frames: int) -> Callable[[], object]:
    """Return the same by transformers; the features of all frames are in its cache."""
    from transformers import Sam3TrackerVideoConfig, Sam3TrackerVideoModel
    from transformers.models.sam3_tracker_video.modeling_sam3_tracker_video import (
        Sam3TrackerVideoInferenceSession,
    )

    side = config.resolution
    model: Any = Sam3TrackerVideoModel(
        Sam3TrackerVideoConfig(  # type: ignore[call-arg]
            vision_config=vision_of(config),
            prompt_encoder_config={"image_size": side},
            image_size=side,
        )
    )
    model = model.eval().to(device)
    pixels = torch.tensor(_noise(side)).permute(2, 0, 1)[None].float().div(127.5).sub(1).to(device)
    session: Any = Sam3TrackerVideoInferenceSession(
        pixels.expand(frames, -1, -1, -1),
        side,
        side,
        inference_device=device,
        dtype=torch.float32,
        max_vision_features_cache_size=frames,
    )
    model._prepare_vision_features(session, 0, 1)
    features = session.cache.get_vision_features(0)
    for frame in range(1, frames):
        session.cache.cache_vision_features(frame, features)
    square = torch.zeros(1, 1, side, side, device=device)
    square[0, 0, *_PROMPTED] = 1
    session.add_mask_inputs(session.obj_id_to_idx(1), 0, square)
    session.obj_with_new_inputs = [1]
    model(session, frame_idx=0)
    turns = count(1)
    return lambda: wait(model(session, frame_idx=next(turns)))


def _noise(side: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args(argv)
    for row in propagation_time_rows(
        load_predictor(arguments.model, arguments.device), repeats=arguments.repeats
    ):
        print(row.line, flush=True)
    print(tracker_row(repeats=arguments.repeats, device=arguments.device).line, flush=True)


if __name__ == "__main__":
    main()
