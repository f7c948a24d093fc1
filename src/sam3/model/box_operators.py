"""Operations on boxes by torchvision's compiled operators, without its Python modules.

``import torchvision.ops`` loads torch's compiler and with it Triton. Triton's LLVM next to the
LLVM of Mesa's OpenGL ends a process that shows a viewer, so only the library of operators is
loaded, when the first box is looked at.
"""

from __future__ import annotations

from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

__all__ = ["nms", "roi_align"]


def roi_align(features: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Pool the features in each box to a square, bilinearly.

    Parameters
    ----------
    features : Tensor, shape (1, C, H, W)
    boxes : Tensor, shape (N, 4)
        x0, y0, x1, y1 in cells of the map, whose first cell begins at 0.
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
    """Keep, of boxes that overlap by more than an IoU, the one of the highest score.

    Parameters
    ----------
    boxes : Tensor, shape (N, 4)
        x0, y0, x1, y1.
    scores : Tensor, shape (N,)
    iou : float

    Returns
    -------
    Tensor of int64, shape (K,)
        Rows of the boxes that are kept, the best first.
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
    # Another layout than that of the wheels: torchvision knows where its library is.
    import torchvision.ops  # noqa: F401
