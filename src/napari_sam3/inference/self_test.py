"""Does a device compute what the CPU does? Asked of the embedded model, on a known image."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["SelfTest", "run_self_test"]

#: What must be reached: agreement with the disc that is clicked on, and with the CPU's mask. Half
#: precision may move a border by a part of a pixel; a device that computes nonsense is far off.
WANTED_IOU = 0.8
WANTED_AGREEMENT = 0.95
_SIZE, _RADIUS = 256, 40
_CENTRES = ((70, 80), (180, 160))  # (x, y)


@dataclass(frozen=True)
class SelfTest:
    """What came of it.

    Parameters
    ----------
    device : str
        Where it ran.
    iou : float
        Agreement of the masks with the discs that were clicked on, the worse one.
    agreement : float
        Share of pixels in the device's or the CPU's masks that are in both.
    repeats : bool
        Whether the device gives the same masks a second time.
    encode_s, predict_s : float
        Seconds to encode the image and to answer a click, the second time.
    """

    device: str
    iou: float
    agreement: float
    repeats: bool
    encode_s: float
    predict_s: float

    @property
    def passed(self) -> bool:
        """Whether the device can be trusted."""
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
        If the device does not exist here, or fails.
    """
    from sam3.predictor import Predictor, load_predictor

    image, discs = _scene()

    def masks(predictor: Predictor) -> tuple[list[npt.NDArray[np.bool_]], float, float]:
        started = time.perf_counter()
        features = predictor.encode(image)
        encoded = time.perf_counter()
        found = []
        for centre in _CENTRES:
            # The three masks of one click differ in size; the best by the model's own estimate.
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
    """Return an image (H x W x 3) of bright discs on a dark, slightly noisy ground, and these."""
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
