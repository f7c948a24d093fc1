"""The same batch on worker processes: the same labels, also when one of them dies."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
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

from napari_sam3.batch import (
    BatchControl,
    BatchError,
    BatchPrompts,
    Mode,
    Placed,
    Propagate,
    Repeated,
    run_dask,
    segment,
)
from napari_sam3.batch.output import folder_beside
from napari_sam3.batch.unit_records import Records, name_of
from napari_sam3.core.prompts import PromptSet
from tests.napari_sam3.batch_samples import (
    ANYTHING,
    LOOSE,
    PLANES,
    pixels,
    question,
    stack,
    write_ome_files,
)

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


@pytest.fixture(scope="module")
def alone() -> Iterator[ProcessPoolExecutor]:
    """A process with one thread: where a window was open, torch rounds scores otherwise."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        yield process


def asked(name: str) -> Mode:
    """The question for the embedded model, which workers load by its name."""
    if name == "automatic":
        from napari_sam3.batch import Automatic

        return Automatic(ANYTHING, tile=48)
    return question(name)


def segment_alone(
    mode: Mode, image: Path, planes: list[tuple[int, ...]] | None, output: Path
) -> dict[tuple[int, ...], Labels]:
    """Run a batch in the process that this is called in, with one thread as workers have it."""
    torch.set_num_threads(1)
    results = segment(image, mode, "tiny", device="cpu", planes=planes, output=output)
    return {result.position: result.labels for result in results}


@pytest.mark.parametrize("name", ["placed", "propagate", "automatic"])
def test_workers_give_the_same_labels_as_one_process(
    name: str, image: Path, tmp_path: Path, scheduler: str, alone: ProcessPoolExecutor
) -> None:
    outputs = [tmp_path / f"{where}.zarr" for where in ("here", "there")]
    planes: list[tuple[int, ...]] = [(z,) for z in range(2, 6)]
    labels = alone.submit(segment_alone, asked(name), image, planes, outputs[0]).result(240)
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


@pytest.fixture(scope="module")
def threads() -> Iterator[str]:
    """One worker of four threads, as `dask worker` starts it."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=4, dashboard_address=":0"
    ) as cluster:
        yield cluster.scheduler_address


@pytest.mark.parametrize("name", ["placed", "propagate", "automatic"])
def test_a_worker_of_four_threads_loses_nothing(
    name: str, tmp_path: Path, threads: str, alone: ProcessPoolExecutor
) -> None:
    planes = 8
    image = tmp_path / "stack.tif"
    # Compressed, so that threads share the file's decoder, too.
    tifffile.imwrite(image, stack(planes), compression="zlib")
    box = PromptSet(box=(8, 8, 33, 32))
    mode: Mode = Placed(BatchPrompts({(z,): {z + 1: box} for z in range(planes)}))
    if name == "propagate":
        # Many stacks of three planes, each with an object of its own.
        tifffile.imwrite(image, np.stack([stack(3)] * planes), photometric="minisblack")
        mode = Propagate(BatchPrompts({(t, 1): {t + 1: box} for t in range(planes)}), rules=LOOSE)
    elif name == "automatic":
        mode = asked(name)
    outputs = [tmp_path / f"{where}.zarr" for where in ("here", "there")]
    alone.submit(segment_alone, mode, image, None, outputs[0]).result(240)
    there = list(segment(image, mode, "tiny", device="cpu", output=outputs[1], dask=threads))
    np.testing.assert_array_equal(pixels(outputs[1]), pixels(outputs[0]))
    if name == "placed":
        assert [[one.id for one in result.objects] for result in there] == [
            [z + 1] for z in range(planes)
        ]
    for room in ("found", "forward", "backward", "tiles", "painted"):
        ours, theirs = (
            {path.name: path.read_bytes() for path in (folder_beside(one) / room).glob("*")}
            for one in outputs
        )
        if not (name == "automatic" and room == "found"):
            assert theirs == ours


def test_two_batches_at_once_on_one_worker_keep_their_own_images(
    tmp_path: Path, threads: str
) -> None:
    planes = 6
    images, outputs = [], []
    for number in range(2):
        images.append(tmp_path / f"{number}.tif")
        outputs.append(tmp_path / f"{number}.zarr")
        tifffile.imwrite(images[-1], stack(planes)[:: -1 if number else 1], compression="zlib")
    mode = Repeated({1: PromptSet(box=(8, 8, 33, 32))})

    def run(number: int) -> list[Any]:
        return list(
            segment(
                images[number], mode, "tiny", device="cpu", output=outputs[number], dask=threads
            )
        )

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(run, range(2)))
    for results in found:
        assert [result.error for result in results] == [None] * planes
        assert all(len(result.objects) == 1 for result in results)
    np.testing.assert_array_equal(pixels(outputs[1]), pixels(outputs[0])[::-1])


def test_planes_are_told_as_they_are_along_any_axis(tmp_path: Path, scheduler: str) -> None:
    source, output = tmp_path / "image.zarr", tmp_path / "labels.zarr"
    image = zarr.create_array(source, shape=(3, 2, 60, 80), dtype="uint16", chunks=(1, 1, 60, 80))
    image[:, 0], image[:, 1] = stack(3), stack(3)[:, ::-1]
    first, second = PromptSet(box=(8, 8, 33, 32)), PromptSet(box=(8, 28, 33, 52))
    mode = Propagate(BatchPrompts({(0, 0): {1: first}, (0, 1): {2: second}}), axis=0, rules=LOOSE)
    options: dict[str, Any] = {"device": "cpu", "output": output, "dask": scheduler}
    made = []
    for result in segment(source, mode, "tiny", **options):
        # It is written once it is told.
        np.testing.assert_array_equal(pixels(output)[result.position], result.labels)
        made.append(result.position)
    assert made == [(z, t) for z in range(3) for t in range(2)]
    for again in ((1, 0), (0, 1)):
        Records(folder_beside(output)).forget("painted", name_of(again))
        told = {one.position: one.skipped for one in segment(source, mode, "tiny", **options)}
        assert told == {position: position != again for position in made}


def _die_while_painting(records: str) -> None:
    """End this worker the moment it would note that a plane is painted."""

    def end(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(arguments[0]).startswith(records):
            os._exit(1)

    sys.addaudithook(end)


def test_a_worker_that_dies_while_painting_is_told_in_words(image: Path, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    import dask

    output = tmp_path / "labels.zarr"
    records = str(folder_beside(output).absolute() / "painted")
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.run(_die_while_painting, records)
        with pytest.raises(BatchError, match=r"worker.*died.*memory.*again to resume"):
            list(
                segment(
                    image, asked("automatic"), "tiny", device="cpu", planes=[(2,)], output=output,
                    dask=cluster.scheduler_address,
                )
            )  # fmt: skip


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


@pytest.mark.parametrize("name", ["repeated", "propagate", "automatic"])
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


@pytest.mark.parametrize("name", ["repeated", "propagate"])
def test_a_plane_of_another_size_on_workers_is_told_and_done_after_a_repair(
    name: str, tmp_path: Path, scheduler: str
) -> None:
    planes, chosen = stack(8), [(2,), (4,), (5,), (6,)]
    source = write_ome_files(
        tmp_path, [plane[:20] if z == 5 else plane for z, plane in enumerate(planes)]
    )
    output = tmp_path / "labels.zarr"

    def run() -> dict[tuple[int, ...], bool]:
        results = segment(
            source, asked(name), "tiny", device="cpu", planes=chosen, output=output, dask=scheduler
        )
        return {r.position: r.error is not None for r in results}

    assert run() == {position: position == (5,) for position in chosen}
    assert not pixels(output)[5].any()
    write_ome_files(tmp_path, planes)
    assert not any(run().values())
    assert pixels(output)[5].any()


def test_a_batch_without_a_worker_says_so_can_be_cancelled_and_goes_on_with_one(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(run_dask, "PATIENCE", 0.2)
    with distributed.LocalCluster(
        n_workers=0, threads_per_worker=1, dashboard_address=":0"
    ) as cluster:

        def run(control: BatchControl) -> list[Any]:
            return list(
                segment(
                    image, asked("repeated"), "tiny", device="cpu", planes=[(2,)],
                    output=tmp_path / "labels.zarr", control=control,
                    dask=cluster.scheduler_address,
                )
            )  # fmt: skip

        control = BatchControl()
        threading.Timer(1.0, control.cancel).start()
        with pytest.warns(UserWarning, match="no worker at the Dask scheduler tcp://"):
            assert run(control) == []
        threading.Timer(1.0, cluster.scale, [1]).start()
        with pytest.warns(UserWarning, match="The batch waits for one"):
            (result,) = run(BatchControl())
        assert result.objects


def test_what_cannot_be_done_on_dask_is_refused(image: Path, tmp_path: Path) -> None:
    output = tmp_path / "labels.zarr"
    mode = asked("placed")
    cases: list[tuple[Any, Any, dict[str, Any], str]] = [
        (stack(), "tiny", {"dask": "local:2", "output": output}, "Expected a path"),
        (image, "tiny", {"dask": "local:2"}, "Give one that all can reach"),
        (image, "tiny", {"dask": "local:no", "output": output}, "'local:no' is not a number"),
        (image, "tiny", {"dask": "host", "output": output}, "'host' is not a Dask scheduler"),
        (image, lambda: None, {"dask": "local:2", "output": output}, "Expected a name"),
    ]
    for data, model, options, message in cases:
        with pytest.raises(BatchError, match=message):
            next(segment(data, mode, model, **options))
    assert not output.exists()


def test_without_dask_it_is_said_how_to_get_it(image: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['distributed'] = None\n"
        "from napari_sam3.cli.main import main\n"
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


def test_stacks_and_directions_are_the_tasks_of_propagate() -> None:
    mode = asked("propagate")
    assert isinstance(mode, Propagate)
    assert mode.stacks([(z,) for z in range(PLANES)]) == (tuple((z,) for z in range(PLANES)),)
