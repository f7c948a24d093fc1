"""The command `napari-sam3 info`: describe an image, weights, an adapter or an embedding store."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from .common import DONE, add_json_option, add_rgb_option, print_json, raw

__all__ = ["add_arguments", "describe", "run"]

EXAMPLES = """\
examples:
  napari-sam3 info stack.ome.tif
      shape, axes, units, scale, data type and pyramid of an image
  napari-sam3 info stack.store
      model, settings and size of an embedding store
  napari-sam3 info sam3.pt --json
      format, model and fingerprint of a weights file
  napari-sam3 info mine.safetensors
      base model, rank, clicks before and after, and licence of an adapter
"""
_WEIGHTS = {".pt", ".pth", ".safetensors"}


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    raw(command, EXAMPLES)
    command.add_argument(
        "file", metavar="FILE", help="image, weights file, adapter or embedding store; or 'tiny'"
    )
    add_rgb_option(command)
    add_json_option(command)


def run(arguments: argparse.Namespace) -> int:
    """Describe a file; return the exit code."""
    description = describe(arguments.file, rgb=arguments.rgb)
    if arguments.json:
        print_json(description)
    else:
        width = max(13, 2 + max(map(len, description)))
        for name, value in description.items():
            several = isinstance(value, list) and value and isinstance(value[0], dict)
            lines = value if several else [value]
            for number, line in enumerate(lines):
                print(f"{'' if number else name + ':':{width}}{_text(line)}")
    return DONE


def describe(file: str, *, rgb: bool | None = None) -> dict[str, Any]:
    """Describe a file by names and JSON values.

    Raises
    ------
    sam3.errors.Sam3Error
        If the file is of no known kind.
    """
    path = Path(file)
    if file == "tiny" or path.suffix.lower() in _WEIGHTS:
        from sam3.cli import describe as describe_weights

        content = describe_weights(file)
        kind = "adapter" if content["format"] == "adapter" else "weights"
        return {"kind": kind, **content}
    from napari_sam3.inference.store import is_store

    if is_store(path):
        return _describe_store(path)
    return _describe_image(path, rgb)


def _describe_store(path: Path) -> dict[str, Any]:
    from dataclasses import asdict

    from napari_sam3.inference.store.store import EmbeddingStore

    info = EmbeddingStore(path, read_only=True).info()
    return {
        "kind": "embedding store",
        "file": str(path),
        "fields": info.fields,
        "bytes": info.nbytes,
        "limit": info.limit_bytes,
        "models": [
            {"model": name, "fingerprint": mark, "resolution": side, "precision": kind, "fields": n}
            for (name, mark, side, kind), n in info.models.items()
        ],
        "renderings": [{**asdict(one), "fields": n} for one, n in info.renderings.items()],
    }


def _describe_image(path: Path, rgb: bool | None) -> dict[str, Any]:
    from napari_sam3.images.lazy import open_image

    image = open_image(path, rgb=rgb)
    try:
        levels = image.data if image.multiscale else [image.data]
        axes = image.axes
        return {
            "kind": "image",
            "file": str(path),
            "shape": list(image.shape),
            "dtype": str(levels[0].dtype),
            "colours": int(levels[0].shape[-1]) if image.rgb else 0,
            "planes": math.prod(image.shape[:-2]),
            "bytes": math.prod(levels[0].shape) * levels[0].dtype.itemsize,
            "axes": [
                {"name": name, "length": length, "scale": scale, "start": start, "unit": unit}
                for name, length, scale, start, unit in zip(
                    axes.names, image.shape, axes.scale, axes.translate, axes.units, strict=True
                )
            ],
            "levels": [{"shape": list(level.shape), "chunks": _chunks(level)} for level in levels],
        }
    finally:
        image.close()


def _chunks(level: Any) -> list[int] | None:
    chunks = getattr(level, "chunks", None)
    return None if chunks is None else [int(length) for length in chunks]


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(one)}" for name, one in value.items() if one is not None)
    if isinstance(value, list | tuple):
        return " x ".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
