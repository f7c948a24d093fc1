"""Functions that run on the machine of the model, which may be a remote server.

::

    find_objects(plane, predictor, cache, control, ...)
        local predictor   ->  runs in this process
        RemotePredictor   ->  runs on its server, with the server's predictor and cache; it reads
                              the plane and reports to the control through the connection
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from sam3.predictor import Predictor

__all__ = ["ModelServer", "run_on_server", "server_of"]

P = ParamSpec("P")
T = TypeVar("T")


class ModelServer(Protocol):
    """Remote server with a model, as its client uses it."""

    @property
    def place(self) -> str:
        """The server and its device, in words."""

    @property
    def detector(self) -> Any:
        """Placeholder for the concept detector of the server in arguments of functions."""

    def call(self, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
        """Call a function on the server; plane, predictor, cache and control are bridged."""

    def follower(self, control: Any, load: Callable[[int], Any], length: int) -> Any:
        """Return a `Follower` that uses the memory of the server's model."""


def server_of(predictor: Predictor) -> ModelServer | None:
    """Return the server of a remote predictor; None for a local one."""
    server: ModelServer | None = getattr(predictor, "server", None)
    return server


def run_on_server(function: Callable[P, T]) -> Callable[P, T]:
    """Make a function run on the machine of its argument `predictor`.

    It must have the parameters `plane`, `predictor`, `cache` and `control`, and may have
    `detector`. The other arguments, and what it returns, are sent as they are.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        arguments = signature.bind(*args, **kwargs).arguments
        server = server_of(arguments["predictor"])
        if server is None:
            return function(*args, **kwargs)
        result: T = server.call(run, arguments)
        return result

    return run
