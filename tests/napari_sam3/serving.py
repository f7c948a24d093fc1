"""A server in a process of its own, and weights with all parts, small and random."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from napari_sam3.inference import models
from sam3.config import MemoryConfig
from sam3.model.memory import Memory
from sam3.model_builder import build_click_model, build_detector_model
from sam3.runtime.torch_state import own_defaults
from sam3.weights import load as checkpoint
from tests.sam3.tiny_detector import DETECTOR_TINY


def save_weights(path: Path) -> None:
    """Write random weights of a click model with a memory and a concept detector."""
    import torch

    config = replace(
        DETECTOR_TINY,
        memory=MemoryConfig(channels=32, layers=1, mlp_hidden=32, fuser_layers=1),
    )
    with own_defaults(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        memory = Memory(config).requires_grad_(False).eval()
    detector = build_detector_model(DETECTOR_TINY)
    checkpoint.save(build_click_model(config), path, memory=memory, detector=detector)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass
class Server:
    """`napari-sam3 serve` on the CPU, with one thread of torch."""

    weights: str
    key: Path
    port: int
    process: subprocess.Popen[str] | None = None

    @property
    def name(self) -> str:
        """The model, as it is loaded."""
        return f"tls://127.0.0.1:{self.port}?key={self.key}"

    def start(self) -> str:
        """Start it, and wait until it is ready; returns what it printed."""
        command = [sys.executable, "-m", "napari_sam3.cli", "serve", "--model", self.weights]
        command += ["--port", str(self.port), "--key", str(self.key), "--device", "cpu"]
        # Masks are equal to the bit only where as many threads share the work as here.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout is not None
        said = ""
        for line in self.process.stdout:
            said += line
            if line.startswith("ready"):
                return said
        raise AssertionError(f"the server ended: {said}")

    def kill(self) -> None:
        """End it as a power cut would (kill -9)."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None


@contextmanager
def serving(weights: str, folder: Path) -> Iterator[Server]:
    server = Server(weights, folder / "remote.key", free_port())
    server.start()
    try:
        yield server
    finally:
        leave()
        server.kill()


def leave() -> None:
    """Close the connections of models known by name, and the sockets that Dask left open.

    A client would try for minutes to reach a server that is gone, in the tests that follow.
    """
    models._named.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
