"""Messages between client and server, apart from arrays and arguments of functions."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from napari_sam3.core.rendering import PlaneImage

from .errors import RemoteError

__all__ = ["DETECTOR", "METADATA", "Answer", "Call", "SentPlane", "own_version", "version_error"]

#: Stands for the detector of the server in the arguments of a call.
DETECTOR = "the detector of the server"
#: Key of the scheduler's metadata with the description of the model, as plain values.
METADATA = "napari-sam3"


def own_version() -> str:
    """Return the version of this package."""
    from importlib.metadata import version

    return version("napari-sam3")


def version_error(server: str, client: str) -> RemoteError:
    """Return the error of a client and a server of different versions."""
    return RemoteError(
        f"the versions of napari-sam3 differ: {server} on the server, {client} on this computer. "
        "Expected the same. Install one version on both."
    )


@dataclass(frozen=True)
class Call:
    """Origin of a task.

    Parameters
    ----------
    topic : str
        Topic of the events for the client.
    version : str
        Version of the client.
    number : str
        Identifies the call.
    """

    topic: str
    version: str = field(default_factory=own_version)
    number: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True, eq=False)
class Answer:
    """Result of a task; Dask pickles it as a whole, so that it may be of any type."""

    value: Any


@dataclass(frozen=True)
class SentPlane:
    """A plane whose pixels the server requests when needed.

    Parameters
    ----------
    number : int
        Identifies the plane within a call.
    shape : (int, int)
        (height, width) in px.
    is_lazy : bool
        As for `PlaneImage`.
    """

    number: int
    shape: tuple[int, int]
    is_lazy: bool

    @classmethod
    def of(cls, plane: PlaneImage, number: int = 0) -> SentPlane:
        """Describe a plane."""
        return cls(number, plane.shape, plane.is_lazy)
