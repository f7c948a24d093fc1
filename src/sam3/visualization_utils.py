"""Plots of concepts as in the public notebook; they need matplotlib, the extra ``plot``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from sam3.errors import PromptError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sam3.notebook.image_state import ImageState

__all__ = ["draw_box_on_image", "normalize_bbox", "plot_results"]

_SHADE = 0.5  # opacity of masks


def normalize_bbox(bbox: Tensor | Sequence[float], img_w: float, img_h: float) -> Tensor:
    """Divide boxes (..., 4) of x, y, x, y in pixels by the size of the image."""
    boxes = torch.as_tensor(bbox, dtype=torch.float32)
    if boxes.shape[-1:] != (4,) or img_w <= 0 or img_h <= 0:
        raise PromptError(
            f"boxes of shape {tuple(boxes.shape)} on an image of {img_w} x {img_h} px cannot be "
            "normalised. Expected four numbers per box and an image with an area. Correct them."
        )
    return boxes / boxes.new_tensor([img_w, img_h, img_w, img_h])


def draw_box_on_image(
    image: Image.Image,
    box: Sequence[float],
    color: tuple[int, int, int] = (0, 255, 0),
    thickness: int = 4,
) -> Image.Image:
    """Return a copy of an image with a box drawn on it.

    Parameters
    ----------
    image : PIL.Image.Image
    box : sequence of float
        x0, y0, width, height in pixels.
    color : tuple of int
        Red, green and blue in 0..255.
    thickness : int
        Width of the line in pixels.
    """
    drawn = image.convert("RGB")
    x, y, width, height = (float(number) for number in box)
    ImageDraw.Draw(drawn).rectangle((x, y, x + width, y + height), outline=color, width=thickness)
    return drawn


def plot_results(img: Image.Image, results: ImageState) -> Figure:
    """Plot an image with the masks, boxes and scores of a concept.

    Parameters
    ----------
    img : PIL.Image.Image
    results : ImageState
        With results, from :class:`sam3.model.sam3_image_processor.Sam3Processor`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib import colormaps, pyplot
    from matplotlib.patches import Rectangle

    figure, axes = pyplot.subplots(figsize=(12, 8))
    axes.imshow(img)
    axes.axis("off")
    masks = results["masks"][:, 0].cpu().numpy()
    rows = zip(masks, results["boxes"].tolist(), results["scores"].tolist(), strict=True)
    for number, (mask, (x0, y0, x1, y1), score) in enumerate(rows):
        color = colormaps["tab10"](number % 10)[:3]
        axes.imshow(_shaded(mask, color))
        axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=color))
        axes.text(x0, y0, f"{number}: {score:.2f}", color="white", backgroundcolor=color)
    height, width = masks.shape[1:]
    axes.set(xlim=(0, width), ylim=(height, 0))  # boxes may reach beyond the image
    return figure


def _shaded(mask: Any, color: Sequence[float]) -> Any:
    """Render a mask as an RGBA image (H, W, 4) in one colour, transparent elsewhere."""
    shade = np.zeros((*mask.shape, 4), np.float32)
    shade[mask] = (*color, _SHADE)
    return shade
