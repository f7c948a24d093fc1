"""State of a training run, saved so that the run can be resumed, and its log."""

from __future__ import annotations

import copy
import csv
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

__all__ = ["RunState", "append_row"]

_LOG = logging.getLogger(__name__)
M = TypeVar("M", bound=nn.Module)


class RunState(Generic[M]):
    """Network, moving average of its parameters, and optimiser.

    Parameters
    ----------
    network : Module
        Trained.
    optimizer : Optimizer
        Of its parameters.
    folder : Path
        Holds the state. A run that was saved there is resumed.
    device : str
        Device of the network.

    Attributes
    ----------
    average : Module
        Network with the moving average of the parameters.
    step : int
        Number of steps taken.
    """

    def __init__(
        self, network: M, optimizer: torch.optim.Optimizer, folder: Path, device: str = "cpu"
    ) -> None:
        self.network, self.optimizer = network, optimizer
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.step, self._file = 0, folder / "state.pt"
        self._parts: dict[str, Any] = {
            "network": network, "average": self.average, "optimizer": optimizer,
        }  # fmt: skip
        if self._file.exists():
            state = torch.load(self._file, map_location=device, weights_only=True)
            for name, part in self._parts.items():
                part.load_state_dict(state[name])
            self.step = int(state["step"])
            _LOG.info("resumed at step %d", self.step)

    def descend(
        self, loss: Tensor, rate: float, ema: float, share: Callable[[], None] | None = None
    ) -> bool:
        """Take one optimiser step and update the average; False if a gradient is not finite.

        Parameters
        ----------
        loss : Tensor
            Loss of the step.
        rate : float
            Learning rate.
        ema : float
            Decay of the moving average, once there were enough steps.
        share : callable, optional
            Called between the backward pass and the step, to average gradients over processes.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if share is not None:
            share()
        trained = [p for p in self.network.parameters() if p.requires_grad]
        norm = nn.utils.clip_grad_norm_(trained, 1.0)
        self.step += 1
        if not norm.isfinite():
            _LOG.warning("step %d: infinite gradients, skipped", self.step)
            return False
        self.optimizer.step()
        decay = min(ema, (self.step + 1) / (self.step + 10))
        pairs = zip(self.average.parameters(), self.network.parameters(), strict=True)
        averages: list[Tensor] = [average for average, p in pairs if p.requires_grad]
        with torch.no_grad():
            torch._foreach_lerp_(averages, [p.detach() for p in trained], 1 - decay)
        return True

    def save(self) -> None:
        """Write the state, so that the run can be resumed."""
        state = {name: part.state_dict() for name, part in self._parts.items()}
        partial = self._file.with_name(f"{self._file.name}.partial")
        torch.save({**state, "step": self.step}, partial)
        partial.replace(self._file)


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Append figures to a log, in place of rows of the same step and later ones."""
    rows: list[dict[str, Any]] = []
    if path.exists():
        with path.open(newline="") as file:
            rows = [r for r in csv.DictReader(file) if int(r["step"]) < row["step"]]
    rows.append(row)
    names = list(dict.fromkeys(name for r in rows for name in r))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, restval=math.nan)
        writer.writeheader()
        writer.writerows(rows)
    _LOG.info("%s", " ".join(f"{name}={value}" for name, value in row.items()))
