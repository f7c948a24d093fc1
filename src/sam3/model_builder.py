"""Construction of models with random weights, for training and tests."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sam3.config import ModelConfig, get_preset
from sam3.model.click_model import ClickModel
from sam3.model.detector_model import DetectorModel
from sam3.notebook.video_model import build_sam3_video_model
from sam3.predictor import Predictor
from sam3.runtime.torch_state import own_defaults

__all__ = [
    "build_click_model",
    "build_detector_model",
    "build_sam3_video_model",
    "random_predictor",
]

_FOURIER_SCALES = (1.0, 2.0, 4.0, 8.0)


def build_click_model(config: ModelConfig, *, seed: int = 0) -> ClickModel:
    """Build a model with random weights, as the starting point of training.

    Parameters
    ----------
    config : ModelConfig
        Sizes.
    seed : int
        Seed of the weights; the global random state is not changed.

    Returns
    -------
    ClickModel
        In training mode, float32, on the CPU.
    """
    with own_defaults(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ClickModel(config)
        for module in model.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(model.trunk.pos_embed, std=0.02)
        # Wider weights speed up the training of the decoder's attention and the mask heads.
        for module in model.mask_decoder.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
        if config.trunk.width <= 3 * config.patch_size**2:
            model.trunk.patch_embed.weight.data.copy_(_low_frequency_patches(config))
        if config.prompt_encoder.render_prompts:
            _spread_fourier_scales(model.prompt_encoder.gaussian)
    return model


def build_detector_model(config: ModelConfig, *, seed: int = 0) -> DetectorModel:
    """Build a concept detector with random weights, for tests and measurements.

    Parameters
    ----------
    config : ModelConfig
        Sizes, including those of a detector.
    seed : int
        Seed of the weights; the global random state is not changed.

    Returns
    -------
    DetectorModel
        In evaluation mode, float32, on the CPU.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = DetectorModel(config)
        for name, parameter in model.named_parameters():
            if "embed" in name or name.endswith(("reference_boxes", "presence_token")):
                nn.init.normal_(parameter)
    return model.requires_grad_(False).eval()


def random_predictor(preset: str = "tiny", *, seed: int = 0, device: str = "cpu") -> Predictor:
    """Build a predictor with random weights, for tests and measurements.

    Parameters
    ----------
    preset : str
        Name of a configuration.
    seed : int
        Seed of the weights.
    device : str
        As for :func:`sam3.load_predictor`.

    Returns
    -------
    Predictor
    """
    return Predictor(build_click_model(get_preset(preset), seed=seed).eval(), device=device)


def _low_frequency_patches(config: ModelConfig) -> Tensor:
    """Initialise a patch embedding (width, 3, p, p) with 2D cosines, lowest frequency first."""
    p, width = config.patch_size, config.trunk.width
    steps = (torch.arange(p, dtype=torch.float32) + 0.5) * math.pi / p
    waves = torch.stack([(k * steps).cos() for k in range(p)])
    order = sorted((u * u + v * v, u, v) for u in range(p) for v in range(p))
    basis = torch.stack([torch.outer(waves[u], waves[v]) for _, u, v in order])
    basis = basis / basis.flatten(1).norm(dim=1)[:, None, None]
    colours = torch.tensor([[1.0, 1, 1], [1, 0, -1], [1, -2, 1]], dtype=torch.float32)
    colours = colours / colours.norm(dim=1, keepdim=True)
    # Two thirds of the channels encode brightness, the rest the two colour differences.
    grey = min(2 * width // 3, p * p)
    rest = -(-(width - grey) // 2)
    kernels = [colours[0][:, None, None] * basis[:grey, None]]
    kernels += [colours[c][:, None, None] * basis[:rest, None] for c in (1, 2)]
    return torch.cat(kernels)[:width]


def _spread_fourier_scales(gaussian: Tensor) -> None:
    """Scale the columns of the Fourier matrix (2, C) to cover several frequencies."""
    scales = gaussian.new_tensor(_FOURIER_SCALES)
    scales = scales.repeat(-(-gaussian.shape[1] // len(_FOURIER_SCALES)))
    gaussian.mul_(scales[: gaussian.shape[1]])
