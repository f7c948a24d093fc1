"""Bind a session to the layers of a viewer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from napari_sam3.inference.models import model_loader
from napari_sam3.session.session import LabelingSession

from .binding import Binding
from .gestures import KEYS
from .layer_set import LayerSet
from .plane_source import ChannelChoice, Contrast, PlaneKey

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Points, Shapes

    from napari_sam3.inference.models import Loader
    from napari_sam3.session.options import Mode
    from sam3.predictor import Predictor

    from .tools import Tools

__all__ = ["Binding", "ChannelChoice", "PlaneKey", "bind"]


def bind(
    viewer: ViewerModel,
    image: Image | None = None,
    labels: Labels | None = None,
    *,
    points: Points | None = None,
    boxes: Shapes | None = None,
    align: bool = False,
    predictor: Predictor | Loader | None = None,
    session: LabelingSession | None = None,
    contrast: Contrast = "image",
    mode: Mode = "one",
    keys: Mapping[str, str] = KEYS,
    on_error: Callable[[BaseException], None] | None = None,
    tools: Tools | None = None,
) -> Binding:
    """Bind a session to an image of a viewer; missing layers are created.

    Parameters
    ----------
    viewer : Viewer or ViewerModel
        A bare `ViewerModel` needs no display.
    image : Image, optional
        Image to segment; by default the selected or topmost one.
    labels : Labels, optional
        Labels to write to, with the shape and position of the image.
    points, boxes : Points, Shapes, optional
        Existing layers to read prompts from.
    align : bool
        Move misplaced labels onto the image, instead of raising an error.
    predictor : Predictor or callable, optional
        A predictor, or a function that loads one; by default the embedded model.
    session : LabelingSession, optional
        Session to use, with its own predictor; it is not closed with the binding.
    contrast : {"image", "plane", "layer"} or tuple of float
        Values shown to the model as black and white: percentiles of the whole image or of each
        plane, the contrast limits of the layer, or your own.
    mode : {"one", "many"}
        One draft at a time, or many; ignored with a `session`.
    keys : mapping from str to str
        Keys of the commands by name; see `napari_sam3.layers.gestures.KEYS`.
    on_error : callable, optional
        Called with every error; without it errors are raised.
    tools : Tools, optional
        Pool of reusable layers; without it layers are created, and removed at the end.

    Returns
    -------
    Binding

    Raises
    ------
    LayerError, sam3.errors.ImageError
        If no image was found, or a layer cannot be used.
    """
    own = session is None
    if session is None:
        session = LabelingSession(predictor if predictor is not None else model_loader(), mode=mode)
    layers = None
    try:
        layers = LayerSet.make(viewer, image, labels, points, boxes, tools, align=align)
        return Binding(
            layers, session, own_session=own, contrast=contrast, keys=keys, on_error=on_error
        )
    except BaseException:
        if layers is not None:
            layers.remove_tools(*(() if labels is not None else ("labels",)))
        if own:
            session.close()
        raise
