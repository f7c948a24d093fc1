"""The model object of the public SAM 3 notebook and the function that builds it."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from sam3.concepts.detector import Detector
from sam3.config import get_preset
from sam3.errors import CheckpointNotFoundError, PromptError, UnsupportedError
from sam3.features import ImageFeatures
from sam3.model.click_model import ClickModel
from sam3.model.detector_model import DetectorModel
from sam3.notebook.image_state import ImageState
from sam3.predictor import Predictor
from sam3.runtime.devices import Precision, choose_device
from sam3.weights import load as checkpoint
from sam3.weights.detector import holds_detector, load_detector_model
from sam3.weights.download import download_released_weights

__all__ = ["Sam3ImageModel", "build_sam3_image_model", "find_weights"]

_LOG = logging.getLogger(__name__)
_ENVIRONMENT = "SAM3_CHECKPOINT"

Arrays = tuple[npt.NDArray[Any], npt.NDArray[np.float32], npt.NDArray[np.float32]]


def build_sam3_image_model(
    bpe_path: str | os.PathLike[str] | None = None,
    device: str | torch.device | None = None,
    eval_mode: bool = True,
    checkpoint_path: str | os.PathLike[str] | None = None,
    load_from_HF: bool = True,
    enable_segmentation: bool = True,
    enable_inst_interactivity: bool = False,
    compile: bool = False,
    *,
    preset: str | None = None,
    precision: Precision = "auto",
    resolution: int | None = None,
) -> Sam3ImageModel:
    """Build the model as the public SAM 3 notebook does.

    Parameters
    ----------
    bpe_path : path-like, optional
        Vocabulary of the text encoder. By default, or if the file does not exist, the one in this
        package, which is that of the released weights.
    device : str or torch.device, optional
        CUDA, then MPS, then the CPU by default.
    eval_mode : bool
        Put the model in evaluation mode.
    checkpoint_path : path-like, optional
        A weights file of any format of :mod:`sam3.weights.load`. By default the file named by the
        environment variable ``SAM3_CHECKPOINT``, if it is set.
    load_from_HF : bool
        Without other weights, download the released ones from huggingface.co/facebook/sam3.
    enable_segmentation : bool
        Also load the concept detector, if the weights have one, for text prompts and example
        boxes. False for clicks alone, which takes less time and memory.
    enable_inst_interactivity : bool
        Support clicks and boxes for single objects.
    compile : bool
        Compile the image encoder with torch.compile on first use, for CUDA and MPS, and on CUDA
        replay the decoder as graphs. In float32 on a CPU it is faster without.
    preset : str, optional
        ``"tiny"`` for the embedded model.
    precision : {"auto", "float32", "bfloat16", "int8"}
        See :class:`sam3.predictor.Predictor`.
    resolution : int, optional
        Side of the model's input in pixels; by default that of the weights.

    Returns
    -------
    Sam3ImageModel

    Raises
    ------
    UnsupportedError
        If neither clicks nor concepts are enabled, or only concepts and the weights have no
        concept detector, or the processor does not support ``"int8"``.
    CheckpointNotFoundError, CheckpointError, DownloadError
        If there are no weights, or they do not fit.
    ConfigError, DeviceError
        If the preset, the resolution, the precision or the device does not exist.
    """
    if not (enable_segmentation or enable_inst_interactivity):
        raise UnsupportedError(
            "enable_segmentation and enable_inst_interactivity are both False. Expected at least "
            "one: True for text prompts and example boxes, or for clicks. Enable one."
        )
    chosen = choose_device(device or "auto")
    path = find_weights(checkpoint_path, preset, load_from_HF)
    detector = None
    if enable_segmentation and holds_detector(path):
        detector = load_detector_model(path, resolution=resolution)
    elif not enable_inst_interactivity:
        raise UnsupportedError(
            f"the weights have no concept detector: {os.fspath(path)}. Expected a detector for "
            "text prompts and example boxes. Use the released sam3.pt or model.safetensors, or "
            "pass enable_inst_interactivity=True for clicks and boxes."
        )
    vocabulary = bpe_path
    if bpe_path is not None and not Path(bpe_path).exists():
        _LOG.info("no vocabulary at %s; using the one in the package", bpe_path)
        vocabulary = None
    model = Sam3ImageModel(
        checkpoint.load(path, resolution=resolution).to(chosen),
        precision,
        detector,
        vocabulary,
        interactive=enable_inst_interactivity,
    )
    if compile:
        model.click_model.trunk.compile_blocks()
        if chosen.type == "cuda":
            model.predictor.fix_shapes()
    return model.train(not eval_mode)


def find_weights(
    checkpoint_path: str | os.PathLike[str] | None, preset: str | None, may_download: bool
) -> str | os.PathLike[str]:
    """Return the weights file from the argument, the environment, or a download."""
    if checkpoint_path is not None:
        return checkpoint_path
    if preset is not None and get_preset(preset).name == "tiny":
        return checkpoint.embedded_weights()
    from_environment = os.environ.get(_ENVIRONMENT)
    if from_environment:
        return from_environment
    if may_download:
        return download_released_weights()
    raise CheckpointNotFoundError(
        "no weights were given and load_from_HF is False. Expected a weights file.\nRequest access "
        "at huggingface.co/facebook/sam3 and log in with `hf auth login`, or point\n"
        f'checkpoint_path or {_ENVIRONMENT} to a weights file, or use preset="tiny" for '
        "the embedded model."
    )


class Sam3ImageModel(nn.Module):
    """SAM 3 for single images, with the calls of the public notebook.

    Parameters
    ----------
    click_model : ClickModel
        The model with its weights.
    precision : {"auto", "float32", "bfloat16", "int8"}
        See :class:`sam3.predictor.Predictor`.
    detector_model : DetectorModel, optional
        The concept detector with its weights.
    vocabulary : path-like, optional
        Vocabulary of its text encoder; by default the one in the package.
    interactive : bool
        Support clicks.

    Attributes
    ----------
    predictor : Predictor
        This package's own interface to the same weights.
    detector : Detector, optional
        The same for concepts, if the weights have a detector.
    """

    def __init__(
        self,
        click_model: ClickModel,
        precision: Precision = "auto",
        detector_model: DetectorModel | None = None,
        vocabulary: str | os.PathLike[str] | None = None,
        *,
        interactive: bool = True,
    ) -> None:
        super().__init__()
        self.click_model = click_model
        self.predictor = Predictor(click_model, click_model.no_memory_embed.device, precision)
        self.detector_model = detector_model
        self.detector: Detector | None = None
        if detector_model is not None:
            self.detector = Detector(detector_model, self.predictor, vocabulary)
        self.interactive = interactive

    def predict_inst(
        self,
        inference_state: ImageState,
        point_coords: npt.ArrayLike | None = None,
        point_labels: npt.ArrayLike | None = None,
        box: npt.ArrayLike | None = None,
        mask_input: npt.ArrayLike | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        normalize_coords: bool = True,
    ) -> Arrays:
        """Predict masks on one image.

        Parameters
        ----------
        inference_state : ImageState
            From ``Sam3Processor.set_image``; unchanged.
        point_coords, point_labels, box, mask_input, multimask_output, return_logits
            As for :meth:`sam3.predictor.Predictor.predict`.
        normalize_coords : bool
            False for coordinates already in 0..1.

        Returns
        -------
        masks : ndarray of bool (float32 with `return_logits`), shape (C, H, W)
        scores : ndarray of float32, shape (C,)
        logits : ndarray of float32, shape (C, L, L)
            All with a leading B for B > 1 objects.

        Raises
        ------
        PromptError
            If a prompt is invalid, or the state holds several images.
        """
        if len(inference_state.images) != 1:
            raise PromptError(
                f"the state holds {len(inference_state.images)} images. Expected one. Use "
                "predict_inst_batch, or Sam3Processor.set_image for a single image."
            )
        return self._predict(
            inference_state.images[0],
            point_coords,
            point_labels,
            box,
            mask_input,
            multimask_output,
            return_logits,
            normalize_coords,
        )

    def predict_inst_batch(
        self,
        inference_state: ImageState,
        point_coords_batch: Sequence[npt.ArrayLike | None] | None = None,
        point_labels_batch: Sequence[npt.ArrayLike | None] | None = None,
        box_batch: Sequence[npt.ArrayLike | None] | None = None,
        mask_input_batch: Sequence[npt.ArrayLike | None] | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        normalize_coords: bool = True,
    ) -> tuple[
        list[npt.NDArray[Any]], list[npt.NDArray[np.float32]], list[npt.NDArray[np.float32]]
    ]:
        """Predict masks on several images of any sizes.

        Parameters
        ----------
        inference_state : ImageState
            From ``Sam3Processor.set_image_batch``; unchanged.
        point_coords_batch, point_labels_batch, box_batch, mask_input_batch : sequence, optional
            For each image, the argument of :meth:`predict_inst`.
        multimask_output, return_logits, normalize_coords
            As for :meth:`predict_inst`.

        Returns
        -------
        masks, scores, logits : list of ndarray
            For each image, the results of :meth:`predict_inst`.

        Raises
        ------
        PromptError
            If a prompt is invalid, or a list has not one entry per image.
        """
        images = inference_state.images
        points = _per_image("point_coords_batch", point_coords_batch, len(images))
        labels = _per_image("point_labels_batch", point_labels_batch, len(images))
        boxes = _per_image("box_batch", box_batch, len(images))
        masks_in = _per_image("mask_input_batch", mask_input_batch, len(images))
        results = [
            self._predict(*prompts, multimask_output, return_logits, normalize_coords)
            for prompts in zip(images, points, labels, boxes, masks_in, strict=True)
        ]
        masks, scores, logits = zip(*results, strict=True)
        return list(masks), list(scores), list(logits)

    def _predict(
        self,
        features: ImageFeatures,
        point_coords: npt.ArrayLike | None,
        point_labels: npt.ArrayLike | None,
        box: npt.ArrayLike | None,
        mask_input: npt.ArrayLike | None,
        multimask_output: bool,
        return_logits: bool,
        normalize_coords: bool,
    ) -> Arrays:
        if not self.interactive:
            raise UnsupportedError(
                "the model was built for concepts only: enable_inst_interactivity is False. "
                "Expected a model for clicks. Build it with enable_inst_interactivity=True for "
                "clicks and boxes."
            )
        if not normalize_coords:
            height, width = features.size
            scale = np.array([width, height])
            point_coords = None if point_coords is None else np.asarray(point_coords) * scale
            box = None if box is None else np.asarray(box) * np.tile(scale, 2)
        prediction = self.predictor.predict(
            features, point_coords, point_labels, box, mask_input, multimask_output, return_logits
        )
        return prediction.masks, prediction.scores, prediction.logits


def _per_image(
    name: str, prompts: Sequence[npt.ArrayLike | None] | None, images: int
) -> Sequence[npt.ArrayLike | None]:
    if prompts is None:
        return [None] * images
    if len(prompts) != images:
        raise PromptError(
            f"{name} has {len(prompts)} entries for {images} images. Expected one per image, None "
            "for an image without prompts. Correct the list."
        )
    return prompts
