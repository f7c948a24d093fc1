"""Box operations by torchvision's compiled operators, without its Python modules.

``import torchvision.ops`` loads torch's compiler and with it Triton. Triton's LLVM and the LLVM of
Mesa's OpenGL crash a process that shows a viewer, so only the operator library is loaded, on first
use.
"""

from __future__ import annotations

from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

__all__ = ["nms", "roi_align"]


def roi_align(features: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Pool the features in each box to a square by bilinear interpolation.

    Parameters
    ----------
    features : Tensor, shape (1, C, H, W)
    boxes : Tensor, shape (N, 4)
        x0, y0, x1, y1 in cells of the map, whose first cell starts at 0.
    side : int
        Side of the result.

    Returns
    -------
    Tensor, float32, shape (N, C, side, side)
    """
    _load_operators()
    rows = torch.cat((boxes.new_zeros(len(boxes), 1), boxes), 1).float()
    pooled: Tensor = torch.ops.torchvision.roi_align(
        features.float(), rows, 1.0, side, side, -1, False
    )
    return pooled


def nms(boxes: Tensor, scores: Tensor, iou: float) -> Tensor:
    """Suppress boxes that overlap a box of higher score by more than an IoU.

    Parameters
    ----------
    boxes : Tensor, shape (N, 4)
        x0, y0, x1, y1.
    scores : Tensor, shape (N,)
    iou : float

    Returns
    -------
    Tensor of int64, shape (K,)
        Indices of the boxes kept, highest score first.
    """
    _load_operators()
    return torch.ops.torchvision.nms(boxes.float(), scores.float(), iou)  # type: ignore[no-any-return]


def _load_operators() -> None:
    if hasattr(torch.ops.torchvision, "roi_align"):
        return
    spec = find_spec("torchvision")
    for folder in (spec and spec.submodule_search_locations) or ():
        for library in sorted(Path(folder).glob("_C*")):
            with suppress(OSError):
                torch.ops.load_library(library)
            if hasattr(torch.ops.torchvision, "roi_align"):
                return
    # Not the layout of the wheels: torchvision itself knows where its library is.
    import torchvision.ops  # noqa: F401
