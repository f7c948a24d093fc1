"""Training of a memory for a frozen click model, ``python -m sam3.training.memory``.

The features of each clip are computed once and cached in the folder of the run.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sam3.config import MemoryConfig
from sam3.model.click_model import ClickModel, EncodedImage
from sam3.training.clips import Clip, ClipMaker
from sam3.training.losses import soft_targets
from sam3.training.memory_model import ClipBatch, MemoryTraining, fresh_memory
from sam3.training.run_state import RunState, append_row
from sam3.weights import load as checkpoint

__all__ = ["MEMORY", "ClipStore", "MemorySettings", "train_memory"]

_LOG = logging.getLogger(__name__)
_SEED_STRIDE = 1_000_003
_WEIGHTS_FILE = "weights.safetensors"
MEMORY = MemoryConfig(
    channels=64, layers=2, mlp_hidden=256, fuser_layers=1, frames=3, pointers=4, conditioning=4,
    preferred=False,
)  # fmt: skip
"""Sizes of the embedded model's memory."""


@dataclass(frozen=True, kw_only=True)
class MemorySettings:
    """Settings of a run.

    Parameters
    ----------
    steps, seed : int
    learning_rate : float
        Rises over `warmup` steps, stays, and falls to zero over the last `cooldown` fraction.
    warmup : int
    cooldown : float
    ema : float
        Decay of the moving average of the weights, which is saved.
    bfloat16 : bool
        Run the network under autocast to bfloat16, in two thirds of the time on processors with
        bfloat16 arithmetic.
    clips, objects : int
        Number of clips per step, and of objects per clip.
    frames, crop : int
        Number of frames of a clip, and their side in px of the model's input.
    first_pool, pool : int
        Number of clips before the first step, and in total; every second step adds one.
    preferred : bool
        Whether the plugin propagates objects with this memory.
    """

    steps: int = 2000
    seed: int = 0
    learning_rate: float = 1e-3
    warmup: int = 40
    cooldown: float = 0.4
    ema: float = 0.99
    bfloat16: bool = False
    clips: int = 5
    objects: int = 3
    frames: int = 4
    crop: int = 224
    first_pool: int = 60
    pool: int = 1500
    preferred: bool = False

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        fall = (self.steps - step) / max(1.0, self.cooldown * self.steps)
        return self.learning_rate * min(1.0, (step + 1) / self.warmup, max(fall, 0.0))


class ClipStore:
    """Cache of clips with their features in a folder, filled on demand.

    Parameters
    ----------
    maker : ClipMaker
    model : ClickModel
        Encodes frames.
    folder : Path
    objects : int
        Maximum number of objects per clip.
    """

    def __init__(self, maker: ClipMaker, model: ClickModel, folder: Path, objects: int) -> None:
        self._maker, self._model, self._folder, self._objects = maker, model, folder, objects
        folder.mkdir(parents=True, exist_ok=True)

    def load(self, number: int) -> dict[str, Tensor]:
        """Load the tensors of a clip, computing them on first use."""
        path = self._folder / f"{number:06d}.pt"
        if not path.exists():
            tensors = self._encode(self._maker.make(number, self._objects))
            part = path.with_suffix(".part")
            torch.save(tensors, part)
            part.replace(path)
        clip: dict[str, Tensor] = torch.load(path, weights_only=True)
        return clip

    def _encode(self, clip: Clip) -> dict[str, Tensor]:
        images = torch.from_numpy(clip.images).float() / 127.5 - 1
        with torch.inference_mode():
            parts = [self._model.encode(image[None]) for image in images]
        encoded = [torch.cat(part) for part in zip(*parts, strict=True)]
        size = 4 * encoded[0].shape[-1]
        labels = torch.from_numpy(clip.labels)
        masks = torch.stack([labels == label for label in clip.objects], 1)
        tensors = dict(zip(EncodedImage._fields, encoded, strict=True))
        tensors["targets"] = soft_targets(masks, size)
        tensors["foreground"] = soft_targets(labels[:1] > 0, size)[0]
        return {name: tensor.half().clone() for name, tensor in tensors.items()}

    def batch(self, numbers: Sequence[int]) -> ClipBatch:
        """Collate clips into a batch."""
        clips = [{k: v.float() for k, v in self.load(number).items()} for number in numbers]
        joined = [torch.stack([clip[name] for clip in clips], 1) for name in EncodedImage._fields]
        frames = [EncodedImage(*(part[t] for part in joined)) for t in range(len(joined[0]))]
        counts = torch.tensor([clip["targets"].shape[1] for clip in clips])
        index = torch.arange(len(clips)).repeat_interleave(counts)
        targets = torch.cat([clip["targets"] for clip in clips], 1)
        return ClipBatch(
            frames, index, targets, torch.stack([clip["foreground"] for clip in clips])[index]
        )


def train_memory(
    settings: MemorySettings,
    out: Path,
    *,
    data: Path,
    init: Path,
    stop_after: int | None = None,
    save_every: int = 50,
) -> Path:
    """Train a memory, or resume a run.

    Parameters
    ----------
    settings : MemorySettings
    out : Path
        Folder for the state, the features, the log and the weights.
    data : Path
        Folder of npz files with stacks and images.
    init : Path
        Weights of the click model.
    stop_after : int, optional
        Step to stop at; the run can be resumed.
    save_every : int
        Number of steps between two saves.

    Returns
    -------
    Path
        The weights file with the click model and its memory.
    """
    out.mkdir(parents=True, exist_ok=True)
    run = _MemoryRun(settings, out, data, init)
    last = min(stop_after or settings.steps, settings.steps)
    while run.step < last:
        run.advance()
        if run.step % save_every == 0 or run.step == last:
            run.save()
    return out / _WEIGHTS_FILE


class _MemoryRun:
    """State of a training run."""

    def __init__(self, settings: MemorySettings, out: Path, data: Path, init: Path) -> None:
        self.settings, self.out = settings, out
        model = checkpoint.load(init)
        sizes = replace(MEMORY, preferred=settings.preferred)
        memory = fresh_memory(replace(model.config, memory=sizes), settings.seed)
        network = MemoryTraining(model, memory)
        maker = ClipMaker(data, seed=settings.seed, frames=settings.frames, crop=settings.crop)
        cache = out / f"cache-{settings.frames}x{settings.crop}"  # a resumed run may have others
        self.store = ClipStore(maker, model, cache, settings.objects)
        _fit_norm(network, self.store.batch(range(min(8, settings.first_pool))))
        trained = [p for p in network.parameters() if p.requires_grad]
        self.state = RunState(network, torch.optim.AdamW(trained, weight_decay=0.01), out)
        self.figures = list[dict[str, float]]()
        self.clock = time.perf_counter()

    @property
    def step(self) -> int:
        """Number of steps taken."""
        return self.state.step

    def advance(self) -> None:
        """Take one optimiser step."""
        settings, step = self.settings, self.step
        available = min(settings.pool, settings.first_pool + step // 2)
        rng = np.random.default_rng((settings.seed, step))
        batch = self.store.batch(rng.choice(available, settings.clips, replace=False).tolist())
        generator = torch.Generator().manual_seed(settings.seed * _SEED_STRIDE + step)
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.bfloat16):
            loss, step_figures = self.state.network(batch, generator)
        if not self.state.descend(loss, settings.rate(step), settings.ema):
            return
        figures = {name: float(value) for name, value in step_figures.items()}
        self.figures.append({"loss": float(loss.detach())} | figures)

    def save(self) -> None:
        """Log the figures since the last save; write the state for resuming, and the average."""
        seconds = (time.perf_counter() - self.clock) / max(1, len(self.figures))
        _log(self.out / "log.csv", self.step, self.figures, seconds)
        self.figures, self.clock = [], time.perf_counter()
        self.state.save()
        checkpoint.save(
            self.state.average.model,
            self.out / _WEIGHTS_FILE,
            memory=self.state.average.memory,
            dtype=torch.float16,
            metadata={"licence": "BSD-3-Clause", "training_step": str(self.step)},
        )


def _fit_norm(network: MemoryTraining, batch: ClipBatch) -> None:
    """Initialise the last norm so that it nearly reproduces its input."""
    frame = EncodedImage(*(part[batch.clip] for part in batch.frames[0]))
    target = network.teacher(frame, torch.zeros_like(batch.targets[0])).transpose(0, 1).flatten(1)
    norm = network.memory.attention.norm
    with torch.no_grad():
        normed = torch.nn.functional.layer_norm(
            frame.embedding.permute(0, 2, 3, 1), (len(norm.weight),)
        )
        normed = normed.flatten(0, 2).T
        x, y = normed - normed.mean(1, keepdim=True), target - target.mean(1, keepdim=True)
        norm.weight.copy_((x * y).sum(1) / x.square().sum(1))
        norm.bias.copy_(target.mean(1) - norm.weight * normed.mean(1))


def _log(path: Path, step: int, figures: list[dict[str, float]], seconds: float) -> None:
    if not figures:
        return
    series = {name: np.array([row[name] for row in figures]) for name in figures[0]}
    # Figures of absent objects, for example, are NaN in batches without any.
    valid = {name: values[~np.isnan(values)] for name, values in series.items()}
    mean = {name: float(values.mean()) for name, values in valid.items() if len(values)}
    row = {"step": step, "seconds_per_step": round(seconds, 3)} | {
        name: round(mean.get(name, np.nan), 4) for name in series
    }
    append_row(path, row)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    defaults = MemorySettings()
    parser = argparse.ArgumentParser(prog="python -m sam3.training.memory", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for weights and log")
    parser.add_argument("--data", type=Path, required=True, help="folder of npz files with stacks")
    parser.add_argument("--init", type=Path, default=checkpoint.embedded_weights())
    parser.add_argument("--steps", type=int, default=defaults.steps)
    parser.add_argument("--stop-after", type=int, help="step to stop at; the run can be resumed")
    parser.add_argument("--learning-rate", type=float, default=defaults.learning_rate)
    parser.add_argument("--clips", type=int, default=defaults.clips, help="per step")
    parser.add_argument("--frames", type=int, default=defaults.frames, help="per clip")
    parser.add_argument(
        "--crop",
        type=int,
        default=defaults.crop,
        help="side of frames, in px of the model's input; may change in a run that is resumed",
    )
    parser.add_argument("--preferred", action="store_true", help="propagate with this memory")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--bfloat16", action="store_true", help="autocast to bfloat16")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    settings = MemorySettings(
        steps=arguments.steps,
        learning_rate=arguments.learning_rate,
        clips=arguments.clips,
        frames=arguments.frames,
        crop=arguments.crop,
        preferred=arguments.preferred,
        seed=arguments.seed,
        bfloat16=arguments.bfloat16,
    )
    print(
        train_memory(
            settings, arguments.out, data=arguments.data, init=arguments.init,
            stop_after=arguments.stop_after,
        )
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
