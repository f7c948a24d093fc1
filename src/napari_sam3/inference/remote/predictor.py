"""A predictor that encodes images on a server and decodes clicks on the client."""

from __future__ import annotations

import uuid
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load
from torch import nn

from napari_sam3.core.rendering import PlaneImage
from napari_sam3.inference.cache import EncodingStopped
from sam3.config import ModelConfig
from sam3.features import ImageFeatures
from sam3.model.click_model import ClickModel, EncodedImage
from sam3.model.proposal_head import ProposalHead
from sam3.model.unfilled import unfilled, unfilled_model
from sam3.predictor import Predictor
from sam3.preprocess.transforms import rgb_image
from sam3.runtime.devices import choose_device, choose_precision
from sam3.runtime.torch_state import own_defaults

from . import tasks
from .address import RemoteAddress
from .connection import Connection
from .errors import RemoteError
from .messages import DETECTOR, SentPlane

if TYPE_CHECKING:
    from napari_sam3.inference.cache import Control
    from napari_sam3.inference.tracking.followers import Before, FoundMask, Shown

__all__ = ["RemoteFollower", "RemotePredictor"]

#: Encoding for a click comes before batches, since the user waits for it.
_CLICK_PRIORITY = 10


class RemotePredictor(Predictor):
    """The model of a server.

    The networks that decode prompts are downloaded once; the others stay on the server.

    Parameters
    ----------
    address : RemoteAddress
        The server.
    device : str or torch.device
        Device of the client, for decoding prompts.

    Attributes
    ----------
    address : RemoteAddress
    connection : Connection
    server : ModelServer
        Runs functions on the server.

    Raises
    ------
    RemoteError
        If the server cannot be reached, or refuses the connection.
    """

    def __init__(self, address: RemoteAddress, device: str | torch.device = "auto") -> None:
        connection = Connection(address)
        # Its thread would keep it alive, even if an error follows.
        weakref.finalize(self, connection.close)
        about = connection.about
        model, head = _networks(
            ModelConfig.from_json(about["config"]), connection.ask(tasks.fetch_parts)
        )
        fingerprint = str(about["fingerprint"])
        precision = str(choose_precision("auto", choose_device(device))).removeprefix("torch.")
        if precision != about["precision"]:
            # The features are rounded differently from those that the client would compute.
            fingerprint += f"-{about['precision']}"
        super().__init__(model, device, fingerprint=fingerprint, proposal_head=head)
        names = model.config.detector is not None
        place = f"{address}: {about['device']}"
        self.server = _Server(connection, place, DETECTOR if names else None)
        self.address, self.connection = address, connection

    def encode(
        self,
        image: Any,
        progress: Callable[[float], None] | None = None,
        *,
        keep_trunk: bool = False,
    ) -> ImageFeatures:
        """Encode an image on the server; as :meth:`sam3.predictor.Predictor.encode`.

        Raises
        ------
        RemoteError
            If the server cannot be reached.
        """

        def report(_stage: str, fraction: float | None) -> None:
            if progress is not None and fraction is not None:
                progress(fraction)

        pixels = rgb_image(image)
        content = self.connection.ask(
            tasks.encode, pixels, keep_trunk, report=report, priority=_CLICK_PRIORITY
        )
        tensors = {name: t.to(self.device, self.dtype) for name, t in load(content).items()}
        encoded = EncodedImage(*(tensors[name] for name in EncodedImage._fields))
        size, side = pixels.shape[:2], self.config.resolution
        return ImageFeatures(encoded, size, self.fingerprint, side, tensors.get("trunk"))

    def encode_batch(
        self, images: Sequence[Any], *, keep_trunk: bool = False
    ) -> list[ImageFeatures]:
        """Encode images one by one; as :meth:`sam3.predictor.Predictor.encode_batch`."""
        return [self.encode(image, keep_trunk=keep_trunk) for image in images]


@own_defaults()
def _networks(
    config: ModelConfig, parts: Mapping[str, bytes]
) -> tuple[ClickModel, ProposalHead | None]:
    """Build the networks that decode prompts and propose objects."""
    model = unfilled_model(config)
    # The image encoder stays on the server.
    model.trunk = nn.Identity()  # type: ignore[assignment]
    model.neck = nn.Identity()  # type: ignore[assignment]
    model.load_state_dict(load(parts["model"]), strict=True, assign=True)
    model.requires_grad_(False)
    if "proposals" not in parts:
        return model, None
    head = unfilled(ProposalHead, config)
    head.load_state_dict(load(parts["proposals"]), strict=True, assign=True)
    head.requires_grad_(False)
    return model, head


class _Server:
    """Server at the other end of a connection, as `ModelServer`."""

    def __init__(self, connection: Connection, place: str, detector: str | None) -> None:
        self._connection, self.place, self.detector = connection, place, detector

    def call(self, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
        """Call a function on the server; None once its control is cancelled."""
        plane, control = arguments["plane"], arguments["control"]
        sent = {**arguments, "plane": SentPlane.of(plane)}
        for name in ("predictor", "cache", "control"):
            sent[name] = None
        try:
            return self._connection.ask(
                tasks.perform, function, sent, report=_reporting(control), plane=lambda _: plane
            )
        except _CancelledError:
            return None

    def follower(
        self, control: Control, load: Callable[[int], PlaneImage], length: int
    ) -> RemoteFollower:
        """Return a follower whose memories are on the server."""
        return RemoteFollower(self._connection, control, load, length)


class RemoteFollower:
    """A `Follower` whose memories are on a server.

    Parameters
    ----------
    connection : Connection
        The server.
    control : Control
        Receives the progress.
    load : callable
        Called with the index of a plane, returns it.
    length : int
        Number of planes.
    """

    def __init__(
        self,
        connection: Connection,
        control: Control,
        load: Callable[[int], PlaneImage],
        length: int,
    ) -> None:
        self._connection, self._control, self._load = connection, control, load
        self._sweep = uuid.uuid4().hex, length
        self._begun = self._forgotten = False

    def begin(self, shown: Shown) -> None:
        """Start to follow an object."""
        planes = {index: self._load(index) for index in shown.masks}
        self._begun = True
        self._ask("begin", planes, {"shown": shown})

    def step(
        self, index: int, plane: PlaneImage, before: Mapping[int, Before], *, reverse: bool
    ) -> dict[int, FoundMask] | None:
        """Predict objects on a plane; see `Follower`."""
        arguments = {"index": index, "before": dict(before), "reverse": reverse}
        masks: dict[int, FoundMask] | None = self._ask("step", {index: plane}, arguments)
        return masks

    def end(self, object_id: int) -> None:
        """Stop following an object."""
        if not self._forgotten:
            self._ask("end", {}, {"object_id": object_id})

    def close(self) -> None:
        """Stop following all objects, and free their memories on the server."""
        if self._begun and not self._forgotten:
            self._forgotten = True
            with suppress(RemoteError):  # a server that is gone has forgotten all
                self._connection.ask(tasks.forget, self._sweep[0], again=False)

    def _ask(
        self, method: tasks.Method, planes: Mapping[int, PlaneImage], arguments: Mapping[str, Any]
    ) -> Any:
        sent = {index: SentPlane.of(plane, index) for index, plane in planes.items()}
        try:
            return self._connection.ask(
                tasks.follow,
                self._sweep,
                method,
                sent,
                arguments,
                report=_reporting(self._control),
                plane=lambda index: planes[index] if index in planes else self._load(index),
                # A server that was restarted has forgotten the objects.
                again=False,
            )
        except _CancelledError:
            self.close()
            if method == "begin":
                raise EncodingStopped from None
            return None


class _CancelledError(Exception):
    """The control of a call was cancelled."""


def _reporting(control: Control) -> Callable[[str, float | None], None]:
    def report(stage: str, fraction: float | None) -> None:
        if control.cancelled:
            raise _CancelledError
        control.report(stage, fraction)

    return report
