"""Segment an image from prompts without a viewer, as `napari-sam3 segment` does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from napari_sam3.core.prompt_rows import object_of
from napari_sam3.core.prompts import PromptSet
from napari_sam3.images.open import LoadedImage, plane_of
from napari_sam3.images.plane_image import RenderedPlane
from napari_sam3.labels.table import ObjectRow
from sam3.errors import PromptError, Sam3Error

from .session import LabelingSession

if TYPE_CHECKING:
    from napari_sam3.images.lazy import LazyImage
    from sam3.predictor import Predictor

    from .session import AcceptedObject

__all__ = ["Prompt", "Segmentation", "group_prompts", "segment_plane"]


@dataclass(frozen=True)
class Prompt:
    """One click or box, as given.

    Parameters
    ----------
    kind : {"point", "box"}
        Kind of the prompt.
    values : tuple of float
        (x, y), or (x0, y0, x1, y1), in px of the plane.
    label : int
        1 foreground, 0 background; ignored for a box.
    """

    kind: Literal["point", "box"]
    values: tuple[float, ...]
    label: int = 1


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The result of `segment_plane`.

    Parameters
    ----------
    labels : ndarray of uint32
        Shape of the image without colours; 0 outside the chosen plane.
    rows : tuple of ObjectRow
        Objects that were written.
    failures : tuple of (PromptSet, Sam3Error)
        Objects that were not, with the error.
    """

    labels: npt.NDArray[np.uint32] = field(repr=False)
    rows: tuple[ObjectRow, ...]
    failures: tuple[tuple[PromptSet, Sam3Error], ...]


def group_prompts(prompts: Iterable[Prompt], *, one_object: bool = False) -> list[PromptSet]:
    """Group prompts into objects, by the rule of `object_of`.

    Parameters
    ----------
    prompts : iterable of Prompt
        In the order given.
    one_object : bool
        Whether all belong to one object.

    Raises
    ------
    sam3.errors.PromptError
        If a background click comes first, one object has two boxes, or there is no prompt.
    """
    groups: list[list[Prompt]] = []
    for prompt in prompts:
        alone = _joined([prompt])
        number = object_of(alone, len(groups) or None, one=one_object)
        if number is None:
            if not (alone.has_target or one_object):
                raise PromptError(
                    f"a background click comes before any object: {_text(prompt)}. Expected a "
                    "foreground click or a box first. Put the click after those of its object."
                )
            groups.append([])
        groups[-1].append(prompt)
    if not groups:
        raise PromptError(
            "no prompt given: []. Expected at least one foreground click or box. Add one."
        )
    return [_prompt_set(group) for group in groups]


def segment_plane(
    image: LoadedImage | LazyImage,
    objects: Sequence[PromptSet],
    predictor: Predictor | Callable[[], Predictor],
    *,
    position: Sequence[int] | None = None,
    level: int | None = None,
    ids: Sequence[int] | None = None,
) -> Segmentation:
    """Segment objects on one plane of an image.

    Parameters
    ----------
    image : LoadedImage or LazyImage
        The image; of a lazy one only the required fields are read.
    objects : sequence of PromptSet
        Prompts of each object, in px of the plane. Ids follow their order; where masks overlap,
        the earlier object keeps its pixels.
    predictor : Predictor or callable
        The model, or a function that loads it, called once all prompts are validated.
    position : sequence of int, optional
        Plane of an image with more than two axes.
    level : int, optional
        Pinned pyramid level, instead of one chosen from the prompts.
    ids : sequence of int, optional
        Unique labels of the objects, instead of 1, 2, and so on.

    Raises
    ------
    sam3.errors.Sam3Error
        If the image or the plane cannot be used, a prompt lies outside, or the model fails. For
        an object whose mask cannot be written, see `Segmentation.failures`.
    """
    plane = plane_of(image, position)
    pixels = RenderedPlane(image.channel(plane))
    _ = pixels.rendering  # raises for a plane without contrast
    for prompts in objects:
        prompts.check_inside(pixels.shape)
    labels = np.zeros(image.shape, np.uint32)
    view = labels[plane.slices()]
    session = LabelingSession(predictor, level=level)
    session.set_plane(pixels, plane, view)
    accepted, numbers, failures = _label_all(session, objects)
    rows = [ObjectRow.measure(one, view, plane.index) for one in accepted]
    session.close()
    if ids is not None:
        rows = _renumber(view, rows, [ids[number] for number in numbers])
    return Segmentation(labels, tuple(rows), failures)


def _renumber(
    view: npt.NDArray[np.uint32], rows: Sequence[ObjectRow], ids: Sequence[int]
) -> list[ObjectRow]:
    """Replace the labels 1, 2, and so on by the given ids."""
    numbers = np.zeros(max((row.id for row in rows), default=0) + 1, np.uint32)
    for row, number in zip(rows, ids, strict=True):
        numbers[row.id] = number
    view[...] = numbers[view]
    return [replace(row, id=number) for row, number in zip(rows, ids, strict=True)]


def _label_all(
    session: LabelingSession, objects: Iterable[PromptSet]
) -> tuple[list[AcceptedObject], list[int], tuple[tuple[PromptSet, Sam3Error], ...]]:
    from napari_sam3.core.errors import LabelError

    accepted, numbers, failures = [], [], []
    for number, prompts in enumerate(objects):
        session.set_prompts(prompts)
        session.predict()
        try:
            written = session.accept()
        except LabelError as error:
            failures.append((prompts, error))
            session.reject()
        else:
            assert written is not None, "without threads, masks are predicted at once"
            accepted.append(written)
            numbers.append(number)
    return accepted, numbers, tuple(failures)


def _prompt_set(group: Sequence[Prompt]) -> PromptSet:
    boxes = [prompt for prompt in group if prompt.kind == "box"]
    if len(boxes) > 1:
        raise PromptError(
            f"one object has {len(boxes)} boxes: {'; '.join(_text(box) for box in boxes)}. "
            "Expected at most one. Omit --one-object to make each box an object."
        )
    prompts = _joined(group)
    if not prompts.has_target:
        raise PromptError(
            f"the object has background clicks only: {len(prompts.points)}. Expected a foreground "
            "click or a box as well. Add one."
        )
    return prompts


def _joined(group: Sequence[Prompt]) -> PromptSet:
    points = [prompt for prompt in group if prompt.kind == "point"]
    return PromptSet.from_arrays(
        points=[point.values for point in points],
        labels=[point.label for point in points],
        box=next((prompt.values for prompt in group if prompt.kind == "box"), None),
    )


def _text(prompt: Prompt) -> str:
    values: tuple[Any, ...] = prompt.values
    if prompt.kind == "point":
        values = (*values, prompt.label)
    return ",".join(f"{value:g}" for value in values)
