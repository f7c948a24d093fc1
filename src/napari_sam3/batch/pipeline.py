"""Reading ahead of the model and writing behind it, each on a thread, a few planes at most."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

__all__ = ["ReadAhead", "WriteBehind"]

Key = TypeVar("Key")
Read = TypeVar("Read")
Result = TypeVar("Result")


class ReadAhead(Generic[Key, Read]):
    """Reads one thing while another is worked on.

    Parameters
    ----------
    load : callable
        Reads the thing of a key; what it raises is raised by `take`.
    """

    def __init__(self, load: Callable[[Key], Read]) -> None:
        self._load = load
        self._pool = ThreadPoolExecutor(1, "napari-sam3-reader")
        self._ahead: tuple[Key, Future[Read]] | None = None

    def take(self, key: Key, then: Key | None = None) -> Read:
        """Return what belongs to a key, and begin to read what belongs to the next one."""
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
        """Wait for the present read, and start no other."""
        self._ahead = None
        self._pool.shutdown(wait=True, cancel_futures=True)


class WriteBehind(Generic[Result]):
    """Writes in order while the next is worked on, and gives back what was written.

    Parameters
    ----------
    depth : int
        Length of the queue; `put` blocks when it is full, so that memory does not grow.
    """

    def __init__(self, depth: int = 3) -> None:
        self._depth = depth
        self._pool = ThreadPoolExecutor(1, "napari-sam3-writer")
        self._waiting: deque[Future[Result]] = deque()

    def put(self, write: Callable[[], Result]) -> Iterator[Result]:
        """Queue a write, and return those finished by now; raises errors of earlier writes."""
        self._waiting.append(self._pool.submit(write))
        while self._waiting and (self._waiting[0].done() or len(self._waiting) > self._depth):
            yield self._waiting.popleft().result()

    def drain(self) -> Iterator[Result]:
        """Wait until everything is written."""
        while self._waiting:
            yield self._waiting.popleft().result()

    def close(self) -> None:
        """Finish the present write, and drop those that wait."""
        self._pool.shutdown(wait=True, cancel_futures=True)
