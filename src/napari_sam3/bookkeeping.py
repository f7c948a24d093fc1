"""What is known about accepted objects, kept with the Labels layer: its features and metadata."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .operations import AcceptedObject, LabelChange
from .records import SCHEMA_VERSION, object_to_record

if TYPE_CHECKING:
    from napari.layers import Labels

    from .session import LabelingSession

__all__ = ["METADATA", "Bookkeeping"]

METADATA = "napari-sam3"
# While planes of a batch come in: seconds, and times the time that it took.
PAUSE, PAUSES = 1.0, 20.0
#: Columns of the features table; `index` is napari's name for a label.
COLUMNS = ("index", "class", "score", "area", "plane", "points", "boxes", "model", "time")


class Bookkeeping:
    """Notes every accepted object in the features table and the metadata of a Labels layer.

    Rows and columns of the user's own stay in the table. ``metadata["napari-sam3"]`` holds the
    records of `napari_sam3.records`, from which objects can be made again.

    Parameters
    ----------
    labels : Labels
        The layer.
    session : LabelingSession
        Whose objects are written there.
    """

    def __init__(self, labels: Labels, session: LabelingSession) -> None:
        self._labels, self._session = labels, session
        # By identity, since hashing the planes of thousands takes longer than all the rest.
        self._noted: dict[int, AcceptedObject] = {}
        self._session.labels_changed.connect(self._on_change)
        self._session.batch_ended.connect(self.refresh)
        self._due = 0.0
        self.refresh()

    def close(self) -> None:
        """Stop listening; what was noted stays with the layer."""
        self._session.labels_changed.disconnect(self._on_change)
        self._session.batch_ended.disconnect(self.refresh)

    def refresh(self) -> None:
        """Bring the notes in step with the session."""
        objects = self._session.objects_in(self._labels.unique_id)
        now = {id(one): one for one in objects}
        added = [one for key, one in now.items() if key not in self._noted]
        gone = [one for key, one in self._noted.items() if key not in now]
        if added or gone:
            begun = time.monotonic()
            self._noted = now
            self._note_metadata(added, gone)
            self._note_features(added, gone)
            ended = time.monotonic()
            self._due = ended + max(PAUSE, PAUSES * (ended - begun))

    def _on_change(self, change: LabelChange) -> None:
        # The table is made anew as a whole: plane by plane that would take most of a batch's time.
        if not change.more or time.monotonic() > self._due:
            self.refresh()

    def _note_metadata(self, added: list[AcceptedObject], gone: list[AcceptedObject]) -> None:
        kept = self._labels.metadata.setdefault(
            METADATA, {"version": SCHEMA_VERSION, "objects": {}}
        )
        for one in gone:
            kept["objects"].pop(_name(one), None)
        for one in added:
            kept["objects"][_name(one)] = object_to_record(one)

    def _note_features(self, added: list[AcceptedObject], gone: list[AcceptedObject]) -> None:
        import pandas as pd

        table = self._labels.features
        ids = {one.id for one in (*added, *gone)}
        # A table by position, or none, says nothing about labels by their ids.
        table = table[~table["index"].isin(ids)] if "index" in table else table.iloc[:0]
        # An id may have a row a plane; those of planes that did not change were taken out too.
        rows = [_row(one) for one in self._noted.values() if one.id in ids]
        fresh = pd.DataFrame(rows, columns=list(COLUMNS))
        joined = fresh if not len(table) else pd.concat([table, fresh], ignore_index=True)
        for name, kind in joined.dtypes.items():
            # Texts end up in as many pieces as there were additions, each of which takes its time.
            if isinstance(kind, pd.StringDtype):
                joined[name] = pd.array(joined[name].to_numpy(object), dtype=kind)
        self._labels.features = joined


def _name(one: AcceptedObject) -> str:
    return f"{one.id} on {_plane(one) or 'the plane'}"


def _plane(one: AcceptedObject) -> str:
    plane = getattr(one.plane, "plane", one.plane)
    return " ".join(str(i) for i in getattr(plane, "index", (plane,)))


def _row(one: AcceptedObject) -> tuple[Any, ...]:
    prompts = one.prompts
    return (
        one.id,
        one.category,
        round(one.score, 4),
        one.area,
        _plane(one),
        len(prompts.points),
        int(prompts.box is not None),
        f"{one.model} {one.fingerprint}",
        one.time,
    )
