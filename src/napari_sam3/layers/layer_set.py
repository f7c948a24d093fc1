"""The five layers of a binding."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam3.core.errors import LayerError, MisplacedError
from napari_sam3.core.planes import PlaneIndex

from .coordinates import shown_plane
from .image_layers import find_image
from .label_layer import check_labels, image_shape, place_on, placement
from .label_levels import LARGEST_SIDE, make_levels, write_levels
from .preview import TOOL, preview_colors
from .prompt_styles import boxes_options, check_prompts, points_options
from .tools import Tools

if TYPE_CHECKING:
    import numpy.typing as npt
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer, Points, Shapes

__all__ = [
    "LayerSet",
    "add_labels",
    "find_labels",
    "fit_labels",
    "fits_by_itself",
]

PREVIEW_NAME = "SAM 3 preview"
#: Key in the metadata of labels that were created for an image: the `unique_id` of both.
MADE_FOR = "napari-sam3 image"


@dataclass(eq=False)
class LayerSet:
    """Layers of a binding, compared by `unique_id`, since proxies are never identical.

    Parameters
    ----------
    viewer : Viewer or ViewerModel
        Viewer with the layers.
    image, labels, points, boxes, preview
        The layers.
    made : frozenset of str
        Roles of layers created for the binding; all but the labels are removed with it.
    tools : Tools
        Pool of reusable layers.
    """

    viewer: ViewerModel
    image: Image
    labels: Labels
    points: Points
    boxes: Shapes
    preview: Labels
    made: frozenset[str]
    tools: Tools

    @classmethod
    def make(
        cls,
        viewer: ViewerModel,
        image: Image | None,
        labels: Labels | None,
        points: Points | None,
        boxes: Shapes | None,
        tools: Tools | None = None,
        *,
        align: bool = False,
    ) -> LayerSet:
        """Complete a set by adding missing layers to the viewer.

        With `align`, labels are moved onto the image, as are always those created for it.
        """
        image = find_image(viewer) if image is None else image
        # Everything is checked before the first layer is added.
        _check_image(image)
        if labels is not None:
            fit_labels(labels, image, align=align)
        for layer in (points, boxes):
            if layer is not None:
                check_prompts(layer, image)
        tools = Tools(viewer) if tools is None else tools
        tools.follow(image)
        # In this order from the bottom up.
        given = {"labels": labels, "preview": None, "boxes": boxes, "points": points}
        layers = {
            role: _take(viewer, image, role, tools) if layer is None else layer
            for role, layer in given.items()
        }
        made = frozenset(role for role, layer in given.items() if layer is None)
        return cls(viewer, image, made=made, tools=tools, **layers)

    @property
    def roles(self) -> dict[str, Layer]:
        """The layers by their roles."""
        return {
            "image": self.image, "labels": self.labels, "preview": self.preview,
            "boxes": self.boxes, "points": self.points,
        }  # fmt: skip

    @property
    def missing(self) -> tuple[str, ...]:
        """Roles whose layer is no longer in the viewer."""
        there = {layer.unique_id for layer in self.viewer.layers}
        return tuple(role for role, layer in self.roles.items() if layer.unique_id not in there)

    def has(self, layer: Layer) -> bool:
        """Whether a layer is in the viewer."""
        return any(other.unique_id == layer.unique_id for other in self.viewer.layers)

    def role(self, layer: Layer) -> str | None:
        """Return the role of a layer, if any."""
        own = (role for role, one in self.roles.items() if one.unique_id == layer.unique_id)
        return next(own, None)

    def hides(self, plane: PlaneIndex) -> bool:
        """Whether the viewer shows another plane of the labels, parallel to this one."""
        try:
            shown = shown_plane(self.labels, self.viewer.dims)
        except LayerError:  # such as in 3-D display
            return False
        return shown.axes == plane.axes and shown != plane

    @property
    def in_3d(self) -> bool:
        """Whether the viewer shows a volume, not a plane."""
        return bool(self.viewer.dims.ndisplay == 3)

    def check_image(self) -> None:
        """Raise LayerError if the image was deleted."""
        if "image" in self.missing:
            raise LayerError(
                f"the image {self.image.name!r} was deleted. Expected an image in the viewer. "
                "Choose another one."
            )

    def restore(self) -> None:
        """Create missing layers again; the deleted labels layer itself is inserted again.

        Raises
        ------
        LayerError
            If the image itself was deleted.
        """
        self.check_image()
        missing = self.missing
        if "labels" in missing:
            # The layer with the accepted objects, at its old position above the image.
            below = next(i for i, one in enumerate(self.viewer.layers) if self._is_image(one))
            self.viewer.layers.insert(below + 1, self.labels)
        for role in missing:
            if role != "labels":
                setattr(self, role, _take(self.viewer, self.image, role, self.tools))
                self.made |= {role}

    def follow_image(self) -> None:
        """Move the layers created for the image, and spare ones, onto it."""
        for role in self.made - {"preview"}:
            place_on(self.roles[role], self.image)
        if is_made_for(self.labels, self.image):
            place_on(self.labels, self.image)
        self.tools.follow(self.image)

    def _is_image(self, layer: Layer) -> bool:
        return bool(layer.unique_id == self.image.unique_id)

    def select_points(self) -> None:
        """Make the points the active layer, so that the next click is a prompt."""
        self.viewer.layers.selection.active = self.points

    def remove_tools(self, *more: str) -> None:
        """Put away the layers that only serve the binding; remove those of other given roles."""
        for role in self.made - {"labels"}:
            self.tools.put_away(role, self.roles[role])
        for role in more:
            layer = self.roles[role]
            if self.has(layer):
                self.viewer.layers.remove(layer)


def find_labels(viewer: ViewerModel, image: Image) -> Labels | None:
    """Return the Labels layer that belongs to an image, or None.

    This is the topmost one created for it; otherwise the only visible and writable one that lies
    on the image pixel by pixel, such as saved labels.
    """
    from napari.layers import Labels

    others = []
    for layer in reversed(list(viewer.layers)):
        if isinstance(layer, Labels) and (
            is_made_for(layer, image) or fits_by_itself(layer, image)
        ):
            with suppress(LayerError):
                fit_labels(layer, image)
                if is_made_for(layer, image):
                    return layer
                others.append(layer)
    return others[0] if len(others) == 1 else None


def fits_by_itself(labels: Labels, image: Image) -> bool:
    """Whether labels not created for an image are used for it without an explicit choice."""
    if not (labels.visible and labels.editable) or {MADE_FOR, TOOL} & set(labels.metadata):
        return False
    try:
        check_labels(labels, image)
    except LayerError:
        return False
    return True


def is_made_for(labels: Labels, image: Image) -> bool:
    """Whether a Labels layer was created for an image; a copy of one was not."""
    return bool(labels.metadata.get(MADE_FOR) == _made_for(labels, image))


def _made_for(labels: Labels, image: Image) -> str:
    return f"{image.unique_id} {labels.unique_id}"


def fit_labels(labels: Labels, image: Image, *, align: bool = False) -> None:
    """Validate labels like `check_labels`, and move them onto the image if they follow it.

    Raises
    ------
    LayerError
        If objects of the image cannot be written to them.
    """
    try:
        check_labels(labels, image)
    except MisplacedError:
        if not (align or is_made_for(labels, image)):
            raise
        place_on(labels, image)


def add_labels(
    viewer: ViewerModel, image: Image, data: npt.NDArray[Any] | None = None, **more: Any
) -> Labels:
    """Add a Labels layer for an image, empty or with the given labels."""
    shape = image_shape(image)
    # Zeros take no memory until they are written to.
    large = max(shape[-2:]) > LARGEST_SIDE
    levels: Any = make_levels(shape) if large else np.zeros(shape, np.uint32)
    if data is not None and large:
        axes = len(shape) - 2, len(shape) - 1
        for place in np.ndindex(shape[:-2]):
            whole = slice(0, shape[-2]), slice(0, shape[-1])
            write_levels(levels, PlaneIndex(axes, place), whole, data[place])
    elif data is not None:
        levels = data
    look = {"name": f"{image.name} labels", "opacity": 0.6, **placement(image), **more}
    labels = viewer.add_labels(levels, multiscale=large, **look)
    labels.metadata = {**labels.metadata, MADE_FOR: _made_for(labels, image)}
    return labels


def _check_image(image: Image) -> None:
    shape = image_shape(image)
    if len(shape) < 2:
        raise LayerError(
            f"the image {image.name!r} has shape {shape}. Expected at least 2 axes. Choose another "
            "one."
        )
    if 0 in shape:
        raise LayerError(
            f"the image {image.name!r} is empty: shape {shape}. Expected pixels. Choose another "
            "one."
        )


def _take(viewer: ViewerModel, image: Image, role: str, tools: Tools) -> Layer:
    """Return a spare layer for a role, or a new one."""

    def make() -> Layer:
        return _add(viewer, image, role)

    if role == "labels":
        return make()
    look: dict[str, Any] = {}
    if role == "points":
        options = points_options(image)
        look = {"name": options["name"], "current_size": options["size"]}
    elif role == "boxes":
        options = boxes_options(image)
        look = {"name": options["name"], "current_edge_width": options["edge_width"]}
    return tools.take(role, image, make, look)


def _add(viewer: ViewerModel, image: Image, role: str) -> Layer:
    if role == "points":
        return viewer.add_points(**points_options(image))
    if role == "boxes":
        return viewer.add_shapes(**boxes_options(image))
    if role == "labels":
        return add_labels(viewer, image)
    layer = viewer.add_labels(
        # Sized like the masks it shows, not like the image; see `Preview`.
        np.zeros((1,) * len(image_shape(image)), np.uint8),
        name=PREVIEW_NAME,
        colormap=preview_colors(),
        opacity=1.0,
        metadata={TOOL: True},
        **placement(image),
    )
    layer.editable = False
    return layer
