"""The concept detector: all instances of a text, of example boxes, or of both on an image."""

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
from sam3.weights.load import embedded_weights

__all__ = ["Detector", "load_detector"]

#: The text that stands for "what is in the boxes" where no other is given.
_BY_EXAMPLE = "visual"
_TEXTS = 256  # encoded texts that are kept, of at most 32 kB each


class Detector:
    """Find all instances of a concept on images.

    Parameters
    ----------
    model : DetectorModel
        A filled model; it is moved to the predictor's device.
    predictor : Predictor
        Answers clicks with weights of the same file. It encodes images for both.
    vocabulary : path-like, optional
        That of the tokenizer, where it is not to be the one in the package.
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
        """Tokenizer of texts, made when one is first used."""
        sizes = self.model.config.detector
        assert sizes is not None
        return ConceptTokenizer(self._vocabulary, context=sizes.context)

    def encode(self, image: Any, progress: Callable[[float], None] | None = None) -> ImageFeatures:
        """Encode an image for concepts and for clicks; see :meth:`Predictor.encode`."""
        return self.predictor.encode(image, progress, keep_trunk=True)

    def encode_text(self, text: str) -> Tensor:
        """Encode a short noun phrase; the results are kept.

        Parameters
        ----------
        text : str
            What to find, such as "nucleus". What does not fit the context is left out.

        Returns
        -------
        Tensor, shape (N, C)
            Tokens of a prompt.

        Raises
        ------
        PromptError
            If it is no string, or a blank one.
        """
        ids = tuple(self.tokenizer.encode(text))
        if len(ids) == 2:  # start and end
            raise PromptError(
                f"the text is blank: {text!r}. Expected a short noun phrase such as "
                '"nucleus"; leave it out to search by example boxes alone.'
            )
        kept = self._texts.get(ids)
        if kept is None:
            with self.predictor.running("encode a text"):
                indices = torch.tensor(ids, device=self.predictor.device)
                # The model was trained with id 0 masked: it stands for padding.
                kept = self.model.text_encoder(indices)[indices != 0]
            while len(self._texts) >= _TEXTS:
                del self._texts[next(iter(self._texts))]
            self._texts[ids] = kept
        return kept.to(self.predictor.device)

    def encode_examples(
        self,
        features: ImageFeatures,
        boxes: npt.ArrayLike,
        labels: npt.ArrayLike | None = None,
    ) -> Tensor:
        """Encode example boxes of one image, to be used there or on other images.

        Parameters
        ----------
        features : ImageFeatures
            From :meth:`encode`.
        boxes : array-like, shape (4,) or (N, 4)
            x0, y0, x1, y1 in pixels of that image.
        labels : array-like of bool, shape (N,), optional
            True (all, by default) for what is wanted, False for what is not.

        Returns
        -------
        Tensor, shape (N, C)
            Tokens of a prompt.

        Raises
        ------
        PromptError
            If a box has no area or lies outside, or the numbers of boxes and labels differ.
        FeaturesError
            If the features are another model's, or made without the trunk's map.
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
        """Return the tokens (P, C) of a concept; all is as for :meth:`find`."""
        if text is None and boxes is None and not len(examples):
            raise PromptError(
                "no concept was given. Expected a text, example boxes or both; pass `text` or "
                "`boxes`."
            )
        words = self.encode_text(_BY_EXAMPLE if text is None else text)
        return torch.cat((words, *examples, self._examples(features, boxes, labels)))

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
            To be thresholded; the released model's threshold is 0.5.

        Raises
        ------
        PromptError
            If there is neither a text nor an example, or one is wrong.
        FeaturesError
            If the features are another model's, or made without the trunk's map.
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
        """Bring detections to an image of (height, width); masks are drawn when needed."""
        height, width = size
        corners = box_cxcywh_to_xyxy(raw.boxes.cpu()) * torch.tensor([width, height] * 2)
        pixels: Tensor | None = None  # the map that all masks share

        def draw(chosen: Tensor) -> Tensor:
            nonlocal pixels
            if not len(chosen):
                side = self.model.config.mask_size
                return torch.zeros(0, side, side)
            with self.predictor.running("draw masks"):
                if pixels is None:
                    pixels = self.model.pixels(image, raw, prompt)
                masks: Tensor = self.model.masks(raw.queries[chosen.to(pixels.device)], pixels)
                return masks

        return Candidates(raw.scores.cpu().numpy(), corners.numpy(), size, draw)

    def _examples(
        self,
        features: ImageFeatures,
        boxes: npt.ArrayLike | None,
        labels: npt.ArrayLike | None,
    ) -> Tensor:
        """Return tokens (N + 1, C): those of the boxes, and the one that is always there."""
        shares, signs = np.zeros((0, 4)), np.zeros(0, np.int64)
        if boxes is not None:
            shares, signs = _check_examples(boxes, labels, features.size)
        elif labels is not None:
            raise PromptError(f"labels were given without boxes: {labels!r}. Pass both or none.")
        image, device = self.image(features), self.predictor.device
        with self.predictor.running("encode examples"):
            corners = torch.tensor(shares, dtype=torch.float32, device=device)
            chosen = torch.tensor(signs, device=device)
            return self.model.encode_boxes(image, box_xyxy_to_cxcywh(corners), chosen)

    def image(self, features: ImageFeatures) -> DetectorImage:
        """Return what depends on the image alone; that of the last one is kept while it lives.

        Raises
        ------
        FeaturesError
            If the features are another model's, or made without the trunk's map.
        """
        self.predictor.check_features(features)
        if features.trunk is None:
            raise FeaturesError(
                "the features were made for clicks alone, without the trunk's map. Expected "
                "features from Detector.encode; encode the image again."
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
    """Return corners (N, 4) in 0..1 of the image, and labels (N,) of 0 and 1."""
    checked = check_boxes(boxes, size)
    signs = np.ones(len(checked), np.bool_) if labels is None else np.atleast_1d(labels)
    if signs.shape != (len(checked),) or not np.isin(signs, (0, 1)).all():
        raise PromptError(
            f"the labels of the examples are {signs.tolist()}. Expected one of True (wanted) or "
            f"False (not wanted) for each of {len(checked)} boxes."
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
    """Load the weights for concepts and for clicks and put them on a device.

    Parameters
    ----------
    path, device, precision, resolution
        As for :func:`sam3.load_predictor`.
    vocabulary : path-like, optional
        As for :class:`Detector`.

    Returns
    -------
    Detector
        Its attribute `predictor` answers clicks.

    Raises
    ------
    CheckpointNotFoundError, CheckpointError
        If there is no such file, it is damaged or made for another model, or has no detector.
    ConfigError, DeviceError, UnsupportedError
        As :func:`sam3.load_predictor`.
    """
    predictor = load_predictor(path, device, precision, resolution)
    file = embedded_weights() if path == "tiny" else path
    return Detector(load_detector_model(file, resolution=resolution), predictor, vocabulary)
