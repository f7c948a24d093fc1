"""The training loop: resumable, deterministic for a seed, with checkpoints and a curve."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed
from torch.multiprocessing.spawn import spawn
from torch.utils.data import DataLoader

from sam3.config import get_preset
from sam3.errors import TrainingError
from sam3.model.click_model import ClickModel
from sam3.model_builder import build_click_model
from sam3.training.curve import draw_curve
from sam3.training.data import Batch, CropDataset, CropSampler, load_real, scene_pool
from sam3.training.model import TrainingModel
from sam3.training.run_state import RunState, append_row
from sam3.weights import load as checkpoint

__all__ = ["Phase", "Settings", "train"]

_LOG = logging.getLogger(__name__)
_WEIGHTS_FILE, _LOG_FILE = "weights.safetensors", "log.csv"
_RENDEZVOUS = "rendezvous"
_SEED_STRIDE = 1_000_003
_HELD_OUT_SCENES = 24
_MOST_SKIPPED = 20
_CORRECTIONS = (1, 3, 1, 2, 1, 5, 2, 1, 4, 1, 2, 6)  # cycled through, at every second step


@dataclass(frozen=True)
class Phase:
    """A part of the training with one crop size.

    Parameters
    ----------
    until : float
        End of the phase as a fraction of all steps, in (0, 1].
    images, prompts : int
        Number of crops per step, and of prompted objects per crop.
    crop : int
        Side of the crops in pixels of the model's input.
    """

    until: float
    images: int
    prompts: int
    crop: int


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings that determine the outcome of a run.

    Parameters
    ----------
    steps : int
        Optimiser steps.
    seed : int
        Seed of weights, scenes, crops and prompts.
    learning_rate, weight_decay : float
        Of AdamW; the rate rises over `warmup` steps, stays, and falls to zero over the last
        `cooldown` fraction of the steps.
    warmup : int
        Number of steps.
    cooldown : float
        Fraction of the steps.
    scenes : int
        Number of generated scenes in the pool.
    real_fraction : float
        Fraction of crops from real images, if there are any.
    leave_out : tuple of str
        Sets of real images to exclude, to evaluate the model on unseen kinds of images.
    preset : str
        Model to train.
    phases : tuple of Phase
        Crop sizes in order; the last ends at 1.
    ema : float
        Decay of the moving average of the weights, which is validated and saved.
    bfloat16 : bool
        Run the network under autocast to bfloat16.
    processes : int
        Number of processes that share the images of a step, each with its own seed for crops. On a
        CPU, one single-threaded process per core is about a third faster than one with all threads.
    """

    steps: int = 12000
    seed: int = 0
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: int = 200
    cooldown: float = 0.35
    scenes: int = 1500
    real_fraction: float = 0.7
    leave_out: tuple[str, ...] = ()
    preset: str = "tiny"
    phases: tuple[Phase, ...] = (
        Phase(0.6, 32, 4, 112),
        Phase(0.92, 8, 6, 224),
        Phase(1.0, 2, 12, 448),
    )
    ema: float = 0.998
    bfloat16: bool = False
    processes: int = 1

    def schedule(self, step: int) -> tuple[int, int, int]:
        """Return (images, prompts, crop) of a step."""
        share = step / self.steps
        phase = next((p for p in self.phases if share < p.until), self.phases[-1])
        return phase.images, phase.prompts, phase.crop

    def share(self, step: int) -> tuple[int, int, int]:
        """Return (images, prompts, crop) of a step for one process."""
        images, prompts, crop = self.schedule(step)
        return max(1, images // self.processes), prompts, crop

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        rise = min(1.0, (step + 1) / self.warmup)
        fall = (self.steps - step) / max(1.0, self.cooldown * self.steps)
        return self.learning_rate * min(rise, max(fall, 0.0))


def train(
    settings: Settings,
    out: Path,
    *,
    data: Path | None = None,
    init: Path | None = None,
    device: str = "cpu",
    workers: int = 1,
    save_every: int = 200,
    validate_every: int = 400,
    validation_batches: int = 6,
    stop_after: int | None = None,
) -> Path:
    """Train a model, or resume a run.

    Parameters
    ----------
    settings : Settings
        A resumed run may have other steps, phases or rates.
    out : Path
        Folder for the state, the weights, the log and the curve.
    data : Path, optional
        Real images, see the README of this package; scenes only by default.
    init : Path, optional
        Weights to start from.
    device : str
        Torch device.
    workers : int
        Number of processes that prepare batches.
    save_every, validate_every : int
        Number of steps.
    validation_batches : int
        Number of batches of 16 crops from held-out images, or from scenes if there are none.
    stop_after : int, optional
        Step to stop at before the schedule ends; the run can be resumed.

    Returns
    -------
    Path
        The weights file.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / "settings.json").write_text(json.dumps(asdict(settings), indent=1))
    scene_pool(settings.scenes, settings.seed, out / "cache", processes=max(2, workers))
    job = _Job(
        settings,
        out,
        data,
        init,
        device,
        workers,
        save_every,
        validate_every,
        validation_batches,
        min(stop_after or settings.steps, settings.steps),
    )
    if settings.processes == 1:
        _work(0, job)
    else:
        (out / _RENDEZVOUS).unlink(missing_ok=True)
        spawn(_work, (job,), settings.processes)
    return out / _WEIGHTS_FILE


@dataclass(frozen=True)
class _Job:
    """Arguments of :func:`train` for each process."""

    settings: Settings
    out: Path
    data: Path | None
    init: Path | None
    device: str
    workers: int
    save_every: int
    validate_every: int
    validation_batches: int
    stop_after: int


def _work(rank: int, job: _Job) -> None:
    """Run one process of the training; the first also validates and saves."""
    settings, processes = job.settings, job.settings.processes
    if processes > 1:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
        torch.set_num_threads(1)
        distributed.init_process_group(
            "gloo", init_method=f"file://{job.out / _RENDEZVOUS}", rank=rank, world_size=processes
        )
    config = get_preset(settings.preset)
    start = checkpoint.load(job.init) if job.init else build_click_model(config, seed=settings.seed)
    run = _Run(settings, start.requires_grad_(True), job.out, job.device)
    real, validation = load_real(job.data)
    real = [sample for sample in real if sample.domain not in settings.leave_out]
    scenes = scene_pool(settings.scenes, settings.seed, job.out / "cache")
    sampler = CropSampler(
        real,
        scenes,
        seed=settings.seed + rank * _SEED_STRIDE,
        real_fraction=settings.real_fraction,
    )
    fixed: list[Batch] = []
    if rank == 0 and job.validation_batches:
        others = validation or scene_pool(_HELD_OUT_SCENES, settings.seed + 1, job.out / "cache")
        held_out = CropSampler(others, [], seed=settings.seed + 1)
        fixed = [
            held_out.batch(i, images=16, prompts=3, crop=224) for i in range(job.validation_batches)
        ]
    dataset = CropDataset(sampler, settings.share, job.stop_after, first=run.step)
    pinned = torch.device(job.device).type == "cuda"
    loader = DataLoader(dataset, batch_size=None, num_workers=job.workers, pin_memory=pinned)
    for batch in loader:
        run.advance(batch.to(job.device))
        last = run.step == job.stop_after
        if rank == 0 and (run.step % job.validate_every == 0 or last):
            run.validate(fixed)
        if rank == 0 and (run.step % job.save_every == 0 or last):
            run.save()
    if processes > 1:
        distributed.destroy_process_group()


class _Run:
    """State of a training run."""

    def __init__(self, settings: Settings, model: ClickModel, out: Path, device: str) -> None:
        self.settings, self.out, self.device = settings, out, device
        network = TrainingModel(model, seed=settings.seed).to(device).train()
        groups = _parameter_groups(network, settings.weight_decay)
        self.state = RunState(network, torch.optim.AdamW(groups, betas=(0.9, 0.98)), out, device)
        self.skipped, self.logged = 0, self.step
        self.clock, self.figures = time.perf_counter(), dict[str, list[Tensor]]()

    @property
    def step(self) -> int:
        """Number of steps taken."""
        return self.state.step

    def advance(self, batch: Batch) -> None:
        """Take one optimiser step."""
        rate = self.settings.rate(self.step)
        generator = torch.Generator(self.device)
        generator.manual_seed(self.settings.seed * _SEED_STRIDE + self.step)
        warm = self.step > 2 * self.settings.warmup
        show = warm and self.step % 4 == 2
        corrections = _CORRECTIONS[self.step // 2 % len(_CORRECTIONS)]
        corrections = corrections if warm and self.step % 2 == 1 else 0
        with torch.autocast(self.device, torch.bfloat16, enabled=self.settings.bfloat16):
            loss, figures = self.state.network(batch, generator, corrections=corrections, show=show)
        share = self._share_gradients if self.settings.processes > 1 else None
        if not self.state.descend(loss, rate, self.settings.ema, share):
            self._skip()
            return
        self.skipped = 0
        for name, value in {"loss": loss.detach(), **figures}.items():
            self.figures.setdefault(name, []).append(value)  # converting to float would sync a GPU

    def _skip(self) -> None:
        """Give up after too many steps in a row without finite gradients."""
        self.skipped += 1
        if self.skipped == _MOST_SKIPPED:
            raise TrainingError(
                f"the gradients of the last {self.skipped} steps, up to step {self.step}, are not "
                f"finite. Expected finite ones. Resume from the state saved in {self.out}, with a "
                "lower learning rate or without bfloat16."
            )

    def _share_gradients(self) -> None:
        """Average the gradients over the processes."""
        gradients = [p.grad for p in self.state.network.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        distributed.all_reduce(flat)
        flat /= self.settings.processes
        parts = flat.split([g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def validate(self, batches: list[Batch]) -> None:
        """Log the mean figures since the last time, and those of the average on held-out crops."""
        row: dict[str, Any] = {"step": self.step, "crop": self.settings.schedule(self.step - 1)[2]}
        row["seconds_per_step"] = (time.perf_counter() - self.clock) / (self.step - self.logged)
        row |= {name: float(torch.stack(v).mean()) for name, v in self.figures.items()}
        row |= {f"held_out_{name}": value for name, value in self._held_out(batches).items()}
        row = {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}
        append_row(self.out / _LOG_FILE, row)
        draw_curve(self.out / _LOG_FILE, self.out / "curve.png")
        self.clock, self.logged, self.figures = time.perf_counter(), self.step, {}

    def _held_out(self, batches: list[Batch]) -> dict[str, float]:
        sums: dict[str, float] = {}
        self.state.average.eval()
        with torch.no_grad():
            for i, batch in enumerate(batches):
                generator = torch.Generator(self.device).manual_seed(i)
                loss, figures = self.state.average(
                    batch.to(self.device), generator, corrections=1, show=True
                )
                for name, value in {"loss": loss, **figures}.items():
                    sums[name] = sums.get(name, 0.0) + float(value) / len(batches)
        return sums

    def save(self) -> None:
        """Write the state for resuming, and the averaged weights."""
        self.state.save()
        checkpoint.save(
            self.state.average.model,
            self.out / _WEIGHTS_FILE,
            metadata={"training_step": str(self.step), "licence": "BSD-3-Clause"},
        )


def _parameter_groups(network: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Apply weight decay to matrices only, not to biases, norms, embeddings and tokens."""
    decayed: list[Tensor] = []
    free: list[Tensor] = []
    for name, parameter in network.named_parameters():
        matrix = parameter.dim() > 1 and name.endswith(".weight")
        (decayed if matrix else free).append(parameter)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
