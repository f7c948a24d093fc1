"""A store on disk is whole or not there, whatever happens to it, and never gives a wrong answer."""

from __future__ import annotations

import dataclasses
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr

from napari_sam3.core.fields import FieldOfView
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.core.rendering import Rendering
from napari_sam3.images.plane_image import ArrayPlane, Channel, RenderedPlane
from napari_sam3.inference.cache import Control, EmbeddingCache, default_limit, embedding_key
from napari_sam3.inference.store import is_store
from napari_sam3.inference.store.store import NO_LIMIT, EmbeddingStore, StoreError
from sam3.features import ImageFeatures
from sam3.model_builder import build_click_model
from sam3.predictor import Predictor
from tests.napari_sam3 import store_writer
from tests.napari_sam3.store_writer import FIELDS, features_of, key_of, put, same

ROOT = Path(__file__).parents[3]
# More for a long search for faults; a few in each run of the tests.
KILLS = int(os.environ.get("NAPARI_SAM3_KILLS", "5"))


class Calm:
    cancelled = abandoned = False

    def __init__(self) -> None:
        self.encoded = False

    def report(self, stage: str, fraction: float | None = None) -> None:
        self.encoded |= fraction == 1


def encode(
    predictor: Predictor, cache: EmbeddingCache, plane: Any, field: FieldOfView | None = None
) -> tuple[Any, bool]:
    """Return the features of a field, and whether they were made now."""
    control = Calm()
    asked: Control = control
    features = cache.encode_field(
        field or FieldOfView(0, (0, 40), (0, 50)), plane, predictor, asked
    )
    return features, control.encoded


def start_writer(path: Path, first: int = 0, step: int = 1) -> subprocess.Popen[str]:
    program = [sys.executable, "-m", store_writer.__name__, str(path), str(first), str(step)]
    writer = subprocess.Popen(
        program, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "open\n"
    return writer


@pytest.fixture
def plane() -> ArrayPlane:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    return ArrayPlane(pixels, Rendering(("DAPI",), ((3.0, 700.0),)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_features_come_back_bit_for_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    features, store = features_of(3, dtype), EmbeddingStore(tmp_path / "store")
    rendering = Rendering(("red", "green"), ((0.0, 1.5), (2.0, 3.0)))
    name = str(dtype).removeprefix("torch.")
    store.put(key_of(3), features, preset="tiny", precision=name, rendering=rendering)
    found = EmbeddingStore(tmp_path / "store", read_only=True).get(key_of(3))
    assert found is not None
    for old, new in zip(features.encoded, found.encoded, strict=True):
        assert new.dtype == dtype
        assert torch.equal(old, new)
    about = store.about(key_of(3))
    assert about is not None
    assert about.rendering == rendering
    assert (about.size, about.preset, about.precision) == (features.size, "tiny", name)


def test_a_stored_field_is_a_file_of_features(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path / "store")
    put(store, 1)
    assert same(ImageFeatures.load(store.file_of(key_of(1))), 1)


@pytest.mark.parametrize("limit", [float("nan"), float("inf")])
def test_a_rendering_without_numbers_is_refused_and_not_stored(
    tmp_path: Path, limit: float
) -> None:
    store = EmbeddingStore(tmp_path / "store")
    rendering = Rendering(("DAPI",), ((0.0, limit),))
    with pytest.raises(StoreError, match="cannot be stored"):
        store.put(
            key_of(1), features_of(1), preset="tiny", precision="float32", rendering=rendering
        )
    assert key_of(1) not in store


def test_a_store_says_what_it_was_made_with(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path / "store", limit_bytes=NO_LIMIT)
    for number in (1, 2):
        put(store, number)
    info = EmbeddingStore(tmp_path / "store").info()
    assert (info.fields, info.limit_bytes) == (2, NO_LIMIT)
    assert info.nbytes > 0
    assert info.models == {("tiny", "weights", 448, "float32"): 2}
    assert set(info.renderings) == {Rendering(("DAPI",), ((0.0, float(n)),)) for n in (1, 2)}


def test_a_second_session_does_not_encode_again(
    tmp_path: Path, predictor: Predictor, plane: ArrayPlane
) -> None:
    first, made = encode(predictor, EmbeddingCache(store=EmbeddingStore(tmp_path)), plane)
    assert made
    again, made = encode(predictor, EmbeddingCache(store=EmbeddingStore(tmp_path)), plane)
    assert not made
    click: Any = {"point_coords": [[20, 20]], "point_labels": [1]}
    masks = [predictor.predict(features, **click).masks for features in (first, again)]
    np.testing.assert_array_equal(masks[0], masks[1])


def test_what_another_model_contrast_or_version_made_is_never_used(
    tmp_path: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(1).integers(0, 4000, (40, 50), dtype=np.uint16)

    def made(model: Predictor = predictor, contrast: tuple[float, float] = (0.0, 4000.0)) -> bool:
        image = RenderedPlane(Channel(values, PlaneIndex(), contrast=contrast))
        return encode(model, EmbeddingCache(store=EmbeddingStore(tmp_path)), image)[1]

    config = predictor.config
    deeper = dataclasses.replace(config.trunk, window=4)  # the same weights, used otherwise
    models = [
        build_click_model(config, seed=1),
        build_click_model(dataclasses.replace(config, resolution=126), seed=0),
        build_click_model(dataclasses.replace(config, trunk=deeper), seed=0),
    ]
    others = [Predictor(model.eval(), device="cpu") for model in models]
    others.append(Predictor(build_click_model(config).eval(), device="cpu", precision="bfloat16"))
    assert made()
    assert not made()
    assert made(contrast=(0.0, 2000.0))
    assert [made(other) for other in others] == [True] * 4
    assert [made(other) for other in others] == [False] * 4
    monkeypatch.setattr("napari_sam3.inference.cache.ENCODING_VERSION", 2)
    assert made()


def test_a_store_of_another_version_or_something_else_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "store" / "store.json"
    EmbeddingStore(tmp_path / "store")
    root.write_text(root.read_text().replace('"version": 2', '"version": 3'))
    with pytest.raises(StoreError, match=r"has version 3\. Expected version 2"):
        EmbeddingStore(tmp_path / "store")
    # Version 1 was a zarr group; another zarr group is not a store at all.
    about = {"napari_sam3_store": {"version": 1, "limit_bytes": 5}}
    zarr.create_group(tmp_path / "old", zarr_format=3, attributes=about)
    for read_only in (False, True):
        with pytest.raises(StoreError, match=r"has version 1\. Expected version 2"):
            EmbeddingStore(tmp_path / "old", read_only=read_only)
    zarr.create_group(tmp_path / "image.zarr", zarr_format=3)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "text").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("image.zarr", "notes", "file"):
        for read_only in (False, True):
            with pytest.raises(StoreError, match=name):
                EmbeddingStore(tmp_path / name, read_only=read_only)
        assert not is_store(tmp_path / name)
    with pytest.raises(StoreError, match="there is none"):
        EmbeddingStore(tmp_path / "nowhere", read_only=True)
    assert not (tmp_path / "nowhere").exists()


def test_a_store_killed_at_any_moment_is_readable_and_right(tmp_path: Path) -> None:
    moments = random.Random(KILLS)
    path = tmp_path / "store"
    for _ in range(KILLS):
        writer = start_writer(path)
        time.sleep(moments.uniform(0.0, 0.4))
        writer.kill()
        writer.communicate()
        store = EmbeddingStore(path)
        keys = {about.key for about in store.stored()}
        whole = [n for n in range(FIELDS) if key_of(n) in store]
        assert keys == {key_of(n) for n in whole}
        for number in whole:
            features = store.get(key_of(number))
            assert features is not None, "a field that is there is whole"
            assert same(features, number)
    for partial in path.glob(".*.partial"):
        os.utime(partial, (1, 1))
    put(store, FIELDS)
    assert not list(path.glob(".*.partial")), "what killed writers left long ago is deleted"


def test_several_processes_and_threads_write_one_store(tmp_path: Path) -> None:
    writers = [start_writer(tmp_path / "store", first, 3) for first in (0, 0, 1)]
    store = EmbeddingStore(tmp_path / "store")
    found = 0
    while any(writer.poll() is None for writer in writers):
        for about in list(store.stored()):
            number = int(about.key, 16)
            features = store.get(about.key)
            assert features is not None
            assert same(features, number)
            found += 1
    assert [writer.communicate() and writer.returncode for writer in writers] == [0, 0, 0]
    assert found
    assert store.info().fields == len([n for n in range(FIELDS) if n % 3 < 2])
    assert not list(store.path.glob(".*.partial"))


def damage(kind: str, file: Path) -> None:
    content = bytearray(file.read_bytes())
    if kind == "flipped":
        content[-len(content) // 2] ^= 1
    elif kind == "cut":
        del content[-100:]
    elif kind == "swapped":  # a whole field, but not this one's
        store = EmbeddingStore(file.parent)
        put(store, 2)
        content = bytearray(store.file_of(key_of(2)).read_bytes())
    elif kind == "size":
        content = content.replace(b"[41,50]", b"[42,50]")
    elif kind == "emptied":
        content.clear()
    elif kind == "endless":
        content[:8] = (1 << 62).to_bytes(8, "little")
    file.write_bytes(content)


KINDS = ["flipped", "cut", "swapped", "size", "emptied", "endless"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("read_only", [False, True])
def test_damage_is_found_and_the_field_made_again(
    kind: str, read_only: bool, tmp_path: Path
) -> None:
    store = EmbeddingStore(tmp_path / "store")
    put(store, 1)
    damage(kind, store.file_of(key_of(1)))
    before = sorted(store.path.rglob("*"))
    reader = EmbeddingStore(store.path, read_only=read_only)
    assert reader.get(key_of(1)) is None
    if read_only:
        assert sorted(store.path.rglob("*")) == before
        return
    assert key_of(1) not in reader
    put(reader, 1)
    features = reader.get(key_of(1))
    assert features is not None
    assert same(features, 1)


def test_a_damaged_field_is_encoded_again_by_a_click(
    tmp_path: Path, predictor: Predictor, plane: ArrayPlane
) -> None:
    store = EmbeddingStore(tmp_path)
    encode(predictor, EmbeddingCache(store=store), plane)
    (about,) = store.stored()
    damage("flipped", store.file_of(about.key))
    assert encode(predictor, EmbeddingCache(store=store), plane)[1]
    assert not encode(predictor, EmbeddingCache(store=store), plane)[1]


def test_a_store_that_may_only_be_read_is_read(
    tmp_path: Path, predictor: Predictor, plane: ArrayPlane
) -> None:
    encode(predictor, EmbeddingCache(store=EmbeddingStore(tmp_path)), plane)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    store = EmbeddingStore(tmp_path, read_only=True)
    cache = EmbeddingCache(store=store)
    assert not encode(predictor, cache, plane)[1]
    assert encode(predictor, cache, plane, FieldOfView(0, (0, 30), (0, 30)))[1], "not stored: made"
    assert cache.take_problem() is None
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    with pytest.raises(StoreError, match="is read-only"):
        put(store, 1)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_folder_without_permission_is_taken_as_read_only(tmp_path: Path) -> None:
    put(EmbeddingStore(tmp_path / "store"), 1)
    (tmp_path / "store").chmod(0o500)
    try:
        assert EmbeddingStore(tmp_path / "store").read_only
    finally:
        (tmp_path / "store").chmod(0o700)


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from napari_sam3.inference.cache import EmbeddingCache
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.session.session import LabelingSession
from napari_sam3.inference.store.store import EmbeddingStore
from napari_sam3.core.prompts import PromptSet
from sam3.features import ImageFeatures
from sam3.model_builder import random_predictor

cache = EmbeddingCache(store=EmbeddingStore(Path(sys.argv[1])))
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
pixels = np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)
session = LabelingSession(random_predictor("tiny"), cache=cache)
session.set_plane(ArrayPlane(pixels), "plane", labels := np.zeros((60, 60), np.uint8))
session.set_prompts(PromptSet(((30.0, 30.0),), (1,)))
told = []
session.failed.connect(told.append)
session.predict()
print(session.prediction is not None, cache.store.read_only, len(list(cache.store.stored())))
print(*told)
print(len(told), cache.take_problem())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
def test_a_full_disk_ends_writing_with_a_message_and_labelling_goes_on(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "store")],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    answer, message, rest = done.stdout.splitlines()
    assert answer == "True True 0"
    assert message.startswith(f"the embedding store {str(tmp_path / 'store')!r} cannot be written")
    assert "read-only from now on" in message
    assert rest == "1 None"
    names = [path.name for path in (tmp_path / "store").iterdir()]
    assert names == ["store.json"], "nothing half-written is left"


def test_the_longest_unused_fields_are_deleted_when_the_limit_is_reached(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path / "store")
    put(store, 0)
    size = store.info().nbytes
    store = EmbeddingStore(tmp_path / "store", limit_bytes=int(size * 4.5))
    for number in range(1, 4):
        put(store, number)
        os.utime(store.file_of(key_of(number)), (number, number))
    assert store.get(key_of(1)) is not None  # used: now the newest but one
    put(store, 4)
    left = [number for number in range(5) if key_of(number) in store]
    assert left == [0, 1, 3, 4]
    assert store.info().nbytes <= store.limit_bytes
    tiny = EmbeddingStore(tmp_path / "store", limit_bytes=1)
    put(tiny, 9)
    assert [about.key for about in tiny.stored()] == [key_of(9)], "the newest stays"


def test_an_unreadable_disk_does_not_cost_the_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = EmbeddingStore(tmp_path)
    put(store, 1)

    def lost(*_: Any) -> Any:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(store, "_read", lost)
        assert store.get(key_of(1)) is None
    assert store.get(key_of(1)) is not None


def test_files_that_running_processes_are_writing_are_left_alone(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path / "store")
    young, old = store.path / ".a.partial", store.path / ".b.partial"
    for partial in (young, old):
        partial.write_bytes(b"half of a field")
    os.utime(old, (time.time() - 4000,) * 2)
    put(store, 1)
    assert young.exists()
    assert not old.exists()


def test_memory_has_a_limit_by_what_is_free() -> None:
    assert default_limit() >= 256_000_000
    assert EmbeddingCache().limit_bytes >= 256_000_000


def test_keys_differ_by_precision(predictor: Predictor) -> None:
    half = Predictor(predictor.model, device="cpu", precision="bfloat16")
    pixels = np.zeros((5, 5, 3), np.uint8)
    assert embedding_key(pixels, half) != embedding_key(pixels, predictor)
