"""A Tracks layer synchronised with labels: one point per label and frame, and links."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.tracks import TrackError, Tracks, check_parents

from .features import METADATA
from .label_layer import moves, place_on, placement
from .measured_frames import MeasuredFrames

if TYPE_CHECKING:
    from napari.layers import Tracks as NapariTracks

    from napari_sam3.core.operations import LabelChange
    from napari_sam3.session.session import LabelingSession

    from .label_layer import LabelStore
    from .layer_set import LayerSet
    from .reporting import Reporting

__all__ = ["OF", "TRACKS_NAME", "TrackLayer", "track_rows"]

TRACKS_NAME = "SAM 3 tracks"
#: Key in the metadata of a Tracks layer: the `unique_id` of its labels.
OF = "napari-sam3 labels"
#: Feature by which tracks are coloured, in the colours of the labels.
COLORS = "label"
#: napari allocates 4 bytes per id up to the largest; larger labels are renumbered.
LARGEST_ID = 1 << 20
#: Most axes that napari's Tracks layers have.
MOST_AXES = 4
#: Minimum pause between updates during a batch: seconds, and multiples of the update's duration.
PAUSE, PAUSES = 1.0, 10.0


class TrackLayer:
    """Show the tracks of the labels of a binding.

    The layer is added automatically when a label is on several frames of an image with a time
    axis, or on request; it stays with the labels when the binding is closed. After the user
    deletes it, it is added only on request. Labels of more than four axes have tracks, but no
    layer of them.

    Parameters
    ----------
    layers : LayerSet
        Layers of the binding.
    session : LabelingSession
        Emits changes of labels, and has the links.
    store : LabelStore
        The labels.
    reporting : Reporting
        Reports errors.
    """

    def __init__(
        self,
        layers: LayerSet,
        session: LabelingSession,
        store: LabelStore,
        reporting: Reporting,
    ) -> None:
        self._layers, self._session, self._labels = layers, session, layers.labels
        self._reporting = reporting
        self._guard = reporting.guard
        self.frames = MeasuredFrames(store)
        self._layer: NapariTracks | None = self._find()
        self._unwanted = self._emptied = False
        self._due = 0.0
        self._stroke = False
        self._invalid: set[int] = set()
        self._on_move()  # a layer that was read with the labels lies where they lay in the file
        session.lineage.begin(self._labels.unique_id, self._kept_parents())
        for emitter, callback in self._connections():
            emitter.connect(callback)

    @property
    def layer(self) -> NapariTracks | None:
        """The layer, if it is in the viewer."""
        shown = self._layer is not None and self._layers.has(self._layer)
        return self._layer if shown else None

    @property
    def parents(self) -> dict[int, tuple[int, ...]]:
        """The parents of each label that has any."""
        return self._session.lineage.parents_in(self._labels.unique_id)

    def measure(self) -> Tracks:
        """Return the current tracks; raises TrackError without a time axis."""
        return self.frames.tracks(self.parents)

    @property
    def possible(self) -> bool:
        """Whether napari can show tracks of as many axes as the labels have."""
        return bool(self._labels.ndim <= MOST_AXES)

    def show(self) -> NapariTracks | None:
        """Show the tracks; None without labels, or if that is impossible, which is reported."""
        self._unwanted = False
        self._guard(lambda: self._draw(self.measure()))
        return self.layer

    def close(self) -> None:
        """Stop listening; the layer stays with the labels."""
        for emitter, callback in self._connections():
            emitter.disconnect(callback)

    def _connections(self) -> list[tuple[Any, Any]]:
        return [
            (self._session.labels_changed, self._on_change),
            (self._session.batch_ended, self._refresh),
            (self._labels.events.data, self._on_data),
            (self._labels.events.labels_update, self._on_drawn),
            (self._labels.events.set_data, self._on_drawn),
            (self._labels.events.colormap, self._on_colors),
            (self._layers.viewer.layers.events.removed, self._on_removed),
            *((emitter, self._on_move) for emitter in moves(self._labels)),
        ]

    # --------------------------------------------------------------- listening

    def _on_change(self, change: LabelChange) -> None:
        self.frames.outdate(change.writes)
        if not change.more or time.monotonic() > self._due:
            begun = time.monotonic()
            self._refresh(tell=not change.more)
            ended = time.monotonic()
            self._due = ended + max(PAUSE, PAUSES * (ended - begun))
        if change.operation.kind == "paint":
            # napari emits a stroke of a script before it writes it.
            self.frames.outdate(change.writes)
            self._stroke = True

    def _on_drawn(self, event: Any = None) -> None:
        if self._stroke:
            self._stroke = False
            self._refresh()

    def _on_data(self, event: Any = None) -> None:
        self.frames.forget()
        self._refresh()

    def _on_move(self, event: Any = None) -> None:
        if self.layer is not None:
            place_on(self.layer, self._labels)

    def _on_colors(self, event: Any = None) -> None:
        layer = self.layer
        if layer is not None:
            layer.colormaps_dict = {**layer.colormaps_dict, COLORS: self._labels.colormap}
            layer.color_by = layer.color_by  # updates the colours

    def _on_removed(self, event: Any) -> None:
        if self._layer is not None and event.value.unique_id == self._layer.unique_id:
            self._layer, self._unwanted = None, True

    def _refresh(self, *, tell: bool = True) -> None:
        series = self.possible and self.frames.is_series
        wanted = self.layer is not None or (series and not self._unwanted)
        if not (wanted or self.parents or self.frames.known):
            return
        try:
            tracks = self.measure()
        except TrackError:  # not tracks; reported only on request
            return
        self._note(tracks)
        if wanted and (self.layer is not None or _spans_frames(tracks)):
            self._draw(tracks)
        if tell and self._reporting.listened:
            self._tell_invalid(tracks)

    def _tell_invalid(self, tracks: Tracks) -> None:
        """Report links that labels contradict since the last time, and that are left out."""
        spans, before = tracks.spans, self._invalid
        known = {
            child: tuple(parent for parent in many if parent in spans)
            for child, many in self.parents.items()
            if child in spans
        }
        wrong = {
            child: many for child, many in known.items() if tracks.parents.get(child, ()) != many
        }
        self._invalid = set(wrong)
        new = {child: wrong[child] for child in sorted(wrong.keys() - before)}
        self._guard(lambda: check_parents(spans, new))

    def _note(self, tracks: Tracks) -> None:
        """Store the links in the metadata of the labels, for files and for the next binding."""
        kept = self._labels.metadata.setdefault(METADATA, {})
        kept["parents"] = {child: list(many) for child, many in tracks.parents.items()}

    # ----------------------------------------------------------------- drawing

    def _find(self) -> NapariTracks | None:
        """Return the layer that was created for these labels, or read with them."""
        marks = {str(self._labels.unique_id), self._kept.get("tracks", "")} - {""}
        layers = self._layers.viewer.layers
        return next((layer for layer in layers if layer.metadata.get(OF) in marks), None)

    @property
    def _kept(self) -> Mapping[str, Any]:
        kept: Mapping[str, Any] = self._labels.metadata.get(METADATA, {})
        return kept

    def _kept_parents(self) -> dict[int, tuple[int, ...]]:
        """Return the links in the metadata or the table of the labels."""
        from napari_sam3.labels.formats.object_table import ObjectTable
        from napari_sam3.labels.formats.tracks.choice import PARENT, parents_in

        if "parents" in self._kept:
            return {child: tuple(many) for child, many in self._kept["parents"].items()}
        if PARENT not in self._labels.features:
            return {}
        table = ObjectTable.from_features(self._labels.features)
        return self._guard(lambda: parents_in(table)) or {}

    def _draw(self, tracks: Tracks) -> None:
        if not self.possible:
            raise TrackError(
                f"napari cannot show the tracks of {self._labels.name!r}, which has "
                f"{self._labels.ndim} axes. Expected at most {MOST_AXES}, time included. Save them "
                "as tracks, or split the channels by 'Split Stack' in the menu of the image."
            )
        layer = self.layer
        if not len(tracks.ids):
            if layer is not None and layer.visible:  # napari has no empty Tracks layer
                layer.visible, self._emptied = False, True
            return
        data, graph, features = track_rows(tracks)
        if layer is None:
            self._layer = self._make(data, graph, features)
            return
        if not np.array_equal(layer.data, data):
            chosen, layer.color_by = layer.color_by, "track_id"  # which always exists
            layer.data = data  # which clears the graph and the features
            layer.features = features
            layer.color_by = chosen if chosen in features else "track_id"
        layer.graph = graph
        if self._emptied:
            layer.visible, self._emptied = True, False

    def _make(
        self, data: npt.NDArray[np.float64], graph: dict[int, list[int]], features: Any
    ) -> NapariTracks:
        viewer = self._layers.viewer
        active = viewer.layers.selection.active
        layer: NapariTracks = viewer.add_tracks(
            data,
            graph=graph,
            features=features,
            name=TRACKS_NAME,
            metadata={OF: str(self._labels.unique_id)},
            tail_length=len(self._labels.data),
            colormaps_dict={COLORS: self._labels.colormap},
            color_by=COLORS,
            tail_width=3,
            **placement(self._labels),
        )
        # Directly above the labels, below clicks and boxes.
        place = [one.unique_id for one in viewer.layers].index(self._labels.unique_id)
        viewer.layers.move(len(viewer.layers) - 1, place + 1)
        viewer.layers.selection.active = active
        return layer


def _spans_frames(tracks: Tracks) -> bool:
    """Whether a label is on several frames."""
    return bool((np.diff(tracks.ids) == 0).any())


def track_rows(tracks: Tracks) -> tuple[npt.NDArray[np.float64], dict[int, list[int]], Any]:
    """Return the sorted rows of a Tracks layer, with its graph and features."""
    import pandas as pd

    ids, parents = tracks.ids, tracks.parents
    if ids[-1] > LARGEST_ID:
        known = np.unique(ids)
        new = {int(label): number for number, label in enumerate(known, 1)}
        ids = np.searchsorted(known, ids) + 1
        parents = {new[child]: tuple(new[one] for one in many) for child, many in parents.items()}
    data = np.column_stack([ids, tracks.frames, tracks.places]).astype(np.float64)
    graph = {child: list(many) for child, many in parents.items()}
    parent = [tracks.parents.get(label, (0,))[0] for label in tracks.ids.tolist()]
    features = pd.DataFrame(
        {"track_id": ids, "label": tracks.ids, "area": tracks.areas, "parent": parent}
    )
    return data, graph, features
