"""The command `napari-sam3 models`: list models, download the released one, verify a file."""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from pathlib import Path
from typing import Any

from sam3.errors import CheckpointError, CheckpointNotFoundError

from .common import DONE, ProgressLine, add_json_option, agreed, print_json, raw

__all__ = ["add_arguments", "run"]

EXAMPLES = """\
examples:
  napari-sam3 models list
      the embedded model, and the released one if it is on this computer
  napari-sam3 models download
      the released weights, 3.5 GB, after asking; they are gated: see huggingface.co/facebook/sam3
  napari-sam3 models verify sam3.pt --sha256 9f86d08188...
      size and checksum of a file, and whether it holds every tensor of the model
"""
CONSENT = """\
The released weights of SAM 3 are 3.5 GB, made by Meta, and subject to Meta's SAM License, not to
the licence of this program: read it at huggingface.co/facebook/sam3, where access is granted. Your
Hugging Face account is sent to the server.
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    raw(command, EXAMPLES)
    actions = command.add_subparsers(required=True, metavar="ACTION", dest="action")
    actions.add_parser("list", help="list the models on this computer")
    download = actions.add_parser("download", help="download the released weights, after asking")
    download.add_argument("--yes", action="store_true", help="agree without a question")
    download.add_argument("--endpoint", metavar="URL", help="another server, for example a mirror")
    download.add_argument(
        "--cache", metavar="DIR", type=Path, help="cache folder (default: Hugging Face's)"
    )
    verify = actions.add_parser("verify", help="show the checksum and content of a weights file")
    verify.add_argument("file", metavar="FILE", help="weights file, or 'tiny'")
    verify.add_argument("--sha256", metavar="HEX", help="expected checksum")
    for action in actions.choices.values():
        add_json_option(action)
        action.add_argument("-v", "--verbose", action="store_true", help="report each step")


def run(arguments: argparse.Namespace) -> int:
    """Run the action; return the exit code."""
    return {"list": _list, "download": _download, "verify": _verify}[arguments.action](arguments)


def _list(arguments: argparse.Namespace) -> int:
    from sam3.weights import load as checkpoint

    file = checkpoint.embedded_weights()
    models = [{"name": "tiny", "what": "embedded", "path": file, "bytes": file.stat().st_size}]
    released = _released()
    if released is not None:
        size = released.stat().st_size
        models.append({"name": str(released), "what": "released", "path": released, "bytes": size})
    if arguments.json:
        print_json({"models": models})
        return DONE
    for model in models:
        print(f"{model['what']:10}{_size(int(str(model['bytes']))):>9}  --model {model['name']}")
    if released is None:
        print("released   3.50 GB  not on this computer; get it by: napari-sam3 models download")
    return DONE


def _released() -> Path | None:
    """Return the released weights if they are in Hugging Face's cache."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache("facebook/sam3", "sam3.pt")
    return Path(path) if isinstance(path, str) and Path(path).is_file() else None


def _download(arguments: argparse.Namespace) -> int:
    from sam3.weights.download import download_released_weights

    print(CONSENT, file=sys.stderr)
    if not (arguments.yes or agreed("Download them?")):
        print(f"{arguments.prog}: nothing was downloaded", file=sys.stderr)
        return DONE
    counter = _ByteCounter("downloaded")
    try:
        path = download_released_weights(
            endpoint=arguments.endpoint,
            cache_dir=arguments.cache,
            progress=counter.show,
            instead='Or use the embedded model, which needs no download: --model "tiny".',
        )
    finally:
        counter.end()
    if arguments.json:
        print_json({"path": path, "bytes": path.stat().st_size})
    else:
        print(f"weights: {path}\nuse them by: --model '{path}'")
    return DONE


def _verify(arguments: argparse.Namespace) -> int:
    from sam3.cli import describe
    from sam3.weights import load as checkpoint

    path = checkpoint.weights_file(arguments.file)
    if not path.is_file():
        raise CheckpointNotFoundError(
            f"the weights file does not exist: {path}. Expected a downloaded file. Check the path."
        )
    digest = _sha256(path)
    expected = (arguments.sha256 or "").strip().lower()
    if expected and expected != digest:
        raise CheckpointError(
            f"{str(path)!r} ({path.stat().st_size} bytes) has the SHA-256 {digest}. Expected "
            f"{expected}. It is damaged or another file: download it again."
        )
    report: dict[str, Any] = describe(path)
    report |= {"bytes": path.stat().st_size, "sha256": digest, "checksum": _verdict(expected)}
    if arguments.json:
        print_json(report)
    else:
        width = max(map(len, report)) + 2
        for name, value in report.items():
            print(f"{name + ':':{width}}{value}")
        print("every tensor of the model is present")
    return DONE


def _verdict(expected: str) -> str:
    return "as expected" if expected else "not compared (give --sha256)"


def _sha256(path: Path) -> str:
    digest, counter, done = hashlib.sha256(), _ByteCounter("read"), 0
    total = path.stat().st_size
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 24):
                digest.update(block)
                done += len(block)
                counter.show(done, total)
    except OSError as error:
        raise CheckpointError(
            f"{str(path)!r} cannot be read: {error.strerror or error}. Expected a "
            "readable file. Check its permissions and the disk."
        ) from error
    finally:
        counter.end()
    return digest.hexdigest()


class _ByteCounter:
    """Progress in bytes on the error stream."""

    def __init__(self, done: str) -> None:
        self._done, self._line = done, ProgressLine()
        self._shown = time.monotonic()

    def show(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self._shown >= self._line.pause:
            self._shown = now
            of = "" if not total else f" of {_size(total)}"
            self._line.show(f"{_size(done)}{of} {self._done}", now, finished=False)

    def end(self) -> None:
        self._line.end()


def _size(nbytes: int) -> str:
    return f"{nbytes / 1e9:.2f} GB" if nbytes >= 1e8 else f"{nbytes / 1e6:.1f} MB"
