"""Predictors by the address of a server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .address import RemoteAddress
from .key import check_installed

if TYPE_CHECKING:
    from sam3.predictor import Predictor

__all__ = ["load_remote", "serves_detector"]


def serves_detector(name: str | os.PathLike[str]) -> bool:
    """Tell whether the model of a server finds objects by name; raises RemoteError."""
    from sam3.config import ModelConfig

    from .connection import Connection

    connection = Connection(RemoteAddress.parse(name))
    try:
        return ModelConfig.from_json(connection.about["config"]).detector is not None
    finally:
        connection.close()


def load_remote(name: str | os.PathLike[str], device: str = "auto") -> Predictor:
    """Connect to a server.

    Parameters
    ----------
    name : str
        ``tls://HOST:PORT?key=FILE``; see `RemoteAddress.parse`. In the process of a server, which
        works on a batch, any name means its own model.
    device : str
        Device of this machine, for prompts: "auto", "cpu", "cuda" or "mps".

    Raises
    ------
    RemoteError
        If the server cannot be reached, or refuses.
    """
    address = RemoteAddress.parse(name)
    check_installed()
    from .predictor import RemotePredictor
    from .tasks import served_predictor

    return served_predictor() or RemotePredictor(address, device)
