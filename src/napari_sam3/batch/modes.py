"""The five modes of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from napari_sam3.core.prompts import PromptSet
from napari_sam3.inference.automatic.settings import AutomaticSettings
from napari_sam3.inference.similar.examples import Concept
from napari_sam3.inference.similar.search import DEFAULT_THRESHOLD
from napari_sam3.inference.tracking.ending import CALIBRATED, EndRules
from napari_sam3.inference.tracking.limits import EndLimits
from napari_sam3.inference.tracking.propagate import Direction
from napari_sam3.records.schema import PROMPTS
from sam3.errors import PromptError

from .prompts import BatchPrompts, Position

if TYPE_CHECKING:
    from napari_sam3.core.axes import ImageAxes

__all__ = ["Automatic", "Carried", "Mode", "Placed", "Propagate", "Repeated", "Similar"]
__all__ += ["SweepName", "present_mode"]

SweepName = Literal["forward", "backward"]
#: Smallest side of a tile in px.
LEAST_TILE = 32


@dataclass(frozen=True)
class Placed:
    """Segment each plane from its own prompts.

    Parameters
    ----------
    prompts : BatchPrompts
        Planes without prompts are skipped.
    """

    prompts: BatchPrompts

    def positions(self, every: Sequence[Position]) -> tuple[Position, ...]:
        """Return the planes with prompts, among those chosen."""
        return tuple(position for position in every if self.prompts.on(position))

    def to_json(self) -> dict[str, Any]:
        """Return the mode as JSON values."""
        return {"mode": "placed", "prompts": _prompts(self.prompts)}


@dataclass(frozen=True)
class Repeated:
    """Segment every plane from the same prompts.

    Parameters
    ----------
    objects : mapping of int to PromptSet
        Objects by their ids; an object keeps its id on all planes.
    """

    objects: Mapping[int, PromptSet]

    def placed(self, every: Sequence[Position]) -> Placed:
        """Return the mode with the prompts placed on each of the planes."""
        return Placed(BatchPrompts(dict.fromkeys(every, self.objects)))

    def to_json(self) -> dict[str, Any]:
        """Return the mode as JSON values."""
        return {"mode": "repeated", "prompts": _objects(self.objects)}


@dataclass(frozen=True)
class Propagate:
    """Propagate objects from plane to plane, from those with prompts to where they end.

    Parameters
    ----------
    prompts : BatchPrompts
        An object may have prompts on several planes. Planes between two of them follow the nearer
        one.
    axis : int, optional
        Axis of the image along which to propagate, one before rows and columns, by default the
        last of these that is not of channels.
    rules : EndRules
        Rules for the ends of objects. Plain `EndLimits` apply to objects without contrast.
    direction : {"forward", "backward", "both"}
        Towards the last plane, the first, or both.
    """

    prompts: BatchPrompts
    axis: int | None = None
    rules: EndRules = field(default_factory=EndRules.calibrated)
    direction: Direction = "both"

    def __post_init__(self) -> None:
        """Take the limits of earlier versions, and check the direction."""
        if isinstance(self.rules, EndLimits):
            object.__setattr__(self, "rules", EndRules.from_json(asdict(self.rules)))
        if self.direction not in get_args(Direction):
            raise PromptError(
                f"unknown direction: {self.direction!r}. Expected 'forward', 'backward' or "
                "'both'. Choose one."
            )

    @property
    def sweeps(self) -> tuple[SweepName, ...]:
        """The directions of propagation, in order."""
        return ("forward", "backward") if self.direction == "both" else (self.direction,)

    def along(self, axes: ImageAxes) -> Propagate:
        """Return the mode with the axis chosen for an image."""
        return replace(self, axis=axes.number_of(self.axis))

    def stacks(self, every: Sequence[Position]) -> tuple[tuple[Position, ...], ...]:
        """Group planes into stacks, each in ascending order.

        Raises
        ------
        sam3.errors.PromptError
            If the axis does not exist.
        """
        leading = len(every[0]) if every else 0
        along = -1 if self.axis is None else self.axis
        if not -leading <= along < leading:
            raise PromptError(
                f"objects cannot be propagated along axis {along} of an image with {leading} "
                "axes before rows and columns. Expected one of these axes. Choose another one, or "
                "give a stack."
            )
        axis = along % leading
        stacks: dict[Position, list[Position]] = {}
        for position in sorted(every):
            stacks.setdefault((*position[:axis], *position[axis + 1 :]), []).append(position)
        with_prompts = [
            tuple(stack) for stack in stacks.values() if any(map(self.prompts.on, stack))
        ]
        return tuple(sorted(with_prompts))

    def to_json(self) -> dict[str, Any]:
        """Return the mode as JSON values."""
        return {
            "mode": "propagate",
            "prompts": _prompts(self.prompts),
            "axis": self.axis,
            "rules": self.rules.to_json(),
            "direction": self.direction,
        }


@dataclass(frozen=True)
class Automatic:
    """Find all objects.

    Parameters
    ----------
    settings : AutomaticSettings
        Settings of the search.
    tile : int
        Side in px of the tiles into which larger planes are divided, at least 32. Objects on tile
        borders are found once, as a whole.
    """

    settings: AutomaticSettings = field(default_factory=AutomaticSettings)
    tile: int = 2048

    def __post_init__(self) -> None:
        """Check the tile size."""
        if self.tile < LEAST_TILE:
            raise PromptError(
                f"invalid tile size: {self.tile} px. Expected at least {LEAST_TILE}, since each "
                "tile is encoded by itself. Choose a larger one, such as 2048."
            )

    def to_json(self) -> dict[str, Any]:
        """Return the mode as JSON values."""
        return {"mode": "automatic", "settings": self.settings.to_json(), "tile": self.tile}


@dataclass(frozen=True)
class Similar(Automatic):
    """Find all objects similar to examples; planes are divided as for `Automatic`.

    Parameters
    ----------
    concept : Concept
        The examples, from `learn_concept` or `concept_of_labels`; or a text, ``Concept(text=...)``,
        for weights with a text encoder.
    threshold : float
        Minimum score, 0 to 1.
    """

    concept: Concept = field(default_factory=Concept)
    threshold: float = DEFAULT_THRESHOLD

    def __post_init__(self) -> None:
        """Check the examples and the threshold."""
        super().__post_init__()
        if not self.concept.wanted and self.concept.text is None:
            raise PromptError(
                "there is no positive example. Expected at least one object. Label one."
            )
        if not 0 <= self.threshold <= 1:
            raise PromptError(
                f"invalid minimum score: {self.threshold!r}. Expected a number from 0 to 1, such "
                "as 0.5. Choose one."
            )

    def to_json(self) -> dict[str, Any]:
        """Return the mode as JSON values, with a digest in place of the examples."""
        return {
            "mode": "similar",
            "examples": [len(self.concept.wanted), len(self.concept.unwanted)],
            "digest": self.concept.digest(),
            "threshold": self.threshold,
            "tile": self.tile,
        }


Mode = Placed | Repeated | Propagate | Automatic | Similar
#: The name that scripts of earlier versions know.
Carried = Propagate


def present_mode(known: Mapping[str, Any]) -> Mapping[str, Any]:
    """Convert the plain values of a mode from an earlier version."""
    if known.get("mode") != "carried":
        return known
    try:
        rules = EndRules.from_json(known["rules"]).to_json()
    except (KeyError, TypeError, PromptError):
        return known
    return {**known, "mode": "propagate", "rules": rules, "direction": "both"}


def of_another_version(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Tell whether the plain values of two modes differ by rules that come with a version alone."""
    rules, others = old.get("rules"), new.get("rules")
    if not isinstance(rules, dict) or not isinstance(others, dict):
        return False
    refitted = any(rules.get(name) != others.get(name) for name in CALIBRATED)
    theirs = {*CALIBRATED, "flat"}  # whose defaults come with a version, too
    kept = [{name: one[name] for name in one if name not in theirs} for one in (rules, others)]
    return refitted and {**old, "rules": kept[0]} == {**new, "rules": kept[1]}


def _prompts(prompts: BatchPrompts) -> list[Any]:
    return [[list(position), _objects(objects)] for position, objects in prompts.planes.items()]


def _objects(objects: Mapping[int, PromptSet]) -> list[Any]:
    return [[number, PROMPTS.write(one)] for number, one in sorted(objects.items())]
