"""Small background components of masks, found on the device on which the masks were computed.

Connected components by propagation of labels with pointer jumping: each pixel takes the largest
label around it, then the label of the pixel that this label names. A few rounds suffice, where
plain propagation would take one for each pixel of the longest path.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["small_components"]


def small_components(outside: Tensor, max_area: int) -> Tensor:
    """Return which pixels belong to small 8-connected components.

    Parameters
    ----------
    outside : Tensor of bool, shape (..., H, W)
        Pixels of the components; those of different images are never connected.
    max_area : int
        Largest number of pixels of a small component.

    Returns
    -------
    Tensor of bool, shape (..., H, W)
    """
    height, width = outside.shape[-2:]
    inside_component = outside.reshape(-1, height * width)
    # The label of a pixel is its index plus one; float32 holds it exactly up to 4096 x 4096 px.
    labels = torch.arange(1, height * width + 1, dtype=torch.float32, device=outside.device)
    labels = labels * inside_component
    while True:
        images = labels.unflatten(1, (1, height, width))
        highest = F.max_pool2d(images, 3, stride=1, padding=1).flatten(1) * inside_component
        named = (highest.long() - 1).clamp(min=0)
        jumped = highest.gather(1, named) * inside_component
        if torch.equal(jumped, labels):
            break
        labels = jumped
    index = labels.long()
    areas = torch.zeros(len(index), height * width + 1, dtype=torch.long, device=outside.device)
    areas.scatter_add_(1, index, torch.ones_like(index))
    is_small = (areas.gather(1, index) <= max_area) & inside_component
    return is_small.view(outside.shape)
