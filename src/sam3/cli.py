"""Command line of the model package: ``sam3 info FILE``."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from sam3.errors import Sam3Error

__all__ = ["describe", "info", "main"]


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Load a weights file strictly and say what it is.

    Parameters
    ----------
    path : str or path-like
        The file, or ``"tiny"`` for the embedded model.

    Returns
    -------
    dict
        "file", "format", "model", "resolution" (side of the input in px), "parameters" (those
        that clicks need), "tensors" (in the file) and "fingerprint".

    Raises
    ------
    CheckpointNotFoundError, CheckpointError
        If it is no weights file of this model, or not all of it is there.
    """
    from sam3.weights import load as checkpoint

    file = checkpoint.embedded_weights() if os.fspath(path) == "tiny" else path
    found = checkpoint.inspect(file)
    model = checkpoint.load(file)
    return {
        "file": str(found.path),
        "format": found.format,
        "model": found.config.name,
        "resolution": found.config.resolution,
        "parameters": sum(tensor.numel() for tensor in model.state_dict().values()),
        "tensors": found.tensors,
        "fingerprint": checkpoint.fingerprint(model),
    }


def info(path: str) -> str:
    """Describe a weights file: format, model, parameters and fingerprint, a line each.

    Parameters and errors are those of :func:`describe`.
    """
    about = describe(path)
    rows = {
        "file": about["file"],
        "format": about["format"],
        "model": f"{about['model']}, input {about['resolution']} px",
        "parameters": f"{about['parameters']:,} for clicks, in {about['tensors']} tensors of the "
        "file",
        "fingerprint": about["fingerprint"],
    }
    return "\n".join(f"{name + ':':13}{value}" for name, value in rows.items())


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
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
