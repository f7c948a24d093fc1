"""Divisions by key: press it on the parent, then on one or both daughters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from psygnal import SignalInstance

from napari_sam3.core.tracks import TrackError, Tracks, check_parents

from .measured_frames import truncated
from .track_layer import TrackLayer

if TYPE_CHECKING:
    from napari_sam3.session.session import LabelingSession

    from .gestures import Place
    from .label_layer import LabelStore
    from .layer_set import LayerSet
    from .reporting import Reporting
    from .shown_plane import ShownPlane

__all__ = ["Divisions"]


class Divisions:
    """The tracks of a binding, and the command that divides them.

    ::

        frame          2        3
        labels         1        1  2     the parent was propagated as one of its daughters
        key on         1, then     2
        labels         1        3  2     both are children of 1, which ends

    Parameters
    ----------
    layers : LayerSet
        Layers of the binding.
    session : LabelingSession
        Links and divides the labels.
    plane : ShownPlane
        The current plane.
    store : LabelStore
        The labels.
    noted : SignalInstance
        Emitted after a parent was picked or dropped.
    reporting : Reporting
        Reports errors.

    Attributes
    ----------
    tracks : TrackLayer
        The Tracks layer.
    parent : int or None
        The label picked as the parent.
    """

    def __init__(
        self,
        layers: LayerSet,
        session: LabelingSession,
        plane: ShownPlane,
        store: LabelStore,
        noted: SignalInstance,
        reporting: Reporting,
    ) -> None:
        self._session, self._plane, self._noted = session, plane, noted
        self._guard, self._labels = reporting.guard, layers.labels
        self.tracks = TrackLayer(layers, session, store, reporting)
        self.parent: int | None = None
        self._frame = 0

    @property
    def commands(self) -> Mapping[str, Callable[[], object]]:
        """Commands of keys, by name."""
        return {"divide": self.divide}

    @property
    def daughters(self) -> tuple[int, ...]:
        """The children of the picked parent."""
        parents = self.tracks.parents
        return tuple(child for child, many in parents.items() if self.parent in many)

    def cancel(self) -> bool:
        """Forget the parent that was noted; whether there was one."""
        noted, self.parent = self.parent is not None, None
        if noted:
            self._noted.emit()
        return noted

    def close(self) -> None:
        """Stop listening."""
        self.tracks.close()

    def divide(self, place: Place | None = None) -> None:
        """Pick the label under the mouse as the parent, or link it to the picked parent.

        The parent stays picked until it has two children, or is picked again. Picking a child of
        it removes the link. On a later frame the parent itself becomes a daughter, which gets a
        new id from there on.
        """
        self._guard(lambda: self._divide(place))

    def _divide(self, place: Place | None) -> None:
        label = self._plane.label_at(place, "divide")
        tracks, frame = self.tracks.measure(), self._frame_shown()
        if self.parent is None or self.parent not in tracks.spans:
            self.parent, self._frame = label, frame
            if self.tracks.possible:
                self.tracks.show()
        elif label == self.parent and frame <= self._frame:
            self.parent = None
        else:
            self._link(self.parent, label, frame, tracks)
        self._noted.emit()

    def _frame_shown(self) -> int:
        """Return the current frame; raises TrackError if time is a displayed axis."""
        plane = self._plane.source.need()
        if 0 in plane.axes:
            raise TrackError(
                "the viewer displays the time axis as rows or columns. Expected rows and columns "
                "of a frame. Roll the axes of the viewer back."
            )
        return plane.index[0]

    def _link(self, parent: int, label: int, frame: int, tracks: Tracks) -> None:
        parents = self.tracks.parents
        if parents.get(label) == (parent,):
            self._session.lineage.unlink(label)
            return
        spans = tracks.spans
        begin = frame if label == parent else spans[label][0]
        if label != parent:
            check_parents(truncated(spans, parent, begin), {label: (parent,)})
        tail = list(self.tracks.frames.targets(parent, tracks, begin))
        moved = [
            child
            for child, many in parents.items()
            if parent in many and child != label and spans.get(child, (0,))[0] > begin
        ]
        daughter = None if label == parent else label
        self._session.lineage.divide(parent, daughter, tail, moved if tail else ())
        if len(self.daughters) > 1:
            self.parent = None
