"""The context in which networks run: no autograd, explicit precision, clear memory errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sam3.errors import DeviceMemoryError

__all__ = ["running"]


@contextmanager
def running(what: str, device: torch.device, *, half: bool) -> Iterator[None]:
    """Run without autograd and convert the device's memory errors to ours.

    Parameters
    ----------
    what : str
        The action, for the error message.
    device : torch.device
        The device of the network.
    half : bool
        Compute in bfloat16; a caller's autocast is ignored either way.

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
            f"{device} ran out of memory while trying to {what}. Expected enough memory. Request "
            'fewer objects at once, close other programs, or use device="cpu".'
        ) from error


def _lacks_memory(error: Exception) -> bool:
    """Recognise memory errors; on CPUs and MPS, torch raises no specific type for them."""
    messages = ("can't allocate memory", "out of memory")
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(message in str(error) for message in messages)
