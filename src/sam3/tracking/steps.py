"""Steps of a tracker on a single frame: prompt, remember, recall and decode an object.

::

    prompted frame:  features + no_memory_embed -----> decoder with prompts ----> mask, pointer
    tracked frame:   features --memory attention-----> decoder without prompts -> mask, pointer
    both:            features, mask --memory encoder--------------------------> memory
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from sam3.features import ImageFeatures
from sam3.model.mask_decoder import ImageSide, RawMasks
from sam3.model.memory import Memory
from sam3.model.memory_attention import Remembered
from sam3.model.prompt_encoder import PADDING
from sam3.predictor import Predictor
from sam3.preprocess.masks import upsample
from sam3.preprocess.transforms import to_model_frame
from sam3.prompts import Prompts

__all__ = ["ABSENT_LOGIT", "ObjectOnFrame", "TrackingSteps"]

ABSENT_LOGIT = -1024.0
"""Mask logits of an absent object; with the opposite sign, those of a mask prompt."""
_GIVEN_SCORE = 10.0
_EXCLUDED_LOGIT = -10.0
_CLAMP = 32.0
_MOST_POINTS = 16


@dataclass(frozen=True, eq=False)
class ObjectOnFrame:
    """State of an object on a frame, after a prompt or tracking.

    Attributes
    ----------
    logits : Tensor, float32, shape (1, L, L)
        Low-resolution mask logits; all -1024 where the object is not on the frame.
    object_logit : Tensor, float32, shape ()
        Logit that the object is on the frame.
    iou : Tensor, float32, shape ()
        Predicted intersection over union of the mask.
    pointer : Tensor, shape (C,)
        Object pointer computed from the decoder's output token.
    memory : Tensor, shape (memory channels, g, g), optional
        Memory for other frames to attend to, once it has been encoded.
    """

    logits: Tensor
    object_logit: Tensor
    iou: Tensor
    pointer: Tensor
    memory: Tensor | None = None

    @property
    def quality(self) -> float:
        """Predicted IoU times the probability of the object, scaled to 0 for an even chance."""
        presence = 2 * self.object_logit.sigmoid() - 1
        return float(presence.clamp(min=0) * self.iou)


class TrackingSteps:
    """Steps of a tracker on the features of one frame, without state between frames.

    Parameters
    ----------
    predictor : Predictor
        Encodes the frames; its click model decodes masks.
    memory : Memory
        With the same weights; it is moved to the predictor's device.
    dtype : torch.dtype, optional
        Data type of stored memories, by default float32 on a CPU and bfloat16 elsewhere.
    """

    def __init__(
        self, predictor: Predictor, memory: Memory, dtype: torch.dtype | None = None
    ) -> None:
        self.predictor = predictor
        self.model = predictor.model
        self.memory = memory.to(predictor.device).eval()
        on_cpu = predictor.device.type == "cpu"
        self.dtype = dtype or (torch.float32 if on_cpu else torch.bfloat16)

    def click(
        self, features: ImageFeatures, prompts: Prompts, previous: Tensor | None
    ) -> ObjectOnFrame:
        """Prompt one object with clicks and a box, without memory.

        Parameters
        ----------
        features : ImageFeatures
            Of the frame.
        prompts : Prompts
            Of one object, with a padding point at the end. Of more than 16 points, the first and
            the last 8 are used.
        previous : Tensor, shape (1, L, L), optional
            Logits of the object on this frame, which the prompts correct.
        """
        coords = to_model_frame(prompts.coords, features.size, self.model.config.resolution)
        points = torch.tensor(coords).to(self.predictor.device)
        labels = torch.tensor(prompts.labels).to(self.predictor.device)
        count = labels.shape[1] - 1
        if count > _MOST_POINTS:
            half = _MOST_POINTS // 2
            kept = [*range(half), *range(count - half, count + 1)]
            points, labels = points[:, kept], labels[:, kept]
        with self.predictor.running("prompt an object"):
            mask = None if previous is None else previous[None].clamp(-_CLAMP, _CLAMP)
            side = self.model.image_side(features.encoded)
            multimask = count <= 1  # a single click is ambiguous
            raw = self.model.decode(side, points, labels, mask, multimask)
            return self._choose(raw, multimask=multimask)[0]

    def draw(self, features: ImageFeatures, mask: Tensor) -> ObjectOnFrame:
        """Prompt one object with its mask, float32 (H, W) in 0..1, at the size of the frame."""
        side_length, grid = self.model.config.mask_size, self.model.config.grid
        with self.predictor.running("prompt an object"):
            mask = mask.to(self.predictor.device)[None, None]
            given = torch.where(mask > 0.5, -ABSENT_LOGIT, ABSENT_LOGIT)
            logits = F.interpolate(given, size=(side_length,) * 2, mode="bilinear", antialias=True)
            decoder, encoder = self.model.mask_decoder, self.model.prompt_encoder
            high = features.encoded.fine, features.encoded.middle
            side = decoder.image_side(features.encoded.embedding, encoder.dense_positions(), high)
            prompt = self.memory.mask_prompt(mask, grid)
            raw = decoder(side, *self.no_prompts(1, prompt), multimask=False)
            pointer = self._choose(raw, multimask=False)[0].pointer
            present = (mask > 0.5).any()
            pointer = torch.where(present, pointer, self.memory.no_pointer[0])
            score = torch.where(present, _GIVEN_SCORE, -_GIVEN_SCORE)
            return ObjectOnFrame(logits[0], score, present.float(), pointer)

    def absent(self) -> ObjectOnFrame:
        """Return the state of an object without a prompt, on a frame with prompts for others."""
        side, device = self.model.config.mask_size, self.predictor.device
        return ObjectOnFrame(
            torch.full((1, side, side), ABSENT_LOGIT, device=device),
            torch.tensor(_GIVEN_SCORE, device=device),
            torch.tensor(0.0, device=device),
            self.memory.no_pointer[0],
        )

    def remember(
        self,
        features: ImageFeatures,
        objects: Sequence[ObjectOnFrame],
        *,
        hard: bool,
        exclusive: bool = False,
    ) -> list[ObjectOnFrame]:
        """Encode the memories of objects on a frame.

        Parameters
        ----------
        features : ImageFeatures
            Of the frame.
        objects : sequence of ObjectOnFrame
        hard : bool
            Threshold the masks, as on prompted frames.
        exclusive : bool
            Assign each pixel to the object with the highest logit only.
        """
        with self.predictor.running("encode memories"):
            resolution = self.model.config.resolution
            logits = torch.stack([state.logits for state in objects])
            logits = upsample(logits, (resolution, resolution))
            if exclusive and len(objects) > 1:
                highest = logits.argmax(0, keepdim=True)
                index = torch.arange(len(objects), device=logits.device)[:, None, None, None]
                excluded = logits.clamp(max=_EXCLUDED_LOGIT)
                logits = torch.where(highest == index, logits, excluded)
            visible = torch.stack([state.object_logit for state in objects]) > 0
            embedding = features.encoded.embedding
            memories = self.memory.remember(embedding, logits, visible, hard=hard).to(self.dtype)
            return [replace(o, memory=m) for o, m in zip(objects, memories, strict=True)]

    def image_side(self, features: ImageFeatures) -> ImageSide:
        """Compute the part of :meth:`follow` that is the same for all objects of a frame."""
        with self.predictor.running("encode a frame"):
            encoded, positions = features.encoded, self.model.prompt_encoder.dense_positions()
            high = encoded.fine, encoded.middle
            return self.model.mask_decoder.image_side(encoded.embedding, positions, high)

    def condition(self, features: ImageFeatures, remembered: Remembered) -> Tensor:
        """Condition the features of a frame on the memory of B objects: (B, C, g, g)."""
        return self.memory.condition(features.encoded.embedding, remembered)

    def follow(
        self, features: ImageFeatures, side: ImageSide, remembered: Remembered
    ) -> list[ObjectOnFrame]:
        """Track B objects to a frame by their memory, and encode their new memory."""
        with self.predictor.running("track objects"):
            conditioned = self.condition(features, remembered)
            side = side._replace(image=conditioned.flatten(2).transpose(1, 2))
            prompts = self.no_prompts(len(conditioned))
            raw = self.model.mask_decoder(side, *prompts, multimask=True)
            objects = self._choose(raw, multimask=True)
        return self.remember(features, objects, hard=False)

    def no_prompts(self, objects: int, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Embed two padding points, in place of points, and a mask prompt or none."""
        device = self.predictor.device
        labels = torch.full((objects, 2), PADDING, dtype=torch.int64, device=device)
        points = torch.zeros(objects, 2, 2, device=device)
        return self.model.prompt_encoder(points, labels, mask)  # type: ignore[no-any-return]

    def _choose(self, raw: RawMasks, *, multimask: bool) -> list[ObjectOnFrame]:
        """Choose the best mask of each object by its predicted IoU, and its pointer."""
        assert raw.tokens is not None
        rows = torch.arange(len(raw.iou), device=raw.iou.device)
        best = raw.iou.argmax(1) if multimask else torch.zeros_like(rows)
        present = raw.object_score[:, 0].float()
        visible = present > 0
        logits = raw.logits[rows, best].float()[:, None]
        logits = torch.where(visible[:, None, None, None], logits, ABSENT_LOGIT)
        # A single mask that was replaced for being unstable still keeps its own token.
        pointers = self.memory.point(raw.tokens[rows, best], visible)
        parts = zip(logits, present, raw.iou[rows, best].float(), pointers, strict=True)
        return [ObjectOnFrame(*part) for part in parts]
