"""Threads that read ahead of the model and write behind it, by a few planes at most."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

__all__ = ["ReadAhead", "WriteBehind"]

Key = TypeVar("Key")
Read = TypeVar("Read")
Result = TypeVar("Result")
_QUEUE_LENGTH = 3


class ReadAhead(Generic[Key, Read]):
    """Read an item while another is processed.

    Parameters
    ----------
    load : callable
        Reads the item of a key; `take` raises its errors.
    """

    def __init__(self, load: Callable[[Key], Read]) -> None:
        self._load = load
        self._pool = ThreadPoolExecutor(1, "napari-sam3-reader")
        self._ahead: tuple[Key, Future[Read]] | None = None

    def take(self, key: Key, then: Key | None = None) -> Read:
        """Return the item of a key, and start to read that of the next key."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] == key:
            future = ahead[1]
        else:
            if ahead is not None:
                ahead[1].cancel()
            future = self._pool.submit(self._load, key)
        if then is not None:
            self._ahead = then, self._pool.submit(self._load, then)
        return future.result()

    def close(self) -> None:
        """Wait for the present read and cancel the next one."""
        self._ahead = None
        self._pool.shutdown(wait=True, cancel_futures=True)


class WriteBehind(Generic[Result]):
    """Write items in order on a thread, and return the results.

    `put` blocks when the queue is full, which bounds the memory.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "napari-sam3-writer")
        self._waiting: deque[Future[Result]] = deque()

    def put(self, write: Callable[[], Result]) -> Iterator[Result]:
        """Queue a write, and yield the results finished by now; raises errors of earlier writes."""
        self._waiting.append(self._pool.submit(write))
        while self._waiting and (self._waiting[0].done() or len(self._waiting) > _QUEUE_LENGTH):
            yield self._waiting.popleft().result()

    def drain(self) -> Iterator[Result]:
        """Wait until everything is written, and yield the results."""
        while self._waiting:
            yield self._waiting.popleft().result()

    def close(self) -> None:
        """Finish the present write and cancel the others."""
        self._pool.shutdown(wait=True, cancel_futures=True)
