"""Accepted objects described that were not made by a person's prompts on their plane."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from napari_sam3.core.drafts import Draft
from napari_sam3.core.fields import FieldOfView
from napari_sam3.core.objects import AcceptedObject
from napari_sam3.core.rendering import Rendering

if TYPE_CHECKING:
    from sam3.predictor import Predictor

__all__ = ["describe_written"]


def describe_written(
    label: int,
    plane: Hashable,
    bbox: tuple[int, int, int, int],
    area: int,
    score: float,
    draft: Draft,
    predictor: Predictor,
    rendering: Rendering,
    *,
    level: int | None = None,
    category: str = "",
) -> AcceptedObject:
    """Describe an object of which pixels were written now.

    Parameters
    ----------
    label, plane, bbox, area, score, draft, rendering, level, category
        See `AcceptedObject`.
    predictor : Predictor
        What found it.
    """
    top, left, bottom, right = bbox
    return AcceptedObject(
        id=label,
        plane=plane,
        bbox=bbox,
        area=area,
        score=score,
        draft=draft,
        field=FieldOfView(0, (top, bottom), (left, right)),
        candidate=0,
        level=level,
        typical_size=None,
        model=predictor.config.name,
        fingerprint=predictor.fingerprint,
        precision=str(predictor.dtype).removeprefix("torch."),
        rendering=rendering,
        category=category,
        time=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )
