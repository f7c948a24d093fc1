"""Single clicks on many objects of an image, each decoded in the part of the image around it.

A click on a small object asks about all of the image, most of which says nothing about the object.
In a window of a seventh of the tokens, several objects at once, it takes a sixth of the time. The
embedded model was trained on parts of images, so its masks hardly differ (see docs/speed.md). Masks
that a window cuts off are decoded again in the whole image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sam3.features import ImageFeatures
from sam3.model.mask_decoder import ImageSide
from sam3.prediction import Prediction
from sam3.predictor import Predictor
from sam3.preprocess.mask_output import empty_masks, write_masks
from sam3.preprocess.transforms import to_model_frame
from sam3.prompts import Prompts, check_prompts
from sam3.runtime.cores import on_all_cores

__all__ = ["WINDOW", "predict_near"]

WINDOW = 12
"""Side of a window in tokens."""

_TOGETHER = 16  # objects decoded at once: more take memory and save no time
_LIMIT = 32.0  # logits are within +-32; outside of a window they are the least


def predict_near(
    predictor: Predictor,
    features: ImageFeatures,
    point_coords: npt.ArrayLike,
    *,
    window: int = WINDOW,
) -> Prediction:
    """Predict three masks for each of B foreground clicks, one object each.

    Parameters
    ----------
    predictor : Predictor
        Its model should have been trained on parts of images, as the embedded one was.
    features : ImageFeatures
        From its :meth:`~sam3.predictor.Predictor.encode`.
    point_coords : array-like, shape (B, 1, 2)
        (x, y) in pixels of the image.
    window : int
        Side of the window around each click, in tokens.

    Returns
    -------
    Prediction
        As that of :meth:`~sam3.predictor.Predictor.predict` with ``crop="later"``.

    Raises
    ------
    PromptError, FeaturesError, DeviceMemoryError
        As `predict`.
    """
    predictor.check_features(features)
    clicks = np.asarray(point_coords, np.float64)
    labels = np.ones(clicks.shape[:2], np.int64)
    size, config = features.size, predictor.config
    prompts = check_prompts(clicks, labels, None, None, size=size, mask_size=config.mask_size)
    shape = prompts.objects, 3
    scores = np.empty(shape, np.float32)
    logits = np.full((*shape, config.mask_size, config.mask_size), -_LIMIT, np.float32)
    masks = empty_masks(shape, size, "undrawn")
    cut = np.zeros(prompts.objects, bool)
    with predictor.running("predict masks"):
        side = predictor.model.image_side(features.to(predictor.device).encoded)

    def predict(part: slice) -> None:
        with predictor.running("predict masks"):
            low, score, corners = _decode(predictor, side, prompts.part(part), size, window)
        with predictor.running("draw masks", exact=True):
            scores[part] = score.cpu().numpy()
            found = low.clamp(-_LIMIT, _LIMIT).cpu().numpy()
            for number, piece, (row, column) in zip(
                range(part.start, part.stop), found, corners, strict=True
            ):
                length = piece.shape[-1]
                logits[number, :, row : row + length, column : column + length] = piece
                cut[number] = _is_cut_off(piece, row, column, config.mask_size)

    count = prompts.objects
    parts = [slice(at, min(at + _TOGETHER, count)) for at in range(0, count, _TOGETHER)]
    on_all_cores(predict, parts)
    write_masks(
        masks,
        torch.from_numpy(logits),
        logits,
        size,
        kind="undrawn",
        fill_area=config.fill_hole_area,
    )
    if cut.any():
        whole = predictor.predict(features, clicks[cut], labels[cut], crop="later")
        masks[cut], scores[cut], logits[cut] = whole.masks, whole.scores, whole.logits
    if count > 1:
        return Prediction(masks, scores, logits)
    return Prediction(masks[0], scores[0], logits[0])


def _decode(
    predictor: Predictor, side: ImageSide, prompts: Prompts, size: tuple[int, int], window: int
) -> tuple[Tensor, Tensor, list[tuple[int, int]]]:
    """Decode logits (B, 3, 4w, 4w) and scores (B, 3); with the windows' corners in logits."""
    model, config = predictor.model, predictor.config
    device, token = predictor.device, config.patch_size
    window = min(window, config.grid)
    coords = to_model_frame(prompts.coords, size, config.resolution)
    # The first of the points is the click, the other one padding.
    corners = np.rint(coords[:, 0, ::-1] / token - window / 2).astype(np.int64)
    corners = corners.clip(0, config.grid - window)
    index = _tokens_in(corners, window, config.grid, device)
    shift = torch.tensor(corners[:, None, ::-1] * token, dtype=torch.float32, device=device)
    sparse, dense = model.prompt_encoder(
        torch.tensor(coords, device=device) - shift,
        torch.tensor(prompts.labels, device=device),
        None,
        window,
        shift,
    )
    raw = model.mask_decoder(_part_of(side, index), sparse, dense, multimask=True)
    places = [(4 * int(row), 4 * int(column)) for row, column in corners]
    return raw.logits.float(), raw.iou.float(), places


def _tokens_in(
    corners: npt.NDArray[np.int64], window: int, grid: int, device: torch.device
) -> Tensor:
    """Return the indices (B, w w) of the tokens in windows, in row-major order."""
    steps = np.arange(window)
    rows, columns = corners[:, :1] + steps, corners[:, 1:] + steps
    index = rows[:, :, None] * grid + columns[:, None, :]
    return torch.tensor(index.reshape(len(corners), -1), device=device)


def _part_of(side: ImageSide, index: Tensor) -> ImageSide:
    """Return the image side of B windows of an image, given the indices of their tokens."""
    count, quarters = len(side.image[0]), index.shape[1] * 4
    fine = side.fine[0].unflatten(0, (count, 4))[index]
    return ImageSide(
        side.image[0][index],
        side.positions[0][index],
        side.middle[0][index],
        fine.reshape(len(index), quarters, -1),
    )


def _is_cut_off(logits: npt.NDArray[Any], row: int, column: int, cells: int) -> bool:
    """Tell whether a mask reaches the border of its window inside the image."""
    inside = logits.max(0) > 0
    length = inside.shape[0]
    return bool(
        (row > 0 and inside[0].any())
        or (column > 0 and inside[:, 0].any())
        or (row + length < cells and inside[-1].any())
        or (column + length < cells and inside[:, -1].any())
    )
