"""Settings for finding all objects of a plane."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args

from sam3.errors import PromptError

__all__ = ["AutomaticSettings", "SeedKind"]

_SHARES = (
    "min_proposal",
    "min_score",
    "min_stability",
    "duplicate_iou",
    "containment",
    "max_share",
)
SeedKind = Literal["auto", "proposals", "blobs", "grid", "both"]


@dataclass(frozen=True)
class AutomaticSettings:
    """Settings for the seeds and filters of automatic masks.

    The defaults were chosen on the training images of the embedded model. Scores of other weights
    differ: the authors of SAM used 0.88 for `min_score` and 0.95 for `min_stability` at an offset
    of 1.

    Parameters
    ----------
    seeds : {"auto", "proposals", "blobs", "grid", "both"}
        Positions of the clicks: proposals of the model, blobs brighter or darker than their
        surroundings, a regular grid, or blobs and grid. ``"auto"`` uses proposals if the model
        makes them, else blobs.
    min_proposal : float
        Least score of a proposal, from 0 to 1.
    grid : int
        Number of grid points along the side of a field.
    blob_radii : tuple of float
        Smallest and largest radius of blobs in px.
    blob_contrast : float
        Least response of a blob in a plane of values from 0 to 1: 0.02 finds faint blobs, 0.1
        clear ones only.
    min_score : float
        Least predicted IoU of a mask, from 0 to 1.
    min_stability : float
        Least IoU of a mask at a higher and a lower threshold, from 0 to 1.
    stability_offset : float
        Distance of these thresholds of the logits from 0.
    duplicate_iou : float
        Two masks with a larger IoU are duplicates.
    containment : float
        Two masks are duplicates, too, if the smaller one lies in the other by a larger fraction.
    min_area : int
        Area of the smallest object in px.
    max_area : int, optional
        Area of the largest object in px, by default limited by `max_share` only.
    max_share : float
        A mask that covers a larger fraction of its field is background.
    level : int, optional
        Pinned field level of the clicks, by default the one at which clicks start.
    levels_up : int
        Number of levels to climb for masks that their fields truncate.

    Raises
    ------
    sam3.errors.PromptError
        If a value is out of range.
    """

    seeds: SeedKind = "auto"
    min_proposal: float = 0.4
    grid: int = 12
    blob_radii: tuple[float, float] = (4.0, 24.0)
    blob_contrast: float = 0.05
    min_score: float = 0.55
    min_stability: float = 0.2
    stability_offset: float = 4.0
    duplicate_iou: float = 0.5
    containment: float = 0.5
    min_area: int = 25
    max_area: int | None = None
    max_share: float = 0.4
    level: int | None = None
    levels_up: int = 1

    def __post_init__(self) -> None:
        """Check the values."""
        if self.seeds not in get_args(SeedKind):
            raise PromptError(
                f"seeds is {self.seeds!r}. Expected one of {', '.join(get_args(SeedKind))}. "
                "Choose one."
            )
        for name in _SHARES:
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise PromptError(f"{name} is {value}. Expected a number from 0 to 1. Choose one.")
        for name, least in (("grid", 1), ("min_area", 1), ("levels_up", 0)):
            if getattr(self, name) < least:
                raise PromptError(
                    f"{name} is {getattr(self, name)}. Expected at least {least}. Choose a larger "
                    "one."
                )
        if self.blob_contrast <= 0 or self.stability_offset <= 0:
            raise PromptError(
                f"blob_contrast is {self.blob_contrast} and stability_offset is "
                f"{self.stability_offset}. Expected numbers greater than 0. Choose larger ones."
            )
        small, large = self.blob_radii
        if not 1 <= small <= large:
            raise PromptError(
                f"blob_radii are {small:g} and {large:g} px. Expected the smallest, at least 1, "
                "and the largest. Correct them."
            )
        if self.max_area is not None and self.max_area < self.min_area:
            raise PromptError(
                f"max_area is {self.max_area} px. Expected at least min_area, {self.min_area} px. "
                "Choose a larger one."
            )

    def to_json(self) -> dict[str, object]:
        """Return plain values for `from_json`."""
        values = {setting.name: getattr(self, setting.name) for setting in fields(self)}
        # Versions without proposals have recorded their batches without this value.
        if self.seeds not in ("auto", "proposals") and self.min_proposal == type(self).min_proposal:
            del values["min_proposal"]
        return {**values, "blob_radii": list(self.blob_radii)}

    @classmethod
    def from_json(cls, values: dict[str, object]) -> AutomaticSettings:
        """Make settings from plain values. Missing ones have defaults.

        Raises
        ------
        sam3.errors.PromptError
            If a name is unknown, or a value is not valid.
        """
        names = [one.name for one in fields(cls)]
        unknown = sorted(set(values) - set(names))
        if unknown:
            raise PromptError(
                f"unknown setting: {', '.join(map(repr, unknown))}. Expected {', '.join(names)}. "
                "Choose one of these."
            )
        parts = dict(values)
        if "blob_radii" in parts:
            parts["blob_radii"] = tuple(parts["blob_radii"])  # type: ignore[arg-type]
        try:
            return cls(**parts)  # type: ignore[arg-type]
        except PromptError:
            raise
        except (TypeError, ValueError) as error:
            raise PromptError(
                f"the settings {values} cannot be used: {error}. Expected a value of the right "
                "type for each. Correct them."
            ) from error
