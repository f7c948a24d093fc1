"""The concept detector: instances of a text, of example boxes, or of both on an image."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sam3.concepts.detections import Candidates
from sam3.concepts.tokenizer import ConceptTokenizer
from sam3.errors import FeaturesError, PromptError
from sam3.features import ImageFeatures
from sam3.model.box_ops import box_cxcywh_to_xyxy, box_xyxy_to_cxcywh
from sam3.model.detector_model import DetectorImage, DetectorModel, RawDetections
from sam3.predictor import Predictor, load_predictor
from sam3.prompts import check_boxes
from sam3.runtime.devices import Precision
from sam3.weights.detector import load_detector_model
from sam3.weights.load import weights_file

__all__ = ["Detector", "load_detector"]

#: Text prompt of the model for "the content of the boxes", used if no text is given.
_BY_EXAMPLE = "visual"
_TEXTS = 256  # cached texts, of at most 32 kB each


class Detector:
    """Find all instances of a concept on images.

    Parameters
    ----------
    model : DetectorModel
        A model with weights; it is moved to the predictor's device.
    predictor : Predictor
        With weights of the same file. It encodes images for clicks and concepts.
    vocabulary : path-like, optional
        Vocabulary of the tokenizer; by default the one in the package.
    """

    def __init__(
        self,
        model: DetectorModel,
        predictor: Predictor,
        vocabulary: str | os.PathLike[str] | None = None,
    ) -> None:
        self.model = model.to(predictor.device).eval()
        self.predictor = predictor
        self._vocabulary = vocabulary
        self._texts: dict[tuple[int, ...], Tensor] = {}
        self._last: tuple[weakref.ref[Tensor], DetectorImage] | None = None

    @cached_property
    def tokenizer(self) -> ConceptTokenizer:
        """Tokenizer of texts, constructed on first use."""
        sizes = self.model.config.detector
        assert sizes is not None
        return ConceptTokenizer(self._vocabulary, context=sizes.context)

    def encode(self, image: Any, progress: Callable[[float], None] | None = None) -> ImageFeatures:
        """Encode an image for concepts and for clicks; see :meth:`Predictor.encode`."""
        return self.predictor.encode(image, progress, keep_trunk=True)

    def encode_text(self, text: str) -> Tensor:
        """Encode a short noun phrase; results are cached.

        Parameters
        ----------
        text : str
            The concept, such as "nucleus". It is truncated to the context length.

        Returns
        -------
        Tensor, shape (N, C)
            Tokens for a prompt.

        Raises
        ------
        PromptError
            If it is blank or not a string.
        """
        ids = tuple(self.tokenizer.encode(text))
        if len(ids) == 2:  # only start and end
            raise PromptError(
                f"the text is blank: {text!r}. Expected a short noun phrase such as "
                '"nucleus". Leave it out to search by example boxes alone.'
            )
        tokens = self._texts.get(ids)
        if tokens is None:
            with self.predictor.running("encode a text"):
                indices = torch.tensor(ids, device=self.predictor.device)
                # The model was trained with id 0 masked, since it means padding.
                tokens = self.model.text_encoder(indices)[indices != 0]
            while len(self._texts) >= _TEXTS:
                del self._texts[next(iter(self._texts))]
            self._texts[ids] = tokens
        return tokens.to(self.predictor.device)

    def encode_examples(
        self,
        features: ImageFeatures,
        boxes: npt.ArrayLike,
        labels: npt.ArrayLike | None = None,
    ) -> Tensor:
        """Encode example boxes on one image, for a prompt on any image.

        Parameters
        ----------
        features : ImageFeatures
            From :meth:`encode`.
        boxes : array-like, shape (4,) or (N, 4)
            x0, y0, x1, y1 in pixels of that image.
        labels : array-like of bool, shape (N,), optional
            True for positive examples (the default), False for negative ones.

        Returns
        -------
        Tensor, shape (N, C)
            Tokens for a prompt.

        Raises
        ------
        PromptError
            If a box has no area or lies outside, or the numbers of boxes and labels differ.
        FeaturesError
            If the features come from another model or lack the trunk's feature map.
        """
        return self._examples(features, boxes, labels)[:-1]

    def prompt(
        self,
        features: ImageFeatures,
        text: str | None = None,
        boxes: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        *,
        examples: Sequence[Tensor] = (),
    ) -> Tensor:
        """Encode the prompt (P, C) of a concept, with the parameters of :meth:`find`."""
        if text is None and boxes is None and not len(examples):
            raise PromptError(
                "no concept was given. Expected a text, example boxes or both. Pass `text` or "
                "`boxes`."
            )
        words = self.encode_text(_BY_EXAMPLE if text is None else text)
        known = [tokens.to(words.device) for tokens in examples]
        return torch.cat((words, *known, self._examples(features, boxes, labels)))

    def find(
        self,
        features: ImageFeatures,
        text: str | None = None,
        boxes: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        *,
        examples: Sequence[Tensor] = (),
    ) -> Candidates:
        """Find all instances of a concept on an encoded image.

        Parameters
        ----------
        features : ImageFeatures
            From :meth:`encode`.
        text : str, optional
            A short noun phrase.
        boxes, labels
            Examples on this image, as for :meth:`encode_examples`.
        examples : sequence of Tensor
            Examples on any images, from :meth:`encode_examples`.

        Returns
        -------
        Candidates
            The threshold of the released model is 0.5.

        Raises
        ------
        PromptError
            If there is neither a text nor an example, or one of them is invalid.
        FeaturesError
            If the features come from another model or lack the trunk's feature map.
        DeviceMemoryError
            If the device runs out of memory; the detector stays usable.
        """
        prompt = self.prompt(features, text, boxes, labels, examples=examples)
        image = self.image(features)
        with self.predictor.running("find instances"):
            raw = self.model.detect(image, prompt)
        return self.candidates(image, raw, prompt, features.size)

    def candidates(
        self, image: DetectorImage, raw: RawDetections, prompt: Tensor, size: tuple[int, int]
    ) -> Candidates:
        """Convert raw detections to an image of (height, width); masks are drawn on demand."""
        height, width = size
        corners = box_cxcywh_to_xyxy(raw.boxes.cpu()) * torch.tensor([width, height] * 2)
        pixels: Tensor | None = None  # computed once for all masks

        def draw(indices: Tensor) -> Tensor:
            nonlocal pixels
            if not len(indices):
                side = self.model.config.mask_size
                return torch.zeros(0, side, side)
            with self.predictor.running("draw masks"):
                if pixels is None:
                    pixels = self.model.pixels(image, raw, prompt)
                masks: Tensor = self.model.masks(raw.queries[indices.to(pixels.device)], pixels)
                return masks

        return Candidates(raw.scores.cpu().numpy(), corners.numpy(), size, draw)

    def _examples(
        self,
        features: ImageFeatures,
        boxes: npt.ArrayLike | None,
        labels: npt.ArrayLike | None,
    ) -> Tensor:
        """Return tokens (N + 1, C): those of the boxes, and one that is always present."""
        corners, signs = np.zeros((0, 4)), np.zeros(0, np.int64)
        if boxes is not None:
            corners, signs = _check_examples(boxes, labels, features.size)
        elif labels is not None:
            raise PromptError(
                f"labels were given without boxes: {labels!r}. Expected both or none. Pass the "
                "boxes, too."
            )
        image, device = self.image(features), self.predictor.device
        with self.predictor.running("encode examples"):
            xyxy = torch.tensor(corners, dtype=torch.float32, device=device)
            positive = torch.tensor(signs, device=device)
            return self.model.encode_boxes(image, box_xyxy_to_cxcywh(xyxy), positive)

    def image(self, features: ImageFeatures) -> DetectorImage:
        """Compute the detector's features of an image; those of the last image are cached.

        Raises
        ------
        FeaturesError
            If the features come from another model or lack the trunk's feature map.
        """
        self.predictor.check_features(features)
        if features.trunk is None:
            raise FeaturesError(
                "the features were made for clicks only, without the trunk's feature map. Expected "
                "features from Detector.encode. Encode the image again."
            )
        last = self._last
        if last is not None and last[0]() is features.trunk:
            return last[1]
        with self.predictor.running("encode an image"):
            image = self.model.image(features.trunk.to(self.predictor.device))
        self._last = weakref.ref(features.trunk, self._forget), image
        return image

    def _forget(self, trunk: weakref.ref[Tensor]) -> None:
        last = self._last
        if last is not None and last[0] is trunk:
            self._last = None


def _check_examples(
    boxes: npt.ArrayLike, labels: npt.ArrayLike | None, size: tuple[int, int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return corners (N, 4) in 0..1 of the image and labels (N,), 1 for positive examples."""
    checked = check_boxes(boxes, size)
    signs = np.ones(len(checked), np.bool_) if labels is None else np.atleast_1d(labels)
    if signs.shape != (len(checked),) or not np.isin(signs, (0, 1)).all():
        raise PromptError(
            f"invalid labels of the examples: {signs.tolist()}. Expected True (positive) or False "
            f"(negative) for each of {len(checked)} boxes. Correct them."
        )
    height, width = size
    return checked / np.array([width, height, width, height]), signs.astype(np.int64)


def load_detector(
    path: str | os.PathLike[str],
    device: str | torch.device = "auto",
    precision: Precision = "auto",
    resolution: int | None = None,
    vocabulary: str | os.PathLike[str] | None = None,
) -> Detector:
    """Load the weights for concepts and clicks, and move them to a device.

    Parameters
    ----------
    path, device, precision, resolution
        As for :func:`sam3.load_predictor`.
    vocabulary : path-like, optional
        As for :class:`Detector`.

    Returns
    -------
    Detector
        Its attribute `predictor` serves clicks.

    Raises
    ------
    CheckpointNotFoundError, CheckpointError
        If the file does not exist, is damaged, was made for another model, or has no detector.
    ConfigError, DeviceError, UnsupportedError
        As :func:`sam3.load_predictor`.
    """
    predictor = load_predictor(path, device, precision, resolution)
    file = weights_file(path)
    return Detector(load_detector_model(file, resolution=resolution), predictor, vocabulary)
