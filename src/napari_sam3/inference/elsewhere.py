"""Functions that run where the model is, which may be on another machine.

::

    find_objects(plane, predictor, cache, control, ...)
        predictor of this process  ->  runs here
        predictor with `elsewhere` ->  runs there, with the predictor and the cache of that machine;
                                       it reads the plane and reports to the control across the
                                       connection
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from sam3.predictor import Predictor

__all__ = ["Elsewhere", "elsewhere", "where_the_model_is"]

P = ParamSpec("P")
T = TypeVar("T")


class Elsewhere(Protocol):
    """A machine with a model, seen from another one."""

    @property
    def place(self) -> str:
        """The machine and its device, in words."""

    @property
    def detector(self) -> Any:
        """Stand-in for the concept detector of that machine, as an argument of functions."""

    def call(self, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
        """Call a function there; `plane`, `predictor`, `cache` and `control` are bridged."""

    def follower(self, control: Any, load: Callable[[int], Any], length: int) -> Any:
        """Return a `Follower` that uses the memory of that machine's model."""


def elsewhere(predictor: Predictor) -> Elsewhere | None:
    """Return the machine that a predictor stands for; None if it is of this process."""
    there: Elsewhere | None = getattr(predictor, "elsewhere", None)
    return there


def where_the_model_is(function: Callable[P, T]) -> Callable[P, T]:
    """Make a function run on the machine of its argument `predictor`.

    It must have the parameters `plane`, `predictor`, `cache` and `control`, and may have
    `detector`. The other arguments, and what it returns, are sent as they are.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        arguments = signature.bind(*args, **kwargs).arguments
        there = elsewhere(arguments["predictor"])
        if there is None:
            return function(*args, **kwargs)
        found: T = there.call(run, arguments)
        return found

    return run
