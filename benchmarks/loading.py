"""How long it takes to load the full-size weights, beside reading their file.

`python -m benchmarks.loading` prints this row alone.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file

from benchmarks.measure import Row, take_turns
from sam3 import Predictor
from sam3.config import ModelConfig, get_preset
from sam3.model.click_model import ClickModel
from sam3.weights.keys import transformers_table
from sam3.weights.load import load_with_fingerprint

__all__ = ["loading_rows", "write_released"]


def loading_rows(config: ModelConfig, *, repeats: int = 7) -> Iterator[Row]:
    """Load a file of random weights, ready to encode, in turns with reading all of its bytes.

    The file is as the released ``model.safetensors``, but holds only what a click needs: what else
    is in the released one is not read. It is read beside as anybody reads a file, into new memory,
    and into memory that was used before, without the page faults that a model's own memory costs.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        write_released(config, path)
        size = path.stat().st_size
        buffer = np.zeros(size, np.uint8)
        others = {
            "reading the file once from the page cache, `Path.read_bytes`": path.read_bytes,
            "the same into memory used before": lambda: _read(path, buffer),
        }
        for name, read in others.items():
            times = take_turns(lambda: _load(path, config), read, repeats=repeats)
            yield Row(
                f"load the weights of *{config.name}* and be ready to encode, {size / 1e9:.2f} GB "
                "in float32, transformers' naming, random weights",
                *times,
                name,
            )


def write_released(config: ModelConfig, path: Path, seed: int = 0) -> None:
    """Write random weights of all that a click needs, in the naming of ``model.safetensors``."""
    with torch.device("meta"):
        shapes = {name: tuple(t.shape) for name, t in ClickModel(config).state_dict().items()}
    rng = np.random.default_rng(seed)
    state: dict[str, torch.Tensor] = {}
    for name, source in transformers_table(config).items():
        shape = shapes[name]
        if name == "trunk.pos_embed":
            shape = (1, shape[1] * shape[2], shape[3])
        elif len(source.keys) > 1:
            shape = (shape[0] // len(source.keys), *shape[1:])
        for key in source.keys:
            state[key] = torch.from_numpy(0.02 * rng.standard_normal(shape, np.float32))
    save_file(state, path)


def _load(path: Path, config: ModelConfig) -> Predictor:
    """Do what `load_predictor` does; it takes no sizes, which a trial needs."""
    model, fingerprint = load_with_fingerprint(path, config=config)
    return Predictor(model, "cpu", fingerprint=fingerprint)


def _read(path: Path, buffer: npt.NDArray[np.uint8]) -> None:
    left = buffer.data
    with open(path, "rb", buffering=0) as file:
        while left:
            left = left[file.readinto(left) :]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    for row in loading_rows(get_preset("sam3"), repeats=parser.parse_args().repeats):
        print(row.line)


if __name__ == "__main__":
    main()
