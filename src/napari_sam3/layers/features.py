"""Accepted objects in the features table and metadata of a Labels layer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from napari_sam3.core.errors import LabelError
from napari_sam3.core.plain_values import plane_of
from napari_sam3.records.schema import OBJECT, SCHEMA_VERSION

from .feature_table import find_rows, replace_rows, row_values, with_index
from .label_arrays import labels_of
from .label_levels import holds

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_sam3.core.objects import AcceptedObject
    from napari_sam3.core.operations import LabelChange
    from napari_sam3.session.session import LabelingSession

__all__ = ["METADATA", "Bookkeeping"]

METADATA = "napari-sam3"
# Minimum pause between updates during a batch: seconds, and multiples of the update's duration.
PAUSE, PAUSES = 1.0, 20.0
#: Columns of the features table; `index` is napari's name for a label.
COLUMNS = ("index", "class", "score", "area", "plane", "points", "boxes", "model", "time")


class Bookkeeping:
    """Record every accepted object in the features table and the metadata of a Labels layer.

    Rows and columns of the user stay in the table. ``metadata["napari-sam3"]`` holds the records
    of `napari_sam3.records.schema`, from which objects can be predicted again.

    Parameters
    ----------
    labels : Labels
        The layer.
    session : LabelingSession
        Session whose objects are recorded.
    """

    def __init__(self, labels: Labels, session: LabelingSession) -> None:
        self._labels, self._session = labels, session
        self._every: tuple[AcceptedObject, ...] = ()
        self._session.labels_changed.connect(self._on_change)
        self._session.batch_ended.connect(self.refresh)
        # Values of the user's columns for removed objects, for redo.
        self._put_by: dict[tuple[int, str, str], dict[Any, Any]] = {}
        # Record and row of a label before it was refined here, from the user or another widget.
        self._replaced: dict[tuple[int, str, str], tuple[Any, dict[Any, Any]]] = {}
        self._due = 0.0
        self.refresh()

    def close(self) -> None:
        """Stop listening; the records stay with the layer."""
        self._session.labels_changed.disconnect(self._on_change)
        self._session.batch_ended.disconnect(self.refresh)

    def refresh(self) -> None:
        """Update the records from the session."""
        objects, before = self._session.objects_in(self._labels.unique_id), self._every
        if objects[: len(before)] == before:
            added, gone = list(objects[len(before) :]), []
        else:
            # By identity, since hashing the planes of thousands takes longer than all the rest.
            there, known = set(map(id, objects)), set(map(id, before))
            added = [one for one in objects if id(one) not in known]
            gone = [one for one in before if id(one) not in there]
        if added or gone:
            begun = time.monotonic()
            self._every = objects
            self._note_metadata(added, gone)
            self._note_features(added, gone)
            ended = time.monotonic()
            self._due = ended + max(PAUSE, PAUSES * (ended - begun))

    def _on_change(self, change: LabelChange) -> None:
        # The whole table is rebuilt, which would dominate a batch if done for every plane.
        if not change.more or time.monotonic() > self._due:
            self.refresh()

    def _note_metadata(self, added: list[AcceptedObject], gone: list[AcceptedObject]) -> None:
        kept = self._labels.metadata.setdefault(
            METADATA, {"version": SCHEMA_VERSION, "objects": {}}
        )
        records, ours = kept["objects"], {accepted.time for accepted in gone}
        for accepted in gone:
            if (records.get(_name(accepted)) or {}).get("time") == accepted.time:
                del records[_name(accepted)]
        for accepted in added:
            before = records.get(_name(accepted))
            if before is not None and before.get("time") not in (accepted.time, *ours):
                self._replaced[_key(accepted)] = before, {}
            records[_name(accepted)] = OBJECT.write(accepted)
        for accepted in gone:
            before, _ = self._replaced.get(_key(accepted), (None, {}))
            if before is not None and _name(accepted) not in records and self._holds(accepted.id):
                records[_name(accepted)] = before

    def _note_features(self, added: list[AcceptedObject], gone: list[AcceptedObject]) -> None:
        table = with_index(self._labels.features)
        found = find_rows(table, [_key(one) for one in (*gone, *added)])
        left = {one.id for one in self._every} if gone else set()
        removed: set[int] = set()
        fresh: list[dict[Any, Any]] = []
        kept_values: dict[tuple[int, str], dict[Any, Any]] = {}
        for accepted, row in zip(gone, found, strict=False):
            values = {} if row is None else row_values(table, row)
            # A row without a plane also belongs to the label's objects that remain.
            shared = accepted.id in left and _plane(accepted) and not plane_of(values.get("plane"))
            if (
                row is not None
                and not shared
                and values.get("time", accepted.time) == accepted.time
            ):
                removed.add(row)
                theirs = _of_the_user(values)
                kept_values[accepted.id, _plane(accepted)] = self._put_by[_key(accepted)] = theirs
            _, before = self._replaced.pop(_key(accepted), (None, {}))
            # A row of the user comes back even if its label has no pixels, as it had none before.
            of_user = not isinstance(before.get("time"), str)
            if before and accepted.id not in left and (of_user or self._holds(accepted.id)):
                fresh.append(before | _of_the_user(values))
        for accepted, row in zip(added, found[len(gone) :], strict=True):
            values = {} if row is None else row_values(table, row)
            if row is not None and row not in removed and values.get("time") != accepted.time:
                record, _ = self._replaced.get(_key(accepted), (None, {}))
                self._replaced[_key(accepted)] = record, values
            theirs = _of_the_user(values)
            theirs = theirs or kept_values.get((accepted.id, _plane(accepted)), {})
            theirs = self._put_by.pop(_key(accepted), {}) | theirs
            fresh.append({**dict(zip(COLUMNS, _row(accepted), strict=True)), **theirs})
            removed |= set() if row is None else {row}
        self._labels.features = replace_rows(table, removed, fresh)

    def _holds(self, label: int) -> bool:
        try:
            return holds(labels_of(self._labels), label)
        except LabelError:  # unreadable: the record stays
            return True


def _key(accepted: AcceptedObject) -> tuple[int, str, str]:
    return accepted.id, _plane(accepted), accepted.time


def _of_the_user(values: dict[Any, Any]) -> dict[Any, Any]:
    return {name: value for name, value in values.items() if name not in COLUMNS}


def _name(accepted: AcceptedObject) -> str:
    return f"{accepted.id} on {_plane(accepted) or 'the plane'}"


def _plane(accepted: AcceptedObject) -> str:
    plane = getattr(accepted.plane, "plane", accepted.plane)
    return " ".join(str(i) for i in getattr(plane, "index", (plane,)))


def _lies_flat(accepted: AcceptedObject) -> bool:
    """Whether rows and columns of the plane are the last axes, as in files."""
    plane = getattr(accepted.plane, "plane", accepted.plane)
    axes = getattr(plane, "axes", ())
    return not axes or min(axes) >= len(getattr(plane, "index", ()))


def _row(accepted: AcceptedObject) -> tuple[Any, ...]:
    prompts = accepted.prompts
    return (
        accepted.id,
        accepted.category,
        round(accepted.score, 4),
        accepted.area,
        _plane(accepted) if _lies_flat(accepted) else "",
        len(prompts.points),
        int(prompts.box is not None),
        f"{accepted.model} {accepted.fingerprint}",
        accepted.time,
    )
