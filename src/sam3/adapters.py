"""Adapters: changes to a model learnt from labels, stored apart from its weights.

The linear layers of the trunk get changes of low rank (Hu et al., LoRA, 2021); the much smaller
prompt encoder and mask decoder are replaced. An adapter is merged into the weights on loading, so
that everything afterwards, including quantisation, works on an ordinary model.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor, nn

from sam3.errors import CheckpointError
from sam3.files import write_whole
from sam3.model.click_model import ClickModel
from sam3.weights import load as checkpoint

__all__ = ["Adapter", "apply_adapter", "chain", "find_base", "is_adapter", "read_adapter"]
__all__ += ["save_adapter"]

_KEY = "sam3_adapter"
_VERSION = 1
_UP, _DOWN, _WHOLE = "up.", "down.", "whole."


@dataclass(frozen=True, eq=False)
class Adapter:
    """Changes to the weights of one model.

    Attributes
    ----------
    base : str
        Name of the base weights: ``"tiny"``, or the name of their file.
    fingerprint : str
        Fingerprint of the base weights.
    low_rank : mapping of str to (Tensor, Tensor)
        By parameter, U (out, r) and D (r, in); the change is U D.
    whole : mapping of str to Tensor
        Replacements of whole parameters.
    about : mapping
        Model card: the training data and the results, as JSON values.
    place : str
        Path of the base weights where it was learnt; "" for the embedded ones.
    """

    base: str
    fingerprint: str
    low_rank: Mapping[str, tuple[Tensor, Tensor]]
    whole: Mapping[str, Tensor]
    about: Mapping[str, Any] = field(default_factory=dict)
    place: str = ""

    @property
    def rank(self) -> int:
        """Highest rank of the changes; 0 if there are none of low rank."""
        return max((up.shape[1] for up, _ in self.low_rank.values()), default=0)

    @property
    def parameters(self) -> int:
        """Number of values in it."""
        pairs = (tensor for pair in self.low_rank.values() for tensor in pair)
        return sum(tensor.numel() for tensor in (*pairs, *self.whole.values()))


def chain(first: Adapter, second: Adapter) -> Adapter:
    """Join two adapters, the second of which was learnt on the base changed by the first.

    The changes add up: U D + V E is [U V] times [D E], one below the other.

    Returns
    -------
    Adapter
        For the base of the first, with the card of the second.
    """
    low_rank = dict(first.low_rank)
    for name, (up, down) in second.low_rank.items():
        before = low_rank.get(name)
        if before is not None:
            up = torch.cat([before[0].to(up.device), up], dim=1)
            down = torch.cat([before[1].to(down.device), down], dim=0)
        low_rank[name] = up, down
    whole = {**first.whole, **second.whole}
    return replace(first, low_rank=low_rank, whole=whole, about=second.about)


def is_adapter(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file is an adapter; False if it does not exist."""
    return _KEY in _metadata(Path(path))


def save_adapter(adapter: Adapter, path: str | os.PathLike[str]) -> None:
    """Write an adapter as float16, atomically."""
    tensors = {_WHOLE + name: value for name, value in adapter.whole.items()}
    for name, (up, down) in adapter.low_rank.items():
        tensors |= {_UP + name: up, _DOWN + name: down}
    header = {
        "version": _VERSION,
        "base": adapter.base,
        "fingerprint": adapter.fingerprint,
        "place": adapter.place,
        "about": dict(adapter.about),
    }
    state = {name: t.detach().cpu().half().contiguous() for name, t in tensors.items()}
    write_whole(Path(path), serialize(state, {_KEY: json.dumps(header)}))


def read_adapter(path: str | os.PathLike[str]) -> Adapter:
    """Read an adapter.

    Raises
    ------
    CheckpointError
        If the file is damaged or not an adapter.
    """
    path = Path(path)
    try:
        header = json.loads(_metadata(path)[_KEY])
        if header["version"] != _VERSION:
            raise CheckpointError(
                f"the adapter {path} has the version {header['version']}. Expected {_VERSION}. "
                "Learn it again with this version of the package."
            )
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        ups, downs, whole = (
            {n.removeprefix(part): t for n, t in tensors.items() if n.startswith(part)}
            for part in (_UP, _DOWN, _WHOLE)
        )
        low_rank = {name: (up, downs[name]) for name, up in ups.items()}
        return Adapter(
            header["base"],
            header["fingerprint"],
            low_rank,
            whole,
            header["about"],
            header.get("place", ""),
        )
    except (KeyError, TypeError, ValueError, SafetensorError, OSError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{path} cannot be read as an adapter ({error}). Expected a file that "
            "`napari-sam3 learn` wrote. Copy it again, or repeat the training."
        ) from error


def find_base(adapter: Adapter, path: str | os.PathLike[str]) -> Path:
    """Return the base weights of an adapter: the embedded ones, or a file.

    The file is looked for in the folder of the adapter, and then where it was at the training.

    Raises
    ------
    CheckpointError
        If there is no such file.
    """
    if adapter.base == "tiny":
        return checkpoint.embedded_weights()
    base = Path(path).parent / adapter.base
    for found in (base, Path(adapter.place) if adapter.place else base):
        if found.is_file():
            return found
    raise CheckpointError(
        f"the base weights of the adapter {path} are missing: {adapter.base} "
        f"({adapter.fingerprint}). Expected them in the same folder, as {base}. Put a copy or "
        "a link there."
    )


def apply_adapter(model: ClickModel, fingerprint: str, adapter: Adapter) -> None:
    """Merge an adapter into a model.

    Parameters
    ----------
    model : ClickModel
        With the base weights; its parameters are replaced.
    fingerprint : str
        Fingerprint of the base weights.
    adapter : Adapter

    Raises
    ------
    CheckpointError
        If the adapter was learnt on other weights or does not fit the model.
    """
    if fingerprint != adapter.fingerprint:
        raise CheckpointError(
            f"the adapter was learnt on the weights {adapter.fingerprint} ({adapter.base}). "
            f"Expected these, not {fingerprint} ({model.config.name}). Load it with its own, or "
            "learn it again."
        )
    parameters = dict(model.named_parameters())
    changed: dict[str, Tensor] = dict(adapter.whole)
    for name, (up, down) in adapter.low_rank.items():
        if name in parameters:
            changed[name] = parameters[name].detach() + (up @ down).to(parameters[name].device)
    for name, value in changed.items():
        if name not in parameters or parameters[name].shape != value.shape:
            raise CheckpointError(
                f"the adapter changes an unknown parameter: {name} of shape {tuple(value.shape)}. "
                f"Expected those of the model {model.config.name!r}. Learn it again with this "
                "version."
            )
        owner, _, last = name.rpartition(".")
        parameter = nn.Parameter(value.to(parameters[name]).clone(), requires_grad=False)
        setattr(model.get_submodule(owner), last, parameter)


def _metadata(path: Path) -> Mapping[str, str]:
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError):
        return {}
