"""What a tracker does on a single frame: prompt an object, remember it, recall it and decode.

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
from sam3.preprocess.transforms import to_model_frame, upsample
from sam3.prompts import Prompts

__all__ = ["ABSENT_LOGIT", "ObjectOnFrame", "TrackingSteps"]

ABSENT_LOGIT = -1024.0
"""Mask logits where there is no object; with the other sign, those of a mask given by a person."""
_GIVEN_SCORE = 10.0
_EXCLUDED_LOGIT = -10.0
_CLAMP = 32.0
_MOST_POINTS = 16


@dataclass(frozen=True, eq=False)
class ObjectOnFrame:
    """An object on a frame, as it was prompted or tracked.

    Attributes
    ----------
    logits : Tensor, float32, shape (1, L, L)
        Low-resolution mask logits; all -1024 where the object is not on the frame.
    object_logit : Tensor, float32, shape ()
        Logit that the object is on the frame.
    iou : Tensor, float32, shape ()
        Predicted intersection over union of the mask.
    pointer : Tensor, shape (C,)
        What the decoder made of the object.
    memory : Tensor, shape (memory channels, g, g), optional
        What to attend to on other frames, once it has been encoded.
    """

    logits: Tensor
    object_logit: Tensor
    iou: Tensor
    pointer: Tensor
    memory: Tensor | None = None

    @property
    def quality(self) -> float:
        """Probability of the object, from 0 for an even chance, times the predicted IoU."""
        presence = 2 * self.object_logit.sigmoid() - 1
        return float(presence.clamp(min=0) * self.iou)


class TrackingSteps:
    """The steps of a tracker on the features of one frame; it keeps nothing between them.

    Parameters
    ----------
    predictor : Predictor
        Encoded the features; its click model decodes.
    memory : Memory
        Of the same weights; it is moved to the predictor's device.
    dtype : torch.dtype, optional
        Of stored memories: float32 on a CPU, bfloat16 elsewhere by default.
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
        """Prompt one object with clicks and a box; memories are not used.

        Parameters
        ----------
        features : ImageFeatures
            Of the frame.
        prompts : Prompts
            Of one object, a padding point at the end. Of more than 16 points, the first and the
            last 8 count.
        previous : Tensor, shape (1, L, L), optional
            Logits of the object on this frame that the prompts correct.
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
            multimask = count <= 1  # one click may mean several things
            raw = self.model.decode(side, points, labels, mask, multimask)
            return self._choose(raw, multimask=multimask)[0]

    def draw(self, features: ImageFeatures, mask: Tensor) -> ObjectOnFrame:
        """Prompt one object with its mask, float32 (H, W) in 0..1, at the size of the frame."""
        side_length, grid = self.model.config.mask_size, self.model.config.grid
        with self.predictor.running("prompt an object"):
            mask = mask.to(self.predictor.device)[None, None]
            shown = torch.where(mask > 0.5, -ABSENT_LOGIT, ABSENT_LOGIT)
            logits = F.interpolate(shown, size=(side_length,) * 2, mode="bilinear", antialias=True)
            decoder, encoder = self.model.mask_decoder, self.model.prompt_encoder
            high = features.encoded.fine, features.encoded.middle
            side = decoder.image_side(features.encoded.embedding, encoder.dense_positions(), high)
            prompt = self.memory.mask_prompt(mask, grid)
            raw = decoder(side, *self.no_prompts(1, prompt), multimask=False)
            pointer = self._choose(raw, multimask=False)[0].pointer
            there = (mask > 0.5).any()
            pointer = torch.where(there, pointer, self.memory.no_pointer[0])
            score = torch.where(there, _GIVEN_SCORE, -_GIVEN_SCORE)
            return ObjectOnFrame(logits[0], score, there.float(), pointer)

    def absent(self) -> ObjectOnFrame:
        """Stand in for an object that nobody has shown on a frame where others were."""
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
            Give each pixel to the object with the highest logit.
        """
        with self.predictor.running("encode memories"):
            resolution = self.model.config.resolution
            logits = torch.stack([one.logits for one in objects])
            logits = upsample(logits, (resolution, resolution))
            if exclusive and len(objects) > 1:
                highest = logits.argmax(0, keepdim=True)
                index = torch.arange(len(objects), device=logits.device)[:, None, None, None]
                excluded = logits.clamp(max=_EXCLUDED_LOGIT)
                logits = torch.where(highest == index, logits, excluded)
            seen = torch.stack([one.object_logit for one in objects]) > 0
            embedding = features.encoded.embedding
            memories = self.memory.remember(embedding, logits, seen, hard=hard).to(self.dtype)
            return [replace(o, memory=m) for o, m in zip(objects, memories, strict=True)]

    def image_side(self, features: ImageFeatures) -> ImageSide:
        """Do what :meth:`follow` needs of a frame once for all objects."""
        with self.predictor.running("encode a frame"):
            encoded, positions = features.encoded, self.model.prompt_encoder.dense_positions()
            high = encoded.fine, encoded.middle
            return self.model.mask_decoder.image_side(encoded.embedding, positions, high)

    def condition(self, features: ImageFeatures, remembered: Remembered) -> Tensor:
        """Condition the features of a frame on what is remembered: (B, C, g, g)."""
        return self.memory.condition(features.encoded.embedding, remembered)

    def follow(
        self, features: ImageFeatures, side: ImageSide, remembered: Remembered
    ) -> list[ObjectOnFrame]:
        """Find B objects on a frame by what is remembered of them, and remember them there."""
        with self.predictor.running("track objects"):
            conditioned = self.condition(features, remembered)
            side = side._replace(image=conditioned.flatten(2).transpose(1, 2))
            prompts = self.no_prompts(len(conditioned))
            raw = self.model.mask_decoder(side, *prompts, multimask=True)
            objects = self._choose(raw, multimask=True)
        return self.remember(features, objects, hard=False)

    def no_prompts(self, objects: int, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Embed no points, for which two padding tokens stand, and a mask prompt or none."""
        device = self.predictor.device
        labels = torch.full((objects, 2), PADDING, dtype=torch.int64, device=device)
        points = torch.zeros(objects, 2, 2, device=device)
        return self.model.prompt_encoder(points, labels, mask)  # type: ignore[no-any-return]

    def _choose(self, raw: RawMasks, *, multimask: bool) -> list[ObjectOnFrame]:
        """Take the best mask of each object, by its predicted IoU, and the object's pointer."""
        assert raw.tokens is not None
        rows = torch.arange(len(raw.iou), device=raw.iou.device)
        best = raw.iou.argmax(1) if multimask else torch.zeros_like(rows)
        present = raw.object_score[:, 0].float()
        seen = present > 0
        logits = raw.logits[rows, best].float()[:, None]
        logits = torch.where(seen[:, None, None, None], logits, ABSENT_LOGIT)
        # A single mask that was unstable, and replaced by another, keeps its own token.
        pointers = self.memory.point(raw.tokens[rows, best], seen)
        parts = zip(logits, present, raw.iou[rows, best].float(), pointers, strict=True)
        return [ObjectOnFrame(*part) for part in parts]
