"""Isolation from torch defaults that other code of the process has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["own_defaults"]

_FACTORIES = frozenset({torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn})


class _Float32(TorchFunctionMode):
    """Default to float32, for this thread alone, unlike torch's own default dtype."""

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
    """Construct and load models in float32 on the CPU, with ordinary tensors, without autocast.

    The caller's `torch.set_default_dtype`, `torch.set_default_device`, `torch.inference_mode` and
    `torch.autocast` apply again afterwards, and all the while on other threads. Every torch call
    inside is a little slower, so encoding and decoding name dtypes and devices explicitly instead.
    """
    with (
        torch.inference_mode(False),
        torch.autocast("cpu", enabled=False),
        torch.device("cpu"),
        _Float32(),
    ):
        yield
