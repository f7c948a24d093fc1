"""Detectors are read strictly from every naming, and clicks do without them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sam3 import load_predictor
from sam3.concepts.detector import load_detector
from sam3.config import ModelConfig
from sam3.errors import CheckpointError, ConfigError
from sam3.model.detector_model import DetectorModel
from sam3.model_builder import build_click_model, build_detector_model
from sam3.weights import file as weights_file
from sam3.weights import load as checkpoint
from sam3.weights.detector import holds_detector, load_detector_model
from sam3.weights.detector_keys import official_detector_table, transformers_detector_table
from sam3.weights.keys import Source, multiplex_table, official_table, transformers_table
from tests.sam3.tiny_detector import DETECTOR_TINY, save_tiny_detector

CLICK, DETECTOR = build_click_model(DETECTOR_TINY), build_detector_model(DETECTOR_TINY)
TABLES = {
    "official": (official_table, official_detector_table),
    "transformers": (transformers_table, transformers_detector_table),
    "sam3.1": (multiplex_table, official_detector_table),
}


def released(naming: str) -> dict[str, torch.Tensor]:
    """Tensors of both models under the names of a format, packed ones cut into their parts."""
    state: dict[str, torch.Tensor] = {}
    for model, table in zip((CLICK, DETECTOR), TABLES[naming], strict=True):
        for name, source in table(DETECTOR_TINY).items():
            state |= parts(source, model.state_dict()[name])
    return state


def parts(source: Source, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    if not source.as_stored:  # the table of positions
        tensor = tensor.flatten(1, 2)
    return dict(zip(source.keys, (t.clone() for t in tensor.chunk(len(source.keys))), strict=True))


def write(folder: Path, state: dict[str, torch.Tensor]) -> Path:
    path = folder / "model.safetensors"
    save_file(state, path)
    return path


def equal(a: DetectorModel, b: DetectorModel) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.mark.parametrize("naming", TABLES)
def test_every_naming_fills_the_same_detector(naming: str, tmp_path: Path) -> None:
    path = write(tmp_path, released(naming))
    assert holds_detector(path)
    loaded = load_detector_model(path, config=DETECTOR_TINY)
    assert equal(loaded, DETECTOR)
    assert not loaded.training
    click = checkpoint.load(path, config=DETECTOR_TINY)
    assert checkpoint.fingerprint(click) == checkpoint.fingerprint(CLICK)


def test_own_format_holds_both(tmp_path: Path) -> None:
    path = tmp_path / "both.safetensors"
    save_tiny_detector(path)
    detector = load_detector(path, "cpu")
    assert equal(detector.model, DETECTOR)
    assert detector.predictor.config == DETECTOR_TINY == detector.model.config
    assert load_detector(path, "cpu", resolution=336).model.config.resolution == 336


@pytest.mark.parametrize("naming", TABLES)
def test_what_the_released_files_hold_beside_is_dropped(naming: str, tmp_path: Path) -> None:
    state, one = released(naming), torch.zeros(1)
    if naming == "transformers":
        names = [
            "detector_model.mask_decoder.pixel_decoder.norms.2.bias",
            "detector_model.text_encoder.text_projection.weight",
            "detector_model.vision_encoder.neck.fpn_layers.3.proj1.bias",
        ]
    else:
        names = [
            "detector.geometry_encoder.points_direct_project.weight",
            "detector.backbone.language_backbone.encoder.text_projection",
            "detector.segmentation_head.pixel_decoder.conv_layers.2.weight",
            "detector.backbone.vision_backbone.trunk.blocks.0.attn.freqs_cis",
        ]
    path = write(tmp_path, state | {name: one.clone() for name in names})
    assert equal(load_detector_model(path, config=DETECTOR_TINY), DETECTOR)


@pytest.mark.parametrize("naming", TABLES)
def test_missing_unknown_and_misshapen_tensors_are_named(naming: str, tmp_path: Path) -> None:
    prefix = "detector_model" if naming == "transformers" else "detector"
    decoder = "detr_decoder" if naming == "transformers" else "transformer.decoder"
    state, key = released(naming), f"{prefix}.{decoder}.query_embed.weight"
    query = state.pop(key)
    with pytest.raises(CheckpointError, match=f"1 tensors missing .{key}"):
        load_detector_model(write(tmp_path, state), config=DETECTOR_TINY)
    with pytest.raises(CheckpointError, match=f"{key} is 30x127, expected 30x128"):
        load_detector_model(
            write(tmp_path, state | {key: query[:, 1:].clone()}), config=DETECTOR_TINY
        )
    strange = f"{prefix}.geometry_encoder.masks_project.weight"
    with pytest.raises(CheckpointError, match=f"1 tensors unknown .{strange}"):
        load_detector_model(
            write(tmp_path, state | {key: query, strange: query.clone()}), config=DETECTOR_TINY
        )


def test_an_own_file_with_half_a_detector_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "both.safetensors"
    save_tiny_detector(path)
    state = load_file(path)
    del state["detector.masks.instances.bias"]
    state["detector.masks.other"] = torch.zeros(1)
    save_file(state, path, {"sam3_config": DETECTOR_TINY.to_json()})
    with pytest.raises(CheckpointError, match=r"1 tensors missing .*; 1 tensors unknown"):
        load_detector_model(path)


def test_click_weights_have_none(tmp_path: Path) -> None:
    assert not holds_detector(checkpoint.embedded_weights())
    with pytest.raises(CheckpointError, match=r"has no concept detector.*Expected one such as"):
        load_detector("tiny", "cpu")
    path = tmp_path / "click.safetensors"
    checkpoint.save(CLICK, path)
    assert checkpoint.load(path).config.detector is None
    with pytest.raises(ConfigError, match="has no detector"):
        DetectorModel(checkpoint.load(path).config)


def test_clicks_read_none_of_the_detectors_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "both.safetensors"
    save_tiny_detector(path)
    read: list[int] = []
    fill = weights_file.fill

    def watched(tensors: Iterable[Any]) -> Any:
        pairs = list(tensors)
        read.extend(target.nbytes for target, _ in pairs)
        return fill(pairs)

    monkeypatch.setattr(checkpoint, "fill", watched)
    load_predictor(path, "cpu")
    assert sum(read) == sum(tensor.nbytes for tensor in CLICK.state_dict().values())


def test_configurations_remember_the_detector() -> None:
    assert ModelConfig.from_json(DETECTOR_TINY.to_json()) == DETECTOR_TINY
    broken = DETECTOR_TINY.to_json().replace('"queries"', '"questions"')
    with pytest.raises(ConfigError, match="questions"):
        ModelConfig.from_json(broken)
