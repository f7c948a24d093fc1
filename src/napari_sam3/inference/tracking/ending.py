"""Where an object ends: rules that weigh the evidence on each plane."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam3.core.masks import PlaneMask
from sam3.errors import PromptError

from .evidence import FEATURES, Look, Place, contrast_of, evidence, look_of
from .followers import Before, FoundMask
from .limits import EndLimits, check_ranges, why_ended

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_sam3.core.rendering import PlaneImage

    Load = Callable[[int], PlaneImage]

__all__ = ["CALIBRATED", "EMPTY", "EndRules", "Sighting", "Trail"]

_RANGES = (
    ("least", 0, 1),
    ("least_contrast", -1, 1),
    ("gap", 0, float("inf")),
    ("min_area", 1, float("inf")),
    ("min_score", 0, 1),
)
#: Values of `EndRules` that are fitted, and come with a version.
CALIBRATED = ("weights", "recalled", "narrowing")
EMPTY = PlaneMask(0, 0, np.zeros((0, 0), bool))


@dataclass(frozen=True)
class EndRules:
    """When an object has ended.

    Parameters
    ----------
    weights : tuple of float
        Of :data:`evidence.FEATURES`, then of 1, for the logit that the object is there; without
        any, each mask is taken. They count for objects that stand out from their surroundings
        where they are shown.
    recalled : tuple of float
        The same where the model has a memory; by default `weights`.
    narrowing : tuple of float
        Of the same, for the logit that pixels of a mask must have to be kept, where the model has
        no memory; without any, masks are not narrowed.
    flat : EndLimits, optional
        Limits for other objects, of which contrast says nothing.
    least : float
        Probability that the object is there, below which a mask is not taken.
    least_contrast : float
        Contrast of an object that stands out, as a share of that where it was shown, below which
        a mask is not taken.
    gap : int
        Planes in a row without the object that are bridged before it has ended, as for a blink
        or a bad plane of a time series.
    min_area : int
        Masks of fewer px are not taken.
    min_score : float
        Masks that the model itself scores lower are not taken.
    in_time : bool
        Whether planes are points in time. Objects then move and change, but are not out of focus
        where they end, so all of them end by `flat`.
    """

    weights: tuple[float, ...] = ()
    recalled: tuple[float, ...] = ()
    narrowing: tuple[float, ...] = ()
    flat: EndLimits | None = None
    least: float = 0.5
    least_contrast: float = 0.03
    gap: int = 0
    min_area: int = 8
    min_score: float = 0.0
    in_time: bool = False

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        check_ranges(self, _RANGES)

    @classmethod
    def calibrated(cls, gap: int = 0, *, in_time: bool = False) -> EndRules:
        """Rules calibrated on real stacks, or time series; see docs/propagation.md."""
        flat = _IN_TIME if in_time else EndLimits()
        return cls(_WEIGHTS, _RECALLED, _NARROWING, flat, gap=gap, in_time=in_time)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> EndRules:
        """Make calibrated rules with some values of one's own, as plain values.

        Parameters
        ----------
        values : mapping
            Of ``least``, ``least_contrast``, ``gap``, ``min_area``, ``min_score`` and ``in_time``,
            and of `EndLimits`. ``parts`` and ``slack``, which earlier versions had, have no effect.

        Raises
        ------
        sam3.errors.PromptError
            If a name is unknown, or a value is not valid.
        """
        limits = {one.name for one in fields(EndLimits)}
        own = {"least", "least_contrast", "gap", "min_area", "min_score", "in_time"}
        unknown = sorted(set(values) - limits - own - {"parts", "slack"})
        if unknown:
            raise PromptError(
                f"unknown rule {', '.join(map(repr, unknown))}. Expected "
                f"{', '.join(sorted(limits | own))}. Choose one of these."
            )
        in_time = bool(values.get("in_time", False))
        defaults = _IN_TIME if in_time else EndLimits()
        flat = replace(defaults, **{one: values[one] for one in limits & values.keys()})
        given = {name: values[name] for name in own & values.keys()}
        return cls(_WEIGHTS, _RECALLED, _NARROWING, flat, **given)

    def to_json(self) -> dict[str, Any]:
        """Return the rules as plain values."""
        values = asdict(self)
        values |= {name: list(values[name]) for name in CALIBRATED}
        if not self.in_time:  # as in files of earlier versions
            del values["in_time"]
        return values

    def limited(self, min_score: float, min_area: int) -> EndRules:
        """Return the rules with a least score and area for all objects."""
        flat = self.flat and replace(self.flat, min_score=min_score, min_area=min_area)
        return replace(self, flat=flat, min_score=min_score, min_area=min_area)

    def probability(self, features: npt.NDArray[np.float64], *, recalled: bool = False) -> float:
        """Return the probability that an object that stands out is on a plane."""
        weights = self.recalled if recalled and self.recalled else self.weights
        if not weights:
            return 1.0
        logit = float(np.dot(weights[:-1], features)) + weights[-1]
        return 1 / (1 + math.exp(-logit))

    def narrowed(
        self,
        mask: PlaneMask,
        above: Callable[[float], PlaneMask],
        features: npt.NDArray[np.float64],
    ) -> PlaneMask:
        """Return the part of a mask that is the object itself, not its light out of focus."""
        if not self.narrowing:
            return mask
        logit = float(np.dot(self.narrowing[:-1], features)) + self.narrowing[-1]
        return above(min(max(logit, 0.0), _MOST_LOGIT))


# For time series: on the part of a series of myoblasts that is trained on, cells were lost by a
# higher predicted IoU, and cells round off and spread from frame to frame.
_IN_TIME = EndLimits(min_score=0.5, max_change=3.0, min_overlap=0.5)
_MOST_LOGIT = 12.0  # more is nowhere
# In the order of FEATURES; fitted to sets of nuclei, as in `python -m benchmarks.ending`: where
# objects end, without a memory and with one, and how masks are narrowed.
_WEIGHTS = (0.314, 0.43, 0.467, -0.129, -0.746, -0.397, 0.365, 2.418, 0.0, -0.067, 2.434)
_RECALLED = (0.314, 0.313, 0.363, -0.118, -1.056, -0.719, 0.275, 0.186, 2.06, 0.0, -0.497)
_NARROWING = (-4.248, 0.557, -1.304, -4.715, 6.355, 0.98, -0.68, -1.809, 0.0, 4.83, 3.541)


@dataclass(eq=False)
class Sighting:
    """A mask of an object on a plane, and how it stands out there once that is asked for.

    Attributes
    ----------
    mask : PlaneMask
    plane : int
        Index of the plane.
    """

    mask: PlaneMask
    plane: int
    _look: Look | None = None
    _place: Place | None = field(default=None, repr=False)

    def look(self, load: Load) -> Look:
        """Return how the mask stands out, measured once; the plane may have to be read."""
        if self._look is None:
            plane = load(self.plane)
            self._look = look_of(self.mask, plane, self.place(plane.shape))
        return self._look

    def place(self, shape: tuple[int, int]) -> Place:
        """Return the pixels that are measured, found once for planes of a shape."""
        if self._place is None or self._place.shape != shape:
            self._place = Place(self.mask, shape)
        return self._place


@dataclass(eq=False)
class Trail:
    """An object on its way: where it was shown, and where it was seen last.

    Attributes
    ----------
    shown, last : Sighting
    rules : EndRules
    load : callable
        Called with the index of a plane, returns it.
    missed : int
        Planes in a row without the object.
    """

    shown: Sighting
    rules: EndRules
    load: Load
    missed: int = 0
    last: Sighting = field(init=False)

    def __post_init__(self) -> None:
        """Begin where it was shown."""
        self.last = self.shown

    @property
    def mask(self) -> PlaneMask:
        """The last mask that was taken."""
        return self.last.mask

    def before(self) -> Before:
        """Return the mask prompt of the next plane."""
        return Before(self.mask, self.last.plane, not self._is_flat, self.rules.in_time)

    def judge(self, found: FoundMask, index: int, plane: PlaneImage) -> tuple[PlaneMask, str]:
        """Return the mask that is taken on a plane, maybe an empty one, and why it ended if so."""
        rules, area, expected = self.rules, found.mask.area, found.expected or self.mask
        seen = Sighting(found.mask, index)
        if area < max(1, rules.min_area):
            reason = f"only {area} px were found"
        elif found.score < rules.min_score:
            reason = f"the score fell to {found.score:.2f}"
        elif self._is_flat:
            assert rules.flat is not None
            reason = why_ended(expected, found.mask, found.score, rules.flat)
        else:
            stayed = self.last.place(plane.shape) if expected is self.mask else None
            look = seen.look(lambda _: plane)
            features = self._evidence(found, look, contrast_of(expected, plane, stayed))
            reason = self._doubt(found, features)
            if not reason and found.above is not None:
                mask = rules.narrowed(found.mask, found.above, features)
                seen = seen if mask is found.mask else Sighting(mask, index)
                if mask.area < max(1, rules.min_area):
                    reason = f"only {mask.area} px were found"
        self.follow(Sighting(EMPTY, index) if reason else seen)
        return EMPTY if reason else seen.mask, reason if self.missed > rules.gap else ""

    def follow(self, seen: Sighting) -> None:
        """Take a mask, maybe an empty one, that was judged before."""
        self.missed = self.missed + 1 if seen.mask.is_empty else 0
        if not seen.mask.is_empty:
            self.last = seen

    @property
    def _is_flat(self) -> bool:
        """Whether contrast says nothing of the object."""
        rules = self.rules
        return rules.flat is not None and (
            rules.in_time or not self.shown.look(self.load).stands_out
        )

    def _evidence(
        self, found: FoundMask, look: Look, contrast_at_mask_before: float
    ) -> npt.NDArray[np.float64]:
        """Return the evidence for a mask."""
        return evidence(
            (found.mask, look, found.score),
            contrast_at_mask_before,
            (self.mask, self.last.look(self.load)),
            (self.shown.mask, self.shown.look(self.load)),
            found.presence,
        )

    def _doubt(self, found: FoundMask, features: npt.NDArray[np.float64]) -> str:
        """Say why a mask of an object that stands out is not taken; "" if it is."""
        rules, contrast = self.rules, features[FEATURES.index("contrast")]
        if rules.weights and contrast < rules.least_contrast:
            return f"the contrast fell to {contrast:.0%} of that where it was shown"
        chance = rules.probability(features, recalled=found.presence is not None)
        return f"the evidence fell to {chance:.2f}" if chance < rules.least else ""
