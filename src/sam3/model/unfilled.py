"""Models without parameter values, into which weights are then loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from sam3.config import ModelConfig
from sam3.model.click_model import ClickModel

__all__ = ["unfilled", "unfilled_model"]

_Module = TypeVar("_Module", bound=nn.Module)


class _WithoutValues(TorchFunctionMode):
    """Skip the random initialisation of parameters.

    On the device "meta" it has no effect, but loads sympy and much of torch's compiler, which
    takes half a second.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return (torch.empty if func is torch.randn else func)(*args, **kwargs)


def unfilled(kind: Callable[[ModelConfig], _Module], config: ModelConfig) -> _Module:
    """Construct a module whose parameters and buffers are on the device "meta"."""
    with torch.device("meta"), _WithoutValues():
        return kind(config)


def unfilled_model(config: ModelConfig) -> ClickModel:
    """Construct a click model whose parameters and buffers are on the device "meta"."""
    return unfilled(ClickModel, config)
