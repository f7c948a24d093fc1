"""Points and Shapes layers as prompts: make them, read them, write them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.drafts import Hand
from napari_sam3.core.errors import LayerError
from napari_sam3.core.planes import PlaneIndex, nearest
from napari_sam3.core.prompts import (
    DECIMALS,
    Box,
    PromptSet,
    on_plane,
    parse_polarity,
    read_points,
    read_shape,
)
from napari_sam3.session.grouping import PromptRow
from sam3.errors import PromptError

from .coordinates import between_layers
from .label_layer import image_shape, placement

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
POLARITY = "polarity"
# Green and magenta stay apart for every kind of colour vision; the symbols differ as well.
COLORS = {FOREGROUND: "#2ee65c", BACKGROUND: "#ff2fb9"}
SYMBOLS = {FOREGROUND: "disc", BACKGROUND: "cross"}
BOX_COLOR = "#ffd400"
# Pixels from a plane to the middle between it and the next one, with the noise of transforms.
HALF = 0.5 + 1e-6


def points_options(image: Image) -> dict[str, Any]:
    """Return the arguments of `add_points` for a layer of clicks on an image."""
    return {
        "ndim": len(image_shape(image)),
        "property_choices": {POLARITY: [FOREGROUND, BACKGROUND]},
        "feature_defaults": {POLARITY: FOREGROUND},
        "face_color": POLARITY,
        "face_color_cycle": COLORS,
        # Of small symbols napari draws little more than the border, so it tells the polarity too.
        "border_color": POLARITY,
        "border_color_cycle": COLORS,
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
        Clicks. A feature that can be read as foreground and background tells which they are: the
        one called "polarity", or else the first that holds nothing else; without one every point
        is foreground.
    boxes : Shapes
        Rectangles as boxes; ellipses and polygons as outlines. Lines mean nothing.
    """

    def __init__(self, image: Image, points: Points, boxes: Shapes) -> None:
        self.image, self.points, self.boxes = image, points, boxes
        self.writing = False
        self._flat: set[bytes] = set()
        # Which object each row belongs to. Not a feature of the layers: people who set defaults
        # for new points would have to know of it.
        self._point_numbers: list[int] = []
        self._shape_numbers: list[int] = []
        # And on which plane it was drawn: half-way between two planes rows do not tell.
        self._point_planes: list[PlaneIndex | None] = []
        self._shape_planes: list[PlaneIndex | None] = []
        self._spelling: tuple[str, Any] = (POLARITY, FOREGROUND)
        # A table without rows has no default, and the first point would have no polarity.
        self.next_click(foreground=True)

    # ---------------------------------------------------------------- reading

    def read(self, plane: PlaneIndex) -> list[PromptRow]:
        """Return the prompts on a plane, clicks first.

        Raises
        ------
        sam3.errors.PromptError
            For a polarity that cannot be read, or a box without area (told once; that box is
            passed over from then on).
        """
        clicks = read_points(self._rows_of_points(plane), self._polarity(), plane)
        numbers = _as_long_as(self._point_numbers, len(self.points.data))
        rows = [PromptRow(prompts, numbers[i]) for i, prompts in clicks.items()]
        return rows + [PromptRow(*found) for found in self._read_shapes(plane).values()]

    def planes(self, every: Iterable[PlaneIndex]) -> list[PlaneIndex]:
        """Return the planes, out of some of the same axes, on which prompts may stand."""
        wanted = list(every)
        layers = (self.points, self.boxes)
        # Prompts of layers with fewer axes stand on all planes along the others.
        if not wanted or any(len(one.data) and one.ndim < self.image.ndim for one in layers):
            return wanted
        rows = [self._rows_of_points(wanted[0]), *(one for one, _ in self._shapes(wanted[0]))]
        others = list(wanted[0].other_axes)
        found = {
            tuple(place)
            for some in rows
            if len(some)
            for place in nearest(some[:, others].round(DECIMALS)).tolist()
        }
        return [plane for plane in wanted if plane.index in found]

    def assign(self, plane: PlaneIndex, numbers: Sequence[int]) -> None:
        """Note which object each row belongs to, in the order in which `read` gives them."""
        clicks = read_points(self._rows_of_points(plane), self._polarity(), plane)
        count = len(clicks)
        _put(self._point_numbers, zip(clicks, numbers[:count], strict=True))
        _put(self._shape_numbers, zip(self._read_shapes(plane), numbers[count:], strict=True))

    def follow(self, event: Any, shown: PlaneIndex | None = None) -> None:
        """Keep track of rows added to the plane shown, and removed; called first with events."""
        action = str(getattr(event, "action", "")).lower()
        ours = event.source.unique_id == self.points.unique_id
        numbers = self._point_numbers if ours else self._shape_numbers
        planes = self._point_planes if ours else self._shape_planes
        count = len((self.points if ours else self.boxes).data)
        if action.endswith("removed"):
            gone = {int(i) for i in event.data_indices}
            numbers[:] = [number for i, number in enumerate(numbers) if i not in gone]
            planes[:] = [plane for i, plane in enumerate(planes) if i not in gone]
        elif action.endswith("added"):
            planes[:] = (planes + [None] * count)[:count]
            for i in event.data_indices:
                planes[int(i)] = shown

    def _read_shapes(self, plane: PlaneIndex) -> dict[int, tuple[PromptSet, int]]:
        found = {}
        numbers = _as_long_as(self._shape_numbers, len(self.boxes.data))
        for i, (corners, kind) in enumerate(self._shapes(plane)):
            name = corners.tobytes()
            if name in self._flat:
                continue
            try:
                prompts = read_shape(corners, kind, plane)
            except PromptError:
                self._flat.add(name)
                raise
            if prompts is not None:
                found[i] = prompts, numbers[i]
        return found

    # ---------------------------------------------------------------- writing

    def write(self, plane: PlaneIndex, hand: Hand) -> None:
        """Make the layers hold exactly the prompts of a hand on a plane; other planes stay."""
        with self._silently():
            self._write_points(plane, hand)
            here = (bool(on_plane(corners, plane).all()) for corners, _ in self._shapes(plane))
            self._remove_shapes(np.flatnonzero(list(here)).tolist())
            for draft in hand.drafts:
                prompts = draft.prompts
                if prompts.outline:
                    rows = [_row(plane, y, x) for x, y in prompts.outline]
                    self._add_shape(plane, rows, "polygon", draft.number)
                elif prompts.box is not None:
                    self._add_shape(plane, _corners(plane, prompts.box), "rectangle", draft.number)
            self.refresh_symbols()

    def sketch(self, plane: PlaneIndex, box: Box | None, last: int | None) -> int | None:
        """Draw a box that is not a prompt yet, in place of the sketch at an index."""
        with self._silently():
            if last is not None:
                self._remove_shapes([last])
            if box is None:
                return None
            self._add_shape(plane, _corners(plane, box), "rectangle", 0)
        return len(self.boxes.data) - 1

    def drop_boxes(self, plane: PlaneIndex, number: int | None, but: int) -> None:
        """Remove the shapes of an object on a plane, all but one index."""
        owned = self._read_shapes(plane)
        with self._silently():
            self._remove_shapes([i for i, (_, own) in owned.items() if own == number and i != but])

    def next_click(self, foreground: bool) -> None:
        """Set what the next point that napari adds will be."""
        if POLARITY in self.points.features:
            self.points.feature_defaults = {POLARITY: _name(foreground)}

    def flip(self, indices: Sequence[int]) -> None:
        """Turn foreground clicks into background ones, and the other way round."""
        column = self._polarity_column()
        if column is None or not len(indices):
            return
        table = self.points.features.copy()
        for i in indices:
            table.loc[i, column] = _opposite(table.loc[i, column])
        self.points.features = table
        self.points.refresh_colors(update_color_mapping=False)

    def refresh_symbols(self) -> None:
        """Give every point the symbol of its polarity."""
        if len(self.points.data) and POLARITY in self.points.features:
            names = [SYMBOLS.get(str(value), "disc") for value in self._polarity()]
            if [str(symbol) for symbol in self.points.symbol] != names:
                self.points.symbol = names

    def _write_points(self, plane: PlaneIndex, hand: Hand) -> None:
        points = self.points
        kept = set(np.flatnonzero(~on_plane(self._rows_of_points(plane), plane)).tolist())
        points.selected_data = set()
        points.remove([i for i in range(len(points.data)) if i not in kept])
        owned = [
            (draft.number, x, y, label)
            for draft in hand.drafts
            for (x, y), label in zip(draft.prompts.points, draft.prompts.labels, strict=True)
        ]
        if not owned:
            return
        rows = [_row(plane, y, x) for _, x, y, _ in owned]
        points.add(between_layers(self.image, points, rows, plane))
        first = len(kept)
        column, like = self._spelling
        if column in points.features:
            # In-place changes of the table tell nobody: assign it whole.
            table = points.features.copy()
            values = [_like(label, like) for *_, label in owned]
            table.loc[range(first, first + len(owned)), column] = values
            points.features = table
            points.refresh_colors(update_color_mapping=False)
        _as_long_as(self._point_numbers, len(points.data))
        self._point_numbers[first:] = [number for number, *_ in owned]
        points.selected_data = set()

    def _add_shape(
        self, plane: PlaneIndex, rows: list[list[float]], kind: str, number: int
    ) -> None:
        self.boxes.add(between_layers(self.image, self.boxes, rows, plane), shape_type=kind)
        self.boxes.selected_data = set()
        _as_long_as(self._shape_numbers, len(self.boxes.data))[-1] = number

    def _remove_shapes(self, indices: list[int]) -> None:
        self.boxes.selected_data = set()
        if indices:
            self.boxes.remove(indices)

    # ------------------------------------------------------- features and rows

    def _polarity_column(self) -> str | None:
        """Name of the feature that tells foreground from background."""
        features = self.points.features
        if POLARITY in features:
            return POLARITY
        for name in features:
            values = list(features[name].unique())
            try:
                readable = bool(values) and all(parse_polarity(v) in (0, 1) for v in values)
            except PromptError:
                readable = False
            if readable:
                return str(name)
        return None

    def _polarity(self) -> list[Any]:
        column = self._polarity_column()
        if column is None:
            return [True] * len(self.points.data)
        values = list(self.points.features[column])
        # Once the layer is empty, nothing else tells how its owner spells a polarity.
        self._spelling = (column, values[-1]) if values else self._spelling
        return values

    def _rows_of_points(self, plane: PlaneIndex) -> npt.NDArray[np.float64]:
        rows = between_layers(self.points, self.image, self.points.data, plane)
        for row, drawn in zip(rows, self._point_planes, strict=False):
            _settle(row[None], drawn, plane)
        return rows

    def _shapes(self, plane: PlaneIndex) -> Iterator[tuple[npt.NDArray[np.float64], str]]:
        for i, (corners, kind) in enumerate(
            zip(self.boxes.data, self.boxes.shape_type, strict=True)
        ):
            rows = between_layers(self.boxes, self.image, corners, plane)
            _settle(rows, self._shape_planes[i] if i < len(self._shape_planes) else None, plane)
            yield rows, str(kind)

    @contextmanager
    def _silently(self) -> Iterator[None]:
        before, self.writing = self.writing, True
        try:
            yield
        finally:
            self.writing = before


def _settle(rows: npt.NDArray[np.float64], drawn: PlaneIndex | None, plane: PlaneIndex) -> None:
    """Put rows (px of the image) onto the plane on which they were drawn, if they still lie there.

    A slider may stand half-way between two planes; napari shows one of them, and rows that are
    drawn there lie between both.
    """
    if drawn is None or drawn.axes != plane.axes:
        return
    others = list(plane.other_axes)
    if (np.abs(rows[:, others] - drawn.index) <= HALF).all():
        rows[:, others] = drawn.index


def _as_long_as(numbers: list[int], count: int) -> list[int]:
    """Give rows that were added without notice no object; forget those that are gone."""
    numbers[:] = (numbers + [0] * count)[:count]
    return numbers


def _put(numbers: list[int], pairs: Iterable[tuple[int, int]]) -> None:
    for i, number in pairs:
        numbers[i] = number


def _corners(plane: PlaneIndex, box: Box) -> list[list[float]]:
    x0, y0, x1, y1 = box
    return [_row(plane, y, x) for y, x in ((y0, x0), (y0, x1), (y1, x1), (y1, x0))]


def _row(plane: PlaneIndex, y: float, x: float) -> list[float]:
    """Return the n-D position (px of the image) of a place in a plane."""
    fixed = iter(plane.index)
    free = {plane.axes[0]: y, plane.axes[1]: x}
    return [float(free[axis]) if axis in free else float(next(fixed)) for axis in range(plane.ndim)]


def _name(label: int | bool) -> str:
    return FOREGROUND if label else BACKGROUND


def _like(label: int, example: Any) -> Any:
    """Write a polarity the way a column does: as a name, or as a number or bool."""
    if isinstance(example, str):
        return _name(label)
    return type(example)(label)


def _opposite(value: Any) -> Any:
    return _like(1 - parse_polarity(value), value)
