"""The command `napari-sam3 serve`: a model for other computers."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .common import DONE, add_json_option, check_model_is_here, print_json, raw

if TYPE_CHECKING:
    from napari_sam3.inference.remote.tasks import Served

__all__ = ["add_arguments", "run"]

EXAMPLES = """\
examples:
  napari-sam3 serve --model sam3.pt
      for this computer, and for others through an ssh tunnel
  napari-sam3 serve --model sam3.pt --host 0.0.0.0 --key gpu.key
      for all computers of the network that have the file gpu.key

Who has the key can run programs on this computer. Ctrl-C ends the server.
"""
_CACHE_BYTES = 2_000_000_000


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    from napari_sam3.inference.remote.address import DEFAULT_PORT

    raw(command, EXAMPLES)
    command.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on, 0.0.0.0 for all (default: this computer alone)",
    )
    command.add_argument(
        "--port", type=_port, default=DEFAULT_PORT, help="port (default: %(default)s)"
    )
    command.add_argument(
        "--key",
        metavar="FILE",
        type=Path,
        help="key, which is made if there is none (default: in your configuration folder)",
    )
    add_json_option(command)


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C; return the exit code."""
    from napari_sam3.inference.remote.address import RemoteAddress
    from napari_sam3.inference.remote.key import check_installed

    check_model_is_here(arguments.model)
    check_installed()
    if not arguments.verbose:
        _quiet_dask()
    address = RemoteAddress(arguments.host, arguments.port, arguments.key)
    served = _load(arguments.model, arguments.device)
    from napari_sam3.inference.remote.server import run_server

    def ready(url: str) -> None:
        name, device = served.predictor.config.name, str(served.predictor.device)
        if arguments.json:
            about = {"url": url, "key": address.key_file, "model": name, "device": device}
            print_json(about)
        else:
            print(f"model: {name} on {device}\nkey: {address.key_file}\nready: {url}")
        sys.stdout.flush()

    try:
        run_server(served, address, ready)
    except KeyboardInterrupt:
        print("ended", file=sys.stderr)
    return DONE


def _quiet_dask() -> None:
    import distributed  # noqa: F401  # which sets the level of its messages

    for name in ("distributed", "distributed.worker", "distributed.scheduler"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _load(model: str, device: str) -> Served:
    from napari_sam3.inference.cache import EmbeddingCache
    from napari_sam3.inference.models import detector_loader
    from napari_sam3.inference.remote.tasks import Served
    from napari_sam3.inference.tracking.memories import memory_of
    from sam3.predictor import load_predictor

    predictor = load_predictor(model, device)
    return Served(predictor, detector_loader(), memory_of, EmbeddingCache(_CACHE_BYTES))


def _port(text: str) -> int:
    if not (text.isdecimal() and 0 < int(text) < 1 << 16):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a port. Expected 1 to 65535. Choose another one."
        )
    return int(text)
