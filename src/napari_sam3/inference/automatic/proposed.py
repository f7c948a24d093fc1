"""Seeds from the proposal head of the model, one per expected object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_sam3.core.fields import FINEST_LEVEL, FieldOfView, field_side, top_level
from napari_sam3.core.masks import Region
from napari_sam3.core.rendering import PlaneImage
from napari_sam3.inference.answers import LARGEST_BATCH
from napari_sam3.inference.cache import Control, EmbeddingCache

from .parts import Part
from .search_grid import OVERLAP, SearchGrid
from .seeds import Seed
from .settings import AutomaticSettings

if TYPE_CHECKING:
    from sam3.features import ImageFeatures
    from sam3.predictor import Predictor

__all__ = ["proposed_seeds"]

#: Longer side of objects as a fraction of the field's. Larger objects belong to the next coarser
#: level and smaller ones to the next finer level. Between the two, both levels propose.
LARGEST, SMALLEST = 0.5, 0.2
#: Coarser levels are skipped if no proposal is as large as this. It is smaller than twice SMALLEST,
#: which the next level would accept, since boxes are inexact.
EXPECTED = 0.3
#: Objects smaller than this are searched again on the next finer level, if there is one, where
#: they are found and outlined better.
TINY = 0.05
#: So are faint proposals, with this part of the least score or more, of up to twice that size: of
#: tiny objects the first level is not sure.
FAINT = 0.5
#: Fields of the finer level may cut off larger objects, which the level before has found.
TINY_IN_FINER = 3 * TINY
#: Overlap of the fields of the finer level: as long as the objects that are searched there.
FINER_OVERLAP = 2 * TINY
#: The plane has to be so many times longer than a field of the finer level: less enlarges little.
ENLARGED = 1.3


@dataclass(frozen=True)
class _Proposed:
    """A proposal in a field.

    Parameters
    ----------
    seed : Seed
        Its place and size.
    share : float
        Longer side of the object as a fraction of the field's.
    is_sure : bool
        Whether its score is the least one or more.
    """

    seed: Seed
    share: float
    is_sure: bool

    @property
    def is_tiny(self) -> bool:
        """Whether to search it on a finer level."""
        return self.share < (TINY if self.is_sure else 2 * TINY)


class _Search:
    """Arguments of :func:`proposed_seeds` that all levels of a search share."""

    def __init__(
        self,
        plane: PlaneImage,
        predictor: Predictor,
        cache: EmbeddingCache,
        control: Control,
        settings: AutomaticSettings,
        region: Region,
    ) -> None:
        self.plane, self.predictor, self.cache, self.control = plane, predictor, cache, control
        self.region, self._least = region, settings.min_proposal
        self._done = 0.0
        top = top_level(plane.shape, predictor.config.resolution)
        # Objects of most images are large enough one level above that of clicks.
        start = predictor.config.default_level + 1 if settings.level is None else settings.level
        self.first = min(start, top)
        coarser = settings.levels_up if settings.level is None else 0
        self.levels = tuple(range(self.first, min(self.first + coarser, top) + 1))
        side = field_side(predictor.config.resolution, self.first - 1)
        looks_closer = settings.level is None and self.first > FINEST_LEVEL
        self.looks_closer = looks_closer and max(plane.shape) > ENLARGED * side

    def grid(self, level: int, overlap: float = OVERLAP) -> SearchGrid:
        """Return the fields of a level."""
        return SearchGrid(self.plane.shape, self.predictor.config.resolution, level, overlap)

    def finer_grid(self) -> SearchGrid | None:
        """Return the fields of the level below the first, if a closer look is worth it."""
        return self.grid(self.first - 1, FINER_OVERLAP) if self.looks_closer else None

    def propose(
        self, fields: Sequence[FieldOfView]
    ) -> Iterator[tuple[Part, FieldOfView, list[_Proposed]]]:
        """Yield all that is proposed in each field, until the control is cancelled."""
        # How many levels will follow is not known: each gets half of what is left.
        start, share = self._done, 0.5 * (1 - self._done)
        self._done += share
        for number, field in enumerate(fields):
            part = Part(self.control, start + share * number / len(fields), share / len(fields))
            features = self.cache.encode_field(field, self.plane, self.predictor, part)
            if self.control.cancelled:
                return
            yield part, field, list(_proposed(field, self.predictor, features, self._least))

    def holds(self, seed: Seed) -> bool:
        """Tell whether a seed lies in the region."""
        rows, columns = self.region
        inside = rows.start <= seed.y < rows.stop and columns.start <= seed.x < columns.stop
        return bool(inside)


def proposed_seeds(
    plane: PlaneImage,
    predictor: Predictor,
    cache: EmbeddingCache,
    control: Control,
    settings: AutomaticSettings,
    region: Region,
) -> Iterator[tuple[Part, FieldOfView, list[Seed]]]:
    """Yield the seeds field by field, until the control is cancelled.

    Most of the time is spent on encoding. The first level is therefore a coarse one; the finer
    one is searched where the first has found tiny objects, and coarser ones if it has found large
    objects.

    Parameters
    ----------
    plane : PlaneImage
        Plane.
    predictor : Predictor
        Model with a proposal head.
    cache, control
        As for :func:`napari_sam3.inference.automatic.find.find_objects`.
    settings : AutomaticSettings
        Levels and least score.
    region : tuple of slice
        Rows and columns of the seeds.

    Yields
    ------
    (Part, FieldOfView, list of Seed)
        Part of the job, field and its seeds.
    """
    search = _Search(plane, predictor, cache, control, settings, region)
    closer: dict[FieldOfView, None] = {}
    for level in search.levels:
        grid, largest = search.grid(level), 0.0
        finest, coarsest = level == search.first, level == search.levels[-1]
        finer = search.finer_grid() if finest else None
        # Which fields of the finer level are searched must not depend on where a tile ends.
        searched = region if finer is None else finer.reach(region)
        for part, field, proposed in search.propose(grid.over(searched)):
            own = [
                proposal
                for proposal in proposed
                if grid.is_near(field, proposal.seed.y, proposal.seed.x)
            ]
            tiny = [proposal for proposal in own if finer and proposal.is_tiny]
            closer |= dict.fromkeys(
                finer.field_at(proposal.seed.y, proposal.seed.x) for proposal in tiny if finer
            )
            sure = [proposal for proposal in proposed if proposal.is_sure]
            largest = max((largest, *(proposal.share for proposal in sure)))
            seeds = [
                proposal.seed
                for proposal in own
                if proposal.is_sure and search.holds(proposal.seed) and proposal not in tiny
                if _suits(proposal.share, finest, coarsest)
            ]
            yield from _batches(part, field, seeds)
        if finer is not None:
            fields = [field for field in finer.over(region) if field in closer]
            for part, field, proposed in search.propose(fields):
                seeds = [
                    proposal.seed
                    for proposal in proposed
                    if proposal.is_sure
                    and search.holds(proposal.seed)
                    and proposal.share < TINY_IN_FINER
                    if finer.is_near(field, proposal.seed.y, proposal.seed.x)
                ]
                yield from _batches(part, field, seeds)
        if control.cancelled or largest < EXPECTED:
            return


def _batches(
    part: Part, field: FieldOfView, seeds: Sequence[Seed]
) -> Iterator[tuple[Part, FieldOfView, list[Seed]]]:
    for start in range(0, len(seeds), LARGEST_BATCH):
        yield part, field, list(seeds[start : start + LARGEST_BATCH])


def _proposed(
    field: FieldOfView, predictor: Predictor, features: ImageFeatures, least: float
) -> Iterator[_Proposed]:
    from sam3.proposals import propose  # imports torch

    proposals = propose(predictor, features, FAINT * least)
    row, column = field.origin
    for (x0, y0, x1, y1), (x, y), score in zip(
        proposals.boxes.tolist(), proposals.points.tolist(), proposals.scores.tolist(), strict=True
    ):
        size = 1 + max(x1 - x0, y1 - y0)
        seed = Seed(row + y, column + x, size)
        yield _Proposed(seed, size / max(field.encoded_shape), score >= least)


def _suits(share: float, finest: bool, coarsest: bool) -> bool:
    """Return whether the size of an object suits the fields of a level."""
    return (coarsest or share <= LARGEST) and (finest or share >= SMALLEST)
