"""Loading of the concept detector from a weights file, strictly and without its other tensors."""

from __future__ import annotations

import os
from collections.abc import Mapping

from sam3.config import ModelConfig
from sam3.errors import CheckpointError
from sam3.model.detector_model import DetectorModel
from sam3.model.unfilled import unfilled
from sam3.runtime.torch_state import own_defaults
from sam3.weights.detector_keys import (
    MULTIPLEX_DETECTOR_DROPPED,
    OFFICIAL_DETECTOR_DROPPED,
    TRANSFORMERS_DETECTOR_DROPPED,
    official_detector_table,
    transformers_detector_table,
)
from sam3.weights.file import WeightsFile
from sam3.weights.keys import OWN_DETECTOR_PREFIX, Source
from sam3.weights.load import CheckpointInfo, is_dropped, load_into, opened

__all__ = ["holds_detector", "load_detector_model"]

#: Prefix of the detector's query tensors; no tensor for clicks has it.
_MARKS: Mapping[str, str] = {
    "napari-sam3": f"{OWN_DETECTOR_PREFIX}decoder.",
    "official": "detector.transformer.decoder.",
    "sam3.1": "detector.transformer.decoder.",
    "transformers": "detector_model.detr_decoder.",
}


def holds_detector(path: str | os.PathLike[str]) -> bool:
    """Tell whether a weights file has a concept detector, without loading it.

    Raises
    ------
    CheckpointNotFoundError, CheckpointError
        As :func:`sam3.weights.load.load`.
    """
    with opened(path) as (info, file):
        return _holds_detector(info, file)


@own_defaults()
def load_detector_model(
    path: str | os.PathLike[str],
    *,
    config: ModelConfig | None = None,
    resolution: int | None = None,
) -> DetectorModel:
    """Build the concept detector of a weights file and load its weights.

    It does not include the trunk, which is loaded with the click model.

    Parameters
    ----------
    path, config, resolution
        As for :func:`sam3.weights.load.load`.

    Returns
    -------
    DetectorModel
        In evaluation mode, float32, on the CPU.

    Raises
    ------
    CheckpointNotFoundError
        If there is no such file.
    CheckpointError
        If the file has no detector, is damaged or was made for another model.
    """
    with opened(path, config, resolution) as (info, file):
        if not _holds_detector(info, file):
            raise CheckpointError(
                f"the weights file has no concept detector: {info.path}. Expected one such as "
                "sam3.pt or model.safetensors from huggingface.co/facebook/sam3. These weights "
                "support clicks and boxes only."
            )
        model = unfilled(DetectorModel, info.config)
        table, dropped = _table(info, model)
        expected = [name for name in file.tensors if not is_dropped(name, dropped)]
        if info.format == "napari-sam3":
            expected = [name for name in expected if name.startswith(OWN_DETECTOR_PREFIX)]
        load_into(model, info, table, expected, file)
    return model


def _holds_detector(info: CheckpointInfo, file: WeightsFile) -> bool:
    return any(name.startswith(_MARKS[info.format]) for name in file.tensors)


def _table(
    info: CheckpointInfo, model: DetectorModel
) -> tuple[Mapping[str, Source], Mapping[str, str]]:
    """Return the sources of the detector's parameters, and the tensors to ignore."""
    if info.format == "official":
        return official_detector_table(info.config), OFFICIAL_DETECTOR_DROPPED
    if info.format == "sam3.1":
        return official_detector_table(info.config), MULTIPLEX_DETECTOR_DROPPED
    if info.format == "transformers":
        return transformers_detector_table(info.config), TRANSFORMERS_DETECTOR_DROPPED
    return {n: Source((OWN_DETECTOR_PREFIX + n,)) for n in model.state_dict()}, {}
