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
    """How objects are searched for, and which masks count.

    The default values were chosen on the training images of the embedded model. Other weights
    score otherwise: SAM's authors took 0.88 for `min_score` and 0.95 for `min_stability` at an
    offset of 1.

    Parameters
    ----------
    seeds : {"auto", "proposals", "blobs", "grid", "both"}
        Where it is clicked: where the model itself proposes an object, on blobs brighter or darker
        than what is around them, on a regular grid, or on both of these. ``"auto"`` takes
        proposals of models that make them, and blobs with others.
    min_proposal : float
        Least score of a proposal, 0 to 1.
    grid : int
        Grid points along the side of a field.
    blob_radii : tuple of float
        Smallest and largest radius in px of the blobs that are detected.
    blob_contrast : float
        Response of a blob that counts: 0.02 finds faint ones, 0.1 only clear ones, if the plane
        spans 0 to 1.
    min_score : float
        Least IoU that the model predicts for its mask, 0 to 1.
    min_stability : float
        Least IoU of the mask at a higher and a lower threshold, 0 to 1.
    stability_offset : float
        How far these thresholds of the logits lie from 0.
    duplicate_iou : float
        Two masks that overlap by more are one object.
    containment : float
        So are two of which the smaller lies in the other by more than this share of it.
    min_area : int
        Smallest object, in px.
    max_area : int, optional
        Largest object, in px; by default limited by `max_share` only.
    max_share : float
        A mask that takes more of its field is ground.
    level : int, optional
        Field level of the clicks, pinned; by default that at which clicks start.
    levels_up : int
        How many levels up a mask that its field cuts off is predicted again.

    Raises
    ------
    sam3.errors.PromptError
        If a value cannot be used.
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
                f"seeds is {self.seeds!r}; choose one of {', '.join(get_args(SeedKind))}"
            )
        for name in (
            "min_proposal",
            "min_score",
            "min_stability",
            "duplicate_iou",
            "containment",
            "max_share",
        ):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise PromptError(f"{name} is {value}; give a share from 0 to 1")
        for name, least in (("grid", 1), ("min_area", 1), ("levels_up", 0)):
            if getattr(self, name) < least:
                raise PromptError(f"{name} is {getattr(self, name)}; give at least {least}")
        if self.blob_contrast <= 0 or self.stability_offset <= 0:
            raise PromptError(
                f"blob_contrast is {self.blob_contrast} and stability_offset is "
                f"{self.stability_offset}; both must be greater than 0"
            )
        small, large = self.blob_radii
        if not 1 <= small <= large:
            raise PromptError(
                f"blob_radii are {small:g} and {large:g} px; give the smallest (at least 1) and "
                "the largest"
            )
        if self.max_area is not None and self.max_area < self.min_area:
            raise PromptError(
                f"max_area is {self.max_area} px, less than min_area, {self.min_area} px"
            )

    def to_json(self) -> dict[str, object]:
        """Return plain values, from which `from_json` makes the same settings."""
        values = {setting.name: getattr(self, setting.name) for setting in fields(self)}
        # Batches of versions without proposals have to find their question unchanged.
        if self.seeds not in ("auto", "proposals") and self.min_proposal == type(self).min_proposal:
            del values["min_proposal"]
        return {**values, "blob_radii": list(self.blob_radii)}

    @classmethod
    def from_json(cls, values: dict[str, object]) -> AutomaticSettings:
        """Make settings from plain values; those that are not given are the default ones.

        Raises
        ------
        sam3.errors.PromptError
            If a name is unknown, or a value is not valid.
        """
        names = [one.name for one in fields(cls)]
        unknown = sorted(set(values) - set(names))
        if unknown:
            raise PromptError(
                f"unknown setting {', '.join(map(repr, unknown))}; expected {', '.join(names)}"
            )
        given = dict(values)
        if "blob_radii" in given:
            given["blob_radii"] = tuple(given["blob_radii"])  # type: ignore[arg-type]
        try:
            return cls(**given)  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            raise PromptError(f"the settings {values} cannot be used: {error}") from error
