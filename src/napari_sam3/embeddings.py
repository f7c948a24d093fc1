"""Image features kept in memory, so that a field is encoded once."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from sam3.predictor import ImageFeatures, Predictor

    from .fields import Field
    from .plane_image import PlaneImage

__all__ = ["DEFAULT_LIMIT_BYTES", "Control", "EmbeddingCache", "EncodingStopped", "embedding_key"]

logger = logging.getLogger(__name__)

DEFAULT_LIMIT_BYTES = 1 << 30


class EncodingStopped(Exception):
    """Nobody wants the features that are being made."""


class Control(Protocol):
    """How a running job hears of the outside world, and the other way round."""

    @property
    def cancelled(self) -> bool:
        """Whether the answer is no longer wanted; features still may be."""

    @property
    def abandoned(self) -> bool:
        """Whether nothing at all is wanted any more."""

    def report(self, stage: str, fraction: float | None = None) -> None:
        """Tell the stage, "encoding" or "predicting", and which share of it is done."""


def embedding_key(pixels: npt.NDArray[np.uint8], predictor: Predictor) -> str:
    """Name the features of an image: what the model sees, and which model sees it.

    Parameters
    ----------
    pixels : ndarray of uint8, h x w x 3
        The image exactly as it is handed to the model.
    predictor : Predictor
        Its weights, preset and input size are part of the name.
    """
    digest = hashlib.blake2b(digest_size=16)
    config = predictor.config
    digest.update(repr((pixels.shape, str(pixels.dtype), predictor.fingerprint)).encode())
    digest.update(repr((config.name, config.resolution)).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


class EmbeddingCache:
    """Features in memory, the least recently used given up first. Safe between threads.

    Parameters
    ----------
    limit_bytes : int
        Most bytes to hold. The newest entry is kept even if it alone is larger.
    """

    def __init__(self, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self._entries: OrderedDict[str, ImageFeatures] = OrderedDict()
        self._nbytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return the number of images held."""
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        """Whether features are held under a key."""
        return key in self._entries

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._nbytes

    def get(self, key: str) -> ImageFeatures | None:
        """Return the features under a key, or None."""
        with self._lock:
            features = self._entries.get(key)
            if features is not None:
                self._entries.move_to_end(key)
            return features

    def put(self, key: str, features: ImageFeatures) -> None:
        """Keep features, giving up the ones used longest ago if there is no room."""
        with self._lock:
            old = self._entries.pop(key, None)
            if old is not None:
                self._nbytes -= old.nbytes
            self._entries[key] = features
            self._nbytes += features.nbytes
            while self._nbytes > self.limit_bytes and len(self._entries) > 1:
                _, dropped = self._entries.popitem(last=False)
                self._nbytes -= dropped.nbytes

    def encode_field(
        self, region: Field, plane: PlaneImage, predictor: Predictor, control: Control
    ) -> ImageFeatures:
        """Return the features of a field, reading and encoding it if they are not held.

        Parameters
        ----------
        region : Field
            Part of the plane.
        plane : PlaneImage
            Where its pixels are read.
        predictor : Predictor
            Encodes them.
        control : Control
            Told the progress.

        Raises
        ------
        EncodingStopped
            If the control was abandoned meanwhile.
        """
        control.report("encoding")
        pixels = region.extract(plane)
        key = embedding_key(pixels, predictor)
        features = self.get(key)
        if features is not None:
            return features

        def progress(share: float) -> None:
            if control.abandoned:
                raise EncodingStopped
            control.report("encoding", share)

        logger.debug("encoding a field of %s px", pixels.shape[:2])
        features = predictor.encode(pixels, progress)
        self.put(key, features)
        return features

    def clear(self) -> None:
        """Give up everything."""
        with self._lock:
            self._entries.clear()
            self._nbytes = 0
