"""The interactive predictor: encode an image once, then predict any number of masks."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sam3.adapters import apply_adapter, find_base, is_adapter, read_adapter
from sam3.config import ModelConfig
from sam3.errors import FeaturesError, PromptError
from sam3.features import ImageFeatures
from sam3.model.click_model import ClickModel, EncodedImage
from sam3.model.decoder_graphs import DecoderGraphs
from sam3.model.fixed_shapes import FixedShapes, decode_padded
from sam3.model.image_sides import ImageSides
from sam3.model.mask_decoder import ImageSide
from sam3.model.proposal_head import ProposalHead
from sam3.model.quantization import quantize_trunk
from sam3.prediction import Prediction
from sam3.preprocess.mask_output import MaskKind, empty_masks, write_masks
from sam3.preprocess.transforms import image_to_model, rgb_image, to_model_frame
from sam3.prompts import Prompts, check_prompts
from sam3.runtime.cores import on_all_cores
from sam3.runtime.devices import Precision, choose_device, choose_precision
from sam3.runtime.running import running
from sam3.runtime.torch_state import own_defaults
from sam3.weights import load as checkpoint
from sam3.weights.proposals import load_proposal_head

__all__ = ["ImageFeatures", "Prediction", "Predictor", "load_predictor"]

_GPU_BATCH = 4
_GPU_OBJECTS = 32  # decoded at once: more take memory and save little time
_CLAMP = 32.0  # low-resolution logits are returned, and accepted, within +-32


class Predictor:
    """Predict masks from clicks and boxes on encoded images.

    Parameters
    ----------
    model : ClickModel
        A model with weights; it is moved to the device.
    device : str or torch.device
        ``"auto"`` picks CUDA, then MPS, then the CPU.
    precision : {"auto", "float32", "bfloat16", "int8"}
        Precision of the network; prompts are always encoded in float32. ``"auto"`` is bfloat16
        on CUDA devices of compute capability 8 and up, float32 elsewhere. A caller's autocast is
        ignored. ``"int8"`` is float32 with the linear layers of the encoder rounded to 8 bits, on
        the CPU only: see :mod:`sam3.model.quantization`.
    fingerprint : str, optional
        Fingerprint of the weights, if already computed, as by
        :func:`sam3.weights.load.load_with_fingerprint`.
    proposal_head : ProposalHead, optional
        From the same weights, for :func:`sam3.proposals.propose`.

    Attributes
    ----------
    fingerprint : str
        Identifies the weights. It differs for ``"int8"``, so that features of both precisions are
        never mixed up.
    weights : Path or None
        File read by :func:`load_predictor`; for an adapter, that of its base weights.

    Raises
    ------
    ConfigError, DeviceError
        If the device does not exist or does not support the precision.
    UnsupportedError
        If the processor does not support ``"int8"``.
    """

    def __init__(
        self,
        model: ClickModel,
        device: str | torch.device = "auto",
        precision: Precision = "auto",
        fingerprint: str | None = None,
        proposal_head: ProposalHead | None = None,
    ) -> None:
        self.weights: Path | None = None
        with own_defaults():
            self.model = model.to(choose_device(device)).eval()
            self.proposal_head = proposal_head and proposal_head.to(self.device).eval()
            self.precision = precision
            self.fingerprint = fingerprint or checkpoint.fingerprint(model)
            self._image_sides = ImageSides(model)
            self._decoder: ClickModel | FixedShapes = self.model
            choose_precision(precision, self.device)  # fails early on an unknown name
            self._linears = quantize_trunk(model.trunk) if precision == "int8" else None
            if precision == "int8":
                self.fingerprint += "-int8"

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
        """Data type in which the network computes on its device."""
        return choose_precision(self.precision, self.device)

    def encode(
        self,
        image: Any,
        progress: Callable[[float], None] | None = None,
        *,
        keep_trunk: bool = False,
    ) -> ImageFeatures:
        """Encode an image.

        Parameters
        ----------
        image : PIL.Image.Image, ndarray or Tensor
            See :func:`sam3.preprocess.transforms.rgb_image`.
        progress : callable, optional
            Called after each block of the encoder with the fraction of blocks done, 0 to 1. An
            exception that it raises cancels the encoding and propagates; the predictor stays
            usable.
        keep_trunk : bool
            Keep the trunk's feature map too, in which :class:`sam3.concepts.detector.Detector`
            finds concepts.

        Returns
        -------
        ImageFeatures

        Raises
        ------
        ImageError
            If the image cannot be encoded.
        DeviceMemoryError
            If the device runs out of memory; the predictor stays usable.
        """
        return self._encode([image], progress, keep_trunk)[0]

    def encode_batch(
        self, images: Sequence[Any], *, keep_trunk: bool = False
    ) -> list[ImageFeatures]:
        """Encode images of any sizes and kinds.

        Parameters
        ----------
        images : sequence
            Each as for :meth:`encode`.
        keep_trunk : bool
            As for :meth:`encode`.

        Returns
        -------
        list of ImageFeatures

        Raises
        ------
        ImageError, DeviceMemoryError
            As :meth:`encode`.
        """
        return self._encode(images, None, keep_trunk)

    def _encode(
        self, images: Sequence[Any], progress: Callable[[float], None] | None, keep_trunk: bool
    ) -> list[ImageFeatures]:
        pixels = [rgb_image(image) for image in images]
        made_with = self.fingerprint, self.config.resolution
        # Batches keep the many cores of a GPU busy; on a CPU they only take memory.
        step = 1 if self.device.type == "cpu" else _GPU_BATCH
        features: list[ImageFeatures] = []
        for start in range(0, len(pixels), step):
            part = pixels[start : start + step]
            with self.running("encode an image"):
                side, device = self.config.resolution, self.device
                inputs = torch.cat([image_to_model(image, side, device) for image in part])
                trunk = self.model.trunk(inputs, progress, self._linears)
                batch = self.model.click_features(trunk)
            for i, image in enumerate(part):
                encoded = EncodedImage(*(t[i : i + 1] for t in batch))
                kept = trunk[i : i + 1].contiguous() if keep_trunk else None
                features.append(ImageFeatures(encoded, image.shape[:2], *made_with, trunk=kept))
        return features

    def predict(
        self,
        features: ImageFeatures,
        point_coords: npt.ArrayLike | None = None,
        point_labels: npt.ArrayLike | None = None,
        box: npt.ArrayLike | None = None,
        mask_input: npt.ArrayLike | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        crop: bool | Literal["later"] = False,
    ) -> Prediction:
        """Predict masks for one or more objects.

        Parameters
        ----------
        features : ImageFeatures
            From :meth:`encode`.
        point_coords : array-like, shape (N, 2) or (B, N, 2), optional
            (x, y) in pixels of the image, pixel centres at integers.
        point_labels : array-like, shape (N,) or (B, N), optional
            1 for foreground, 0 for background, -1 for padding.
        box : array-like, shape (4,), (1, 4) or (B, 4), optional
            x0, y0, x1, y1 in pixels of the image.
        mask_input : array-like, shape (1, L, L) or (B, 1, L, L), optional
            Previous low-resolution logits of each object.
        multimask_output : bool
            Return three masks per object, for ambiguous prompts, instead of one.
        return_logits : bool
            Return masks as float32 logits instead of bool.
        crop : bool or "later"
            Return each mask as its bounding box and the pixels in it, without any array of the
            image's size. "later" defers even that: the masks are
            :class:`sam3.preprocess.masks.UndrawnMask`.

        Returns
        -------
        Prediction

        Raises
        ------
        PromptError
            If a prompt has the wrong shape or label, lies outside the image, or is missing; or if
            both crops and logits are requested.
        FeaturesError
            If the features were made with other weights or at another resolution.
        DeviceMemoryError
            If the device runs out of memory; the predictor stays usable.
        """
        if crop and return_logits:
            raise PromptError(
                "crop=True and return_logits=True exclude each other, because crops are bool. "
                "Expected at most one. Use one of them: `logits` of the prediction holds "
                "low-resolution logits anyway."
            )
        self.check_features(features)
        prompts = check_prompts(
            point_coords,
            point_labels,
            box,
            mask_input,
            size=features.size,
            mask_size=self.config.mask_size,
        )
        kind: MaskKind = "logits" if return_logits else "masks"
        if crop:
            kind = "undrawn" if crop == "later" else "crops"
        prediction = self._predict(features, prompts, multimask_output, kind)
        if prompts.objects > 1:
            return prediction
        return Prediction(prediction.masks[0], prediction.scores[0], prediction.logits[0])

    def check_features(self, features: ImageFeatures) -> None:
        """Raise an error for features made with other weights or at another resolution.

        Raises
        ------
        FeaturesError
        """
        made_with = features.fingerprint, features.resolution
        if made_with != (self.fingerprint, self.config.resolution):
            raise FeaturesError(
                f"the features were made with the weights {made_with[0]} at {made_with[1]} px. "
                f"Expected {self.fingerprint} at {self.config.resolution} px, as in this "
                "predictor. Encode the image again."
            )

    def _predict(
        self, features: ImageFeatures, prompts: Prompts, multimask: bool, kind: MaskKind
    ) -> Prediction:
        """Predict masks (B, C, ...) in parts."""
        shape = prompts.objects, 3 if multimask else 1
        size, area = features.size, self.config.fill_hole_area
        with self.running("predict masks"):
            side = self._image_sides.get(features.to(self.device).encoded)
            scores = np.empty(shape, np.float32)
            logits = np.empty((*shape, *[self.config.mask_size] * 2), np.float32)
            masks = empty_masks(shape, size, kind)

        def predict(part: slice) -> None:
            with self.running("predict masks"):
                low, score = self._decode(side, prompts.part(part), size, multimask)
            with self.running("draw masks", exact=True):
                scores[part] = score.cpu().numpy()
                logits[part] = low.clamp(-_CLAMP, _CLAMP).cpu().numpy()
                write_masks(masks[part], low, logits[part], size, kind=kind, fill_area=area)

        # On a CPU one object at a time fits the caches best. Its result is then independent of the
        # other objects of the call: within rounding, and bit for bit with one thread.
        on_cpu = self.device.type == "cpu"
        step = 1 if on_cpu else _GPU_OBJECTS
        parts = [slice(start, start + step) for start in range(0, prompts.objects, step)]
        if on_cpu:
            on_all_cores(predict, parts)
        else:
            for part in parts:
                predict(part)
        return Prediction(masks, scores, logits)

    def _decode(
        self, side: ImageSide, prompts: Prompts, size: tuple[int, int], multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """Decode low-resolution logits (B, C, L, L) and scores (B, C), float32."""
        coords = to_model_frame(prompts.coords, size, self.config.resolution)
        device = self.device if self._decoder is self.model else "cpu"  # where padding is cheap
        points, labels = (torch.tensor(x, device=device) for x in (coords, prompts.labels))
        mask = None if prompts.mask is None else torch.tensor(prompts.mask, device=device)
        raw = self._decoder.decode(side, points, labels, mask, multimask)
        return raw.logits.float(), raw.iou.float()

    def fix_shapes(self) -> None:
        """Pad later prompts to few shapes, replayed as graphs on CUDA; masks differ by rounding."""
        on_cuda = self.device.type == "cuda"
        run = DecoderGraphs(self.model) if on_cuda else partial(decode_padded, self.model)
        self._decoder = FixedShapes(run)

    def running(self, what: str, *, exact: bool = False) -> AbstractContextManager[None]:
        """Return the context in which the network runs; see :func:`sam3.runtime.running.running`.

        With `exact`, for steps that are not part of the model, never in half precision.
        """
        half = self.dtype == torch.bfloat16 and not exact
        return running(what, self.device, half=half)


@own_defaults()
def load_predictor(
    name_or_path: str | os.PathLike[str] = "tiny",
    device: str | torch.device = "auto",
    precision: Precision = "auto",
    resolution: int | None = None,
    *,
    fixed_shapes: bool = False,
) -> Predictor:
    """Load a model and put it on a device.

    Parameters
    ----------
    name_or_path : str or path-like
        ``"tiny"`` for the embedded model; or a weights file, that is the released ``sam3.pt`` or
        ``model.safetensors``, or one written by this project; or an adapter, whose base weights
        are the embedded ones or in the same folder.
    device : str or torch.device
        ``"auto"`` picks CUDA, then MPS, then the CPU.
    precision : {"auto", "float32", "bfloat16", "int8"}
        See :class:`Predictor`.
    resolution : int, optional
        Side of the model's input in pixels, a multiple of 14 from 252 to 2016; by default that of
        the weights, which is 1008 for the released ones.
    fixed_shapes : bool
        As after :meth:`Predictor.fix_shapes`.

    Returns
    -------
    Predictor

    Raises
    ------
    CheckpointNotFoundError, CheckpointError
        If the file does not exist, is damaged or was made for another model.
    DeviceError
        If the device does not exist.
    ConfigError
        If the resolution or the precision is not supported.
    UnsupportedError
        If the processor does not support ``"int8"``.
    """
    chosen = choose_device(device)
    choose_precision(precision, chosen)
    path = checkpoint.weights_file(name_or_path)
    adapter = read_adapter(path) if is_adapter(path) else None
    if adapter is not None:
        path = find_base(adapter, path)
    model, fingerprint = checkpoint.load_with_fingerprint(path, resolution=resolution)
    if adapter is not None:
        apply_adapter(model, fingerprint, adapter)
        fingerprint = checkpoint.fingerprint(model)
    predictor = Predictor(model, chosen, precision, fingerprint, load_proposal_head(path))
    predictor.weights = path
    if fixed_shapes:
        predictor.fix_shapes()
    return predictor
