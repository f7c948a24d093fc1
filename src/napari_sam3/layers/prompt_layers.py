"""Points and Shapes layers as a view of prompts: read and written by plane."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.planes import PlaneIndex, nearest
from napari_sam3.core.prompt_rows import DECIMALS, on_plane, read_points, read_shape
from napari_sam3.session.grouping import PromptRow
from sam3.errors import PromptError

from .coordinates import between_layers
from .prompt_edits import PromptEdits
from .prompt_features import ObjectNumbers, Polarity

if TYPE_CHECKING:
    from napari_sam3.core.drafts import DraftSet
    from napari_sam3.core.prompts import Box, PromptSet

    from .layer_set import LayerSet

__all__ = ["PlaneRows", "PromptLayers"]

# Half the distance of planes in px, with tolerance for rounding of transforms.
HALF = 0.5 + 1e-6


@dataclass(frozen=True)
class PlaneRows:
    """The prompts on one plane.

    Parameters
    ----------
    plane : PlaneIndex
        The plane.
    rows : tuple of PromptRow
        Clicks first, each with the number of its object.
    clicks, shapes : tuple of int
        Their indices in the layers.
    polarities : tuple
        Polarities of all clicks of the layer, as spelled.
    """

    plane: PlaneIndex
    rows: tuple[PromptRow, ...]
    clicks: tuple[int, ...]
    shapes: tuple[int, ...]
    polarities: tuple[Any, ...]


class PromptLayers:
    """The layers that show prompts for one image.

    Parameters
    ----------
    layers : LayerSet
        Points are clicks, rectangles are boxes, ellipses and polygons outlines; lines are
        ignored. Prompts are read in px of the image.
    edited : callable
        Called once after each edit by the user.
    """

    def __init__(self, layers: LayerSet, edited: Callable[[], None]) -> None:
        self.image, self.points, self.boxes = layers.image, layers.points, layers.boxes
        self.polarity = Polarity(self.points)
        self._point_numbers = ObjectNumbers(self.points, own="points" in layers.made)
        self._shape_numbers = ObjectNumbers(self.boxes, own="boxes" in layers.made)
        # Planes of objects, since rows half-way between two planes are ambiguous.
        self._homes: dict[int, PlaneIndex] = {}
        self._flat: set[bytes] = set()
        # A table without rows has no default, so that the first point would lack a polarity.
        self.polarity.set_next(foreground=True)
        self._edits = (
            PromptEdits(self.points, self._point_numbers, self.polarity.values, edited),
            PromptEdits(self.boxes, self._shape_numbers, lambda: None, edited),
        )

    def close(self) -> None:
        """Stop listening to the layers."""
        for edits in self._edits:
            edits.close()

    # ---------------------------------------------------------------- reading

    def read(self, plane: PlaneIndex, *, drawn: bool = False) -> PlaneRows:
        """Return the prompts on a plane.

        Parameters
        ----------
        plane : PlaneIndex
            The plane.
        drawn : bool
            Whether rows without an object were just drawn on it.

        Raises
        ------
        sam3.errors.PromptError
            For a polarity that cannot be read, or a box without area (raised once; that box is
            then skipped).
        """
        polarities = self.polarity.values()
        new = plane if drawn else None
        numbers = self._point_numbers.values()
        clicks = read_points(self._rows_of_points(plane, numbers, new), polarities, plane)
        shapes, owners = self._read_shapes(plane, new), self._shape_numbers.values()
        rows = [PromptRow(prompts, numbers[i]) for i, prompts in clicks.items()]
        rows += [PromptRow(prompts, owners[i]) for i, prompts in shapes.items()]
        return PlaneRows(plane, tuple(rows), tuple(clicks), tuple(shapes), tuple(polarities))

    def planes(self, every: Iterable[PlaneIndex]) -> list[PlaneIndex]:
        """Return those of some planes with the same axes on which there may be prompts."""
        wanted = list(every)
        layers = (self.points, self.boxes)
        # Prompts of layers with fewer axes are on all planes along the missing ones.
        if not wanted or any(len(one.data) and one.ndim < self.image.ndim for one in layers):
            return wanted
        points = self._rows_of_points(wanted[0], self._point_numbers.values())
        rows = [points, *(one for one, _ in self._shapes(wanted[0]))]
        others = list(wanted[0].other_axes)
        found = {
            tuple(place)
            for some in rows
            if len(some)
            for place in nearest(some[:, others].round(DECIMALS)).tolist()
        }
        return [plane for plane in wanted if plane.index in found]

    def _read_shapes(
        self, plane: PlaneIndex, new: PlaneIndex | None = None
    ) -> dict[int, PromptSet]:
        found = {}
        for i, (corners, kind) in enumerate(self._shapes(plane, new)):
            name = corners.tobytes()
            if name in self._flat:
                continue
            try:
                prompts = read_shape(corners, kind, plane)
            except PromptError:
                self._flat.add(name)
                raise
            if prompts is not None:
                found[i] = prompts
        return found

    # ---------------------------------------------------------------- writing

    def mark(self, found: PlaneRows, numbers: Sequence[int], *, show: bool) -> None:
        """Show the symbols and object numbers of rows that were read.

        Parameters
        ----------
        found : PlaneRows
            From `read`.
        numbers : sequence of int
            The object of each row.
        show : bool
            Whether there may be several objects, so that their numbers are shown.
        """
        with self._quietly():
            self._show_numbers(show)
            self.polarity.refresh_symbols(found.polarities)
            if any(row.number != number for row, number in zip(found.rows, numbers, strict=True)):
                count = len(found.clicks)
                self._point_numbers.put(dict(zip(found.clicks, numbers[:count], strict=True)))
                self._shape_numbers.put(dict(zip(found.shapes, numbers[count:], strict=True)))
        self._homes |= dict.fromkeys(numbers, found.plane)

    def write(self, plane: PlaneIndex, draft_set: DraftSet, *, show: bool) -> None:
        """Replace the prompts of a plane in the layers; other planes do not change."""
        with self._quietly():
            self._show_numbers(show)
            self._write_points(plane, draft_set)
            here = (bool(on_plane(corners, plane).all()) for corners, _ in self._shapes(plane))
            self._remove_shapes(np.flatnonzero(list(here)).tolist())
            for draft in draft_set.drafts:
                prompts = draft.prompts
                if prompts.outline:
                    rows = [_row(plane, y, x) for x, y in prompts.outline]
                    self._add_shape(plane, rows, "polygon", draft.number)
                elif prompts.box is not None:
                    self._add_shape(plane, _corners(plane, prompts.box), "rectangle", draft.number)
            self.polarity.refresh_symbols(self.polarity.values())
        self._homes = {n: home for n, home in self._homes.items() if home != plane}
        self._homes |= {draft.number: plane for draft in draft_set.drafts}

    def sketch(self, plane: PlaneIndex, box: Box | None, last: int | None) -> int | None:
        """Draw a box that is not a prompt yet, replacing the sketch at index `last`."""
        with self._quietly():
            if last is not None:
                self._remove_shapes([last])
            if box is None:
                return None
            self._add_shape(plane, _corners(plane, box), "rectangle", 0)
        return len(self.boxes.data) - 1

    def drop_boxes(self, plane: PlaneIndex, number: int | None, but: int) -> None:
        """Remove all shapes of an object on a plane except that at index `but`."""
        owners = self._shape_numbers.values()
        owned = [i for i in self._read_shapes(plane) if owners[i] == number and i != but]
        with self._quietly():
            self._remove_shapes(owned)

    def deselect_clicks(self) -> None:
        """Deselect the points that napari has added, since the highlight hides their colour."""
        with self._quietly():
            self.points.selected_data = set()

    def _show_numbers(self, show: bool) -> None:
        if show:
            self._point_numbers.show()
            self._shape_numbers.show()

    def _write_points(self, plane: PlaneIndex, draft_set: DraftSet) -> None:
        points = self.points
        rows = self._rows_of_points(plane, self._point_numbers.values())
        points.selected_data = set()
        points.remove(np.flatnonzero(on_plane(rows, plane)).tolist())
        owned = [
            (draft.number, x, y, label)
            for draft in draft_set.drafts
            for (x, y), label in zip(draft.prompts.points, draft.prompts.labels, strict=True)
        ]
        if not owned:
            return
        first = len(points.data)
        places = [_row(plane, y, x) for _, x, y, _ in owned]
        points.add(between_layers(self.image, points, places, plane))
        self.polarity.put(first, [label for *_, label in owned])
        self._point_numbers.put({first + i: number for i, (number, *_) in enumerate(owned)})
        points.selected_data = set()

    def _add_shape(
        self, plane: PlaneIndex, rows: list[list[float]], kind: str, number: int
    ) -> None:
        self.boxes.add(between_layers(self.image, self.boxes, rows, plane), shape_type=kind)
        self.boxes.selected_data = set()
        self._shape_numbers.put({len(self.boxes.data) - 1: number})

    def _remove_shapes(self, indices: list[int]) -> None:
        self.boxes.selected_data = set()
        if indices:
            self.boxes.remove(indices)

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        with ExitStack() as stack:
            for edits in self._edits:
                stack.enter_context(edits.quietly())
            yield

    # ------------------------------------------------------------------- rows

    def _rows_of_points(
        self, plane: PlaneIndex, numbers: Sequence[int], new: PlaneIndex | None = None
    ) -> npt.NDArray[np.float64]:
        rows = between_layers(self.points, self.image, self.points.data, plane)
        for row, number in zip(rows, numbers, strict=True):
            _settle(row[None], self._homes.get(number, new), plane)
        return rows

    def _shapes(
        self, plane: PlaneIndex, new: PlaneIndex | None = None
    ) -> Iterator[tuple[npt.NDArray[np.float64], str]]:
        shapes = zip(
            self.boxes.data, self.boxes.shape_type, self._shape_numbers.values(), strict=True
        )
        for corners, kind, number in shapes:
            rows = between_layers(self.boxes, self.image, corners, plane)
            _settle(rows, self._homes.get(number, new), plane)
            yield rows, str(kind)


def _settle(rows: npt.NDArray[np.float64], drawn: PlaneIndex | None, plane: PlaneIndex) -> None:
    """Snap rows (px of the image) to the plane on which they were drawn, if they are still near.

    A slider may be half-way between two planes; napari shows one of them, and rows drawn there
    lie between both.
    """
    if drawn is None or drawn.axes != plane.axes:
        return
    others = list(plane.other_axes)
    if (np.abs(rows[:, others] - drawn.index) <= HALF).all():
        rows[:, others] = drawn.index


def _corners(plane: PlaneIndex, box: Box) -> list[list[float]]:
    x0, y0, x1, y1 = box
    return [_row(plane, y, x) for y, x in ((y0, x0), (y0, x1), (y1, x1), (y1, x0))]


def _row(plane: PlaneIndex, y: float, x: float) -> list[float]:
    """Return the n-D position (px of the image) of a point in a plane."""
    fixed = iter(plane.index)
    free = {plane.axes[0]: y, plane.axes[1]: x}
    return [float(free[axis]) if axis in free else float(next(fixed)) for axis in range(plane.ndim)]
