"""Choice of device and precision, without changing global settings of torch."""

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
        If the device does not exist.

    Notes
    -----
    MPS follows the documented interface of torch; the project has not been able to test it.
    """
    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = torch.backends.mps.is_available()
    if device == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    available = ["cpu"] + ["mps"] * mps + [f"cuda:{i}" for i in range(cuda)]
    try:
        chosen = torch.device(device)
    except RuntimeError:
        chosen = None
    if chosen is not None:
        exists = {"cpu": True, "mps": mps, "cuda": (chosen.index or 0) < cuda}
        if exists.get(chosen.type, False):
            return chosen
    raise DeviceError(
        f"the device does not exist: {str(device)!r}. Expected one of {', '.join(available)}, or "
        '"auto". Choose one.'
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
        ``"int8"``, float32: the precision of everything but the encoder's linear layers.

    Raises
    ------
    ConfigError
        If the precision is unknown, or ``"int8"`` on another device than the CPU.
    """
    if precision == "int8" and device.type != "cpu":
        raise ConfigError(
            f'precision "int8" does not run on the device {str(device)!r}. Expected the CPU. '
            'Use device="cpu" or precision="auto".'
        )
    if precision == "auto":
        capable = (
            device.type == "cuda"
            and torch.cuda.get_device_capability(device) >= _BFLOAT16_CAPABILITY
        )
        return torch.bfloat16 if capable else torch.float32
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.float32}
    if precision not in dtypes:
        raise ConfigError(
            f'unknown precision: {precision!r}. Expected "auto", "float32", "bfloat16" or '
            '"int8". Choose one.'
        )
    return dtypes[precision]


def describe_device(device: str | torch.device = "auto") -> str:
    """Describe in one line on which device a model runs, and why.

    Parameters
    ----------
    device : str or torch.device
        As for :func:`choose_device`; for ``"auto"`` the reason is the hardware found.

    Returns
    -------
    str
        Such as "CUDA: NVIDIA H100 80GB HBM3, bfloat16" or "CPU: no CUDA or MPS device was found".

    Raises
    ------
    DeviceError
        If the device does not exist.
    """
    chosen = choose_device(device)
    precision = str(choose_precision("auto", chosen)).removeprefix("torch.")
    if chosen.type == "cuda":
        return f"CUDA: {torch.cuda.get_device_name(chosen)}, {precision}"
    if chosen.type == "mps":
        return f"MPS: the graphics processor of this Mac, {precision}"
    fastest = choose_device("auto")
    if fastest.type != "cpu":
        return f"CPU: as requested, although {fastest.type.upper()} is available; {precision}"
    return "CPU: no CUDA or MPS device was found"
