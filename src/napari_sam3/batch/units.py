"""The units of a batch, executed by the same functions in one process or many."""

from __future__ import annotations

import math
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from napari_sam3.core.drafts import Draft, Turn
from napari_sam3.core.masks import Region
from napari_sam3.core.objects import Instance
from napari_sam3.core.planes import ContrastLimits, PlaneIndex
from napari_sam3.core.prompts import PromptSet
from napari_sam3.core.rendering import PlaneImage
from napari_sam3.images.plane_image import load_if_small
from napari_sam3.inference.answers import answer
from napari_sam3.inference.automatic.find import Found, find_objects, merge_found, paint_order
from napari_sam3.inference.cache import Control, EmbeddingCache, EncodingStopped
from napari_sam3.inference.models import ModelHandle, detector_loader
from napari_sam3.inference.questions import Question
from napari_sam3.inference.similar.search import find_similar, shown
from napari_sam3.labels.ome_zarr import LabelImage, open_labels
from napari_sam3.labels.painting import paint_plane
from sam3.errors import ImageError

from .modes import Automatic, Mode, Placed, Propagate, Similar
from .prompts import Position
from .results import BatchError, masks_digest
from .sources import ImageSource
from .unit_records import Painted, Records, name_of

if TYPE_CHECKING:
    from sam3.concepts.detector import Detector
    from sam3.predictor import Predictor

__all__ = ["BatchJob", "Stopped", "UnitRunner"]

T = TypeVar("T")
# Features of fields to which a chain may return; more would waste memory.
CACHE_BYTES = 512_000_000
# Threads of a process share its model and use it one at a time, which bounds the memory.
_model_turn = threading.Lock()

Tile = tuple[Region, str]


class Stopped(Exception):
    """The batch was cancelled."""


@dataclass(frozen=True, eq=False)
class BatchJob:
    """All that a process needs to work on a batch; can be sent to other processes.

    Parameters
    ----------
    image : ImageSource
        The image.
    mode : Placed, Propagate, Automatic or Similar
        The mode; `Repeated` becomes `Placed`.
    model : ModelHandle
        The model.
    records : Path
        Folder of the records.
    output : Path, optional
        Labels to paint.
    contrast : tuple of float, optional
        Values mapped to 0 and 255; by default determined for the image as in the viewer.
    level : int, optional
        Fixed pyramid level.
    run : str
        Identifies the run, so that results of an earlier one are not used.
    """

    image: ImageSource
    mode: Mode
    model: ModelHandle
    records: Path
    output: Path | None = None
    contrast: ContrastLimits | None = None
    level: int | None = None
    run: str = field(default_factory=lambda: secrets.token_hex(8))


@dataclass(eq=False)
class UnitRunner:
    """Execute units of a job one at a time, and record the results.

    Recorded units are not executed again; every method returns whether a unit was.

    Parameters
    ----------
    job : BatchJob
        The job.
    stop : Control
        Checked between fields.
    cache : EmbeddingCache, optional
        Cached features; by default a small cache of its own.
    """

    job: BatchJob
    stop: Control
    cache: EmbeddingCache = field(default_factory=lambda: EmbeddingCache(CACHE_BYTES))

    @cached_property
    def records(self) -> Records:
        """Records of finished units."""
        return Records(self.job.records)

    @cached_property
    def predictor(self) -> Predictor:
        """The model, loaded on first use."""
        return self.job.model()

    @cached_property
    def detector(self) -> Detector | None:
        """The concept detector of the same weights, if there is one; loaded on first use."""
        return detector_loader()(self.predictor)

    @cached_property
    def labels(self) -> LabelImage | None:
        """The labels to paint, if any."""
        return None if self.job.output is None else open_labels(self.job.output)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of a plane in px."""
        height, width = self.job.image.open().shape[-2:]
        return height, width

    def load(self, position: Position) -> PlaneImage:
        """Read a plane, or open it if it is large or a pyramid; raises ImageError."""
        image = self.job.image.open()
        try:
            return load_if_small(image.rendered(plane_index(position), self.job.contrast))
        except ImageError:
            raise
        except Exception as error:  # readers of files raise errors of any type
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ImageError(
                f"{plane_index(position)} cannot be read ({reason}). Expected pixels. Repair the "
                "file, or leave the plane out."
            ) from error

    def find(self, position: Position, plane: PlaneImage) -> tuple[Instance, ...]:
        """Segment the objects with prompts on a plane."""
        mode = self.job.mode
        assert isinstance(mode, Placed | Propagate)
        prompts = mode.prompts.on(position)
        drafts = tuple(Draft(number, (Turn(one),)) for number, one in prompts.items())
        question = Question(plane, drafts, level=self.job.level)
        answers = self.while_wanted(lambda: answer(question, self.predictor, self.cache, self.stop))
        return tuple(
            Instance(one.draft.number, one.mask, float(one.score), one.prompts) for one in answers
        )

    def find_in_tile(self, plane: PlaneImage, region: Region) -> tuple[Found, ...]:
        """Find all objects with their seed in a tile."""
        mode = self.job.mode
        assert isinstance(mode, Automatic)
        if isinstance(mode, Similar):
            return self.while_wanted(
                lambda: find_similar(
                    *(plane, self.predictor, self.cache, self.stop, mode.concept, region),
                    detector=self.detector,
                )
            )
        return self.while_wanted(
            lambda: find_objects(
                plane, self.predictor, self.cache, self.stop, mode.settings, region
            )
        )

    def merge(self, position: Position, first: int = 1) -> tuple[Instance, ...]:
        """Merge the objects found in the tiles of a plane, numbering them from `first`.

        Raises
        ------
        BatchError
            If a tile is missing.
        """
        mode = self.job.mode
        assert isinstance(mode, Automatic)
        parts: list[tuple[Found, ...]] = []
        for _, name in self.tiles(position):
            found = self.records.found(name)
            if found is None:
                raise BatchError(
                    f"the tile {name} is missing. Expected it from an earlier step. Run the same "
                    "command again."
                )
            parts.append(found)
        found_once = merge_found(parts, mode.settings)
        if isinstance(mode, Similar):
            found_once = shown(found_once, mode.threshold)
        merged = paint_order(found_once, mode.settings)
        return tuple(
            Instance(
                number, one.mask, float(one.score), PromptSet(((one.seed.x, one.seed.y),), (1,))
            )
            for number, one in enumerate(merged, start=first)
        )

    def paint(self, position: Position, objects: tuple[Instance, ...]) -> bool:
        """Paint a plane of labels and record it; False if that was done before."""
        if self.labels is None:
            return False
        name, made_from = name_of(position), masks_digest(objects)
        if self.records.painted(name, made_from) is not None:
            return False
        array: Any = self.labels.array
        chunk = array.chunks[-2], array.chunks[-1]

        def write(region: Region, values: Any) -> None:
            array[(*position, *region)] = values

        try:
            extents = paint_plane(objects, self.shape, chunk, write)
        except OSError as error:
            raise BatchError(
                f"{str(self.job.output)!r} cannot be written: {error.strerror or error}. Expected "
                "a writable output. Free some space, then run the same command again to resume."
            ) from error
        self.records.put_painted(name, Painted.of(objects, extents, made_from))
        return True

    def tiles(self, position: Position) -> tuple[Tile, ...]:
        """Return the tiles of a plane, with the names of their records."""
        mode = self.job.mode
        assert isinstance(mode, Automatic)
        spans = [_spans(length, mode.tile) for length in self.shape]
        return tuple(
            ((rows, columns), name_of(position, (rows.start, columns.start)))
            for rows in spans[0]
            for columns in spans[1]
        )

    def forget(self) -> None:
        """Evict the features of a finished plane."""
        self.cache.clear()

    def while_wanted(self, ask: Callable[[], T | None]) -> T:
        """Run the model, one thread of the process at a time. Raises Stopped once cancelled."""
        try:
            with _model_turn:
                found = ask()
        except EncodingStopped:
            found = None
        if found is None:
            raise Stopped
        return found


def plane_index(position: Position) -> PlaneIndex:
    """Return the plane of the last two axes at a position."""
    return PlaneIndex((len(position), len(position) + 1), position)


def _spans(length: int, tile: int) -> list[slice]:
    """Divide an axis evenly into the fewest tiles of at most `tile` px."""
    count = max(1, math.ceil(length / tile))
    edges = [round(i * length / count) for i in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(edges)]
