"""Connection of a client to a server: opened lazily, and reopened after it was lost."""

from __future__ import annotations

import logging
import queue
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache, partial
from typing import Any
from weakref import finalize

from napari_sam3.core.rendering import PlaneImage
from sam3.errors import Sam3Error

from .address import RemoteAddress
from .bridge import deliver
from .errors import RemoteError
from .key import read_key
from .messages import METADATA, Call, own_version, version_error

__all__ = ["Connection", "close_client"]

logger = logging.getLogger(__name__)

_SECONDS_TO_CONNECT = 5.0
_SECONDS_BETWEEN_LOOKS = 0.05
Report = Callable[[str, float | None], None]


class Connection:
    """A client of one server; used from one thread at a time.

    Parameters
    ----------
    address : RemoteAddress
        The server.
    """

    def __init__(self, address: RemoteAddress) -> None:
        self.address = address
        self._client: Any = None
        self._close_client: Callable[[], object] = lambda: None
        self._about: Mapping[str, Any] | None = None
        self._topic = ""
        self._news: dict[str, queue.SimpleQueue[dict[str, Any]]] = {}
        self._lock = threading.RLock()

    @property
    def about(self) -> Mapping[str, Any]:
        """Description of the served model. Connects to the server if necessary."""
        self._connected()
        assert self._about is not None
        return self._about

    def ask(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        report: Report | None = None,
        plane: Callable[[int], PlaneImage] | None = None,
        priority: int = 0,
        again: bool = True,
    ) -> Any:
        """Run a task on the server, and return its result.

        Parameters
        ----------
        function : callable
            A function of `napari_sam3.inference.remote.tasks`.
        arguments
            Its arguments after the call.
        report : callable, optional
            Called with the stage and its fraction, at least twenty times per second. If it
            raises, the task is cancelled.
        plane : callable, optional
            Called with the number of a plane, whose pixels the task requests.
        priority : int
            Tasks of higher priority come first.
        again : bool
            Whether to ask again on a new connection if this one is lost.

        Raises
        ------
        RemoteError
            If there is no server, or it was lost.
        sam3.errors.Sam3Error
            As the function raises.
        """
        with self._lock:
            client = self._connected()
            try:
                return self._ask(client, function, arguments, report, plane, priority)
            except _UnreadError as unread:
                raise unread.error from None
            except Exception as error:
                if not _is_lost(client, error):
                    raise
                logger.info("the connection to %s was lost", self.address, exc_info=error)
                self._drop()
                if not again:
                    raise self._lost(error) from error
            return self.ask(
                function, *arguments, report=report, plane=plane, priority=priority, again=False
            )

    def close(self) -> None:
        """Close the connection."""
        self._drop()

    # ------------------------------------------------------------------ inside

    def _ask(
        self,
        client: Any,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        report: Report | None,
        plane: Callable[[int], PlaneImage] | None,
        priority: int,
    ) -> Any:
        call = Call(self._topic)
        news = self._news[call.number] = queue.SimpleQueue()
        try:
            future = client.submit(function, call, *arguments, pure=False, priority=priority)
            future.add_done_callback(lambda _: news.put({"done": True}))
            try:
                self._attend(client, news, report, plane)
                return future.result().value
            except BaseException:
                future.cancel()
                raise
        finally:
            del self._news[call.number]

    def _attend(
        self,
        client: Any,
        news: queue.SimpleQueue[dict[str, Any]],
        report: Report | None,
        plane: Callable[[int], PlaneImage] | None,
    ) -> None:
        """Answer the requests of a task and report its progress until it is done."""
        # Callers can only cancel from within `report`, so it is called from the beginning.
        last: tuple[str, float | None] = "encoding", 0.0
        while True:
            try:
                event = news.get(timeout=_SECONDS_BETWEEN_LOOKS)
            except queue.Empty:
                event = {}
            if "done" in event:
                return
            if "request" in event and plane is not None:
                rows, columns = (slice(*span) for span in event["spans"])
                try:
                    pixels = plane(event["plane"]).region(rows, columns, event["step"])
                except Exception as error:
                    raise _UnreadError(error) from error
                client.run(deliver, event["request"], pixels)
            if "stage" in event:
                last = event["stage"], event["fraction"]
            if report is not None:
                report(*last)

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None or self._client.status != "running":
                self._drop()
                self._client = self._connect()
            return self._client

    def _connect(self) -> Any:
        security = read_key(self.address.key_file)
        from distributed import Client

        try:
            client: Any = Client(  # type: ignore[no-untyped-call]
                self.address.url,
                security=security,
                timeout=_SECONDS_TO_CONNECT,
                set_as_default=False,
                loop=_loop(),
            )
        except (OSError, TimeoutError, RuntimeError) as error:
            raise self._unreachable(error) from error
        try:
            about = client.get_metadata([METADATA], default=None)
            self._check(about)
            self._topic = f"napari-sam3-{uuid.uuid4().hex}"
            client.subscribe_topic(self._topic, partial(_hear, self._news))
        except BaseException:
            close_client(client)
            raise
        self._about = about
        # Left to itself, a client of a lost scheduler fails when it is garbage collected.
        self._close_client = closing = finalize(self, close_client, client)
        closing.atexit = False
        return client

    def _check(self, about: Any) -> None:
        if not isinstance(about, dict):
            raise RemoteError(
                f"not a server of napari-sam3: {self.address}. Expected one that was started by "
                "`napari-sam3 serve`, not another scheduler of Dask. Check the port."
            )
        if about["version"] != own_version():
            raise version_error(about["version"], own_version())
        known = self._about
        if known is not None and known["fingerprint"] != about["fingerprint"]:
            raise RemoteError(
                f"the server at {self.address} now serves other weights: {about['fingerprint']}. "
                f"Expected {known['fingerprint']}. Choose the remote model again."
            )

    def _drop(self) -> None:
        with self._lock:
            self._client = None
            self._close_client()

    def _unreachable(self, error: BaseException) -> RemoteError:
        if "certificate" in str(error).lower() or "ssl" in str(error).lower():
            return RemoteError(
                f"the server at {self.address} refuses the key: {self.address.key_file}. Expected "
                "the key that `napari-sam3 serve` wrote on the server. Copy it again."
            )
        return self._lost(error)

    def _lost(self, error: BaseException) -> RemoteError:
        return RemoteError(
            f"no answer from the server: {self.address} ({_reason(error)}). Expected `napari-sam3 "
            "serve` to run on it. Start it or check the connection, then try again; clicks and "
            "labels are kept."
        )


def close_client(client: Any) -> None:
    """Close a client of Dask, whose scheduler may be lost.

    A client that fails to close while it reconnects would try again, and fail again, when it
    is garbage collected: its listener ended with an error, which every attempt awaits. So the
    second attempt goes without the listener.
    """
    with _without_messages():
        try:
            client.close(timeout=1)
        except Exception:
            logger.debug("a client of Dask failed to close", exc_info=True)
            client._handle_report_task = None
            with suppress(Exception):
                client.close(timeout=1)


def _hear(
    news: Mapping[str, queue.SimpleQueue[dict[str, Any]]], event: tuple[float, dict[str, Any]]
) -> None:
    """Queue an event; called on the thread of the connection."""
    waiting = news.get(event[1]["call"])
    if waiting is not None:
        waiting.put(event[1])


class _UnreadError(Exception):
    """A plane of the client could not be read; the connection is intact."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


@cache
def _loop() -> Any:
    """Return the event loop of all connections.

    If each client had its own loop, one that fails to connect would leak its thread.
    """
    from distributed.utils import LoopRunner

    runner = LoopRunner()
    runner.start()  # type: ignore[no-untyped-call]
    return runner.loop


def _reason(error: BaseException) -> str:
    """Return the message of the system, such as "Connection refused"."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error).partition("\n")[0].rpartition("Error: ")[2]
    return text.partition("] ")[2] or text or type(error).__name__


@contextmanager
def _without_messages() -> Iterator[None]:
    """Keep Dask from logging failures to reconnect, which raise an error of ours."""
    messages = logging.getLogger("distributed.client")
    before = messages.disabled
    messages.disabled = True
    try:
        yield
    finally:
        messages.disabled = before


def _is_lost(client: Any, error: Exception) -> bool:
    """Tell whether an error means a lost connection rather than a failed task."""
    if isinstance(error, Sam3Error):
        return False
    return client.status != "running" or isinstance(error, OSError | TimeoutError)
