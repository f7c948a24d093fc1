"""The image encoder: a plain vision transformer with windowed and global attention.

Source: Li et al., Exploring Plain Vision Transformer Backbones for Object Detection (2022).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from sam3.config import TrunkConfig
from sam3.model.block import Block
from sam3.model.rope import axial_rope_table
from sam3.model.trunk_in_place import apply_in_place, can_work_in_place
from sam3.model.trunk_linears import BlockLinears, packed_linears
from sam3.runtime.compiling import keep_compiled_code

__all__ = ["Progress", "Trunk"]

#: Called with the fraction that is done, 0 to 1.
Progress = Callable[[float], None]


class Trunk(nn.Module):
    """Encode images into one feature map each.

    Parameters
    ----------
    config : TrunkConfig
        Sizes.
    grid : int
        Side of the token grid at the model's nominal input size. Positions of global attention
        are scaled by ``window / grid``, also for inputs smaller than that grid.
    """

    def __init__(self, config: TrunkConfig, *, grid: int) -> None:
        super().__init__()
        self.config = config
        self.global_scale = config.window / grid
        self.patch_embed = nn.Conv2d(
            3, config.width, config.patch_size, stride=config.patch_size, bias=False
        )
        side = config.pretrain_grid
        self.pos_embed = nn.Parameter(torch.zeros(1, side, side, config.width))
        self.ln_pre = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        self.blocks = nn.ModuleList(
            Block(config, None if i in config.global_blocks else config.window)
            for i in range(config.depth)
        )
        self._tables: dict[tuple[int, int, float, torch.device], Tensor] = {}

    def forward(
        self,
        images: Tensor,
        progress: Progress | None = None,
        linears: Sequence[BlockLinears] | None = None,
    ) -> Tensor:
        """Encode normalised images.

        Parameters
        ----------
        images : Tensor, shape (B, 3, H, W)
            Pixels in [-1, 1]; H and W are multiples of the patch size.
        progress : callable, optional
            Called after each block with the fraction of blocks done, 0 to 1. An exception that it
            raises cancels the encoding.
        linears : sequence of BlockLinears, optional
            Replacements for the linear layers of each block, on a CPU and without autograd.

        Returns
        -------
        Tensor, shape (B, C, H / patch, W / patch)
        """
        x = self.patch_embed(images).permute(0, 2, 3, 1)
        height, width = x.shape[1:3]
        side = self.config.pretrain_grid
        repeat = (1, -(-height // side), -(-width // side), 1)
        x = self.ln_pre(x + self.pos_embed.repeat(repeat)[:, :height, :width])
        window = self.config.window
        local = self._rope(window, window, 1.0, x.device)
        whole = self._rope(height, width, self.global_scale, x.device)
        in_place = can_work_in_place(x)
        assert in_place or linears is None
        if in_place:
            x, local, whole = x.contiguous(), torch.complex(*local), torch.complex(*whole)
        for number, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            rope = whole if block.window is None else local
            if in_place:
                block_linears = packed_linears(block) if linears is None else linears[number]
                apply_in_place(block, x, rope, block_linears)
            else:
                x = block(x, rope)
            if progress is not None:
                progress((number + 1) / len(self.blocks))
        features: Tensor = x.permute(0, 3, 1, 2)
        return features

    def compile_blocks(self) -> None:
        """Compile the blocks on first use: twice, once per kind of attention.

        On a CPU in float32 the blocks run in place instead, which is faster. The code is kept for
        later processes: see :func:`sam3.runtime.compiling.keep_compiled_code`.
        """
        keep_compiled_code()
        for block in self.blocks:
            block.compile()

    def _rope(self, height: int, width: int, scale: float, device: torch.device) -> Tensor:
        """Return the cached table of rotations for a grid; it is never part of a checkpoint."""
        key = (height, width, scale, device)
        if key not in self._tables:
            head_dim = self.config.width // self.config.heads
            # Outside inference_mode, so that a table computed there also serves a training step.
            with torch.inference_mode(False):
                table = axial_rope_table(height, width, head_dim, scale=scale)
                self._tables[key] = table.to(device)
        return self._tables[key]
