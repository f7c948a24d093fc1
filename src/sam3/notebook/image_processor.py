"""The image processor of the public SAM 3 notebook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sam3.concepts.detections import check_threshold
from sam3.concepts.detector import Detector
from sam3.errors import ConfigError, PromptError, UnsupportedError
from sam3.model.box_ops import box_cxcywh_to_xyxy
from sam3.notebook.image_model import Sam3ImageModel
from sam3.notebook.image_state import ImageState

__all__ = ["Sam3Processor"]


class Sam3Processor:
    """Encode images for a model, and find concepts on them.

    Parameters
    ----------
    model : Sam3ImageModel
        From :func:`sam3.build_sam3_image_model`.
    resolution : int, optional
        For compatibility with the notebook; if given, it must be the model's own.
    device : optional
        For compatibility; ignored in favour of the model's device.
    confidence_threshold : float
        Minimum score of the instances of a concept, exclusive.

    Raises
    ------
    ConfigError
        If the resolution is not the model's.
    PromptError
        If the threshold is not within 0..1.
    """

    def __init__(
        self,
        model: Sam3ImageModel,
        resolution: int | None = None,
        device: Any = None,
        confidence_threshold: float = 0.5,
    ) -> None:
        own = model.predictor.config.resolution
        if resolution not in (None, own):
            raise ConfigError(
                f"the resolution does not fit the model: {resolution}. Expected {own}. Pass "
                "another one to build_sam3_image_model instead."
            )
        self.model = model
        self.confidence_threshold = check_threshold(confidence_threshold)

    def set_image(self, image: Any, state: Any = None) -> ImageState:
        """Encode one image.

        Parameters
        ----------
        image : PIL.Image.Image, ndarray or Tensor
            See :func:`sam3.preprocess.transforms.rgb_image`.
        state : optional
            For compatibility; ignored, since every call returns a new state.

        Returns
        -------
        ImageState

        Raises
        ------
        ImageError
            If the image cannot be encoded.
        """
        keep = self.model.detector is not None
        return ImageState([self.model.predictor.encode(image, keep_trunk=keep)])

    def set_image_batch(self, images: Sequence[Any], state: Any = None) -> ImageState:
        """Encode several images of any sizes and kinds.

        Parameters
        ----------
        images : sequence
            Each as for :meth:`set_image`.
        state : optional
            For compatibility; ignored.

        Returns
        -------
        ImageState
            For clicks; concepts need a state with a single image.

        Raises
        ------
        ImageError
            If one of the images cannot be encoded.
        """
        return ImageState(self.model.predictor.encode_batch(images))

    def set_text_prompt(self, prompt: str, state: ImageState) -> ImageState:
        """Find all instances of a short noun phrase, together with example boxes added before.

        Parameters
        ----------
        prompt : str
            The concept, such as "nucleus".
        state : ImageState
            From :meth:`set_image`; modified.

        Returns
        -------
        ImageState
            The same state with the results.

        Raises
        ------
        PromptError
            If the text is blank or not a string, or the state holds several images.
        UnsupportedError
            If the model has no concept detector.
        """
        self._detector().encode_text(prompt)
        return self._find(state, prompt, state.boxes, state.labels)

    def add_geometric_prompt(
        self, box: Sequence[float] | Tensor, label: bool, state: ImageState
    ) -> ImageState:
        """Add an example box and find all instances of the concept that it shows.

        Parameters
        ----------
        box : sequence of float
            Centre x, centre y, width and height in 0..1 of the image.
        label : bool
            True for a positive example, False for a negative one.
        state : ImageState
            From :meth:`set_image`; modified.

        Returns
        -------
        ImageState
            The same state with the results.

        Raises
        ------
        PromptError
            If the box has no area or lies outside the image, or the state holds several images.
        UnsupportedError
            If the model has no concept detector.
        """
        checked = _check_box(box)
        return self._find(state, state.text, [*state.boxes, checked], [*state.labels, bool(label)])

    def reset_all_prompts(self, state: ImageState) -> ImageState:
        """Remove text, example boxes and results; the image stays encoded."""
        state.reset()
        return state

    def set_confidence_threshold(
        self, threshold: float, state: ImageState | None = None
    ) -> ImageState | None:
        """Set the threshold, and apply it to the results of a state without new inference.

        Raises
        ------
        PromptError
            If it is not in 0..1.
        """
        self.confidence_threshold = check_threshold(threshold)
        if state is not None:
            state.show(self.confidence_threshold)
        return state

    def _detector(self) -> Detector:
        if self.model.detector is None:
            raise UnsupportedError(
                "the model has no concept detector, which text prompts and example boxes need. "
                "Expected a model with a detector. Build it from the released sam3.pt with "
                "enable_segmentation=True, or use points and boxes with model.predict_inst."
            )
        return self.model.detector

    def _find(
        self, state: ImageState, text: str | None, boxes: list[list[float]], labels: list[bool]
    ) -> ImageState:
        """Find a concept, and then store it in the state."""
        detector = self._detector()
        if len(state.images) != 1:
            raise PromptError(
                f"the state holds {len(state.images)} images. Expected one. Use set_image for each "
                "image to find concepts on."
            )
        (features,) = state.images
        height, width = features.size
        corners = None
        if boxes:
            normalized = box_cxcywh_to_xyxy(torch.tensor(boxes, dtype=torch.float64)).numpy()
            corners = normalized * np.array([width, height, width, height])
        candidates = detector.find(features, text, corners, labels if boxes else None)
        state.text, state.boxes, state.labels = text, boxes, labels
        state.candidates = candidates
        state.show(self.confidence_threshold)
        return state


def _check_box(box: Sequence[float] | Tensor) -> list[float]:
    try:
        values = box.cpu() if isinstance(box, Tensor) else box
        numbers = np.asarray(values, np.float64).ravel()
    except (TypeError, ValueError, RuntimeError):
        numbers = np.zeros(0)
    in_range = numbers.shape == (4,) and bool(((numbers >= 0) & (numbers <= 1)).all())
    if not in_range or not numbers[2:].all():
        raise PromptError(
            f"invalid example box: {box!r}. Expected centre x, centre y, width and height in 0..1 "
            "of the image, with an area. Use sam3.visualization_utils.normalize_bbox for pixels."
        )
    normalized: list[float] = numbers.tolist()
    return normalized
