"""Conversions between box formats; the last axis holds the four numbers."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["box_cxcywh_to_xyxy", "box_xywh_to_cxcywh", "box_xywh_to_xyxy", "box_xyxy_to_cxcywh"]


def box_cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Convert centre and size (..., 4) to x0, y0, x1, y1."""
    centre, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat((centre - size / 2, centre + size / 2), -1)


def box_xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """Convert x0, y0, x1, y1 (..., 4) to centre and size."""
    start, end = boxes[..., :2], boxes[..., 2:]
    return torch.cat(((start + end) / 2, end - start), -1)


def box_xywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Convert x0, y0, width, height (..., 4) to x0, y0, x1, y1."""
    start, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat((start, start + size), -1)


def box_xywh_to_cxcywh(boxes: Tensor) -> Tensor:
    """Convert x0, y0, width, height (..., 4) to centre and size."""
    start, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat((start + size / 2, size), -1)
