"""Many small pieces of work side by side, each on a core of its own.

Decoding an object is many short steps, which cores share badly: two of them take more than half
the time of one. Whole objects are shared well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier, Lock
from typing import TypeVar

import torch

__all__ = ["on_all_cores", "torch_threads"]

_In = TypeVar("_In")
_Out = TypeVar("_Out")

_pools: dict[int, ThreadPoolExecutor] = {}
_lock = Lock()


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use so many threads on this one, and then as many as before."""
    before = torch.get_num_threads()
    if count == before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def on_all_cores(work: Callable[[_In], _Out], pieces: Sequence[_In]) -> list[_Out]:
    """Do pieces of work, as many at once as torch has threads, with one of them each.

    Parameters
    ----------
    work : callable
        Called in threads of their own, in which modes of torch (inference, autocast) are off;
        where there is one piece, or one thread, in this one.
    pieces : sequence
        What it is called with.

    Returns
    -------
    list
        What it returned, in the order of the pieces.

    Raises
    ------
    Exception
        The first that `work` raised; later pieces may have been done or not.
    """
    threads = torch.get_num_threads()
    if threads == 1 or len(pieces) == 1:
        return [work(piece) for piece in pieces]
    return list(_pool(threads).map(work, pieces))


def _pool(threads: int) -> ThreadPoolExecutor:
    """Return so many threads that use one core each; they wait for more work until the end."""
    with _lock:
        if threads not in _pools:
            pool = ThreadPoolExecutor(threads, "sam3-core", _use_one_core)
            ready = Barrier(threads + 1)
            for _ in range(threads):  # none of them is free for a second one before all began
                pool.submit(ready.wait)
            ready.wait()
            # The number counts for the thread that sets it, and for threads that begin later.
            torch.set_num_threads(threads)
            _pools[threads] = pool
        return _pools[threads]


def _use_one_core() -> None:
    """Set torch's threads for the thread that calls."""
    torch.get_num_threads()  # takes over the number of all, which would later replace what is set
    torch.set_num_threads(1)
