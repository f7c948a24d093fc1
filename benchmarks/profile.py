"""Where the time of encoding an image goes on a CPU, each part beside the least it could take.

`python -m benchmarks.profile` prints the table for the full-size model. The least is the part's
arithmetic at the rate that matrix products reach here, measured in the same run, or its bytes at
the rate of the memory.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.full_size import shallow
from benchmarks.measure import Fact, Row, measure
from sam3.config import ModelConfig, get_preset
from sam3.errors import UnsupportedError
from sam3.model.block import Block
from sam3.model.click_model import ClickModel
from sam3.model.quantization import quantize_trunk
from sam3.model.trunk_linears import BlockLinears, packed_linears
from sam3.model_builder import build_click_model

__all__ = ["flops", "profile_rows"]

_ROWS = 576
_MEMORY_BYTES = 256_000_000


def profile_rows(config: ModelConfig, *, repeats: int = 5) -> Iterator[Row | Fact]:
    """Measure the rates of the machine, and the parts of the encoder beside them.

    Parameters
    ----------
    config : ModelConfig
        Whose tokens, widths and number of blocks count. One block is made and measured for all.
    repeats : int
        Runs of each part.
    """
    trunk = config.trunk
    blocks, everywhere = trunk.depth, len(trunk.global_blocks)
    one_block = replace(trunk, depth=1, global_blocks=())
    model = build_click_model(replace(config, trunk=one_block)).eval()
    with torch.inference_mode():
        block = model.trunk.blocks[0]
        assert isinstance(block, Block)
        packed = packed_linears(block)
        tokens = torch.randn(config.grid**2, trunk.width)
        rate = _product_rate(packed, block, repeats)
        bytes_a_second = _memory_rate(repeats)
        yield Fact("rate of fp32 matrix products", f"{rate / 1e9:.0f} GFLOP/s", "oneDNN, packed")
        yield Fact("rate of memory", f"{bytes_a_second / 1e9:.1f} GB/s", "reading and writing")
        count = len(tokens) * 2 * sum(w.numel() for w in _weights(block))
        yield _part(
            f"{blocks} blocks: linear layers, GELU", lambda: _linears(packed, tokens),
            blocks, count / rate, repeats,
        )  # fmt: skip
        try:
            rounded = quantize_trunk(model.trunk)[0]
        except UnsupportedError as error:
            yield Fact(f"{blocks} blocks: the same with int8", "not measured", str(error))
        else:
            fast = _product_rate(rounded, block, repeats)
            yield _part(
                f"{blocks} blocks: the same with int8", lambda: _linears(rounded, tokens),
                blocks, count / fast, repeats, f" at {fast / 1e9:.0f} GFLOP/s",
            )  # fmt: skip
        for what, number, keys in (
            ("in windows", blocks - everywhere, trunk.window**2),
            ("everywhere", everywhere, len(tokens)),
        ):
            q = torch.randn(len(tokens) // keys, trunk.heads, keys, trunk.width // trunk.heads)
            yield _part(
                f"{number} blocks: attention {what}",
                lambda q=q: F.scaled_dot_product_attention(q, q, q),  # type: ignore[misc]
                number, 4 * q.numel() * keys / rate, repeats,
            )  # fmt: skip
        moved = 8 * tokens.nbytes  # two norms and two sums, each with a tensor read and one written
        yield _part(
            f"{blocks} blocks: norms and sums", lambda: _norms_and_sums(block, tokens.clone()),
            blocks, moved / bytes_a_second, repeats, " at the rate of memory",
        )  # fmt: skip
        grid = tokens.T.reshape(1, trunk.width, config.grid, config.grid)
        yield _part(
            "neck",
            lambda: _neck(model, grid),
            1,
            flops(lambda: _neck(model, grid)) / rate,
            repeats,
        )


def _part(
    what: str,
    function: Callable[[], object],
    times: int,
    least: float,
    repeats: int,
    beside: str = "",
) -> Row:
    timing = measure(function, repeats=repeats)
    share = least / timing.median
    return Row(
        f"profile, one of {what}" if times > 1 else f"profile, {what}",
        timing,
        other_name=f"{times} x {timing.median:.3g} s = {times * timing.median:.3g} s; at least "
        f"{times * least:.3g} s{beside}: {share:.0%} of the rate",
    )


def _linears(linears: BlockLinears, tokens: Tensor) -> None:
    for part in tokens.split(_ROWS):
        linears.qkv(part)
        linears.proj(part)
        linears.fc2(linears.fc1(part))


def _weights(block: Block) -> list[Tensor]:
    attn, mlp = block.attn, block.mlp
    return [layer.weight for layer in (attn.qkv, attn.proj, mlp.fc1, mlp.fc2)]


def _norms_and_sums(block: Block, tokens: Tensor) -> None:
    for part in tokens.split(_ROWS):
        part.add_(block.norm1(part))
        part.add_(block.norm2(part))


def _neck(model: ClickModel, grid: Tensor) -> object:
    return model.neck(grid, model.mask_decoder.conv_s0, model.mask_decoder.conv_s1)


def _product_rate(linears: BlockLinears, block: Block, repeats: int) -> float:
    """Operations a second of the square product, the best that the layers reach."""
    weight = block.attn.proj.weight
    x = torch.randn(_ROWS, weight.shape[1])
    times = measure(lambda: [linears.proj(x) for _ in range(8)], repeats=repeats, warm_up=2)
    return 8 * 2 * len(x) * weight.numel() / min(times.seconds)


def _memory_rate(repeats: int) -> float:
    """Bytes read and written a second, by a copy too large for any cache."""
    source = torch.zeros(_MEMORY_BYTES // 4)
    target = torch.empty_like(source)
    return 2 * source.nbytes / min(measure(lambda: target.copy_(source), repeats=repeats).seconds)


def flops(function: Callable[[], object]) -> int:
    """Count the operations of matrix products, attention and convolutions."""
    with FlopCounterMode(display=False) as counter:
        function()
    return int(counter.get_total_flops())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shallow", action="store_true", help="a third of the resolution")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    config = shallow() if arguments.shallow else get_preset("sam3")
    for row in profile_rows(config, repeats=arguments.repeats):
        print(row.line, flush=True)


if __name__ == "__main__":
    main()
