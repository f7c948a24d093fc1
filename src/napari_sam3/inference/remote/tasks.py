"""Functions that a server runs for its clients, each as a Dask task."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from napari_sam3.inference.cache import EmbeddingCache, EncodingStopped, embedding_key
from sam3.errors import Sam3Error

from .bridge import RemotePlane, TaskControl
from .errors import RemoteError
from .messages import DETECTOR, Answer, Call, SentPlane, own_version, version_error

if TYPE_CHECKING:
    from napari_sam3.inference.tracking.followers import MemoryFollower
    from sam3.concepts.detector import Detector
    from sam3.model.memory import Memory
    from sam3.predictor import Predictor

__all__ = ["Method", "Served", "encode", "fetch_parts", "follow", "forget", "perform"]
__all__ += ["serve_model", "served_predictor"]

Method = Literal["begin", "step", "end"]
#: Maximum number of sweeps kept, since disconnected clients never end theirs.
_MOST_FOLLOWERS = 16


@dataclass(eq=False)
class Served:
    """The model of a server.

    Parameters
    ----------
    predictor : Predictor
        The model.
    detector_of : callable
        Called with the predictor, returns its concept detector, or None if it has none.
    memory_of : callable
        Called with the predictor, returns its memory, or None if it has none.
    cache : EmbeddingCache
        Cache of features, shared by all clients.
    """

    predictor: Predictor
    detector_of: Callable[[Predictor], Detector | None]
    memory_of: Callable[[Predictor], Memory | None]
    cache: EmbeddingCache
    followings: OrderedDict[str, _Following] = field(default_factory=OrderedDict)


@dataclass(eq=False)
class _Following:
    """Sweep of a client: its follower with the control, and the planes with prompts."""

    follower: MemoryFollower
    control: TaskControl
    planes: dict[int, RemotePlane]


_model: list[Served] = []


def serve_model(served: Served) -> None:
    """Set the model for the tasks of this process."""
    _model[:] = [served]


def served_predictor() -> Predictor | None:
    """Return the model that this process serves, if it is a server."""
    return _model[0].predictor if _model else None


@contextmanager
def _working(call: Call) -> Iterator[tuple[Served, TaskControl]]:
    if call.version != own_version():
        raise version_error(own_version(), call.version)
    try:
        yield _model[0], TaskControl(call)
    except Sam3Error:
        raise
    except OSError as error:  # which the client would take for a lost connection
        raise RemoteError(
            f"the server failed: {error}. Expected it to have the files and the space that it "
            "needs. See what is wrong there, and try again."
        ) from error


def fetch_parts(call: Call) -> Answer:
    """Return the networks that clicks need once an image is encoded, each as safetensors."""
    from safetensors.torch import save

    with _working(call) as (served, _):
        predictor = served.predictor
        networks = {"model": predictor.model, "proposals": predictor.proposal_head}
        parts = {}
        for name, network in networks.items():
            if network is not None:
                state = network.state_dict().items()
                light = {k: v for k, v in state if not k.startswith(("trunk.", "neck."))}
                parts[name] = save({k: v.cpu().contiguous() for k, v in light.items()})
        return Answer(parts)


def encode(call: Call, pixels: npt.NDArray[np.uint8], keep_trunk: bool) -> Answer:
    """Encode an image (h x w x 3), and return its features as safetensors."""
    with _working(call) as (served, control):

        def progress(fraction: float) -> None:
            if control.abandoned:
                raise EncodingStopped
            control.report("encoding", fraction)

        key = embedding_key(pixels, served.predictor)
        features = served.cache.get(key)
        if features is None or (keep_trunk and features.trunk is None):
            features = served.predictor.encode(pixels, progress, keep_trunk=keep_trunk)
            served.cache.put(key, features)
        return Answer(features.to_bytes())


def perform(call: Call, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Answer:
    """Call a function of `napari_sam3.inference.model_server` with the model of this process."""
    with _working(call) as (served, control):
        all_arguments = {
            **arguments,
            "plane": RemotePlane(arguments["plane"], control),
            "predictor": served.predictor,
            "cache": served.cache,
            "control": control,
        }
        if arguments.get("detector") == DETECTOR:
            all_arguments["detector"] = served.detector_of(served.predictor)
        return Answer(function(**all_arguments))


def follow(
    call: Call,
    sweep: tuple[str, int],
    method: Method,
    planes: Mapping[int, SentPlane],
    arguments: Mapping[str, Any],
) -> Answer:
    """Call a method of the follower of a sweep.

    Parameters
    ----------
    call : Call
        Origin of the task.
    sweep : (str, int)
        Its name, and the number of planes.
    method : {"begin", "step", "end"}
        Method of `napari_sam3.inference.tracking.followers.MemoryFollower`.
    planes : mapping of int to SentPlane
        Planes by index that the method reads.
    arguments : mapping
        Arguments of the method, except for the plane.
    """
    with _working(call) as (served, control):
        following = _following(served, control, *sweep, begins=method == "begin")
        following.control.resume(call)
        proxies = {i: RemotePlane(sent, following.control) for i, sent in planes.items()}
        all_arguments = dict(arguments)
        if method == "begin":
            following.planes |= proxies
        elif method == "step":
            all_arguments["plane"] = proxies[arguments["index"]]
        follower = following.follower
        methods: dict[Method, Callable[..., object]] = {
            "begin": follower.begin,
            "step": follower.step,
            "end": follower.end,
        }
        return Answer(methods[method](**all_arguments))


def forget(call: Call, name: str) -> Answer:
    """Drop the memories of a sweep that was cancelled."""
    with _working(call) as (served, _):
        return Answer(served.followings.pop(name, None) is not None)


def _following(
    served: Served, control: TaskControl, name: str, length: int, *, begins: bool
) -> _Following:
    from napari_sam3.inference.tracking.followers import MemoryFollower

    followings = served.followings
    if name not in followings:
        if not begins:
            raise RemoteError(
                f"the server does not know the objects that are propagated: sweep {name[:8]}. "
                "Expected one that it began, but it was restarted. Propagate again."
            )
        memory = served.memory_of(served.predictor)
        assert memory is not None, "the client knows the configuration"
        planes: dict[int, RemotePlane] = {}
        follower = MemoryFollower(
            served.predictor, served.cache, control, memory, planes.__getitem__, length
        )
        followings[name] = _Following(follower, control, planes)
        while len(followings) > _MOST_FOLLOWERS:
            followings.popitem(last=False)
    followings.move_to_end(name)
    return followings[name]
