"""The interactive predictor: encode an image once, then ask for masks as often as you like."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sam3 import checkpoint
from sam3.config import ModelConfig
from sam3.devices import Precision, choose_device, choose_precision
from sam3.errors import (
    CheckpointNotFoundError,
    DeviceMemoryError,
    FeaturesError,
    PromptError,
)
from sam3.features import ImageFeatures
from sam3.model.click_model import ClickModel, EncodedImage
from sam3.model.mask_decoder import select_masks
from sam3.prompts import Prompts, check_prompts
from sam3.transforms import (
    crop_mask,
    fill_holes,
    image_to_model,
    rgb_image,
    to_model_frame,
    upsample,
)

__all__ = ["ImageFeatures", "Prediction", "Predictor", "load_predictor"]

_GPU_BATCH = 4
_CLAMP = 32.0  # previous logits are handed out, and taken back, within +-32


@dataclass(frozen=True)
class Prediction:
    """Masks for one or more prompted objects; all arrays get a leading B for B > 1 objects.

    Attributes
    ----------
    masks : ndarray of bool, shape (C, H, W)
        At the image's size; float32 logits where these were asked for. C is 3 or 1. Where crops
        were asked for, an array of :class:`sam3.transforms.MaskCrop` of shape (C,).
    scores : ndarray of float32, shape (C,)
        Predicted intersection over union.
    logits : ndarray of float32, shape (C, L, L)
        Low-resolution logits within +-32, to be given back as ``mask_input``.
    """

    masks: npt.NDArray[Any]
    scores: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float32]


class Predictor:
    """Answer clicks and boxes on encoded images.

    Parameters
    ----------
    model : ClickModel
        A filled model; it is moved to the device.
    device : str or torch.device
        ``"auto"`` picks CUDA, then MPS, then the CPU.
    precision : {"auto", "float32", "bfloat16"}
        Arithmetic of the network; prompts are always encoded in float32. ``"auto"`` is bfloat16
        on CUDA devices of compute capability 8 and up, float32 elsewhere. A caller's autocast
        changes nothing.
    """

    def __init__(
        self,
        model: ClickModel,
        device: str | torch.device = "auto",
        precision: Precision = "auto",
    ) -> None:
        self.model = model.to(choose_device(device)).eval()
        self.precision = precision
        self.fingerprint = checkpoint.fingerprint(model)
        choose_precision(precision, self.device)  # a wrong name is refused at once

    @property
    def device(self) -> torch.device:
        """Device of the model's parameters."""
        return self.model.no_memory_embed.device

    @property
    def config(self) -> ModelConfig:
        """Sizes of the model."""
        return self.model.config

    @property
    def dtype(self) -> torch.dtype:
        """Arithmetic of the network on its device."""
        return choose_precision(self.precision, self.device)

    def encode(self, image: Any, progress: Callable[[float], None] | None = None) -> ImageFeatures:
        """Encode an image.

        Parameters
        ----------
        image : PIL.Image.Image, ndarray or Tensor
            See :func:`sam3.transforms.rgb_image`.
        progress : callable, optional
            Told after each block of the encoder which share of them, in 0..1, is done. What it
            raises ends the encoding and is passed on; the predictor stays usable.

        Returns
        -------
        ImageFeatures

        Raises
        ------
        ImageError
            If it is no image that can be encoded.
        DeviceMemoryError
            If the device runs out of memory; the predictor stays usable.
        """
        return self._encode([image], progress)[0]

    def encode_batch(self, images: Sequence[Any]) -> list[ImageFeatures]:
        """Encode images of any sizes and kinds.

        Parameters
        ----------
        images : sequence
            Each as for :meth:`encode`.

        Returns
        -------
        list of ImageFeatures

        Raises
        ------
        ImageError, DeviceMemoryError
            As :meth:`encode`.
        """
        return self._encode(images, None)

    def _encode(
        self, images: Sequence[Any], progress: Callable[[float], None] | None
    ) -> list[ImageFeatures]:
        pixels = [rgb_image(image) for image in images]
        # Batching pays where many cores wait for work; on a CPU it only costs memory.
        step = 1 if self.device.type == "cpu" else _GPU_BATCH
        encoded: list[EncodedImage] = []
        for start in range(0, len(pixels), step):
            part = pixels[start : start + step]
            with self._running("encode an image"):
                inputs = [image_to_model(image, self.config.resolution) for image in part]
                together = self.model.encode(torch.cat(inputs).to(self.device), progress)
            encoded += [EncodedImage(*(t[i : i + 1] for t in together)) for i in range(len(part))]
        return [
            ImageFeatures(e, (p.shape[0], p.shape[1]), self.fingerprint, self.config.resolution)
            for e, p in zip(encoded, pixels, strict=True)
        ]

    def predict(
        self,
        features: ImageFeatures,
        point_coords: npt.ArrayLike | None = None,
        point_labels: npt.ArrayLike | None = None,
        box: npt.ArrayLike | None = None,
        mask_input: npt.ArrayLike | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        crop: bool = False,
    ) -> Prediction:
        """Predict masks for one or more objects.

        Parameters
        ----------
        features : ImageFeatures
            From :meth:`encode`.
        point_coords : array-like, shape (N, 2) or (B, N, 2), optional
            (x, y) in pixels of the image, pixel centres at integers.
        point_labels : array-like, shape (N,) or (B, N), optional
            1 foreground, 0 background, -1 padding.
        box : array-like, shape (4,), (1, 4) or (B, 4), optional
            x0, y0, x1, y1 in pixels of the image.
        mask_input : array-like, shape (1, L, L) or (B, 1, L, L), optional
            Previous low-resolution logits of each object.
        multimask_output : bool
            Return three masks an object, for prompts that may mean several things, or one.
        return_logits : bool
            Return masks as float32 logits instead of bool.
        crop : bool
            Return each mask as its bounding box and the pixels in it. Nothing of the image's size
            is made, however large the image is.

        Returns
        -------
        Prediction

        Raises
        ------
        PromptError
            If a prompt has the wrong shape or label or lies outside the image, or there is none;
            if both crops and logits are asked for.
        FeaturesError
            If the features were made with other weights or at another resolution.
        DeviceMemoryError
            If the device runs out of memory; the predictor stays usable.
        """
        if crop and return_logits:
            raise PromptError(
                "crop=True and return_logits=True exclude each other: crops are bool. Use one of "
                "them; `logits` of the prediction holds low-resolution logits in any case."
            )
        logits, scores = self._low_resolution(
            features, point_coords, point_labels, box, mask_input, multimask_output
        )
        with self._running("predict masks"):
            filled = fill_holes(logits, self.config.fill_hole_area)
            if crop:
                masks = _cropped(filled.cpu(), features.size)
            else:
                full = upsample(filled, features.size)
                masks = (full if return_logits else full > 0).cpu().numpy()
        arrays = [masks, *(t.cpu().numpy() for t in (scores, logits.clamp(-_CLAMP, _CLAMP)))]
        if len(logits) == 1:
            arrays = [a[0] for a in arrays]
        return Prediction(*arrays)

    def _low_resolution(
        self,
        features: ImageFeatures,
        point_coords: npt.ArrayLike | None,
        point_labels: npt.ArrayLike | None,
        box: npt.ArrayLike | None,
        mask_input: npt.ArrayLike | None,
        multimask_output: bool,
    ) -> tuple[Tensor, Tensor]:
        """Check features and prompts; logits (B, C, L, L), neither filled nor clamped, scores."""
        made_with = features.fingerprint, features.resolution
        if made_with != (self.fingerprint, self.config.resolution):
            raise FeaturesError(
                f"the features were made with the weights {made_with[0]} at {made_with[1]} px, "
                f"this predictor has {self.fingerprint} at {self.config.resolution} px; encode "
                "the image again."
            )
        prompts = check_prompts(
            point_coords,
            point_labels,
            box,
            mask_input,
            size=features.size,
            mask_size=self.config.mask_size,
        )
        with self._running("predict masks"):
            return self._decode(features, prompts, multimask_output)

    def _decode(
        self, features: ImageFeatures, prompts: Prompts, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """Low-resolution logits (B, C, L, L) and scores (B, C), float32."""
        coords = to_model_frame(prompts.coords, features.size, self.config.resolution)
        mask = None
        if prompts.mask is not None:
            mask = torch.tensor(prompts.mask).to(self.device)
        raw = self.model.decode(
            features.to(self.device).encoded,
            torch.tensor(coords).to(self.device),
            torch.tensor(prompts.labels).to(self.device),
            mask,
        )
        logits, scores = select_masks(raw, multimask=multimask)
        return logits.float(), scores.float()

    @contextmanager
    def _running(self, what: str) -> Iterator[None]:
        """Run without autograd and turn memory errors of the device into ours."""
        kind = self.device.type
        half = self.dtype == torch.bfloat16
        try:
            with torch.inference_mode(), torch.autocast(kind, torch.bfloat16, enabled=half):
                yield
        except (RuntimeError, MemoryError) as error:
            if not _lacks_memory(error):
                raise
            raise DeviceMemoryError(
                f"{self.device} ran out of memory while trying to {what}; ask for fewer objects at "
                'once, close other programs, or use device="cpu".'
            ) from error


def _lacks_memory(error: Exception) -> bool:
    """Tell an error about memory from others: CPUs and MPS have no type of their own for it."""
    about = ("can't allocate memory", "out of memory")
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or any(text in str(error) for text in about)


def _cropped(logits: Tensor, size: tuple[int, int]) -> npt.NDArray[Any]:
    """Crop the masks of logits (B, C, L, L); an array of MaskCrop of shape (B, C)."""
    crops = np.empty(logits.shape[:2], object)
    for index in np.ndindex(crops.shape):
        crops[index] = crop_mask(logits[index], size)
    return crops


def load_predictor(
    name_or_path: str | os.PathLike[str] = "tiny",
    device: str | torch.device = "auto",
    precision: Precision = "auto",
    resolution: int | None = None,
) -> Predictor:
    """Load a model and put it on a device.

    Parameters
    ----------
    name_or_path : str or path-like
        ``"tiny"`` for the embedded model, or a weights file: the released ``sam3.pt`` or
        ``model.safetensors``, or one written by this project.
    device : str or torch.device
        ``"auto"`` picks CUDA, then MPS, then the CPU.
    precision : {"auto", "float32", "bfloat16"}
        See :class:`Predictor`.
    resolution : int, optional
        Side of the model's input in pixels, a multiple of 14 from 252 to 2016; by default that of
        the weights, 1008 for the released ones.

    Returns
    -------
    Predictor

    Raises
    ------
    CheckpointNotFoundError, CheckpointError
        If there is no such file, or it is damaged or made for another model.
    DeviceError
        If the device does not exist here.
    ConfigError
        If the resolution or precision is not possible.
    """
    chosen = choose_device(device)
    choose_precision(precision, chosen)
    if name_or_path == "sam3":
        raise CheckpointNotFoundError(
            "the released SAM 3 weights are not part of this package: request access at "
            "huggingface.co/facebook/sam3, download sam3.pt or model.safetensors, and give the "
            'path of that file; or use the embedded model "tiny".'
        )
    path = checkpoint.embedded_weights() if name_or_path == "tiny" else name_or_path
    return Predictor(checkpoint.load(path, resolution=resolution), chosen, precision)
