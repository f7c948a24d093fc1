from __future__ import annotations

import gc
import threading
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import pytest
import torch

from napari_sam3.core.fields import FieldOfView
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.inference.cache import EmbeddingCache, EncodingStopped, embedding_key
from sam3.config import get_preset
from sam3.model_builder import build_click_model, random_predictor
from sam3.predictor import Predictor

NOISE = np.random.default_rng(0).integers(0, 255, (60, 40, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Entry:
    nbytes: int


def entry(nbytes: int) -> Any:
    return cast("Any", Entry(nbytes))


def test_the_longest_unused_is_given_up_first() -> None:
    cache = EmbeddingCache(limit_bytes=30)
    for name in "abc":
        cache.put(name, entry(10))
    assert cache.get("a") is not None
    cache.put("d", entry(10))
    assert [name in cache for name in "abcd"] == [True, False, True, True]
    cache.put("c", entry(25))
    assert (len(cache), cache.nbytes) == (1, 25)
    cache.put("huge", entry(99))
    assert "huge" in cache
    cache.clear()
    assert cache.nbytes == len(cache) == 0


@dataclass
class Listener:
    """A `Control` that notes what it is told, and gives up when asked to."""

    stop_at: float = 2.0
    heard: list[float] = field(default_factory=list)
    cancelled: bool = False
    abandoned: bool = False

    def report(self, stage: str, fraction: float | None = None) -> None:
        assert stage == "encoding"
        self.heard += [] if fraction is None else [fraction]
        self.abandoned = bool(fraction and fraction >= self.stop_at)


def test_a_field_is_read_and_encoded_once(predictor: Predictor) -> None:
    cache = EmbeddingCache()
    pixels = np.random.default_rng(0).integers(0, 255, (50, 40, 3), dtype=np.uint8)
    region, listener = FieldOfView(0, (10, 50), (0, 40)), Listener()
    first = cache.encode_field(region, ArrayPlane(pixels), predictor, listener)
    assert listener.heard == pytest.approx([i / 6 for i in range(7)])
    again = cache.encode_field(region, ArrayPlane(pixels.copy()), predictor, Listener())
    assert again is first
    assert first.nbytes <= cache.nbytes < 1.5 * first.nbytes
    assert first.size == (40, 40)


def test_features_that_were_compact_are_the_same_to_the_bit(predictor: Predictor) -> None:
    cache, plane = EmbeddingCache(), ArrayPlane(NOISE)
    regions = [FieldOfView(0, (row, row + 40), (0, 40)) for row in range(10)]
    first = [cache.encode_field(region, plane, predictor, Listener()) for region in regions]
    # Four are whole, and all have the map of the trunk.
    whole, trunk = first[0].nbytes, (cache.nbytes - 4 * first[0].nbytes) / 10
    assert trunk <= whole / 2
    listener = Listener()
    for region, made in zip(regions, first, strict=True):
        again = cache.encode_field(region, plane, predictor, listener)
        for name, tensor, same in zip(
            made.encoded._fields, made.encoded, again.encoded, strict=True
        ):
            assert torch.equal(tensor, same), name
        assert (again.size, again.fingerprint, again.trunk) == (made.size, made.fingerprint, None)
    assert not listener.heard  # nothing was encoded again
    assert cache.nbytes == 4 * whole + 10 * trunk
    cache.shrink(int(3 * trunk + 2 * whole))
    assert (len(cache), cache.nbytes) == (2, 2 * (trunk + whole))
    cache.shrink(0)
    assert (len(cache), cache.nbytes) == (0, 0)


def test_the_map_of_the_trunk_is_there_for_the_detector(predictor: Predictor) -> None:
    cache, plane = EmbeddingCache(), ArrayPlane(NOISE)
    region, listener = FieldOfView(0, (0, 40), (0, 40)), Listener()
    assert cache.encode_field(region, plane, predictor, Listener()).trunk is None
    ours = cache.encode_field(region, plane, predictor, listener, keep_trunk=True)
    assert not listener.heard
    made = predictor.encode(region.extract(plane), keep_trunk=True)
    assert ours.trunk is not None
    assert made.trunk is not None
    assert torch.equal(ours.trunk, made.trunk)


def test_features_are_encoded_again_when_their_model_is_gone() -> None:
    cache, plane = EmbeddingCache(), ArrayPlane(NOISE)
    regions = [FieldOfView(0, (row, row + 40), (0, 40)) for row in range(5)]
    model = random_predictor("tiny", seed=1)
    for region in regions:
        cache.encode_field(region, plane, model, Listener())
    del model
    gc.collect()
    listener = Listener()
    cache.encode_field(regions[0], plane, random_predictor("tiny", seed=1), listener)
    assert listener.heard


def test_features_of_large_models_stay_whole() -> None:
    config = replace(get_preset("tiny"), channels=64)
    model = Predictor(build_click_model(config).eval(), device="cpu")
    cache, plane = EmbeddingCache(), ArrayPlane(NOISE)
    made = cache.encode_field(FieldOfView(0, (0, 40), (0, 40)), plane, model, Listener())
    assert cache.nbytes == made.nbytes


def test_encoding_is_given_up_as_soon_as_nobody_wants_it(predictor: Predictor) -> None:
    cache, listener = EmbeddingCache(), Listener(stop_at=0.3)
    plane = ArrayPlane(np.zeros((50, 40, 3), np.uint8))
    with pytest.raises(EncodingStopped):
        cache.encode_field(FieldOfView(0, (0, 50), (0, 40)), plane, predictor, listener)
    assert max(listener.heard) < 0.6
    assert len(cache) == 0


def test_keys_differ_by_pixels_shape_and_weights(predictor: Predictor) -> None:
    pixels = np.zeros((6, 4, 3), np.uint8)
    changed = pixels.copy()
    changed[5, 3, 2] = 1
    keys = {
        embedding_key(pixels, predictor),
        embedding_key(changed, predictor),
        embedding_key(pixels.reshape(4, 6, 3), predictor),
        embedding_key(pixels, random_predictor("tiny", seed=1)),
    }
    assert len(keys) == 4


def test_threads_share_a_cache() -> None:
    cache = EmbeddingCache(limit_bytes=500)

    def use(seed: int) -> None:
        for number in np.random.default_rng(seed).integers(0, 20, 2000):
            if cache.get(str(number)) is None:
                cache.put(str(number), entry(50))

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.nbytes == 50 * len(cache) <= 500
