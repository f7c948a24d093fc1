"""Cache of image features in memory and optionally on disk, so that a field is encoded once."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from .compact import CompactFeatures, can_be_compact

if TYPE_CHECKING:
    from napari_sam3.core.fields import FieldOfView
    from napari_sam3.core.rendering import PlaneImage
    from sam3.predictor import ImageFeatures, Predictor

    from .store import StoreError
    from .store.store import EmbeddingStore

__all__ = [
    "Control",
    "EmbeddingCache",
    "EncodingStopped",
    "default_limit",
    "embedding_key",
    "store_features",
]

logger = logging.getLogger(__name__)

#: Version of the features that `sam3` computes from given pixels. Part of every key, so that
#: stored features of other versions are not used.
ENCODING_VERSION = 1
_LEAST_BYTES = 256_000_000
#: Entries that are kept whole, although they could be compact: those used last.
_WHOLE = 4


class EncodingStopped(Exception):
    """The encoding has been abandoned."""


class Control(Protocol):
    """Cancellation and progress of a running job."""

    @property
    def cancelled(self) -> bool:
        """Whether the prediction is obsolete. Its features may still be needed."""

    @property
    def abandoned(self) -> bool:
        """Whether neither prediction nor features are needed."""

    def report(self, stage: str, fraction: float | None = None) -> None:
        """Report the stage, "encoding" or "predicting", and its fraction done."""


def embedding_key(pixels: npt.NDArray[np.uint8], predictor: Predictor) -> str:
    """Return the key of the features of an image, a hash of its pixels and the model.

    Parameters
    ----------
    pixels : ndarray of uint8, h x w x 3
        Image as passed to the model.
    predictor : Predictor
        Model, whose weights, configuration and data type are part of the key.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((_model_name(predictor), pixels.shape, str(pixels.dtype))).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def _model_name(predictor: Predictor) -> tuple[object, ...]:
    """Return the weights, configuration and data type that features depend on."""
    model = predictor.fingerprint, predictor.config.to_json()
    return (*model, str(predictor.dtype), ENCODING_VERSION)


def default_limit() -> int:
    """Return a quarter of the free memory in bytes, at least 256 MB."""
    import psutil

    return max(_LEAST_BYTES, int(psutil.virtual_memory().available) // 4)


class EmbeddingCache:
    """Thread-safe cache of features in memory that evicts the least recently used ones.

    Parameters
    ----------
    limit_bytes : int, optional
        Most bytes to hold, by default a quarter of the free memory. The newest entry is kept even
        if it is larger.
    store : EmbeddingStore, optional
        Second cache, on disk, for features that are not in memory. It may be replaced or removed
        at any time.

    Attributes
    ----------
    limit_bytes : int
        Most bytes to hold.
    store : EmbeddingStore or None
        Cache on disk.
    """

    def __init__(self, limit_bytes: int | None = None, store: EmbeddingStore | None = None) -> None:
        self.limit_bytes = default_limit() if limit_bytes is None else limit_bytes
        self.store = store
        self._entries: OrderedDict[str, ImageFeatures | CompactFeatures] = OrderedDict()
        self._whole: OrderedDict[str, ImageFeatures] = OrderedDict()  # of compact entries
        self._names: WeakKeyDictionary[PlaneImage, dict[object, str]] = WeakKeyDictionary()
        self._nbytes = 0
        self._problem: StoreError | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return the number of images held."""
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        """Whether features of a key are in memory."""
        return key in self._entries

    @property
    def nbytes(self) -> int:
        """Bytes of all entries."""
        return self._nbytes

    def get(self, key: str) -> ImageFeatures | None:
        """Return the features of a key, or None."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            if not isinstance(entry, CompactFeatures):
                return entry
            features = self._whole.get(key)
            if features is not None:
                self._whole.move_to_end(key)
                return features
        features = entry.restore()
        with self._lock:
            if features is not None and self._entries.get(key) is entry:
                self._keep_whole(key, features)
                self._evict(self.limit_bytes)
        return features

    def put(
        self, key: str, features: ImageFeatures, predictor: Predictor | None = None
    ) -> ImageFeatures:
        """Add features, and evict the least recently used ones above the limit.

        Parameters
        ----------
        key : str
            Of the image and the model.
        features : ImageFeatures
            Of the image.
        predictor : Predictor, optional
            Model that computed them in this process from the trunk's map that they hold: they are
            kept compact if that saves memory.

        Returns
        -------
        ImageFeatures
            The features that are kept, without the map if they are compact.
        """
        compact = None if predictor is None else CompactFeatures.of(features, predictor)
        if compact is not None:
            features = replace(features, trunk=None)
        with self._lock:
            self._drop(key)
            self._entries[key] = features if compact is None else compact
            self._nbytes += self._entries[key].nbytes
            if compact is not None:
                self._keep_whole(key, features)
            self._evict(self.limit_bytes)
        return features

    def _keep_whole(self, key: str, features: ImageFeatures) -> None:
        """Keep the features of a compact entry, and no longer those used longest ago."""
        self._whole[key] = features
        self._nbytes += features.nbytes
        while len(self._whole) > _WHOLE:
            self._nbytes -= self._whole.popitem(last=False)[1].nbytes

    def _drop(self, key: str) -> None:
        """Forget an entry, if it is there."""
        for entries in (self._entries, self._whole):
            entry = entries.pop(key, None)
            self._nbytes -= 0 if entry is None else entry.nbytes

    def _evict(self, nbytes: int, *, least: int = 1) -> None:
        """Drop the entries used longest ago beyond a number of bytes, but not the last ones."""
        while self._nbytes > nbytes and len(self._entries) > least:
            self._drop(next(iter(self._entries)))

    def take_problem(self) -> StoreError | None:
        """Return, once, why the store has become read only, or None."""
        with self._lock:
            problem, self._problem = self._problem, None
            return problem

    def encode_field(
        self,
        region: FieldOfView,
        plane: PlaneImage,
        predictor: Predictor,
        control: Control,
        *,
        keep_trunk: bool = False,
    ) -> ImageFeatures:
        """Return the features of a field, encoding it if they are not cached.

        A field of a lazy plane is read once: its key is remembered as long as the plane exists.

        Parameters
        ----------
        region : FieldOfView
            Part of the plane.
        plane : PlaneImage
            Plane that its pixels are read from.
        predictor : Predictor
            Model that encodes them.
        control : Control
            Receives the progress.
        keep_trunk : bool
            Whether to keep the trunk's map, which the concept detector needs. Cached features
            without it are encoded again.

        Returns
        -------
        ImageFeatures
            Features with the size of the field in px of the plane.

        Raises
        ------
        EncodingStopped
            If the control was abandoned.
        sam3.errors.ImageError
            If the plane cannot be read.
        """
        control.report("encoding")
        key = self._known_key(region, plane, predictor)
        features = self._find(key, predictor, keep_trunk) if key is not None else None
        if key is None or features is None:
            if plane.is_lazy and control.abandoned:
                raise EncodingStopped
            pixels = region.extract(plane)
            key = embedding_key(pixels, predictor)
            self._remember_key(key, region, plane, predictor)
            features = self._find(key, predictor, keep_trunk)
            if features is None:
                features = self._encode(key, pixels, predictor, control, keep_trunk)
        # The store may be newer than the cached features.
        self._store(key, features, plane, predictor)
        size = region.encoded_shape
        # Features do not depend on the pyramid level that was read, except for their size.
        return features if features.size == size else replace(features, size=size)

    def shrink(self, nbytes: int) -> None:
        """Evict the least recently used features beyond a number of bytes."""
        with self._lock:
            self._evict(nbytes, least=0)

    def clear(self) -> None:
        """Evict everything from memory. The store is unchanged."""
        with self._lock:
            self._entries.clear()
            self._whole.clear()
            self._nbytes = 0

    def _find(self, key: str, predictor: Predictor, keep_trunk: bool) -> ImageFeatures | None:
        """Look in memory, then in the store."""
        features, store = self.get(key), self.store
        if features is None and store is not None:
            stored = store.get(key)
            if stored is not None:
                features = stored.to(predictor.device)
                self.put(key, features)
        if features is not None and keep_trunk and features.trunk is None:
            return self._with_trunk(key, features)
        return features

    def _with_trunk(self, key: str, features: ImageFeatures) -> ImageFeatures | None:
        """Add the trunk's map of a compact entry, or return None if there is none."""
        with self._lock:
            entry = self._entries.get(key)
        if not isinstance(entry, CompactFeatures):
            return None
        return replace(features, trunk=entry.bare.trunk)

    def _encode(
        self,
        key: str,
        pixels: npt.NDArray[np.uint8],
        predictor: Predictor,
        control: Control,
        keep_trunk: bool,
    ) -> ImageFeatures:
        keep = keep_trunk or can_be_compact(predictor)
        features = _encode(pixels, predictor, control, keep)
        kept = self.put(key, features, predictor)
        return features if keep_trunk else kept

    def _store(
        self, key: str, features: ImageFeatures, plane: PlaneImage, predictor: Predictor
    ) -> None:
        store = self.store
        if store is None or store.read_only or key in store:
            return
        from .store import StoreError

        try:
            store_features(store, key, features, plane, predictor)
        except StoreError as error:
            # A full disk would delay every other field, too.
            store.read_only = True
            logger.warning("%s", error)
            with self._lock:
                self._problem = error

    def _known_key(
        self, region: FieldOfView, plane: PlaneImage, predictor: Predictor
    ) -> str | None:
        with self._lock:
            return self._names.get(plane, {}).get((region, _model_name(predictor)))

    def _remember_key(
        self, key: str, region: FieldOfView, plane: PlaneImage, predictor: Predictor
    ) -> None:
        # Pixels in memory are cheap to hash again, and may change in place.
        if plane.is_lazy:
            with self._lock:
                self._names.setdefault(plane, {})[region, _model_name(predictor)] = key


def store_features(
    store: EmbeddingStore,
    key: str,
    features: ImageFeatures,
    plane: PlaneImage,
    predictor: Predictor,
) -> None:
    """Write features and their origin into a store. Raises StoreError."""
    store.put(
        key,
        features,
        preset=predictor.config.name,
        precision=str(predictor.dtype).removeprefix("torch."),
        rendering=plane.rendering,
    )


def _encode(
    pixels: npt.NDArray[np.uint8], predictor: Predictor, control: Control, keep_trunk: bool
) -> ImageFeatures:
    def progress(share: float) -> None:
        if control.abandoned:
            raise EncodingStopped
        control.report("encoding", share)

    if control.abandoned:
        raise EncodingStopped
    logger.debug("encoding a field of %s px", pixels.shape[:2])
    control.report("encoding", 0.0)
    return predictor.encode(pixels, progress, keep_trunk=keep_trunk)
