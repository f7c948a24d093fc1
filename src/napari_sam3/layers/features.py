"""What is known about accepted objects, kept with the Labels layer: its features and metadata."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from napari_sam3.core.objects import AcceptedObject
from napari_sam3.core.operations import LabelChange
from napari_sam3.core.plain_values import plane_of
from napari_sam3.records.schema import OBJECT, SCHEMA_VERSION

from .feature_table import find_rows, replace_rows, row_values, with_index
from .label_levels import finest, holds

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_sam3.session.session import LabelingSession

__all__ = ["METADATA", "Bookkeeping"]

METADATA = "napari-sam3"
# While planes of a batch come in: seconds, and times the time that it took.
PAUSE, PAUSES = 1.0, 20.0
#: Columns of the features table; `index` is napari's name for a label.
COLUMNS = ("index", "class", "score", "area", "plane", "points", "boxes", "model", "time")


class Bookkeeping:
    """Notes every accepted object in the features table and the metadata of a Labels layer.

    Rows and columns of the user's own stay in the table. ``metadata["napari-sam3"]`` holds the
    records of `napari_sam3.records.schema`, from which objects can be made again.

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
        # What the user's columns said of objects that are gone, should they come back.
        self._put_by: dict[tuple[int, str, str], dict[Any, Any]] = {}
        # Record and row of what was there before a label was refined here: the user's own, or those
        # of another widget.
        self._replaced: dict[tuple[int, str, str], tuple[Any, dict[Any, Any]]] = {}
        self._due = 0.0
        self.refresh()

    def close(self) -> None:
        """Stop listening; what was noted stays with the layer."""
        self._session.labels_changed.disconnect(self._on_change)
        self._session.batch_ended.disconnect(self.refresh)

    def refresh(self) -> None:
        """Bring the notes in step with the session."""
        objects = self._session.objects_in(self._labels.unique_id)
        now = dict(zip(map(id, objects), objects, strict=True))
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
        records, ours = kept["objects"], {one.time for one in gone}
        for one in gone:
            if (records.get(_name(one)) or {}).get("time") == one.time:
                del records[_name(one)]
        for one in added:
            before = records.get(_name(one))
            if before is not None and before.get("time") not in (one.time, *ours):
                self._replaced[_key(one)] = before, {}
            records[_name(one)] = OBJECT.write(one)
        for one in gone:
            before, _ = self._replaced.get(_key(one), (None, {}))
            if before is not None and _name(one) not in records and self._holds(one.id):
                records[_name(one)] = before

    def _note_features(self, added: list[AcceptedObject], gone: list[AcceptedObject]) -> None:
        table = with_index(self._labels.features)
        found = find_rows(table, [_key(one) for one in (*gone, *added)])
        left = {one.id for one in self._noted.values()}
        removed: set[int] = set()
        fresh: list[dict[Any, Any]] = []
        carried: dict[tuple[int, str], dict[Any, Any]] = {}
        for one, row in zip(gone, found, strict=False):
            values = {} if row is None else row_values(table, row)
            # A row about all planes is about those of the same label that are still there, too.
            shared = one.id in left and _plane(one) and not plane_of(values.get("plane"))
            if row is not None and not shared and values.get("time", one.time) == one.time:
                removed.add(row)
                theirs = _of_the_user(values)
                carried[one.id, _plane(one)] = self._put_by[_key(one)] = theirs
            _, before = self._replaced.pop(_key(one), (None, {}))
            if before and one.id not in left and self._holds(one.id):
                fresh.append(before)
        for one, row in zip(added, found[len(gone) :], strict=True):
            values = {} if row is None else row_values(table, row)
            if row is not None and row not in removed and values.get("time") != one.time:
                record, _ = self._replaced.get(_key(one), (None, {}))
                self._replaced[_key(one)] = record, values
            theirs = _of_the_user(values)
            theirs = theirs or carried.get((one.id, _plane(one)), {})
            theirs = self._put_by.pop(_key(one), {}) | theirs
            fresh.append({**dict(zip(COLUMNS, _row(one), strict=True)), **theirs})
            removed |= set() if row is None else {row}
        self._labels.features = replace_rows(table, removed, fresh)

    def _holds(self, label: int) -> bool:
        return holds(finest(self._labels.data, multiscale=self._labels.multiscale), label)


def _key(one: AcceptedObject) -> tuple[int, str, str]:
    return one.id, _plane(one), one.time


def _of_the_user(values: dict[Any, Any]) -> dict[Any, Any]:
    return {name: value for name, value in values.items() if name not in COLUMNS}


def _name(one: AcceptedObject) -> str:
    return f"{one.id} on {_plane(one) or 'the plane'}"


def _plane(one: AcceptedObject) -> str:
    plane = getattr(one.plane, "plane", one.plane)
    return " ".join(str(i) for i in getattr(plane, "index", (plane,)))


def _lies_flat(one: AcceptedObject) -> bool:
    """Return whether rows and columns of the plane are the last axes, as in files."""
    plane = getattr(one.plane, "plane", one.plane)
    axes = getattr(plane, "axes", ())
    return not axes or min(axes) >= len(getattr(plane, "index", ()))


def _row(one: AcceptedObject) -> tuple[Any, ...]:
    prompts = one.prompts
    return (
        one.id,
        one.category,
        round(one.score, 4),
        one.area,
        _plane(one) if _lies_flat(one) else "",
        len(prompts.points),
        int(prompts.box is not None),
        f"{one.model} {one.fingerprint}",
        one.time,
    )
