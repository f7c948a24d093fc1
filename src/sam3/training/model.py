"""The model as training runs it: many objects on many small crops at once."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from sam3.model.click_model import ClickModel
from sam3.model.mask_decoder import ImageSide, RawMasks
from sam3.model.prompt_encoder import BOX_END, BOX_START, PADDING
from sam3.training.data import Batch
from sam3.training.losses import DenseHead, dense_loss, prompt_loss, soft_targets
from sam3.training.near_masks import near_masks
from sam3.training.prompts import append_clicks, next_clicks

__all__ = ["TrainingModel", "corrected", "join_prompts"]

_CLAMP = 32.0
_DENSE_WEIGHT = 0.5
_SHOWN_LOGITS = (1.5, 4.0)  # of the inside of a mask that is shown; 2.5 in use

Prompts = tuple[Tensor, Tensor]  # coordinates (B, K, 2) and labels (B, K)
Decode = Callable[[Prompts, Tensor | None], RawMasks]


def join_prompts(batch: Batch) -> tuple[Tensor, Tensor]:
    """Put box corners, clicks and the padding point of N x P objects in one list.

    Parameters
    ----------
    batch : Batch
        Objects without a box get padding in its place.

    Returns
    -------
    coords : Tensor, shape (N * P, K + 3, 2)
    labels : Tensor, shape (N * P, K + 3)
    """
    corners = batch.boxes.flatten(0, 1).unflatten(-1, (2, 2))
    clicks, click_labels = batch.point_coords.flatten(0, 1), batch.point_labels.flatten(0, 1)
    has_box = batch.has_box.flatten()[:, None]
    box_labels = torch.tensor([BOX_START, BOX_END], device=has_box.device).expand(len(has_box), 2)
    box_labels = torch.where(has_box, box_labels, PADDING)
    coords = torch.cat([corners, clicks, torch.zeros_like(clicks[:, :1])], dim=1)
    return coords, torch.cat(
        [box_labels, click_labels, torch.full_like(click_labels[:, :1], PADDING)], dim=1
    )


class TrainingModel(nn.Module):
    """A click model and the head of the dense side losses.

    Parameters
    ----------
    model : ClickModel
        The model to train.
    seed : int
        Seed of the head's weights.
    dense_weight : float
        Weight of the side losses.
    """

    def __init__(
        self, model: ClickModel, *, seed: int = 0, dense_weight: float = _DENSE_WEIGHT
    ) -> None:
        super().__init__()
        self.model = model
        self.dense_weight = dense_weight
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.dense_head = DenseHead(model.config.channels // 4)

    def forward(
        self, batch: Batch, generator: torch.Generator, *, corrections: int, show: bool = False
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of a batch.

        Parameters
        ----------
        batch : Batch
            Crops, objects and prompts.
        generator : torch.Generator
            Source of the place of the crops in the model's frame, and of corrective clicks.
        corrections : int
            Add so many rounds, each with a click where the round before went wrong and its logits
            as mask prompt, as in use. The last of them is learnt from.
        show : bool
            Add a round in which each object is shown by a mask that is near it, half of them with
            nothing else.

        Returns
        -------
        loss : Tensor
        figures : dict of Tensor
        """
        model = self.model
        prompts = batch.objects.shape[1]
        images = batch.images.float() / 127.5 - 1
        encoded = model.encode(images)
        loss = self.dense_weight * dense_loss(
            self.dense_head(encoded.middle), batch.labels, batch.complete
        )
        high_res = tuple(
            x.repeat_interleave(prompts, dim=0) for x in (encoded.fine, encoded.middle)
        )
        image = model.without_memory(encoded.embedding).repeat_interleave(prompts, dim=0)
        grid = image.shape[-1]
        room = model.config.grid - grid + 1
        place = torch.randint(room, (2,), generator=generator, device=generator.device)
        row, column = place.tolist()
        target = soft_targets(batch.masks.flatten(0, 1), 4 * grid)
        side = model.mask_decoder.image_side(
            image,
            model.prompt_encoder.dense_positions(row, column, grid),
            (high_res[0], high_res[1]),
        )

        def decode(prompts: Prompts, mask: Tensor | None) -> RawMasks:
            return self._decode(side, *prompts, mask, (row, column))

        asked = join_prompts(batch)
        raw = decode(asked, None)
        loss_of_first, figures = prompt_loss(raw, target)
        loss = loss + loss_of_first
        if corrections:
            scale = batch.labels.shape[-1] / target.shape[-1]
            raw = corrected(raw, asked, target, decode, corrections, generator, scale)
            more, again = prompt_loss(raw, target)
            loss = loss + more
            figures |= {f"corrected_{name}": value for name, value in again.items()}
        if show:
            # where objects may be unlabelled, no mask is shown as one of nothing
            solid = (batch.labels > 0) | ~batch.complete[:, None, None]
            foreground = soft_targets(solid, 4 * grid).repeat_interleave(prompts, dim=0)
            more, again = _shown_loss(decode, asked, target, foreground, generator)
            loss = loss + more
            figures |= {f"shown_{name}": value for name, value in again.items()}
        return loss, figures

    def _decode(
        self,
        side: ImageSide,
        coords: Tensor,
        labels: Tensor,
        mask: Tensor | None,
        place: tuple[int, int],
    ) -> RawMasks:
        """Decode prompts on crops that lie at token (row, column) of the model's frame."""
        model = self.model
        encoder = model.prompt_encoder
        row, column = place
        grid = math.isqrt(side.image.shape[1])
        shift = torch.tensor([column, row], device=coords.device) * model.config.patch_size
        sparse, dense = encoder(coords, labels, mask, grid, shift)
        return model.mask_decoder(  # type: ignore[no-any-return]
            side, sparse, dense, _counted(labels)
        )


def _counted(labels: Tensor) -> Tensor:
    """Prompts, and one padding point (the last) where there are any, as the predictor does."""
    counted = labels != PADDING
    counted[:, -1] = counted.any(1)
    return counted


def corrected(
    raw: RawMasks,
    asked: Prompts,
    target: Tensor,
    decode: Decode,
    corrections: int,
    generator: torch.Generator,
    scale: float,
) -> RawMasks:
    """Correct masks as in use: a click where the last mask is wrong, with its logits as prompt.

    Parameters
    ----------
    raw : RawMasks
        Answer to the first prompts, of B objects.
    asked : Prompts
        The first prompts.
    target : Tensor, shape (B, L, L)
        The objects.
    decode : callable
        Answers prompts with a mask prompt. Only the last answer has gradients.
    corrections : int
        Number of clicks; an object whose slots are full, or that is right, gets no more.
    generator : torch.Generator
        Source of the place of the clicks.
    scale : float
        Pixels of the crop per pixel of the target.

    Returns
    -------
    RawMasks
        Answer to the last prompts.
    """
    coords, labels = asked
    three = (labels != PADDING).sum(1) == 1  # of one click three masks are asked, else one
    for turn in range(corrections):
        previous = _previous_logits(raw, three | (turn > 0))
        clicks, polarity = next_clicks(previous[:, 0] > 0, target > 0.5, generator, scale=scale)
        more, more_labels = append_clicks(coords[:, :-1], labels[:, :-1], clicks, polarity)
        coords = torch.cat([more, coords[:, -1:]], dim=1)
        labels = torch.cat([more_labels, labels[:, -1:]], dim=1)
        last = turn == corrections - 1
        with torch.set_grad_enabled(last and torch.is_grad_enabled()):
            raw = decode((coords, labels), previous)
    return raw


def _shown_loss(
    decode: Decode,
    asked: Prompts,
    target: Tensor,
    foreground: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of objects that are shown by a mask near them, half of them by nothing else."""
    coords, labels = asked
    shown, ended = near_masks(target, foreground, generator)
    alone = torch.rand(len(ended), generator=generator, device=ended.device) < 0.5
    left = labels.masked_fill((alone | ended)[:, None], PADDING)
    low, high = _SHOWN_LOGITS
    logit = torch.rand(len(ended), generator=generator, device=ended.device)
    logit = (low + (high - low) * logit)[:, None, None]
    mask = (logit * (2 * shown - 1))[:, None]
    there = target * ~ended[:, None, None]
    return prompt_loss(decode((coords, left), mask), there, ~ended)


def _previous_logits(raw: RawMasks, three: Tensor) -> Tensor:
    """Logits taken before, as a mask prompt (B, 1, L, L): the best of three, or the single mask."""
    best = torch.where(three, raw.iou[:, 1:].argmax(1) + 1, 0)
    rows = torch.arange(len(best), device=best.device)
    return raw.logits[rows, best][:, None].detach().float().clamp(-_CLAMP, _CLAMP)
