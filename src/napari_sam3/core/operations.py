"""What was done to labels, as data, for journals, session files and replay."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy.typing as npt

from .drafts import Draft
from .fields import Field
from .masks import Region
from .prompts import PromptSet

__all__ = ["AcceptedObject", "LabelChange", "LabelWrite", "Operation", "Policy", "Rendering"]

Policy = Literal["keep", "overwrite", "inside"]
Kind = Literal["accept", "delete", "merge", "split", "paint", "batch"]


@dataclass(frozen=True)
class Rendering:
    """How a plane became the 8-bit RGB image that the model saw.

    Parameters
    ----------
    channels : tuple of str
        Names of the channels shown as red, green and blue, or of the one shown as grey; empty for
        an image as it is.
    limits : tuple of (low, high)
        Values shown as 0 and 255, one pair for all channels or one each; empty for 8-bit colours,
        which pass unchanged.
    """

    channels: tuple[str, ...] = ()
    limits: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, eq=False)
class AcceptedObject:
    """An object written into the labels, with everything needed to make it again.

    Parameters
    ----------
    id : int
        Its label.
    plane : hashable
        Key of its plane.
    bbox : tuple of int
        (row, column, row, column): first and one past the last pixel written.
    area : int
        Number of pixels written.
    score : float
        The model's estimate of the IoU of the whole mask.
    draft : Draft
        What it was made of; without turns and seed for one that was carried here from another
        plane.
    field : Field
        Region in which it was answered; for an object of a batch, that of its pixels.
    candidate : int
        Which of the model's masks was taken.
    level : int, optional
        Pyramid level, where the user had pinned one.
    typical_size : float, optional
        Longer side in px of the objects accepted before, which decided the first level.
    model, fingerprint, precision : str
        Name of the model's configuration, hash of its weights, and its arithmetic.
    rendering : Rendering
        How the model saw the plane.
    category : str
        Class given by the user; empty for none.
    time : str
        When it was accepted, ISO 8601 in UTC.
    """

    id: int
    plane: Hashable
    bbox: tuple[int, int, int, int]
    area: int
    score: float
    draft: Draft
    field: Field
    candidate: int
    level: int | None
    typical_size: float | None
    model: str
    fingerprint: str
    precision: str
    rendering: Rendering
    category: str
    time: str

    @property
    def prompts(self) -> PromptSet:
        """Its last prompts."""
        return self.draft.prompts


@dataclass(frozen=True, eq=False)
class LabelWrite:
    """Pixels of one plane as they are after a change.

    Parameters
    ----------
    plane : hashable
        Key of the plane.
    region : tuple of slice
        Rows and columns, with start and stop.
    values : ndarray of integers, h x w
        All labels of the region.
    """

    plane: Hashable
    region: Region
    values: npt.NDArray[Any] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Operation:
    """One thing that was done to labels.

    Parameters
    ----------
    kind : {"accept", "delete", "merge", "split", "paint", "batch"}
        What. A batch is an operation a plane.
    plane : hashable
        Key of the plane it was done on.
    objects : tuple of AcceptedObject
        Accept, batch: the objects written, in order.
    labels : tuple of int
        Delete: the ids that are gone. Merge: the id that was kept, then the ones that became it.
        Split: the id that was split, then the new ones.
    policy : {"keep", "overwrite", "inside"}
        Accept, batch: what was done about pixels of other labels.
    writes : tuple of LabelWrite
        Paint: what a person's strokes left. Batch: what it left, since a mask carried here from
        another plane cannot be made again here. Empty for all other kinds, which can be worked out.
    """

    kind: Kind
    plane: Hashable
    objects: tuple[AcceptedObject, ...] = ()
    labels: tuple[int, ...] = ()
    policy: Policy = "keep"
    writes: tuple[LabelWrite, ...] = ()


@dataclass(frozen=True, eq=False)
class LabelChange:
    """An operation that has just been done, undone or redone, and the pixels it left.

    Parameters
    ----------
    operation : Operation
        Which.
    direction : {"do", "undo", "redo"}
        What happened to it. Undone and redone operations are always the last one in effect, and
        the last one undone.
    writes : tuple of LabelWrite
        Every region that was touched, as it is now.
    more : bool
        Others of the same step follow, or are likely to: whoever only shows what is so may wait
        for them, or for `batch_ended` of the session.
    """

    operation: Operation
    direction: Literal["do", "undo", "redo"]
    writes: tuple[LabelWrite, ...]
    more: bool = False
