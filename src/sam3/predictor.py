"""The interactive predictor: encode an image once, then ask for masks as often as you like."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sam3 import checkpoint
from sam3.config import ModelConfig
from sam3.errors import CheckpointNotFoundError, DeviceError, DeviceMemoryError, PromptError
from sam3.model.click_model import ClickModel, EncodedImage
from sam3.model.mask_decoder import select_masks
from sam3.prompts import Prompts, check_prompts
from sam3.transforms import fill_holes, image_to_model, rgb_image, to_model_frame, upsample

__all__ = ["ImageFeatures", "Prediction", "Predictor", "choose_device", "load_predictor"]

_CLAMP = 32.0  # previous logits are handed out, and taken back, within +-32


@dataclass(frozen=True)
class ImageFeatures:
    """An encoded image.

    Attributes
    ----------
    encoded : EncodedImage
        Tensors for the decoder, on the predictor's device.
    size : tuple of int
        (height, width) of the image in pixels.
    fingerprint : str
        Weights that made them.
    """

    encoded: EncodedImage
    size: tuple[int, int]
    fingerprint: str

    @property
    def nbytes(self) -> int:
        """Bytes of memory the features take."""
        return sum(t.nbytes for t in self.encoded)


@dataclass(frozen=True)
class Prediction:
    """Masks for one or more prompted objects; all arrays get a leading B for B > 1 objects.

    Attributes
    ----------
    masks : ndarray of bool, shape (C, H, W)
        At the image's size; float32 logits where these were asked for. C is 3 or 1.
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
    """

    def __init__(self, model: ClickModel, device: str | torch.device = "auto") -> None:
        self.device = choose_device(device)
        self.model = model.to(self.device).eval()
        self.fingerprint = checkpoint.fingerprint(model)

    @property
    def config(self) -> ModelConfig:
        """Sizes of the model."""
        return self.model.config

    def encode(self, image: Any) -> ImageFeatures:
        """Encode an image.

        Parameters
        ----------
        image : PIL.Image.Image, ndarray or Tensor
            See :func:`sam3.transforms.rgb_image`.

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
        pixels = rgb_image(image)
        with self._running("encode an image"):
            batch = image_to_model(pixels, self.config.resolution).to(self.device)
            encoded = self.model.encode(batch)
        height, width = pixels.shape[:2]
        return ImageFeatures(encoded, (height, width), self.fingerprint)

    def predict(
        self,
        features: ImageFeatures,
        point_coords: npt.ArrayLike | None = None,
        point_labels: npt.ArrayLike | None = None,
        box: npt.ArrayLike | None = None,
        mask_input: npt.ArrayLike | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
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

        Returns
        -------
        Prediction

        Raises
        ------
        PromptError
            If a prompt has the wrong shape or label or lies outside the image, or there is none.
        DeviceMemoryError
            If the device runs out of memory; the predictor stays usable.
        """
        if features.fingerprint != self.fingerprint:
            raise PromptError(
                f"the features were made with the weights {features.fingerprint}, this predictor "
                f"has {self.fingerprint}; encode the image again."
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
            logits, scores = self._decode(features, prompts, multimask_output)
            filled = fill_holes(logits, self.config.fill_hole_area)
            masks = upsample(filled, features.size)
            if not return_logits:
                masks = masks > 0
        arrays = [t.cpu().numpy() for t in (masks, scores, logits.clamp(-_CLAMP, _CLAMP))]
        if prompts.objects == 1:
            arrays = [a[0] for a in arrays]
        return Prediction(*arrays)

    def _decode(
        self, features: ImageFeatures, prompts: Prompts, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """Low-resolution logits (B, C, L, L) and scores (B, C), float32."""
        coords = to_model_frame(prompts.coords, features.size, self.config.resolution)
        mask = None
        if prompts.mask is not None:
            mask = torch.tensor(prompts.mask).to(self.device)
        raw = self.model.decode(
            features.encoded,
            torch.tensor(coords).to(self.device),
            torch.tensor(prompts.labels).to(self.device),
            mask,
        )
        logits, scores = select_masks(raw, multimask=multimask)
        return logits.float(), scores.float()

    @contextmanager
    def _running(self, what: str) -> Iterator[None]:
        """Run without autograd and turn memory errors of the device into ours."""
        try:
            with torch.inference_mode():
                yield
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise DeviceMemoryError(
                f"{self.device} ran out of memory while trying to {what}; ask for fewer objects at "
                'once, close other programs, or use device="cpu".'
            ) from error


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """Resolve a device name.

    Parameters
    ----------
    device : str or torch.device
        ``"auto"``, ``"cpu"``, ``"mps"``, ``"cuda"`` or ``"cuda:1"``.

    Returns
    -------
    torch.device

    Raises
    ------
    DeviceError
        If it does not exist here.
    """
    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = torch.backends.mps.is_available()
    if device == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    here = ["cpu"] + ["mps"] * mps + [f"cuda:{i}" for i in range(cuda)]
    try:
        chosen = torch.device(device)
    except RuntimeError:
        chosen = None
    if chosen is not None:
        exists = {"cpu": True, "mps": mps, "cuda": (chosen.index or 0) < cuda}
        if exists.get(chosen.type, False):
            return chosen
    raise DeviceError(
        f"the device {str(device)!r} does not exist here; available are {', '.join(here)}, "
        'or "auto".'
    )


def load_predictor(
    name_or_path: str | os.PathLike[str] = "tiny", device: str | torch.device = "auto"
) -> Predictor:
    """Load a model and put it on a device.

    Parameters
    ----------
    name_or_path : str or path-like
        ``"tiny"`` for the embedded model, or a weights file: the released ``sam3.pt`` or
        ``model.safetensors``, or one written by this project.
    device : str or torch.device
        ``"auto"`` picks CUDA, then MPS, then the CPU.

    Returns
    -------
    Predictor

    Raises
    ------
    CheckpointNotFoundError, CheckpointError
        If there is no such file, or it is damaged or made for another model.
    DeviceError
        If the device does not exist here.
    """
    chosen = choose_device(device)
    if name_or_path == "tiny":
        return Predictor(checkpoint.load(checkpoint.embedded_weights()), chosen)
    if name_or_path == "sam3":
        raise CheckpointNotFoundError(
            "the released SAM 3 weights are not part of this package: request access at "
            "huggingface.co/facebook/sam3, download sam3.pt or model.safetensors, and give the "
            'path of that file; or use the embedded model "tiny".'
        )
    return Predictor(checkpoint.load(name_or_path), chosen)
