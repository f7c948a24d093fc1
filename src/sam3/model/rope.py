"""Two-dimensional axial rotary position embedding.

Source: Su et al., RoFormer (2021); Heo et al., Rotary Position Embedding for Vision Transformer
(2024) for the axial form.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["apply_rope", "apply_rope_", "axial_rope_table"]


def axial_rope_table(
    height: int, width: int, head_dim: int, *, scale: float = 1.0, theta: float = 10000.0
) -> Tensor:
    """Compute the rotations of all channel pairs at every token of a grid.

    Parameters
    ----------
    height, width : int
        Size of the token grid.
    head_dim : int
        Width of an attention head, a multiple of 4. The first half of the channel pairs rotates
        with x, the second half with y.
    scale : float
        Factor on the token positions.
    theta : float
        Base of the frequencies.

    Returns
    -------
    Tensor, float32, shape (2, height * width, head_dim / 2)
        Cosines, then sines, with the tokens in row-major order.
    """
    frequencies = theta ** -(
        torch.arange(0, head_dim, 4, dtype=torch.float32, device="cpu") / head_dim
    )
    x = torch.arange(width, dtype=torch.float32, device="cpu") * scale
    y = torch.arange(height, dtype=torch.float32, device="cpu") * scale
    along_x = torch.outer(x, frequencies).expand(height, -1, -1)
    along_y = torch.outer(y, frequencies)[:, None].expand(-1, width, -1)
    angles = torch.cat([along_x, along_y], dim=-1).flatten(0, 1)
    return torch.stack([angles.cos(), angles.sin()])


def apply_rope(x: Tensor, table: Tensor) -> Tensor:
    """Rotate adjacent channel pairs of `x` by the angles of `table`.

    Parameters
    ----------
    x : Tensor, shape (..., tokens, head_dim)
        Queries or keys.
    table : Tensor, shape (2, tokens, head_dim / 2)
        From :func:`axial_rope_table`.

    Returns
    -------
    Tensor
        Of the shape and data type of `x`.
    """
    cos, sin = table.to(x.dtype).unbind(0)
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)


def apply_rope_(x: Tensor, rotations: Tensor) -> Tensor:
    """Do the same as :func:`apply_rope` to `x` itself, in one pass; for float32 on a CPU.

    Two adjacent channels are a complex number, and a rotation is a complex product: `rotations` is
    complex64, from the two parts of a table.
    """
    torch.view_as_complex(x.unflatten(-1, (-1, 2))).mul_(rotations)
    return x
