"""The public SAM 3 notebook's video model and the function that builds it."""

from __future__ import annotations

import os
from types import SimpleNamespace

import torch

from sam3.notebook.image_model import find_weights
from sam3.notebook.video_predictor import Sam3VideoPredictor
from sam3.runtime.devices import Precision
from sam3.tracking.tracker import Tracker, load_tracker

__all__ = ["Sam3VideoModel", "build_sam3_video_model"]


class Sam3VideoModel:
    """SAM 3 for series of frames, with its tracker only.

    Parameters
    ----------
    tracker : Tracker

    Attributes
    ----------
    tracker : Sam3VideoPredictor
    detector : namespace
        Its ``backbone`` is the tracker's encoder.
    """

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = Sam3VideoPredictor(tracker)
        self.detector = SimpleNamespace(backbone=self.tracker.backbone)


def build_sam3_video_model(
    checkpoint_path: str | os.PathLike[str] | None = None,
    load_from_HF: bool = True,
    bpe_path: str | os.PathLike[str] | None = None,
    device: str | torch.device | None = None,
    *,
    preset: str | None = None,
    precision: Precision = "auto",
    resolution: int | None = None,
    memory_selection: bool = True,
) -> Sam3VideoModel:
    """Build the model as the public SAM 3 notebook does.

    Parameters
    ----------
    checkpoint_path, load_from_HF, bpe_path, device, preset, precision, resolution
        As for :func:`sam3.build_sam3_image_model`.
    memory_selection : bool
        Remember good frames rather than recent ones, as the original video model does.

    Returns
    -------
    Sam3VideoModel

    Raises
    ------
    CheckpointNotFoundError, CheckpointError, DownloadError
        If there are no weights, they do not fit, or they include no memory.
    """
    path = find_weights(checkpoint_path, preset, load_from_HF)
    return Sam3VideoModel(
        load_tracker(path, device or "auto", precision, resolution, selection=memory_selection)
    )
