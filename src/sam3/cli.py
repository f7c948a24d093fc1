"""Command line of the model package: ``sam3 info FILE``."""

from __future__ import annotations

import argparse
import sys

from sam3.errors import Sam3Error

__all__ = ["info", "main"]


def info(path: str) -> str:
    """Describe a weights file: format, model, parameters and fingerprint, a line each.

    Parameters
    ----------
    path : str
        The file, or ``"tiny"`` for the embedded model.

    Returns
    -------
    str

    Raises
    ------
    CheckpointNotFoundError, CheckpointError
        If it is no weights file of this model.
    """
    from sam3 import checkpoint

    file = checkpoint.embedded_weights() if path == "tiny" else path
    found = checkpoint.inspect(file)
    model = checkpoint.load(file)
    parameters = sum(p.numel() for p in model.state_dict().values())
    rows = {
        "file": found.path,
        "format": found.format,
        "model": f"{found.config.name}, input {found.config.resolution} px",
        "parameters": f"{parameters:,} for clicks, in {found.tensors} tensors of the file",
        "fingerprint": checkpoint.fingerprint(model),
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
