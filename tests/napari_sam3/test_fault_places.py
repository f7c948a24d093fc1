"""Places and moments that fail: no memory, vanished files, other clocks, odd paths, two windows."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_sam3 import LabelingSession, PlaneIndex, PromptSet
from napari_sam3.batch import segment
from napari_sam3.images.lazy import open_image
from napari_sam3.images.open import read_image
from napari_sam3.images.plane_image import RenderedPlane
from napari_sam3.inference.store.store import EmbeddingStore
from napari_sam3.labels.ome_zarr import open_labels
from napari_sam3.records.journal import Journal
from napari_sam3.records.recovery import find_journals, read_journal
from napari_sam3.records.session_file import read_session, write_session
from sam3.errors import CheckpointError, ImageError, Sam3Error
from sam3.predictor import Predictor
from sam3.weights import load as checkpoint
from tests.napari_sam3 import batch_samples
from tests.napari_sam3.batch.test_batch_faults import expected, start
from tests.napari_sam3.batch_samples import pixels, question, stack
from tests.napari_sam3.journal_writer import IMAGE, SHAPE, changes
from tests.napari_sam3.store_writer import key_of, put, same

ROOT = Path(__file__).parents[2]
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")

NO_MEMORY = """
import resource, sys
import numpy as np
from sam3.errors import DeviceMemoryError
from tests.napari_sam3.batch_samples import small_predictor

predictor, image = small_predictor(), np.zeros((60, 60), np.uint8)
features = predictor.encode(image)
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
_, most = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (size + (16 << 20), most))
try:
    # A thousand objects at once: hundreds of megabytes of masks.
    predictor.predict(features, np.full((4000, 1, 2), 9.0), np.ones((4000, 1)))
except (DeviceMemoryError, MemoryError) as error:
    print(type(error).__name__, error)
resource.setrlimit(resource.RLIMIT_AS, (most, most))
print(predictor.predict(features, [[9, 9]], [1]).masks.shape)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of memory that Linux keeps")
def test_without_memory_there_is_an_error_of_ours_and_the_predictor_stays_usable() -> None:
    run = subprocess.run(
        [sys.executable, "-c", NO_MEMORY], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    first, last = run.stdout.splitlines()[0], run.stdout.splitlines()[-1]
    assert first.startswith("DeviceMemoryError")
    assert last == "(3, 60, 60)"


def test_a_lazy_image_that_vanishes_is_named_and_what_was_done_stays(
    predictor: Predictor, tmp_path: Path
) -> None:
    path, shape = tmp_path / "image.zarr", (2, 300, 300)
    source = zarr.create_array(path, shape=shape, chunks=(1, 100, 100), dtype="u2", fill_value=7)
    source[...] = np.random.default_rng(0).integers(0, 999, shape)
    image, labels = open_image(path), np.zeros(shape, np.int32)
    session = LabelingSession(predictor, level=0)
    planes = [PlaneIndex((1, 2), (z,)) for z in range(2)]
    rendered = [RenderedPlane(image.channel(plane)) for plane in planes]
    session.set_plane(rendered[0], planes[0], labels)
    session.set_prompts(PromptSet(((30.0, 30.0),), (1,)))
    session.predict()
    assert session.accept() is not None
    before = labels.copy()
    shutil.rmtree(path / "c")
    (path / "zarr.json").write_text("gone")
    session.set_plane(rendered[1], planes[1], labels)
    session.set_prompts(PromptSet(((200.0, 200.0),), (1,)))
    with contextlib.suppress(Sam3Error):  # chunks of zarr that are gone are its fill value
        session.predict()
    np.testing.assert_array_equal(labels, before)
    session.undo()
    while session.can_undo:
        session.undo()
    assert not labels.any()
    session.close()


def test_an_image_file_that_vanishes_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", np.zeros((20, 20), np.uint8))
    (tmp_path / "image.npy").unlink()
    for read in (read_image, open_image):
        with pytest.raises(ImageError, match=r"image\.npy"):
            read(tmp_path / "image.npy")


def test_a_weights_file_replaced_under_us_changes_nothing_that_is_loaded(
    predictor: Predictor, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    checkpoint.save(predictor.model, path)
    loaded = Predictor(checkpoint.load(path), device="cpu")
    image = np.random.default_rng(0).integers(0, 255, (50, 50), np.uint8)
    before = loaded.predict(loaded.encode(image), [[9, 9]], [1])
    size = path.stat().st_size
    path.write_bytes(b"\0" * size)
    after = loaded.predict(loaded.encode(image), [[9, 9]], [1])
    np.testing.assert_array_equal(before.logits, after.logits)
    with path.open("r+b") as file:
        file.truncate(10)
    again = loaded.predict(loaded.encode(image), [[9, 9]], [1])
    np.testing.assert_array_equal(before.logits, again.logits)
    with pytest.raises(CheckpointError, match=r"weights\.safetensors"):
        checkpoint.load(path)


def test_a_clock_set_back_harms_neither_journals_nor_stores(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path / "store", limit_bytes=1 << 40)
    put(store, 0)
    journal = Journal(IMAGE, SHAPE, np.int32, folder=tmp_path / "journals")
    some = list(changes(0, 4))
    journal.append(some[0][0])
    # What was written before the clock was set back by a century comes from the future now.
    for path in (journal.path, store.file_of(key_of(0))):
        os.utime(path, (4e9, 4e9))
    for change, _, _ in some[1:]:
        journal.append(change)
    journal.close()
    os.utime(journal.path, (-1e9, -1e9))  # and before the epoch
    (found,) = find_journals(tmp_path / "journals", IMAGE)
    assert found.time.year < 1970
    assert len(read_journal(found.path).operations) == found.operations
    put(store, 1)
    for number in (0, 1):
        features = store.get(key_of(number))
        assert features is not None
        assert same(features, number)
    limited = EmbeddingStore(tmp_path / "store", limit_bytes=1)
    put(limited, 2)
    assert key_of(2) in limited, "what was written last stays, whatever its time"


def test_paths_of_300_characters_and_other_scripts(predictor: Predictor, tmp_path: Path) -> None:
    folder = tmp_path / "Zürich 細胞 Ядро" / ("é" * 100) / ("x" * 150)
    folder.mkdir(parents=True)
    assert len(str(folder)) > 300
    np.save(folder / "bild.npy", stack(1))
    image = open_image(folder / "bild.npy")
    output = folder / "Маски.zarr"
    results = list(segment(image, question("repeated"), predictor, output=output))
    assert len(results) == 1
    assert np.asarray(open_labels(output, read_only=True).array[:]).any()
    store = EmbeddingStore(folder / "店")
    put(store, 0)
    assert store.get(key_of(0)) is not None
    path = write_session(folder / "सत्र.json.gz", [], IMAGE)
    assert read_session(path).image == IMAGE
    checkpoint.save(predictor.model, folder / "Gewichte ß.safetensors")
    assert checkpoint.load(folder / "Gewichte ß.safetensors") is not None


@POSIX
def test_a_batch_that_sleeps_goes_on_to_the_same_labels(
    predictor: Predictor, tmp_path: Path
) -> None:
    wanted = expected(predictor, tmp_path, "propagate")
    output = tmp_path / "labels.zarr"
    running = start(tmp_path, output, "propagate")
    for _ in range(2):
        time.sleep(0.1)
        running.send_signal(signal.SIGSTOP)
        time.sleep(1.0)
        running.send_signal(signal.SIGCONT)
    told = running.communicate(timeout=120)[0].splitlines()
    assert running.returncode == 0
    assert len(told) == batch_samples.PLANES
    np.testing.assert_array_equal(pixels(output), wanted)


def test_a_folder_that_is_none_is_named(predictor: Predictor, tmp_path: Path) -> None:
    # As root every folder may be written; below a file and in /proc nobody may.
    (tmp_path / "file").write_text("")
    places = [tmp_path / "file"]
    if Path("/proc/self").exists():
        places.append(Path("/proc/self"))
    for place in places:
        attempts: list[Any] = [
            lambda p=place: Journal(IMAGE, SHAPE, np.int32, folder=p / "journals"),
            lambda p=place: EmbeddingStore(p / "store"),
            lambda p=place: write_session(p / "session.json", [], IMAGE),
            lambda p=place: list(
                segment(stack(1), question("repeated"), predictor, output=p / "labels.zarr")
            ),
        ]
        for attempt in attempts:
            with pytest.raises(Sam3Error):
                attempt()
