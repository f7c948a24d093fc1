"""Recording of calls as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

__all__ = ["CudaGraphs", "cannot_be_recorded"]

_Out = TypeVar("_Out")
_WARM_UPS = 2  # libraries initialise themselves at a first call, which cannot be recorded


class CudaGraphs:
    """Graphs that share the memory of their intermediates, as they run one after another.

    Parameters
    ----------
    device : torch.device
        A CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool: Any = None

    def capture(self, function: Callable[[], _Out]) -> tuple[Callable[[], None], _Out]:
        """Record a call.

        Parameters
        ----------
        function : callable
            Reads tensors that stay where they are, and moves nothing to or from the device.

        Returns
        -------
        replay : callable
            Repeats the call with what these tensors hold by then.
        result
            What the call returned; each replay overwrites its tensors.

        Raises
        ------
        RuntimeError
            If the call cannot be recorded.
        """
        kind = self._device.type
        half = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
        # Weights that autocast has converted and cached would be gone at the next replay.
        precision = torch.autocast(kind, half[1], enabled=half[0], cache_enabled=False)
        with torch.cuda.device(self._device), precision:
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(_WARM_UPS):
                    function()
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            # Other threads may allocate memory meanwhile.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                result = function()
        self._pool = graph.pool()
        return graph.replay, result


def cannot_be_recorded(error: RuntimeError) -> bool:
    """Tell whether an error says that a call cannot be recorded; torch has no type for these.

    Running out of memory is no such error, though its message may mention graphs.
    """
    text = str(error).lower()
    known = "captur" in text or "cuda graph" in text
    return known and not isinstance(error, torch.OutOfMemoryError)
