"""The copy of a model that learns from a user's labels: its trained parameters and rates.

::

    weight (out, in)   +   up (out, r)  x  down (r, in)
    of the base, as it is        learnt, initially zero

The linear layers of the trunk get such changes of low rank (Hu et al., LoRA, 2021); the decoder and
the prompt encoder are trained as a whole.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim.adamw import adamw

from sam3.adapters import Adapter
from sam3.model.block import GridAttention, Mlp
from sam3.model.click_model import ClickModel
from sam3.training.data import Batch
from sam3.training.model import TrainingModel

__all__ = ["Student"]

_CORRECTIONS = (0, 1, 0, 3, 0, 2)
_WARMUP = 10
_LAST_RATE = 0.05  # of the highest, at the end
_WEIGHT_DECAY = 0.01
_AVERAGE = 0.98  # decay of the moving average, which is what is measured and kept


class _LowRank(nn.Module):
    """Add the product of two thin matrices, initially zero, to a weight (out, in)."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        rank = min(rank, outputs, inputs)
        self.up = nn.Parameter(torch.zeros(outputs, rank, device=weight.device))
        self.down = nn.Parameter(torch.randn(rank, inputs, device=weight.device) / inputs**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the changed weight."""
        return weight + self.up @ self.down


class _AdamW:
    """AdamW of one learning rate.

    Constructing `torch.optim.AdamW` imports triton, whose LLVM crashes a process that draws with
    Mesa; the function behind it does not.
    """

    def __init__(self, parameters: list[nn.Parameter], rate: float) -> None:
        self._parameters, self._rate = parameters, rate
        self._mean, self._square = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
        self._steps = [torch.zeros(()) for _ in parameters]

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Take a step at a fraction of the learning rate; parameters without gradient stay."""
        moved = [i for i, parameter in enumerate(self._parameters) if parameter.grad is not None]
        gradients = (self._parameters[i].grad for i in moved)
        adamw(
            [self._parameters[i] for i in moved],
            [gradient for gradient in gradients if gradient is not None],
            [self._mean[i] for i in moved],
            [self._square[i] for i in moved],
            [],
            [self._steps[i] for i in moved],
            foreach=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self._rate * factor,
            weight_decay=_WEIGHT_DECAY,
            eps=1e-8,
            maximize=False,
        )


class Student:
    """A trainable copy of the model.

    Parameters
    ----------
    model : ClickModel
        The base; it stays as it is.
    rank : int
        Rank of the changes to the trunk's linear layers.
    rate : float
        Highest learning rate of these changes; all other parameters have a fifth of it.
    seed : int
        Seed of all random choices.
    """

    def __init__(self, model: ClickModel, *, rank: int, rate: float, seed: int) -> None:
        torch.manual_seed(seed)
        self._model = copy.deepcopy(model)
        parts = (self._model.mask_decoder, self._model.prompt_encoder, self._model.neck)
        whole = [parameter for part in parts for parameter in part.parameters()]
        self._whole = {n for n, p in self._model.named_parameters() if any(p is w for w in whole)}
        for parameter in whole:
            parameter.requires_grad_(True)
        self._low_rank: dict[str, _LowRank] = {}
        for name, part in list(self._model.trunk.named_modules()):
            if isinstance(part, GridAttention | Mlp):
                for child, linear in part.named_children():
                    if isinstance(linear, nn.Linear):
                        change = _LowRank(linear.weight, rank)
                        parametrize.register_parametrization(linear, "weight", change)
                        self._low_rank[f"trunk.{name}.{child}.weight"] = change
        self._device = whole[0].device
        self._network = TrainingModel(self._model, dense_weight=0.0).to(self._device).train()
        thin = [p for change in self._low_rank.values() for p in change.parameters()]
        self._parameters = [*thin, *whole]
        self._average = [parameter.detach().clone() for parameter in self._parameters]
        self._optimisers = [_AdamW(thin, rate), _AdamW(whole, rate / 5)]
        self._generator = torch.Generator(self._device).manual_seed(seed)
        self._half = _has_fast_bfloat16(self._device)

    def step(self, batch: Batch, number: int, share: float) -> None:
        """Train on a batch, at a rate that falls with the share of the time that has passed."""
        fall = _LAST_RATE + (1 - _LAST_RATE) * (1 + math.cos(math.pi * min(1.0, share))) / 2
        factor = min(1.0, (number + 1) / _WARMUP) * fall
        corrections = _CORRECTIONS[number % len(_CORRECTIONS)]
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            loss, _ = self._network(batch, self._generator, corrections=corrections)
        for parameter in self._parameters:
            parameter.grad = None
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self._parameters, 1.0)
        if torch.isfinite(norm):
            for optimiser in self._optimisers:
                optimiser.step(factor)
        decay = min(_AVERAGE, (number + 1) / (number + 10))
        with torch.no_grad():
            torch._foreach_lerp_(self._average, [*map(Tensor.detach, self._parameters)], 1 - decay)

    def adapter(self, base: str, fingerprint: str) -> Adapter:
        """Return the moving average as an adapter."""
        average = {
            id(parameter): value.clone()
            for parameter, value in zip(self._parameters, self._average, strict=True)
        }
        named = dict(self._model.named_parameters())
        return Adapter(
            base,
            fingerprint,
            {n: (average[id(c.up)], average[id(c.down)]) for n, c in self._low_rank.items()},
            {name: average[id(named[name])] for name in self._whole},
        )


def _has_fast_bfloat16(device: torch.device) -> bool:
    """Tell whether bfloat16 is faster than float32: on CUDA, and on CPUs that multiply it."""
    if device.type != "cpu":
        return device.type == "cuda"
    capabilities = torch.backends.cpu.get_cpu_capability()
    return capabilities == "AVX512" and bool(torch.cpu._is_avx512_bf16_supported())
