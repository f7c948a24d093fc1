"""Encode fields ahead of time while the model is idle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_sam3.core.field_grid import fields_over
from napari_sam3.core.fields import FieldOfView, choose_field
from napari_sam3.core.prompts import PromptSet
from napari_sam3.labels.targets import ArrayTarget

from .jobs import Plane

if TYPE_CHECKING:
    from napari_sam3.core.rendering import PlaneImage
    from sam3.predictor import Predictor

    from .drafts import DraftsByPlane
    from .objects import ObjectRegistry
    from .options import SessionOptions
    from .predictions import Predictions

__all__ = ["LookAhead"]

# Fields are encoded ahead up to this distance, in sides of a field.
_NEAR_FIELDS = 3
# Fields of each next image: all of a 1024 x 1024 px image at the embedded model's input size.
_FIELDS_TO_COME = 16
SLOW_ENCODING = 5.0  # seconds
#: Key of the planes of images that are not open yet.
_TO_COME = "to come"


class LookAhead:
    """Encode the fields of a plane, and of its neighbours, that a click is likely to need.

    Parameters
    ----------
    options : SessionOptions
        Number of fields, and a pinned level.
    drafts : DraftsByPlane
        Current plane.
    objects : ObjectRegistry
        Accepted objects: the next click is likely to be near the last one.
    predictions : Predictions
        Runs the requests.

    Attributes
    ----------
    neighbours : callable or None
        Returns the images of the planes that are likely to be shown next.
    to_come : callable or None
        Returns the next images, such as those of a series.
    paused : bool
        Whether to encode nothing, because the thread is needed for other work.
    """

    def __init__(
        self,
        options: SessionOptions,
        drafts: DraftsByPlane,
        objects: ObjectRegistry,
        predictions: Predictions,
    ) -> None:
        self._options, self._drafts, self._objects = options, drafts, objects
        self._predictions = predictions
        self._plane: Plane | None = None
        self._done: set[tuple[PlaneImage, FieldOfView]] = set()
        self.neighbours: Callable[[], Sequence[PlaneImage]] | None = None
        self.to_come: Callable[[], Sequence[PlaneImage]] | None = None
        self._come: set[tuple[PlaneImage, FieldOfView]] = set()
        self.paused = False

    def advance(self, failed: bool = False) -> None:
        """Encode the next field near the last object, if nothing else runs.

        Fields of the plane come first, then the same field on its neighbours.
        """
        plane, predictor = self._drafts.plane, self._predictions.predictor
        if plane is None or predictor is None or failed or not self._may_run():
            return
        if self._plane is not plane:
            self._plane, self._done = plane, set()
        if len(self._done) < self._limit() and self._encode_near(plane, predictor):
            return
        self._encode_to_come(predictor)

    def _encode_near(self, plane: Plane, predictor: Predictor) -> bool:
        """Encode a field of the plane or its neighbours; False if there is none left."""
        fields = self._near_fields(plane, predictor)
        neighbours = self.neighbours() if self.neighbours is not None else ()
        wanted = [(plane.image, field) for field in fields]
        wanted += [(image, fields[0]) for image in neighbours if image.shape == plane.shape]
        for image, field in wanted:
            if (image, field) not in self._done:
                self._done.add((image, field))
                ahead = Plane(plane.key, image, plane.labels)
                self._predictions.encode_ahead(ahead, field, first=len(self._done) == 1)
                return True
        return False

    def _encode_to_come(self, predictor: Predictor) -> None:
        """Encode a field of the next images, from the middle outwards."""
        images = self.to_come() if self.to_come is not None else ()
        self._come = {pair for pair in self._come if pair[0] in images}
        for image in images:
            # These labels are never written to, so they take no memory.
            plane = Plane(_TO_COME, image, ArrayTarget(np.zeros(image.shape, np.uint8)))
            # A slow model encodes only the field in the middle.
            limit = 1 if self._limit() == 1 else _FIELDS_TO_COME
            for field in self._near_fields(plane, predictor)[:limit]:
                if (image, field) not in self._come:
                    self._come.add((image, field))
                    self._predictions.encode_ahead(plane, field, first=False)
                    return

    def _may_run(self) -> bool:
        queue, cache = self._predictions.queue, self._predictions.cache
        idle = not queue.busy and queue.running is None
        room = cache.nbytes <= cache.limit_bytes / 2
        return bool(self._options.look_ahead) and not self.paused and idle and room

    def _limit(self) -> int:
        """Return how many fields of a plane are encoded ahead."""
        # A slow model encodes only the field that is needed first.
        slow = (self._predictions.seconds_to_encode or 0) > SLOW_ENCODING
        return 1 if slow else self._options.look_ahead

    def _near_fields(self, plane: Plane, predictor: Predictor) -> list[FieldOfView]:
        """Return fields at the level of the next click, nearest to the last object first."""
        height, width = plane.shape
        recent = [one.bbox for one in self._objects.all()[-1:] if one.plane == plane.key]
        y, x = (height - 1) / 2, (width - 1) / 2
        if recent:
            y, x = (recent[0][0] + recent[0][2]) / 2, (recent[0][1] + recent[0][3]) / 2
        click = PromptSet(((x, y),), (1,))
        size = self._objects.typical_size()
        first = choose_field(plane.shape, click, predictor.config, self._options.level, size)
        reach = _NEAR_FIELDS * max(first.shape)

        def distance(field: FieldOfView) -> float:
            return max(abs(sum(field.rows) / 2 - y), abs(sum(field.columns) / 2 - x))

        rows, columns = (
            (max(0, int(middle) - reach), min(length, int(middle) + reach))
            for middle, length in ((y, height), (x, width))
        )
        resolution = predictor.config.resolution
        fields = fields_over(plane.shape, resolution, first.level, rows, columns)
        return [first, *sorted(fields, key=distance)]
