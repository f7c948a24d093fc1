"""Parallel execution of small tasks, one core each.

Decoding an object takes many short steps, which do not parallelise well: two cores need more than
half the time of one. Distributing whole objects over the cores does.
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
    """Limit torch to a number of threads on this thread, and restore the previous number."""
    before = torch.get_num_threads()
    if count == before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def on_all_cores(work: Callable[[_In], _Out], items: Sequence[_In]) -> list[_Out]:
    """Map items in parallel, on as many threads as torch uses, each with one core.

    Parameters
    ----------
    work : callable
        Called on worker threads, where torch's modes (inference, autocast) are off; with a single
        item or thread, on the calling thread.
    items : sequence
        Arguments of the calls.

    Returns
    -------
    list
        Results in the order of the items.

    Raises
    ------
    Exception
        The first exception of `work`; later items may or may not have been processed.
    """
    threads = torch.get_num_threads()
    if threads == 1 or len(items) == 1:
        return [work(item) for item in items]
    return list(_pool(threads).map(work, items))


def _pool(threads: int) -> ThreadPoolExecutor:
    """Return the cached pool of worker threads that use one core each."""
    with _lock:
        if threads not in _pools:
            pool = ThreadPoolExecutor(threads, "sam3-core", _use_one_core)
            ready = Barrier(threads + 1)
            for _ in range(threads):  # the barrier keeps each thread busy until all have started
                pool.submit(ready.wait)
            ready.wait()
            # The number applies to the thread that sets it and to threads that start later.
            torch.set_num_threads(threads)
            _pools[threads] = pool
        return _pools[threads]


def _use_one_core() -> None:
    """Limit torch to one thread on the calling thread."""
    # Reading the number initialises it from the process; without that, torch would do so later and
    # replace the one set here.
    torch.get_num_threads()
    torch.set_num_threads(1)
