"""Description of accepted objects that have no prompts on their plane."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from napari_sam3.core.fields import FieldOfView
from napari_sam3.core.objects import AcceptedObject

if TYPE_CHECKING:
    from napari_sam3.core.drafts import Draft
    from napari_sam3.core.rendering import Rendering
    from sam3.predictor import Predictor

__all__ = ["Maker", "describe_written"]


@dataclass(frozen=True)
class Maker:
    """The model that found an object; it need not be loaded.

    Parameters
    ----------
    model, fingerprint, precision : str
        See `AcceptedObject`; "" if unknown.
    """

    model: str = ""
    fingerprint: str = ""
    precision: str = ""

    @classmethod
    def of(cls, predictor: Predictor | Maker) -> Maker:
        """Describe a loaded model."""
        if isinstance(predictor, Maker):
            return predictor
        precision = str(predictor.dtype).removeprefix("torch.")
        return cls(predictor.config.name, predictor.fingerprint, precision)


def describe_written(
    label: int,
    plane: Hashable,
    bbox: tuple[int, int, int, int],
    area: int,
    score: float,
    draft: Draft,
    predictor: Predictor | Maker,
    rendering: Rendering,
    *,
    level: int | None = None,
    category: str = "",
) -> AcceptedObject:
    """Describe an object that was just written.

    Parameters
    ----------
    label, plane, bbox, area, score, draft, rendering, level, category
        See `AcceptedObject`.
    predictor : Predictor or Maker
        Predictor that found it.
    """
    maker = Maker.of(predictor)
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
        model=maker.model,
        fingerprint=maker.fingerprint,
        precision=maker.precision,
        rendering=rendering,
        category=category,
        time=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )
