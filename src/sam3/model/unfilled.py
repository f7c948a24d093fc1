"""A model that has shapes but no values yet, for weights that are about to come."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from sam3.config import ModelConfig
from sam3.model.click_model import ClickModel

__all__ = ["unfilled_model"]


class _WithoutValues(TorchFunctionMode):
    """Draws no first values.

    On the device "meta" they would come to nothing, but drawing them there loads sympy and a good
    part of torch's compiler, which takes half a second.
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


def unfilled_model(config: ModelConfig) -> ClickModel:
    """Return a model whose parameters and buffers are on the device "meta"."""
    with torch.device("meta"), _WithoutValues():
        return ClickModel(config)
