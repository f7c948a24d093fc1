"""Loading of a tracker's memory from a weights file, strictly and without its other tensors."""

from __future__ import annotations

import os
from collections.abc import Mapping

from sam3.config import ModelConfig
from sam3.errors import CheckpointError
from sam3.model.memory import Memory
from sam3.model.unfilled import unfilled
from sam3.runtime.torch_state import own_defaults
from sam3.weights.keys import Source
from sam3.weights.load import CheckpointInfo, load_into, opened
from sam3.weights.memory_keys import (
    MEMORY_PREFIXES,
    OWN_MEMORY_PREFIX,
    multiplex_memory_table,
    official_memory_table,
    transformers_memory_table,
)

__all__ = ["load_memory"]


@own_defaults()
def load_memory(
    path: str | os.PathLike[str],
    *,
    config: ModelConfig | None = None,
    resolution: int | None = None,
) -> Memory:
    """Load the memory of a tracker from a weights file, without its other tensors.

    Parameters
    ----------
    path, config, resolution
        As for :func:`sam3.weights.load.load`.

    Returns
    -------
    Memory
        In evaluation mode, float32, on the CPU.

    Raises
    ------
    CheckpointNotFoundError, CheckpointError
        As :func:`sam3.weights.load.load`; also if the file holds no memory.
    """
    with opened(path, config, resolution) as (info, file):
        if info.config.memory is None:
            raise CheckpointError(
                f"the weights file {path} holds no memory for tracking: its model "
                f"{info.config.name!r} has none. Expected weights with a memory. Use "
                "others, such as sam3.pt."
            )
        memory = unfilled(Memory, info.config)
        parts = MEMORY_PREFIXES[info.format]
        expected = [name for name in file.tensors if name.startswith(parts)]
        load_into(memory, info, _memory_table(info, memory), expected, file)
    return memory


def _memory_table(info: CheckpointInfo, memory: Memory) -> Mapping[str, Source]:
    """Return the sources of a memory's parameters."""
    if info.format == "official":
        return official_memory_table(memory.config)
    if info.format == "sam3.1":
        return multiplex_memory_table(memory.config)
    if info.format == "transformers":
        return transformers_memory_table(memory.config)
    return {name: Source((OWN_MEMORY_PREFIX + name,)) for name in memory.state_dict()}
