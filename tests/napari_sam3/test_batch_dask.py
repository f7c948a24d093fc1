"""The same batch on worker processes: the same labels, also when one of them dies."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import pytest
import tifffile
import torch
import zarr

from napari_sam3.batch import BatchControl, BatchError, Carried, Mode, Repeated, segment
from napari_sam3.batch.folder import folder_beside
from tests.napari_sam3.batch_samples import ANYTHING, PLANES, pixels, question, stack

Labels = npt.NDArray[Any]
#: `make faults` kills a hundred.
KILLS = int(os.environ.get("NAPARI_SAM3_KILLS", "1"))

pytestmark = pytest.mark.filterwarnings("ignore")  # of Dask and tornado, when processes are killed


@pytest.fixture
def image(tmp_path: Path) -> Path:
    tifffile.imwrite(tmp_path / "stack.tif", stack())
    return tmp_path / "stack.tif"


@pytest.fixture(scope="module")
def scheduler(request: pytest.FixtureRequest) -> Iterator[str]:
    """Two workers that outlive a batch, as those of a cluster."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0"
    ) as cluster:
        yield cluster.scheduler_address


def asked(name: str) -> Mode:
    """The question for the embedded model, which workers load by its name."""
    if name == "automatic":
        from napari_sam3.batch import Automatic

        return Automatic(ANYTHING, tile=48)
    return question(name)


def segment_alone(
    name: str, image: Path, planes: list[tuple[int, ...]], output: Path
) -> dict[tuple[int, ...], Labels]:
    """Run a batch in the process that this is called in, with one thread as workers have it."""
    torch.set_num_threads(1)
    results = segment(image, asked(name), "tiny", device="cpu", planes=planes, output=output)
    return {result.position: result.labels for result in results}


@pytest.mark.parametrize("name", ["placed", "carried", "automatic"])
def test_workers_give_the_same_labels_as_one_process(
    name: str, image: Path, tmp_path: Path, scheduler: str
) -> None:
    outputs = [tmp_path / f"{where}.zarr" for where in ("here", "there")]
    planes: list[tuple[int, ...]] = [(z,) for z in range(2, 6)]
    # Where a window was open before, torch rounds scores otherwise in the seventh digit.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        labels = process.submit(segment_alone, name, image, planes, outputs[0]).result(120)
    there = list(
        segment(
            image, asked(name), "tiny", device="cpu", planes=planes, output=outputs[1],
            dask=scheduler,
        )
    )  # fmt: skip
    np.testing.assert_array_equal(pixels(outputs[1]), pixels(outputs[0]))
    assert pixels(outputs[0]).any()
    assert {result.position for result in there} == set(labels)
    for result in there:
        np.testing.assert_array_equal(result.labels, labels[result.position])
    for room in ("found", "forward", "backward", "tiles", "painted"):
        ours, theirs = (
            {path.name: path.read_bytes() for path in (folder_beside(one) / room).glob("*")}
            for one in outputs
        )
        if not (name == "automatic" and room == "found"):
            assert theirs == ours
    again = list(
        segment(
            image, asked(name), "tiny", device="cpu", planes=planes, output=outputs[1],
            dask=scheduler,
        )
    )  # fmt: skip
    assert all(result.skipped for result in again)


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_worker_that_is_killed_costs_only_its_task(
    image: Path, tmp_path: Path, seed: int
) -> None:
    outputs = [tmp_path / f"{where}.zarr" for where in ("here", "there")]
    mode: Repeated = asked("repeated")  # type: ignore[assignment]
    list(segment(image, mode, "tiny", device="cpu", output=outputs[0]))
    killed: list[int] = []
    moments = random.Random(seed)
    finished = moments.randrange(1, PLANES - 2)  # so that there is work left

    def kill_one() -> None:
        """Kill a process that has loaded the model, once so many planes are there."""
        me = psutil.Process()
        while not killed:
            if len(list((folder_beside(outputs[1]) / "found").glob("*.json"))) >= finished:
                children = me.children(recursive=True)
                moments.shuffle(children)
                for child in children:
                    with suppress(psutil.Error):  # it has ended meanwhile
                        if child.num_threads() > 3:  # others of the test have one
                            child.kill()
                            killed.append(child.pid)
                            return
            time.sleep(0.01)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    results = list(segment(image, mode, "tiny", device="cpu", output=outputs[1], dask="local:2"))
    killer.join(timeout=1)
    assert len(killed) == 1
    assert len(results) == PLANES
    assert not any(result.error for result in results)
    np.testing.assert_array_equal(pixels(outputs[1]), pixels(outputs[0]))


@pytest.mark.slow
def test_four_processes_give_the_same_labels(image: Path, tmp_path: Path) -> None:
    outputs = [tmp_path / f"{where}.zarr" for where in ("here", "there")]
    for output, dask in zip(outputs, (None, "local:4"), strict=True):
        list(segment(image, asked("carried"), "tiny", device="cpu", output=output, dask=dask))
    np.testing.assert_array_equal(pixels(outputs[1]), pixels(outputs[0]))


@pytest.mark.parametrize("name", ["repeated", "carried", "automatic"])
def test_a_plane_that_workers_cannot_read_is_told(
    name: str, tmp_path: Path, scheduler: str
) -> None:
    source, output = tmp_path / "image.zarr", tmp_path / "labels.zarr"
    image = zarr.create_array(source, shape=(8, 60, 80), dtype="uint16", chunks=(1, 60, 80))
    image[:] = stack(8)
    # None of the planes by which the image is known.
    chunk = source / "c" / "5" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:20])
    control, planes = BatchControl(), [(2,), (4,), (5,), (6,)]
    results = list(
        segment(
            source, asked(name), "tiny", device="cpu", planes=planes, output=output,
            control=control, dask=scheduler,
        )
    )  # fmt: skip
    assert {r.position: r.error is not None for r in results} == {
        position: position == (5,) for position in planes
    }
    assert control.progress.failed >= 1
    assert control.progress.done == control.progress.total


def test_what_cannot_be_done_on_dask_is_refused(image: Path, tmp_path: Path) -> None:
    output = tmp_path / "labels.zarr"
    mode = asked("placed")
    cases: list[tuple[Any, Any, dict[str, Any], str]] = [
        (stack(), "tiny", {"dask": "local:2", "output": output}, "give its path, not an array"),
        (image, "tiny", {"dask": "local:2"}, "give an output that all can reach"),
        (image, "tiny", {"dask": "local:no", "output": output}, "'local:no' is no number"),
        (image, "tiny", {"dask": "host", "output": output}, "'host' is no Dask scheduler"),
        (image, lambda: None, {"dask": "local:2", "output": output}, "give its name"),
    ]
    for data, model, options, message in cases:
        with pytest.raises(BatchError, match=message):
            next(segment(data, mode, model, **options))
    assert not output.exists()


def test_without_dask_it_is_said_how_to_get_it(image: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['distributed'] = None\n"
        "from napari_sam3.cli import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    arguments: list[Any] = ["batch", image, "-o", tmp_path / "a.zarr", "--mode", "automatic"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--dask", "local:2"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert 'pip install "napari-sam3[dask]"' in done.stderr
    assert not (tmp_path / "a.zarr").exists()


def test_stacks_and_directions_are_the_tasks_of_carried() -> None:
    mode = asked("carried")
    assert isinstance(mode, Carried)
    assert mode.stacks([(z,) for z in range(PLANES)]) == (tuple((z,) for z in range(PLANES)),)
