"""Self-test of a device: masks of the embedded model on a known image, compared with the CPU."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["SelfTest", "run_self_test"]

#: Least IoU with the clicked disc and with the mask of the CPU. Half precision may shift a border
#: by a fraction of a pixel; a faulty device is far below.
WANTED_IOU = 0.8
WANTED_AGREEMENT = 0.95
_SIZE, _RADIUS = 256, 40
_CENTRES = ((70, 80), (180, 160))  # (x, y)


@dataclass(frozen=True)
class SelfTest:
    """Result of a self-test.

    Parameters
    ----------
    device : str
        Tested device.
    iou : float
        Smallest IoU of a mask and its disc.
    agreement : float
        Smallest IoU of the device's and the CPU's masks.
    repeats : bool
        Whether a second run on the device gives the same masks.
    encode_s, predict_s : float
        Seconds to encode the image and to predict a click, in the second run.
    """

    device: str
    iou: float
    agreement: float
    repeats: bool
    encode_s: float
    predict_s: float

    @property
    def passed(self) -> bool:
        """Whether the device computes correctly."""
        return self.repeats and self.iou >= WANTED_IOU and self.agreement >= WANTED_AGREEMENT


def run_self_test(device: str = "auto") -> SelfTest:
    """Segment two discs on the device and on the CPU.

    Parameters
    ----------
    device : str
        "auto", "cpu", "cuda" or "mps".

    Raises
    ------
    sam3.errors.DeviceError
        If the device is not available, or fails.
    """
    from sam3.predictor import Predictor, load_predictor

    image, discs = _scene()

    def masks(predictor: Predictor) -> tuple[list[npt.NDArray[np.bool_]], float, float]:
        started = time.perf_counter()
        features = predictor.encode(image)
        encoded = time.perf_counter()
        found = []
        for centre in _CENTRES:
            # Of the three masks of a click, take the one with the best predicted IoU.
            answer = predictor.predict(features, [centre], [1])
            found.append(np.asarray(answer.masks[int(np.argmax(answer.scores))], bool))
        return found, encoded - started, (time.perf_counter() - encoded) / len(_CENTRES)

    tested = load_predictor("tiny", device)
    first, _, _ = masks(tested)
    again, encode_s, predict_s = masks(tested)
    reference = first
    if tested.device.type != "cpu":
        reference, _, _ = masks(load_predictor("tiny", "cpu"))
    return SelfTest(
        str(tested.device),
        min(_iou(mask, disc) for mask, disc in zip(first, discs, strict=True)),
        min(_iou(mask, wanted) for mask, wanted in zip(first, reference, strict=True)),
        all((a == b).all() for a, b in zip(first, again, strict=True)),
        encode_s,
        predict_s,
    )


def _scene() -> tuple[npt.NDArray[np.uint8], list[npt.NDArray[np.bool_]]]:
    """Return an image (H x W x 3) of bright discs on a dark noisy background, and the discs."""
    rows, columns = np.mgrid[:_SIZE, :_SIZE]
    discs = [(columns - x) ** 2 + (rows - y) ** 2 < _RADIUS**2 for x, y in _CENTRES]
    grey = np.random.default_rng(0).normal(40, 6, (_SIZE, _SIZE))
    for disc in discs:
        grey[disc] += 140
    plane = np.clip(grey, 0, 255).astype(np.uint8)
    return np.repeat(plane[..., None], 3, axis=2), discs


def _iou(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0
