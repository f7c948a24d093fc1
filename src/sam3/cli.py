"""Command line of the model package, ``sam3 info FILE``."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from sam3.errors import Sam3Error

__all__ = ["describe", "describe_adapter", "info", "main"]


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Load a weights file or an adapter strictly and describe its content.

    Parameters
    ----------
    path : str or path-like
        The file, or ``"tiny"`` for the embedded model.

    Returns
    -------
    dict
        "file", "format", "model", "resolution" (side of the input in px), "parameters" (their
        number, for clicks only), "tensors" (their number in the file) and "fingerprint". For an
        adapter, see :func:`describe_adapter`.

    Raises
    ------
    CheckpointNotFoundError, CheckpointError
        If the file is missing, incomplete or made for another model.
    """
    from sam3.adapters import is_adapter
    from sam3.weights import load as checkpoint

    if is_adapter(path):
        return describe_adapter(path)
    file = checkpoint.weights_file(path)
    info = checkpoint.inspect(file)
    model = checkpoint.load(file)
    return {
        "file": str(info.path),
        "format": info.format,
        "model": info.config.name,
        "resolution": info.config.resolution,
        "parameters": sum(tensor.numel() for tensor in model.state_dict().values()),
        "tensors": info.tensors,
        "fingerprint": checkpoint.fingerprint(model),
    }


def describe_adapter(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Merge an adapter into its base weights and describe it.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    dict
        "file", "format", "model", "resolution", "base" (name of the base weights),
        "base_fingerprint", "parameters" (number of values), "tensors", "rank" and "fingerprint" (of
        the model with the adapter), and the entries of its card, such as "click_iou_before",
        "click_iou_after" and "licence".

    Raises
    ------
    CheckpointError
        If it is damaged, or its base weights are missing or others.
    """
    from sam3.adapters import apply_adapter, find_base, read_adapter
    from sam3.weights import load as checkpoint

    adapter = read_adapter(path)
    model, base = checkpoint.load_with_fingerprint(find_base(adapter, path))
    apply_adapter(model, base, adapter)
    return {
        "file": os.fspath(path),
        "format": "adapter",
        "model": model.config.name,
        "resolution": model.config.resolution,
        "base": adapter.base,
        "base_fingerprint": adapter.fingerprint,
        "parameters": adapter.parameters,
        "tensors": 2 * len(adapter.low_rank) + len(adapter.whole),
        "fingerprint": checkpoint.fingerprint(model),
        **adapter.about,
        "rank": adapter.rank,
    }


def info(path: str) -> str:
    """Describe a weights file in one line each for format, model, parameters and fingerprint.

    Parameters and errors are those of :func:`describe`. All entries of an adapter are listed.
    """
    content = describe(path)
    if content["format"] == "adapter":
        return "\n".join(f"{name + ':':18}{value}" for name, value in content.items())
    rows = {
        "file": content["file"],
        "format": content["format"],
        "model": f"{content['model']}, input {content['resolution']} px",
        "parameters": f"{content['parameters']:,} for clicks, in {content['tensors']} tensors of "
        "the file",
        "fingerprint": content["fingerprint"],
    }
    return "\n".join(f"{name + ':':13}{value}" for name, value in rows.items())


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="sam3", description="SAM 3 for interactive segmentation")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("info", help="describe a weights file")
    command.add_argument("file", help='weights file, or "tiny" for the embedded model')
    arguments = parser.parse_args(argv)
    try:
        print(info(arguments.file))
    except Sam3Error as error:
        print(f"sam3: {error}", file=sys.stderr)
        return 2
    return 0
