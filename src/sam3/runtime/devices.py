"""Choice of device and precision. Nothing is switched on for the rest of the process."""

from __future__ import annotations

from typing import Literal

import torch

from sam3.errors import ConfigError, DeviceError

__all__ = ["Precision", "choose_device", "choose_precision", "describe_device"]

Precision = Literal["auto", "float32", "bfloat16", "int8"]
_BFLOAT16_CAPABILITY = (8, 0)


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """Resolve a device name.

    Parameters
    ----------
    device : str or torch.device
        ``"auto"``, ``"cpu"``, ``"mps"``, ``"cuda"`` or ``"cuda:1"``.

    Returns
    -------
    torch.device

    Raises
    ------
    DeviceError
        If it does not exist here.

    Notes
    -----
    MPS is written to the documented interface; the project has not been able to run it.
    """
    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = torch.backends.mps.is_available()
    if device == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    here = ["cpu"] + ["mps"] * mps + [f"cuda:{i}" for i in range(cuda)]
    try:
        chosen = torch.device(device)
    except RuntimeError:
        chosen = None
    if chosen is not None:
        exists = {"cpu": True, "mps": mps, "cuda": (chosen.index or 0) < cuda}
        if exists.get(chosen.type, False):
            return chosen
    raise DeviceError(
        f"the device {str(device)!r} does not exist here; available are {', '.join(here)}, "
        'or "auto".'
    )


def choose_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """Resolve a precision.

    Parameters
    ----------
    precision : {"auto", "float32", "bfloat16", "int8"}
    device : torch.device

    Returns
    -------
    torch.dtype
        For ``"auto"``, bfloat16 on CUDA of compute capability 8 and up, float32 elsewhere. For
        ``"int8"`` float32, which everything but the linear layers of the encoder is computed in.

    Raises
    ------
    ConfigError
        If it is none of the four, or ``"int8"`` for another device than the CPU.
    """
    if precision == "int8" and device.type != "cpu":
        raise ConfigError(
            f'precision "int8" is for the CPU, and the device is {str(device)!r}; '
            'use device="cpu", or precision="auto".'
        )
    if precision == "auto":
        capable = (
            device.type == "cuda"
            and torch.cuda.get_device_capability(device) >= _BFLOAT16_CAPABILITY
        )
        return torch.bfloat16 if capable else torch.float32
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.float32}
    if precision not in known:
        raise ConfigError(
            f'unknown precision {precision!r}; expected "auto", "float32", "bfloat16" or "int8".'
        )
    return known[precision]


def describe_device(device: str | torch.device = "auto") -> str:
    """Say where a model runs and why there, in one line for people.

    Parameters
    ----------
    device : str or torch.device
        As for :func:`choose_device`; for ``"auto"`` the reason is what was found.

    Returns
    -------
    str
        Such as "CUDA: NVIDIA H100 80GB HBM3, bfloat16" or "CPU: no CUDA or MPS device was found".

    Raises
    ------
    DeviceError
        If the device does not exist here.
    """
    chosen = choose_device(device)
    precision = str(choose_precision("auto", chosen)).removeprefix("torch.")
    if chosen.type == "cuda":
        return f"CUDA: {torch.cuda.get_device_name(chosen)}, {precision}"
    if chosen.type == "mps":
        return f"MPS: the graphics processor of this Mac, {precision}"
    better = choose_device("auto")
    if better.type != "cpu":
        return f"CPU: chosen, though {better.type.upper()} is there; {precision}"
    return "CPU: no CUDA or MPS device was found"
