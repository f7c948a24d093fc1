"""Server of a model: a Dask scheduler and a worker in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from .address import RemoteAddress
from .errors import RemoteError
from .key import make_key, read_key
from .messages import METADATA, own_version
from .tasks import Served, serve_model

__all__ = ["run_server"]

# No HTTP, which is not protected by the key.
_SETTINGS: dict[str, list[str]] = {
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.scheduler.preload": [],
    "distributed.worker.preload": [],
}


def run_server(
    served: Served, address: RemoteAddress, ready: Callable[[str], None] | None = None
) -> None:
    """Serve a model until this process is interrupted.

    Parameters
    ----------
    served : Served
        The model.
    address : RemoteAddress
        Interface and port to listen on, and the key, which is created if it is missing. Clients
        without the key are refused, and all traffic is encrypted.
    ready : callable, optional
        Called with the address once clients can connect.

    Raises
    ------
    RemoteError
        If the key cannot be used, or the port is taken.
    """
    import dask

    if not address.key_file.exists():
        make_key(address.key_file)
    security = read_key(address.key_file)
    serve_model(served)
    with dask.config.set(_SETTINGS):
        asyncio.run(_run(address, security, _describe(served), ready))


async def _run(
    address: RemoteAddress,
    security: Any,
    about: dict[str, Any],
    ready: Callable[[str], None] | None,
) -> None:
    from distributed import Scheduler, Worker

    common = {"security": security, "protocol": "tls://", "dashboard_address": "127.0.0.1:0"}
    scheduler: Any = Scheduler(host=address.host, port=address.port, dashboard=False, **common)
    try:
        await scheduler
    except (OSError, RuntimeError) as error:  # the cause of Dask's own error is that of the system
        reason = getattr(error.__cause__, "strerror", None) or error
        raise RemoteError(
            f"cannot listen on {address} ({reason}). Expected an address of this "
            "computer and a free port. Choose others with --host and --port."
        ) from error
    async with scheduler:
        scheduler.http_server.stop()
        scheduler.set_metadata(keys=[METADATA], value=about)
        here = f"tls://127.0.0.1:{address.port}" if address.is_any else scheduler.address
        # One thread, since the model runs one task at a time.
        async with Worker(here, nthreads=1, host="127.0.0.1", memory_limit=0, **common) as worker:
            worker.http_server.stop()
            if ready is not None:
                ready(address.reachable.url)
            await scheduler.finished()


def _describe(served: Served) -> dict[str, Any]:
    """Return the description of the model that clients check first, as plain values."""
    from sam3.runtime.devices import describe_device

    predictor = served.predictor
    return {
        "version": own_version(),
        "config": predictor.config.to_json(),
        "fingerprint": predictor.fingerprint,
        "precision": str(predictor.dtype).removeprefix("torch."),
        "device": describe_device(predictor.device),
    }
