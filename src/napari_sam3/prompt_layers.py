"""Points and Shapes layers as prompts: make them, read them, write them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sam3.errors import PromptError

from .coordinates import between_layers
from .errors import LayerError
from .label_layer import image_shape, placement
from .planes import PlaneIndex
from .prompts import PromptSet, on_plane, prompts_from_rows

if TYPE_CHECKING:
    from napari.layers import Image, Points, Shapes

__all__ = [
    "BACKGROUND",
    "FOREGROUND",
    "PromptLayers",
    "boxes_options",
    "check_prompts",
    "points_options",
]

FOREGROUND, BACKGROUND = "foreground", "background"
PROPERTY = "polarity"
# Green and magenta stay apart for every kind of colour vision; the symbols differ as well.
COLORS = {FOREGROUND: "#2ee65c", BACKGROUND: "#ff2fb9"}
SYMBOLS = {FOREGROUND: "disc", BACKGROUND: "cross"}
BOX_COLOR = "#ffd400"


def points_options(image: Image) -> dict[str, Any]:
    """Return the arguments of `add_points` for a layer of clicks on an image."""
    return {
        "ndim": len(image_shape(image)),
        "property_choices": {PROPERTY: [FOREGROUND, BACKGROUND]},
        "feature_defaults": {PROPERTY: FOREGROUND},
        "face_color": PROPERTY,
        "face_color_cycle": COLORS,
        "border_color": "white",
        "border_width": 0.1,
        "size": max(1.0, min(sorted(image_shape(image))[-2:]) / 60),
        # About the same size on the screen at any zoom: a click marks a place, not an extent.
        "canvas_size_limits": (11, 15),
        "name": "SAM 3 points",
        **placement(image),
    }


def boxes_options(image: Image) -> dict[str, Any]:
    """Return the arguments of `add_shapes` for a layer of boxes on an image."""
    shape = image_shape(image)
    return {
        "ndim": len(shape),
        "edge_color": BOX_COLOR,
        "face_color": [0, 0, 0, 0],
        "edge_width": max(0.6, min(sorted(shape)[-2:]) / 350),
        "name": "SAM 3 boxes",
        **placement(image),
    }


def check_prompts(layer: Points | Shapes, image: Image) -> None:
    """Refuse a layer whose positions cannot be brought into an image.

    Raises
    ------
    LayerError
        If it has more axes than the image, or units that cannot be converted.
    """
    if layer.ndim > image.ndim:
        raise LayerError(
            f"{layer.name!r} has {layer.ndim} axes, but the image {image.name!r} {image.ndim}; "
            "choose a prompt layer with at most as many"
        )
    axes = (image.ndim - 2, image.ndim - 1)
    between_layers(
        layer, image, np.zeros((1, layer.ndim)), PlaneIndex(axes, (0,) * (image.ndim - 2))
    )


class PromptLayers:
    """The layers that hold prompts for one image.

    Parameters
    ----------
    image : Image
        Prompts are read in px of this layer.
    points : Points
        Clicks, with a `polarity` feature; without it every point is foreground.
    boxes : Shapes
        Rectangles.
    """

    def __init__(self, image: Image, points: Points, boxes: Shapes) -> None:
        self.image, self.points, self.boxes = image, points, boxes
        self.writing = False
        self._flat: set[bytes] = set()
        # A table without rows has no default, and the first point would have no polarity.
        self.next_click(foreground=True)

    def read(self, plane: PlaneIndex) -> PromptSet:
        """Return the prompts on a plane.

        Raises
        ------
        sam3.errors.PromptError
            For a polarity that cannot be read, or a box without area (told once; that box is
            passed over from then on).
        """
        rows = self._rows_of_points(plane)
        boxes = []
        for corners in self._rows_of_boxes(plane):
            name = corners.tobytes()
            if name in self._flat:
                continue
            try:
                if on_plane(corners, plane).all():
                    prompts_from_rows([], [], [corners], plane)
            except PromptError:
                self._flat.add(name)
                raise
            boxes.append(corners)
        return prompts_from_rows(rows, self._polarity(), boxes, plane)

    def write(self, plane: PlaneIndex, prompts: PromptSet) -> None:
        """Make the layers hold exactly these prompts on a plane; other planes stay."""
        with self._silently():
            self.write_points(plane, prompts)
            self.write_box(plane, prompts.box)
            self.refresh_symbols()

    def write_points(self, plane: PlaneIndex, prompts: PromptSet) -> None:
        """Replace the points on a plane."""
        points = self.points
        kept = np.flatnonzero(~on_plane(self._rows_of_points(plane), plane))
        with self._silently():
            points.selected_data = set()
            points.remove([i for i in range(len(points.data)) if i not in set(kept.tolist())])
            if prompts.points:
                rows = [_row(plane, y, x) for x, y in prompts.points]
                points.add(between_layers(self.image, points, rows, plane))
                self._set_polarity(len(kept), [_name(label) for label in prompts.labels])
                points.selected_data = set()

    def write_box(self, plane: PlaneIndex, box: tuple[float, float, float, float] | None) -> None:
        """Replace the rectangles on a plane by at most one."""
        rows = list(self._rows_of_boxes(plane, rectangles_only=False))
        here = [i for i, corners in enumerate(rows) if on_plane(corners, plane).all()]
        with self._silently():
            self.boxes.selected_data = set()
            if here:
                self.boxes.remove(here)
            if box is not None:
                x0, y0, x1, y1 = box
                corners = [_row(plane, y, x) for y, x in ((y0, x0), (y0, x1), (y1, x1), (y1, x0))]
                vertices = between_layers(self.image, self.boxes, corners, plane)
                self.boxes.add_rectangles([vertices])
                self.boxes.selected_data = set()

    def next_click(self, foreground: bool) -> None:
        """Set what the next point that napari adds will be."""
        if PROPERTY in self.points.features:
            self.points.feature_defaults = {PROPERTY: _name(foreground)}

    def refresh_symbols(self) -> None:
        """Give every point the symbol of its polarity."""
        if len(self.points.data) and PROPERTY in self.points.features:
            names = [SYMBOLS.get(str(value), "disc") for value in self._polarity()]
            if [str(symbol) for symbol in self.points.symbol] != names:
                self.points.symbol = names

    def _polarity(self) -> list[Any]:
        if PROPERTY not in self.points.features:
            return [True] * len(self.points.data)
        return list(self.points.features[PROPERTY])

    def _set_polarity(self, first: int, names: list[str]) -> None:
        if PROPERTY not in self.points.features:
            return
        # In-place changes of the table tell nobody: assign it whole.
        table = self.points.features.copy()
        table.loc[range(first, first + len(names)), PROPERTY] = names
        self.points.features = table
        self.points.refresh_colors(update_color_mapping=False)

    def _rows_of_points(self, plane: PlaneIndex) -> npt.NDArray[np.float64]:
        return between_layers(self.points, self.image, self.points.data, plane)

    def _rows_of_boxes(
        self, plane: PlaneIndex, rectangles_only: bool = True
    ) -> Iterator[npt.NDArray[np.float64]]:
        for corners, kind in zip(self.boxes.data, self.boxes.shape_type, strict=True):
            if kind == "rectangle" or not rectangles_only:
                yield between_layers(self.boxes, self.image, corners, plane)

    @contextmanager
    def _silently(self) -> Iterator[None]:
        before, self.writing = self.writing, True
        try:
            yield
        finally:
            self.writing = before


def _row(plane: PlaneIndex, y: float, x: float) -> list[float]:
    """Return the n-D position (px of the image) of a place in a plane."""
    fixed = iter(plane.index)
    free = {plane.axes[0]: y, plane.axes[1]: x}
    return [float(free[axis]) if axis in free else float(next(fixed)) for axis in range(plane.ndim)]


def _name(label: int | bool) -> str:
    return FOREGROUND if label else BACKGROUND
