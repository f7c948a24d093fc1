"""Image layers of files, with their path in the metadata."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam3.core.planes import PlaneIndex
from napari_sam3.images.contrast import ImageContrast, channel_axes
from napari_sam3.images.plane_image import Channel, RenderedPlane

from .plane_source import KNOWN_CONTRAST

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_sam3.images.lazy import LazyImage

    from .plane_source import Contrast

__all__ = ["add_image", "first_plane", "file_of", "middle_plane"]

#: Key in the metadata of an image layer: the path and the scene that it was opened from.
OPENED_FROM = "napari-sam3 file"
#: Number of pixels sampled for the contrast limits shown, and their percentiles.
SAMPLED, PERCENTILES = 1 << 20, (0.1, 99.9)


def add_image(
    viewer: ViewerModel,
    image: LazyImage,
    *,
    name: str,
    path: str = "",
    scene: str = "",
    contrast: ImageContrast | None = None,
) -> Image:
    """Add an image as a layer, with its scale and units, and its contrast if known."""
    known = {} if contrast is None else {KNOWN_CONTRAST: contrast}
    axes = image.axes
    return viewer.add_image(
        image.data,
        rgb=image.rgb,
        multiscale=image.multiscale,
        name=name,
        scale=axes.scale,
        translate=axes.translate,
        units=[unit or "pixel" for unit in axes.units],
        axis_labels=axes.names,
        metadata={OPENED_FROM: (path, scene), **known},
        **_shown_limits(image),
    )


def _shown_limits(image: LazyImage) -> dict[str, Any]:
    """Return contrast limits for display, which ignore a few extreme pixels."""
    data = image.data
    if not isinstance(data, np.ndarray) or image.rgb or data.dtype.kind == "b":
        return {}
    step = max(1, data.size // SAMPLED)
    values = data.reshape(-1)[::step]
    low, high = np.nanpercentile(values, PERCENTILES).tolist()
    return {"contrast_limits": (low, high)} if np.isfinite([low, high]).all() and low < high else {}


def file_of(image: Image) -> tuple[str, str]:
    """Return the path and the scene that an image was opened from; empty if unknown."""
    known = image.metadata.get(OPENED_FROM)
    if isinstance(known, tuple) and len(known) == 2:
        return str(known[0]), str(known[1])
    path = getattr(image.source, "path", None)
    return (str(path), "") if path and Path(path).exists() else ("", "")


def middle_plane(image: LazyImage) -> PlaneIndex:
    """Return the initial plane of an image."""
    ndim = len(image.shape)
    return PlaneIndex((ndim - 2, ndim - 1), tuple(length // 2 for length in image.shape[:-2]))


def contrast_of(image: LazyImage, name: str) -> ImageContrast:
    """Return the contrast that the layer of an image will have, without reading pixels."""
    return ImageContrast(
        image.data,
        rgb=image.rgb,
        multiscale=image.multiscale,
        apart=channel_axes(image.axes.names),
        name=name,
    )


def first_plane(
    image: LazyImage, contrast: Contrast, known: ImageContrast, name: str
) -> RenderedPlane | None:
    """Return the initial plane of an image, as the model will see it.

    The pixels are those of the layer that `add_image` creates, so that cached features match.
    None with the contrast of a layer, which does not exist yet.

    Parameters
    ----------
    image : LazyImage
        The image.
    contrast : {"image", "plane", "layer"} or tuple of float
        Values shown to the model as black and white; see `bind`.
    known : ImageContrast
        From `contrast_of`.
    name : str
        Name of the image in messages.
    """
    limits: Any = None
    if contrast == "image":
        limits = known
    elif isinstance(contrast, tuple):
        pair = contrast[0] if isinstance(contrast[0], tuple) else contrast
        limits = float(pair[0]), float(pair[1])
    elif contrast == "layer":
        return None
    plane = middle_plane(image)
    return RenderedPlane(Channel(image.data, plane, image.rgb, image.multiscale, limits, name))
