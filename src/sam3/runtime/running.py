"""The state that a network runs in: no autograd, its own precision, memory errors explained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sam3.errors import DeviceMemoryError

__all__ = ["running"]


@contextmanager
def running(what: str, device: torch.device, *, half: bool) -> Iterator[None]:
    """Run without autograd and turn memory errors of the device into ours.

    Parameters
    ----------
    what : str
        What is being done, for the message.
    device : torch.device
        Where.
    half : bool
        Compute in bfloat16; a caller's autocast counts in neither case.

    Raises
    ------
    DeviceMemoryError
        If the device runs out of memory.
    """
    try:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=half):
            yield
    except (RuntimeError, MemoryError) as error:
        if not _lacks_memory(error):
            raise
        raise DeviceMemoryError(
            f"{device} ran out of memory while trying to {what}; ask for fewer objects at "
            'once, close other programs, or use device="cpu".'
        ) from error


def _lacks_memory(error: Exception) -> bool:
    """Tell an error about memory from others: CPUs and MPS have no type of their own for it."""
    about = ("can't allocate memory", "out of memory")
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or any(text in str(error) for text in about)
