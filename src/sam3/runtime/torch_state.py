"""Our own defaults of torch, whatever another tool of the process has set for itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["own_defaults"]

_FACTORIES = frozenset({torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn})


class _Float32(TorchFunctionMode):
    """Tensors of no given dtype are float32. For this thread alone, unlike torch's own default."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in _FACTORIES and kwargs.get("dtype") is None:
            kwargs["dtype"] = torch.float32
        return func(*args, **kwargs)


@contextmanager
def own_defaults() -> Iterator[None]:
    """Make and load models in float32 on the CPU, with ordinary tensors and without autocast.

    `torch.set_default_dtype`, `torch.set_default_device`, `torch.inference_mode` and
    `torch.autocast` of whoever calls count again afterwards, and meanwhile on other threads. It
    slows every call of torch a little: what encodes and decodes names dtypes and devices instead.
    """
    with (
        torch.inference_mode(False),
        torch.autocast("cpu", enabled=False),
        torch.device("cpu"),
        _Float32(),
    ):
        yield
