"""The click model in training: many objects on many small crops at once."""

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
_MASK_PROMPT_LOGITS = (1.5, 4.0)  # of the inside of a mask prompt; 2.5 in use

Prompts = tuple[Tensor, Tensor]  # coordinates (B, K, 2) and labels (B, K)
Decode = Callable[[Prompts, Tensor | None], RawMasks]


def join_prompts(batch: Batch) -> tuple[Tensor, Tensor]:
    """Concatenate the box corners, clicks and padding point of N x P objects.

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
    """A click model with an additional head for the auxiliary dense losses.

    Parameters
    ----------
    model : ClickModel
        The model to train.
    seed : int
        Seed of the head's weights.
    dense_weight : float
        Weight of the auxiliary losses.
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
            Source of randomness for the positions of crops and corrective clicks.
        corrections : int
            Number of additional rounds. Each adds a click where the last prediction was wrong, and
            the logits of that prediction as mask prompt. The loss is that of the last round.
        show : bool
            Add a round with a distorted mask of each object as prompt, half of them without any
            other prompt.

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
        free = model.config.grid - grid + 1
        origin = torch.randint(free, (2,), generator=generator, device=generator.device)
        row, column = origin.tolist()
        target = soft_targets(batch.masks.flatten(0, 1), 4 * grid)
        side = model.mask_decoder.image_side(
            image,
            model.prompt_encoder.dense_positions(row, column, grid),
            (high_res[0], high_res[1]),
        )

        def decode(prompts: Prompts, mask: Tensor | None) -> RawMasks:
            return self._decode(side, *prompts, mask, (row, column))

        first = join_prompts(batch)
        raw = decode(first, None)
        first_loss, figures = prompt_loss(raw, target)
        loss = loss + first_loss
        if corrections:
            scale = batch.labels.shape[-1] / target.shape[-1]
            raw = corrected(raw, first, target, decode, corrections, generator, scale)
            round_loss, round_figures = prompt_loss(raw, target)
            loss = loss + round_loss
            figures |= {f"corrected_{name}": value for name, value in round_figures.items()}
        if show:
            # With unlabelled objects, no mask can be assumed to lie on background.
            solid = (batch.labels > 0) | ~batch.complete[:, None, None]
            foreground = soft_targets(solid, 4 * grid).repeat_interleave(prompts, dim=0)
            round_loss, round_figures = _mask_prompt_loss(
                decode, first, target, foreground, generator
            )
            loss = loss + round_loss
            figures |= {f"shown_{name}": value for name, value in round_figures.items()}
        return loss, figures

    def _decode(
        self,
        side: ImageSide,
        coords: Tensor,
        labels: Tensor,
        mask: Tensor | None,
        origin: tuple[int, int],
    ) -> RawMasks:
        """Decode prompts on crops whose origin is token (row, column) of the model's frame."""
        model = self.model
        encoder = model.prompt_encoder
        row, column = origin
        grid = math.isqrt(side.image.shape[1])
        shift = torch.tensor([column, row], device=coords.device) * model.config.patch_size
        sparse, dense = encoder(coords, labels, mask, grid, shift)
        return model.mask_decoder(  # type: ignore[no-any-return]
            side, sparse, dense, _valid(labels)
        )


def _valid(labels: Tensor) -> Tensor:
    """Mark prompts and, for objects with any prompt, the last padding point, as in prediction."""
    valid = labels != PADDING
    valid[:, -1] = valid.any(1)
    return valid


def corrected(
    raw: RawMasks,
    first: Prompts,
    target: Tensor,
    decode: Decode,
    corrections: int,
    generator: torch.Generator,
    scale: float,
) -> RawMasks:
    """Correct masks as in use: click where the mask is wrong, with its logits as mask prompt.

    Parameters
    ----------
    raw : RawMasks
        Prediction for the first prompts of B objects.
    first : Prompts
        The first prompts.
    target : Tensor, shape (B, L, L)
        True masks.
    decode : callable
        Predicts from prompts and a mask prompt. Only its last call has gradients.
    corrections : int
        Number of clicks. Objects without free slots or errors get no further clicks.
    generator : torch.Generator
        Source of randomness for the positions of clicks.
    scale : float
        Pixels of the crop per pixel of the target.

    Returns
    -------
    RawMasks
        Prediction for the last prompts.
    """
    coords, labels = first
    # A single click is ambiguous and predicts three masks, as does every corrective round.
    three = (labels != PADDING).sum(1) == 1
    for number in range(corrections):
        previous = _previous_logits(raw, three | (number > 0))
        clicks, polarity = next_clicks(previous[:, 0] > 0, target > 0.5, generator, scale=scale)
        clicked, clicked_labels = append_clicks(coords[:, :-1], labels[:, :-1], clicks, polarity)
        coords = torch.cat([clicked, coords[:, -1:]], dim=1)
        labels = torch.cat([clicked_labels, labels[:, -1:]], dim=1)
        is_last = number == corrections - 1
        with torch.set_grad_enabled(is_last and torch.is_grad_enabled()):
            raw = decode((coords, labels), previous)
    return raw


def _mask_prompt_loss(
    decode: Decode,
    prompts: Prompts,
    target: Tensor,
    foreground: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute the loss with distorted masks as prompts, half of them without other prompts."""
    coords, labels = prompts
    masks, absent = near_masks(target, foreground, generator)
    mask_only = torch.rand(len(absent), generator=generator, device=absent.device) < 0.5
    labels = labels.masked_fill((mask_only | absent)[:, None], PADDING)
    low, high = _MASK_PROMPT_LOGITS
    logit = torch.rand(len(absent), generator=generator, device=absent.device)
    logit = (low + (high - low) * logit)[:, None, None]
    mask_prompt = (logit * (2 * masks - 1))[:, None]
    present_target = target * ~absent[:, None, None]
    return prompt_loss(decode((coords, labels), mask_prompt), present_target, ~absent)


def _previous_logits(raw: RawMasks, three: Tensor) -> Tensor:
    """Return the last logits as mask prompt (B, 1, L, L): the best of three or the single mask."""
    best = torch.where(three, raw.iou[:, 1:].argmax(1) + 1, 0)
    rows = torch.arange(len(best), device=best.device)
    return raw.logits[rows, best][:, None].detach().float().clamp(-_CLAMP, _CLAMP)
