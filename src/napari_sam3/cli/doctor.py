"""The command `napari-sam3 doctor`: versions, devices and a self-test."""

from __future__ import annotations

import argparse
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sam3.errors import Sam3Error

from .common import DONE, SOME_FAILED, add_json_option, print_json, raw

__all__ = ["add_arguments", "run"]

EXAMPLES = """\
examples:
  napari-sam3 doctor
      versions, memory, cores and device, and a self-test of the device against the CPU
  napari-sam3 doctor --device cuda --json
      the same for one device, for a report

It ends with 0 if everything works, and with 1 if the self-test fails.
"""
PACKAGES = (
    "napari-sam3", "napari", "npe2", "torch", "numpy", "scipy", "scikit-image", "zarr", "tifffile",
    "safetensors", "huggingface-hub", "qtpy", "PyQt6", "PyQt5", "PySide6", "vispy",
)  # fmt: skip
OPTIONAL = ("dask", "distributed", "pyarrow", "roifile")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    raw(command, EXAMPLES)
    command.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    command.add_argument("--no-test", action="store_true", help="skip the self-test")
    add_json_option(command)


def run(arguments: argparse.Namespace) -> int:
    """Print the environment and test it; return the exit code."""
    report: dict[str, Any] = {
        "system": _system(),
        "versions": _versions(),
        "memory": _memory(),
        "device": _device(arguments.device),
    }
    passed = "error" not in report["device"]
    if passed and not arguments.no_test:
        report["self-test"] = _self_test(arguments.device)
        passed = bool(report["self-test"]["passed"])
    if arguments.json:
        print_json({**report, "passed": passed})
    else:
        for title, values in report.items():
            print(title)
            for name, value in values.items():
                print(f"  {name + ':':18}{value}")
        print("everything works" if passed else "something does not work: see above")
    return DONE if passed else SOME_FAILED


def _system() -> dict[str, Any]:
    import psutil

    system = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": f"{psutil.cpu_count(logical=False)} ({os.cpu_count()} with hyper-threads)",
    }
    if platform.system() == "Linux":
        shown = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        system["display"] = shown or "none; the viewer needs one, other commands do not"
    return system


def _versions() -> dict[str, str]:
    versions = {}
    for name in PACKAGES + OPTIONAL:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            if name in OPTIONAL:
                versions[name] = "not installed (optional)"
    if not {"PyQt6", "PyQt5", "PySide6"} & versions.keys():
        versions["Qt"] = "none; for the viewer: pip install 'napari-sam3[all]'"
    return versions


def _memory() -> dict[str, str]:
    import psutil

    from napari_sam3.inference.cache import default_limit

    memory = psutil.virtual_memory()
    return {
        "total": f"{memory.total / 1e9:.1f} GB",
        "free": f"{memory.available / 1e9:.1f} GB",
        "encoded images": f"up to {default_limit() / 1e9:.1f} GB would be kept",
    }


def _device(device: str) -> dict[str, Any]:
    import torch

    from sam3.runtime.devices import choose_device, choose_precision, describe_device

    try:
        chosen = choose_device(device)
        description: dict[str, Any] = {
            "would be used": describe_device(device),
            "precision": str(choose_precision("auto", chosen)).removeprefix("torch."),
            "threads of torch": torch.get_num_threads(),
        }
    except Sam3Error as error:
        return {"error": str(error)}
    if chosen.type == "cuda":
        free, total = torch.cuda.mem_get_info(chosen)
        description["memory"] = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free"
        description["CUDA"] = torch.version.cuda
    return description


def _self_test(device: str) -> dict[str, Any]:
    from napari_sam3.inference.self_test import WANTED_AGREEMENT, WANTED_IOU, run_self_test

    try:
        result = run_self_test(device)
    except Sam3Error as error:
        return {"passed": False, "error": str(error)}
    return {
        "passed": result.passed,
        "ran on": result.device,
        "mask of a disc": f"IoU {result.iou:.3f} (at least {WANTED_IOU})",
        "like the CPU's": f"{result.agreement:.4f} of pixels (at least {WANTED_AGREEMENT})",
        "same again": result.repeats,
        "encoding": f"{result.encode_s:.2f} s with the embedded model",
        "answering": f"{result.predict_s:.3f} s a click",
    }
