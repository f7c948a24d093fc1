"""Execution of a batch on Dask: local processes, or workers with access to the same files."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any

from napari_sam3.inference.models import ModelHandle
from napari_sam3.inference.remote.address import RemoteAddress, is_own_server
from napari_sam3.inference.remote.connection import close_client
from napari_sam3.inference.remote.key import read_key
from sam3.errors import ImageError, Sam3Error

from .dask_tasks import Done, do_anchors, do_meet, do_paint, do_plane, do_sweep, do_tile, objects_of
from .modes import Automatic, Placed, Propagate
from .progress import BatchControl
from .prompts import Position
from .results import BatchError, PlaneResult
from .run_local import count_units
from .sources import ImageSource
from .units import BatchJob, Stopped, UnitRunner, plane_index

__all__ = ["check_dask", "connect", "describe_model", "run_on_dask"]

# Number of times a task is repeated when its worker dies.
RETRIES = 3
# Tasks in flight per worker: enough to keep it busy, few enough to be cancelled soon.
WINDOW = 3
#: Time in s between checks for workers.
PATIENCE = 5.0


def check_dask(address: str, image: ImageSource, model: ModelHandle, output: Any) -> None:
    """Check that a batch can run on Dask, before anything starts; raises BatchError."""
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise BatchError(
            "dask.distributed is not installed, which --dask needs. Expected it for batches on "
            'several processes. Install it with pip install "napari-sam3[dask]"'
        ) from error
    if address.startswith("local:"):
        count = address.removeprefix("local:")
        if not count.isdecimal() or int(count) < 1:
            raise BatchError(f"{address!r} is not a number of processes. Expected e.g. local:4.")
    elif "://" not in address:
        raise BatchError(
            f"{address!r} is not a Dask scheduler. Expected local:N for N processes on this host "
            "or an address such as tcp://host:8786. Correct the address."
        )
    if image.path is None:
        raise BatchError(
            "an array cannot be segmented by other processes. Expected a path, from which they "
            "open the image. Give the path of the image."
        )
    if not model.is_portable:
        raise BatchError(
            "a loaded model cannot be used by other processes. Expected a name or a weights file, "
            "from which they load it. Give one of them."
        )
    if output is None:
        raise BatchError(
            "no output was given. Expected an OME-Zarr to which all processes write. Give one "
            "that all can reach."
        )


@contextmanager
def connect(address: str) -> Iterator[Any]:
    """Yield a client of a scheduler, which is started and stopped here for ``local:N``.

    Raises
    ------
    BatchError
        If there is no scheduler.
    """
    from distributed import Client, LocalCluster

    with ExitStack() as stack:
        try:
            where: Any = address
            if address.startswith("local:"):
                where = LocalCluster(  # type: ignore[no-untyped-call]
                    n_workers=int(address.removeprefix("local:")),
                    threads_per_worker=1,
                    dashboard_address=":0",
                )
                stack.enter_context(where)
            security = None
            if is_own_server(address):
                server = RemoteAddress.parse(address)
                where, security = server.url, read_key(server.key_file)
            # Not as default client: of two overlapping ones, the last closed would remain it.
            client = Client(  # type: ignore[no-untyped-call]
                where, timeout="20s", set_as_default=False, security=security
            )
            stack.callback(close_client, client)
        except (OSError, TimeoutError) as error:
            raise BatchError(
                f"no Dask scheduler at {address!r} ({error}). Expected a running scheduler. Check "
                "the address, or use local:N for N processes on this machine."
            ) from error
        yield client


def describe_model(client: Any, model: ModelHandle, control: BatchControl) -> dict[str, Any]:
    """Describe the model as a worker loads it, possibly on another device.

    Raises
    ------
    Stopped
        If the batch is cancelled before there is a worker.
    """
    future = client.submit(ModelHandle.describe, model, pure=False)
    description: dict[str, Any] = _wait(future, client, control)
    return description


def run_on_dask(
    job: BatchJob, positions: Sequence[Position], control: BatchControl, client: Any
) -> Iterator[PlaneResult]:
    """Run a job on Dask; each task reads its own planes and writes its own chunks and records.

    Tasks are planes, or tiles of large ones. In the mode "propagate", a task is one direction of
    one stack, since each plane depends on the one before; stacks and directions run in parallel.
    Tasks call the same functions as a local run, each with its own unit runner, so results do not
    depend on the number of threads of a worker; they are bit for bit the same with one thread of
    torch, as in the processes that Dask starts.

    Parameters
    ----------
    job, positions, control
        As for `napari_sam3.batch.run_local.run_here`.
    client : distributed.Client
        From `connect`.

    Yields
    ------
    PlaneResult
        Each plane after it was written, in order.
    """
    run = _DaskRun(job, control, client)
    control.begin(count_units(run.runner, positions))
    try:
        if isinstance(job.mode, Placed):
            yield from run.placed(positions)
        elif isinstance(job.mode, Automatic):
            yield from run.automatic(positions)
        else:
            yield from run.propagated(positions)
    except Stopped:
        pass
    finally:
        run.cancel()


class _DaskRun:
    """One run, in the process that submits the tasks."""

    def __init__(self, job: BatchJob, control: BatchControl, client: Any) -> None:
        self.job, self.control, self.client = job, control, client
        self.runner = UnitRunner(job, control)
        self._waiting: deque[Any] = deque()

    def cancel(self) -> None:
        """Cancel waiting tasks; running tasks end by themselves."""
        for _, future in self._waiting:
            if future is not None:
                future.cancel()

    def placed(self, positions: Sequence[Position]) -> Iterator[PlaneResult]:
        for position, done in self._each(do_plane, positions):
            self._count(done)
            yield self._result(position, done)

    def automatic(self, positions: Sequence[Position]) -> Iterator[PlaneResult]:
        first = 1
        tiles = [
            (position, number)
            for position in positions
            for number in range(len(self.runner.tiles(position)))
        ]
        planes: dict[Position, list[Done]] = {}
        for (position, _), done in self._each(do_tile, tiles):
            self._count(done)
            planes.setdefault(position, []).append(done)
            if len(planes[position]) < len(self.runner.tiles(position)):
                continue
            errors = tuple(error for one in planes[position] for error in one.errors)
            skipped = all(one.skipped for one in planes.pop(position))
            if errors:
                yield self._result(position, Done(skipped, errors))
                continue
            # Ids are consecutive over all planes, so planes are painted in order.
            objects = self.runner.merge(position, first)
            first += len(objects)
            painted = self._wait(self._submit(do_paint, (position, objects)))
            yield PlaneResult(
                plane_index(position), self.runner.shape, objects, skipped and not painted
            )

    def propagated(self, positions: Sequence[Position]) -> Iterator[PlaneResult]:
        mode = self.job.mode
        assert isinstance(mode, Propagate)
        errors: dict[Position, str] = {}
        skipped = True
        for _, done in self._each(do_anchors, [p for p in positions if mode.prompts.on(p)]):
            self._count(done)
            errors |= dict(done.errors)
            skipped &= done.skipped
        stacks = mode.stacks(positions)
        sweeps = [(stack, kind) for stack in stacks for kind in mode.sweeps]
        for (stack, _), done in self._each(do_sweep, sweeps):
            errors |= dict(done.errors)
            skipped &= done.skipped
            failed = {position for position, _ in done.errors}
            for position in stack:
                self.control.count(skipped=done.skipped, failed=position in failed)
        failed_before = {
            position: Done(False, ((position, error),)) for position, error in errors.items()
        }
        for position, done in self._each(do_meet, sorted(positions), failed_before):
            yield self._result(position, replace(done, skipped=skipped and done.skipped))

    def _result(self, position: Position, done: Done) -> PlaneResult:
        plane, shape = plane_index(position), self.runner.shape
        if done.errors:
            return PlaneResult(plane, shape, error=ImageError(done.errors[0][1]))
        objects = objects_of(self.runner, position)
        return PlaneResult(plane, shape, objects, done.skipped)

    def _each(
        self,
        function: Callable[[BatchJob, Any], Any],
        items: Sequence[Any],
        known: Mapping[Any, Any] | None = None,
    ) -> Iterator[tuple[Any, Any]]:
        """Run a task for each item, a window of items at a time; yield the results in order.

        Items with `known` results need no task.
        """
        known, coming = known or {}, deque(items)
        while (coming or self._waiting) and not self.control.cancelled:
            free = WINDOW * max(1, _count_workers(self.client)) - len(self._waiting)
            for item in [coming.popleft() for _ in range(min(free, len(coming)))]:
                future = None if item in known else self._submit(function, item)
                self._waiting.append((item, future))
            item, future = self._waiting[0]
            done = known[item] if future is None else self._wait(future)
            self._waiting.popleft()
            yield item, done

    def _wait(self, future: Any) -> Any:
        return _wait(future, self.client, self.control)

    def _submit(self, function: Callable[[BatchJob, Any], Any], item: Any) -> Any:
        position = item if function in (do_plane, do_anchors) else None
        job = _with_prompts_of(self.job, position)
        try:
            return self.client.submit(function, job, item, pure=False, retries=RETRIES)
        except Exception as error:
            raise _failed(error) from error

    def _count(self, done: Done) -> None:
        self.control.count(skipped=done.skipped, failed=bool(done.errors))


def _with_prompts_of(job: BatchJob, position: Position | None) -> BatchJob:
    """Return a job with the prompts of one plane or none, to keep messages small."""
    if not isinstance(job.mode, Placed | Propagate):
        return job
    prompts = job.mode.prompts.at([] if position is None else [position])
    return replace(job, mode=replace(job.mode, prompts=prompts))


def _count_workers(client: Any) -> int:
    try:
        return len(client.nthreads())
    except Exception as error:
        raise _failed(error) from error


def _wait(future: Any, client: Any, control: BatchControl) -> Any:
    """Wait for a task; its failure becomes an error of this package.

    Without any worker, as in the queue of a cluster, this is reported and may be cancelled.
    """
    reported = False
    while not future.done():
        with suppress(Exception):  # not done yet, or read below
            future.result(timeout=PATIENCE)
        if future.done() or _count_workers(client):
            continue
        if control.cancelled:
            raise Stopped
        if not reported:
            warnings.warn(
                f"no worker at the Dask scheduler {client.scheduler.address}. The batch waits for "
                "one. Start a worker, or cancel: the same command resumes.",
                stacklevel=2,
            )
            reported = True
    try:
        return future.result()
    except Sam3Error:
        raise
    except Exception as error:
        raise _failed(error) from error


def _failed(error: Exception) -> BatchError:
    from distributed import KilledWorker

    remedy = "run the same command again to resume"
    if isinstance(error, KilledWorker):
        return BatchError(
            f"the worker processes died at a task on Dask, {error.last_worker.address} the last. "
            "Expected processes that stay alive. They have too little memory, or were killed: "
            f"look into their log, give each of them more memory or fewer threads, and {remedy}"
        )
    reason = (str(error) or type(error).__name__)[:300]
    return BatchError(
        f"a task on Dask failed ({reason}). Expected it to finish. To continue, {remedy}"
    )
