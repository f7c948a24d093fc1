"""A memory in training: many objects of many clips at once, on a frozen click model.

::

    frame 0: mask of the object --remember--> memory, pointer
    frame t: features --recall--> conditioned features --decode--> mask, presence --remember--> ...

The targets of the conditioned features are known: they are the features with the object's own mask
as prompt. This teaches the attention much faster than masks alone.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam3.config import ModelConfig
from sam3.model.click_model import ClickModel, EncodedImage
from sam3.model.mask_decoder import RawMasks
from sam3.model.memory import Memory
from sam3.model.prompt_encoder import PADDING
from sam3.model.sine_positions import sine_of_grid
from sam3.training.losses import mask_iou, mask_losses
from sam3.training.near_masks import near_masks

__all__ = ["ClipBatch", "MemoryTraining", "PlacedMemory", "fresh_memory"]

_MASK_LOGIT = 2.5  # of a mask prompt in use
_TEACHER_WEIGHT, _PRESENCE_WEIGHT, _OTHERS_WEIGHT = 3.0, 1.0, 0.15
_ROTARY_PAIRS, _ROTARY_BIAS = 8, 1.7
_FARTHEST = 40  # largest distance to the frame with the prompt


class ClipBatch(NamedTuple):
    """Features of N clips of T frames, and B objects in them.

    Attributes
    ----------
    frames : list of EncodedImage
        T frames, each of N crops.
    clip : Tensor of int64, shape (B,)
        Index of each object's clip.
    targets : Tensor, shape (T, B, L, L)
        Fraction of each low-resolution pixel that the object covers.
    foreground : Tensor, shape (B, L, L)
        The same for all objects of the first frame.
    """

    frames: list[EncodedImage]
    clip: Tensor
    targets: Tensor
    foreground: Tensor


class PlacedMemory(Memory):
    """A memory for crops of the model's frame.

    Attributes
    ----------
    place : tuple of int
        Row and column of the crop's first token in the frame.
    """

    place = (0, 0)

    def positions(self, grid: int, channels: int) -> Tensor:
        """Return the positions of the crop's tokens in the whole frame."""
        whole = sine_of_grid(self.whole_grid, channels)
        row, column = self.place
        return whole[:, row : row + grid, column : column + grid]

    whole_grid = 32


def fresh_memory(config: ModelConfig, seed: int) -> PlacedMemory:
    """Initialise a memory so that its attention starts at the same position in the memory."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        memory = PlacedMemory(config)
        memory.whole_grid = config.grid
        for part in (memory.frame_positions, memory.no_pointer, memory.no_object):
            nn.init.trunc_normal_(part, std=0.02)
    with torch.no_grad():
        for name, parameter in memory.named_parameters():
            if name.endswith(".gamma"):
                parameter.fill_(0.1)
            elif ".self_attn.out_proj." in name or ".lin2." in name:
                parameter.zero_()
            elif name.endswith(("cross_attn.q_proj.bias", "cross_attn.k_proj.bias")):
                # Equal queries and keys, rotated by position, agree most at equal positions.
                for start in (0, config.channels // 2):
                    parameter[start : start + 2 * _ROTARY_PAIRS : 2] = _ROTARY_BIAS
            elif name == "mask_downsample.weight":
                # Map a mask in 0..1 to the logits of a mask prompt.
                parameter.fill_(2 * _MASK_LOGIT / parameter.numel())
            elif name == "mask_downsample.bias":
                parameter.fill_(-_MASK_LOGIT)
    return memory


class MemoryTraining(nn.Module):
    """A memory and an object score head on top of a frozen click model.

    Parameters
    ----------
    model : ClickModel
        Frozen but for its ``object_score_head``, which clicks do not use.
    memory : PlacedMemory
        The memory to train.
    """

    def __init__(self, model: ClickModel, memory: PlacedMemory) -> None:
        super().__init__()
        self.model = model.requires_grad_(False)
        self.memory = memory
        memory.mask_downsample.requires_grad_(False)
        model.mask_decoder.object_score_head.requires_grad_(True)

    def forward(
        self, batch: ClipBatch, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Track the objects of a batch; return the loss and its figures."""
        memory, model = self.memory, self.model
        grid = batch.frames[0].embedding.shape[-1]
        free = model.config.grid - grid + 1
        row, column = torch.randint(free, (2,), generator=generator).tolist()
        memory.place = row, column
        first = self._frame(batch, 0)
        masks = batch.targets[0]
        if torch.rand((), generator=generator) < 0.5:
            moved, absent = near_masks(masks, batch.foreground, generator)
            chosen = torch.rand(len(absent), generator=generator) < 0.3
            masks = torch.where((chosen & ~absent)[:, None, None], moved, masks)
        visible = torch.ones(len(masks), dtype=torch.bool)
        logits = (20 * (masks[:, None] - 0.5)).clamp(-10, 10)
        memories = [self._remember(first, logits, visible, hard=True)]
        pointers = [self._prompted_pointer(first, masks[:, None], visible)]
        losses, figures = [], []
        far = int(torch.randint(_FARTHEST, (), generator=generator))
        far = far if torch.rand((), generator=generator) < 0.5 else 0
        for t in range(1, len(batch.frames)):
            frame, target = self._frame(batch, t), batch.targets[t]
            conditioned = self._condition(frame, memories, pointers, far)
            present = target.flatten(1).sum(1) >= 1
            raw = self._decode(frame, conditioned)
            loss, figure = self._loss(raw, target, present)
            teacher = self._teacher_loss(frame, conditioned, target)
            losses.append(loss + _TEACHER_WEIGHT * teacher)
            figures.append(figure | {"teacher": teacher.detach()})
            best = raw.iou[:, 1:].argmax(1) + 1
            rows = torch.arange(len(best))
            # Half of the time, remember the true presence instead of the predicted one.
            visible = raw.object_score[:, 0] > 0
            use_truth = torch.rand(len(best), generator=generator) < 0.5
            visible = torch.where(use_truth, present, visible)
            logits = raw.logits[rows, best][:, None].detach().float()
            logits = torch.where(visible[:, None, None, None], logits, -1024.0)
            memories.append(self._remember(frame, logits, visible, hard=False))
            pointers.append(memory.point(raw.tokens[rows, best].detach(), visible))  # type: ignore[index]
        mean = {name: torch.stack([row[name] for row in figures]).nanmean() for name in figures[0]}
        return torch.stack(losses).mean(), mean

    def _frame(self, batch: ClipBatch, t: int) -> EncodedImage:
        """Return the features of a frame, repeated for each object."""
        return EncodedImage(*(part[batch.clip] for part in batch.frames[t]))

    def _remember(
        self, frame: EncodedImage, logits: Tensor, visible: Tensor, *, hard: bool
    ) -> Tensor:
        side = frame.embedding.shape[-1] * self.model.config.patch_size
        large = F.interpolate(logits, size=(side, side), mode="bilinear", align_corners=False)
        return self.memory.remember(frame.embedding, large, visible, hard=hard)

    def _prompted_pointer(self, frame: EncodedImage, masks: Tensor, visible: Tensor) -> Tensor:
        with torch.no_grad():
            prompt = self.memory.mask_prompt(masks, frame.embedding.shape[-1])
            tokens = self._decode(frame, frame.embedding, prompt).tokens
            assert tokens is not None
        return self.memory.point(tokens[:, 0], visible)

    def _condition(
        self, frame: EncodedImage, memories: list[Tensor], pointers: list[Tensor], far: int
    ) -> Tensor:
        """Condition a frame on the memories used in tracking: of the prompt and the last frames."""
        config, now = self.memory.config, len(memories)
        recent = range(1, min(config.frames, now))
        chosen = [(config.frames - 1, memories[0])]
        chosen += [(k - 1, memories[now - k]) for k in recent]
        longest = config.pointers - 1
        distances = [((now + far) / longest, pointers[0])]
        distances += [(k / longest, pointers[now - k]) for k in range(1, min(config.pointers, now))]
        return self.memory.condition(frame.embedding, self.memory.recall(chosen, distances))

    def _decode(
        self, frame: EncodedImage, embedding: Tensor, mask: Tensor | None = None
    ) -> RawMasks:
        """Decode without points, as in tracking."""
        encoder, decoder = self.model.prompt_encoder, self.model.mask_decoder
        grid, count = embedding.shape[-1], len(embedding)
        row, column = self.memory.place
        positions = encoder.dense_positions(row, column, grid)
        side = decoder.image_side(embedding, positions, (frame.fine, frame.middle))
        labels = torch.full((count, 2), PADDING)
        sparse, dense = encoder(torch.zeros(count, 2, 2), labels, mask, grid)
        return decoder(side, sparse, dense)  # type: ignore[no-any-return]

    def _dense(self, masks: Tensor | None, count: int, grid: int) -> Tensor:
        labels = torch.full((count, 2), PADDING)
        prompt = None if masks is None else _MASK_LOGIT * (2 * masks[:, None] - 1)
        return self.model.prompt_encoder(torch.zeros(count, 2, 2), labels, prompt, grid)[1]  # type: ignore[no-any-return]

    def teacher(self, frame: EncodedImage, target: Tensor) -> Tensor:
        """Return the features (B, C, g, g) with the object's own mask as dense prompt."""
        grid = frame.embedding.shape[-1]
        with torch.no_grad():
            with_mask = self._dense(target, len(target), grid)
            without_mask = self._dense(None, len(target), grid)
            return self.model.without_memory(frame.embedding) + with_mask - without_mask

    def _teacher_loss(self, frame: EncodedImage, conditioned: Tensor, target: Tensor) -> Tensor:
        """Compute the squared distance to the target features, relative to their variance.

        The surroundings of the object, a small part of the frame, account for half of it.
        """
        features = self.teacher(frame, target)
        squares = (conditioned - features).square().mean(1) / features.var()
        near = F.max_pool2d(F.avg_pool2d(target[:, None], 4), 3, stride=1, padding=1)[:, 0] > 0.05
        near = near.float()
        inside = (squares * near).sum() / near.sum().clamp(min=1)
        return squares.mean() + inside

    def _loss(
        self, raw: RawMasks, target: Tensor, present: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of the best of three masks and of the object score."""
        three = raw.logits[:, 1:].float()
        expanded = target[:, None].expand_as(three)
        each = mask_losses(three, expanded)
        best = each.min(1).values
        visible = present.float()
        masks = best + _OTHERS_WEIGHT * (each.mean(1) - best)
        masks = (masks * visible).sum() / visible.sum().clamp(min=1)
        score = raw.object_score[:, 0].float()
        presence = F.binary_cross_entropy_with_logits(score, visible)
        with torch.no_grad():
            iou = mask_iou(three, expanded)
            chosen = iou.gather(1, raw.iou[:, 1:].argmax(1, keepdim=True))[:, 0]
            right = (score > 0) == present
        return masks + _PRESENCE_WEIGHT * presence, {
            "masks": masks.detach(),
            "presence": presence.detach(),
            "iou": chosen[present].mean(),
            "present_right": right[present].float().mean(),
            "gone_right": right[~present].float().mean(),
        }
