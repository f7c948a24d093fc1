"""How well cells are tracked through real time-lapses, from one box each on its first frame.

`python -m benchmarks.tracking --data FOLDER` prints for each series the scores of the Cell Tracking
Challenge (TRA, DET, LNK, by py-ctcmetrics, from the files that the plugin writes), and the shares
of tracks without a switch of identity, and of tracks found on each of their frames as well. Links
of divisions are entered by people, so the result has none of them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.measure import Fact, Skipped
from benchmarks.propagation import planes_of
from benchmarks.stacks import Stack, read_stacks
from napari_sam3.core.prompts import PromptSet
from napari_sam3.inference.tracking.ending import EndRules
from napari_sam3.inference.tracking.propagate import ObjectPrompt, propagate
from napari_sam3.labels.formats.tracks.ctc import write_ctc
from sam3 import Predictor, load_predictor
from sam3.model.memory import Memory
from sam3.weights.load import embedded_weights, inspect
from sam3.weights.memory import load_memory

__all__ = ["Tracked", "track", "tracking_rows"]

_SMALLEST = 3.0  # px; smaller boxes are refused
WHAT = "cells tracked through real time-lapses from a box each on the first frame"


@dataclass(frozen=True)
class Tracked:
    """How well the cells of a series were tracked.

    Attributes
    ----------
    tracks : int
        Of the truth.
    tra, det, lnk : float
        Scores of the Cell Tracking Challenge, 0 to 1.
    unswitched : float
        Share of tracks that have one and the same id wherever they are found, and are found.
    complete : float
        Share of these that are found on each of their frames.
    """

    tracks: int
    tra: float
    det: float
    lnk: float
    unswitched: float
    complete: float


def first_boxes(labels: npt.NDArray[np.uint16]) -> Iterator[ObjectPrompt]:
    """Yield a box around each object on its first frame."""
    for label in np.unique(labels[labels > 0]).tolist():
        frame = int((labels == label).any(axis=(1, 2)).argmax())
        rows, columns = np.nonzero(labels[frame] == label)
        # Of an object that enters at the rim, whose box would be no area, a little more.
        (top, bottom), (left, right) = map(_side, (rows, columns))
        box = PromptSet.from_arrays(box=(left, top, right, bottom))
        yield ObjectPrompt(frame, int(label), box)


def _side(places: npt.NDArray[np.intp]) -> tuple[float, float]:
    """Return where a side of a box begins and ends."""
    middle, half = (places.min() + places.max()) / 2, (np.ptp(places) + 1) / 2
    return float(middle - max(half, _SMALLEST / 2)), float(middle + max(half, _SMALLEST / 2))


def track(stack: Stack, predictor: Predictor, memory: Memory | None) -> npt.NDArray[np.uint16]:
    """Return the labels of a series, frames x rows x columns; the first of two keeps its pixels."""
    found = np.zeros(stack.labels.shape, np.uint16)
    prompts = list(first_boxes(stack.labels))
    masks = propagate(
        planes_of(stack),
        prompts,
        predictor,
        memory=memory,
        direction="forward",
        rules=EndRules.calibrated(in_time=True),
    )
    for one in masks:
        frame = found[one.plane]
        mask = one.mask.to_array(frame.shape)
        frame[mask & ((frame == 0) | (frame > one.object_id))] = one.object_id
    return found


def compare(truth: npt.NDArray[np.uint16], found: npt.NDArray[np.uint16]) -> Tracked:
    """Score labels of a series, written and read as files of the challenge."""
    from ctc_metrics import evaluate_sequence

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        result, gold = Path(folder, "01_RES"), Path(folder, "01_GT")
        write_ctc(result, found)
        write_ctc(gold, truth, kind="truth")
        scores = evaluate_sequence(
            str(result), str(gold), metrics=["Valid", "TRA", "DET", "LNK"], threads=1
        )
    assert scores["Valid"] == 1, "the result is no valid file of the challenge"
    matched = matches(truth, found)
    same = [len(set(ids) - {0}) == 1 for ids in matched.values()]
    whole = [alone and 0 not in ids for alone, ids in zip(same, matched.values(), strict=True)]
    return Tracked(
        len(matched),
        float(scores["TRA"]),
        float(scores["DET"]),
        float(scores["LNK"]),
        float(np.mean(same)),
        float(np.mean(whole)),
    )


def matches(
    truth: npt.NDArray[np.uint16], found: npt.NDArray[np.uint16]
) -> Mapping[int, list[int]]:
    """Return for each track the id that covers more than half of it, or 0, frame by frame."""
    matched: dict[int, list[int]] = {}
    for gold, ours in zip(truth, found, strict=True):
        for label in np.unique(gold[gold > 0]).tolist():
            ids, counts = np.unique(ours[gold == label], return_counts=True)
            best = int(counts.argmax())
            most = int(ids[best]) if 2 * counts[best] > counts.sum() else 0
            matched.setdefault(int(label), []).append(most)
    return matched


def tracking_rows(
    predictor: Predictor, folder: Path | None, memory: Memory | None = None
) -> Iterator[Fact | Skipped]:
    """Measure tracking, for the report; `folder` holds stacks."""
    if folder is None:
        yield Skipped(WHAT, "no stacks were given; see --stacks")
        return
    try:
        import ctc_metrics  # noqa: F401
    except ImportError:
        yield Skipped(WHAT, "py-ctcmetrics is not installed")
        return
    for stack in read_stacks(folder, "validation"):
        if not stack.in_time:
            continue
        start = time.perf_counter()
        labels = track(stack, predictor, memory)
        seconds = (time.perf_counter() - start) / len(stack.image)
        score = compare(stack.labels, labels)
        way = "memory" if memory is not None else "mask by mask"
        yield Fact(
            f"{WHAT}: {stack.domain}, *{way}*",
            f"TRA {score.tra:.3f}, {score.unswitched:.2f} of tracks without a switch",
            f"DET {score.det:.3f}, LNK {score.lnk:.3f}, {score.complete:.2f} complete, "
            f"{score.tracks} tracks, {len(stack.image)} frames, {seconds:.2f} s a frame",
        )


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with npz of stacks")
    parser.add_argument("--model", default="tiny")
    arguments = parser.parse_args(argv)
    predictor = load_predictor(arguments.model, device="cpu")
    path = embedded_weights() if arguments.model == "tiny" else arguments.model
    memories: list[Memory | None] = [None]
    if inspect(path).config.memory is not None:
        memories.append(load_memory(path))
    print(f"Weights `{predictor.fingerprint}`.", flush=True)
    for memory in memories:
        for row in tracking_rows(predictor, arguments.data, memory):
            print(row.line, flush=True)


if __name__ == "__main__":
    main()
