"""Weights files: every format back and forth, and every kind of bad file."""

from __future__ import annotations

import dataclasses
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from sam3.cli import main
from sam3.config import PRESETS, get_preset
from sam3.errors import CheckpointError, CheckpointNotFoundError, ConfigError
from sam3.model.click_model import ClickModel
from sam3.model_builder import build_click_model
from sam3.weights import load as checkpoint
from sam3.weights.keys import multiplex_table, official_table, transformers_table
from tests.sam3.golden_model import SMALL, golden_state
from tests.sam3.oracle import CONFIG, save_as_released, transformers_model

TINY = get_preset("tiny")


def equal(a: ClickModel, b: ClickModel) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.fixture
def tiny() -> ClickModel:
    return build_click_model(TINY, seed=3)


@pytest.fixture(scope="module")
def official() -> dict[str, torch.Tensor]:
    return golden_state(SMALL)


def test_own_format_round_trip(tiny: ClickModel, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    checkpoint.save(tiny, path)
    loaded = checkpoint.load(path)
    assert loaded.config == TINY
    assert equal(loaded, tiny)
    assert checkpoint.fingerprint(loaded) == checkpoint.fingerprint(tiny)
    assert not path.with_name("weights.safetensors.partial").exists()
    assert list(path.parent.iterdir()) == [path]


def test_half_precision_file_is_half_as_large(tiny: ClickModel, tmp_path: Path) -> None:
    for name, dtype in (("whole", torch.float32), ("half", torch.float16)):
        checkpoint.save(tiny, tmp_path / name, dtype=dtype)
    whole, half = (tmp_path / name for name in ("whole", "half"))
    assert half.stat().st_size < 0.51 * whole.stat().st_size
    loaded = checkpoint.load(half)
    assert loaded.mask_decoder.iou_token.dtype == torch.float32
    assert torch.equal(loaded.prompt_encoder.gaussian, tiny.prompt_encoder.gaussian)
    torch.testing.assert_close(loaded.trunk.pos_embed, tiny.trunk.pos_embed, atol=1e-4, rtol=1e-3)


def test_fingerprint_sees_one_changed_value(tiny: ClickModel) -> None:
    before = checkpoint.fingerprint(tiny)
    with torch.no_grad():
        tiny.mask_decoder.iou_token[0, 0] += 1e-6
    assert checkpoint.fingerprint(tiny) != before


@pytest.mark.parametrize("wrapped", [False, True], ids=["flat", "under model, with module."])
def test_official_file(official: dict[str, torch.Tensor], tmp_path: Path, wrapped: bool) -> None:
    extra = {
        "detector.transformer.encoder.weight": torch.zeros(2),
        "detector.backbone.vision_backbone.trunk.blocks.0.attn.freqs_cis": torch.zeros(2),
        "tracker.maskmem_backbone.fuser.weight": torch.zeros(2),
    }
    content: dict[str, object] = {**official, **extra}
    if wrapped:
        content = {"model": {f"module.{k}": v for k, v in content.items()}, "epoch": 3}
    path = tmp_path / "some name.bin"  # the format is told from the content
    torch.save(content, path)
    model = checkpoint.load(path, config=SMALL)
    position = official["detector.backbone.vision_backbone.trunk.pos_embed"]
    torch.testing.assert_close(model.trunk.pos_embed.flatten(1, 2), position[:, 1:])
    assert torch.equal(
        model.prompt_encoder.point_embed[2:3],
        official["tracker.sam_prompt_encoder.point_embeddings.2.weight"],
    )
    assert checkpoint.inspect(path).format == "official"


def test_click_head_of_sam_3_1(official: dict[str, torch.Tensor], tmp_path: Path) -> None:
    renames = {
        "detector.backbone.vision_backbone.sam2_convs.": (
            "detector.backbone.vision_backbone.interactive_convs."
        ),
        "tracker.sam_prompt_encoder.": "tracker.model.interactive_sam_prompt_encoder.",
        "tracker.sam_mask_decoder.": "tracker.model.interactive_sam_mask_decoder.",
        "tracker.no_mem_embed": "tracker.model.interactivity_no_mem_embed",
    }
    renamed = {}
    for key, tensor in official.items():
        old = next((old for old in renames if key.startswith(old)), "")
        renamed[renames.get(old, "") + key.removeprefix(old)] = tensor
    # The video decoder's and the other necks' names differ by a word only, and are the wrong ones.
    decoy = torch.full((1, 256), 9.0)
    renamed["tracker.model.sam_mask_decoder.iou_token.weight"] = decoy
    renamed["detector.backbone.vision_backbone.sam2_convs.2.conv_1x1.bias"] = decoy[0]
    torch.save(renamed, tmp_path / "sam3.1.pt")
    torch.save(official, tmp_path / "sam3.pt")
    found = checkpoint.load(tmp_path / "sam3.1.pt", config=SMALL)
    assert equal(found, checkpoint.load(tmp_path / "sam3.pt", config=SMALL))
    assert checkpoint.inspect(tmp_path / "sam3.1.pt").format == "sam3.1"


def test_transformers_file_fills_the_same_model(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    peer = transformers_model()
    save_as_released(peer, path)
    model = checkpoint.load(path, config=CONFIG)
    layer = peer.vision_encoder.backbone.layers[1].attention
    qkv = torch.cat([layer.q_proj.weight, layer.k_proj.weight, layer.v_proj.weight])
    assert torch.equal(model.get_parameter("trunk.blocks.1.attn.qkv.weight"), qkv)
    assert checkpoint.inspect(path).format == "transformers"


@pytest.mark.parametrize("table", [official_table, transformers_table, multiplex_table])
@pytest.mark.parametrize("preset", PRESETS)
def test_tables_name_every_parameter_once(table: object, preset: str) -> None:
    config = get_preset(preset)
    with torch.device("meta"):
        names = set(ClickModel(config).state_dict())
    entries = table(config)  # type: ignore[operator]
    assert set(entries) == names
    keys = [key for source in entries.values() for key in source.keys]
    assert len(keys) == len(set(keys))


def refused(path: Path, **kwargs: Any) -> str:
    """What is said of a weights file that cannot be used."""
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path, **kwargs)
    return str(caught.value)


def test_missing_tensors_are_counted_and_named(
    official: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "sam3.pt"
    lost = sorted(k for k in official if k.startswith("tracker.sam_prompt_encoder"))
    torch.save({k: v for k, v in official.items() if k not in lost}, path)
    assert refused(path, config=SMALL) == (
        f"{path} does not fit the model {SMALL.name!r} (official naming): 17 tensors missing "
        f"({', '.join(lost[:5])}, ...); 0 tensors unknown. Expected all parameters of the model "
        "and no others. The file seems to lack the tracker, as detector-only fine-tunes do. Choose "
        "another."
    )


def test_unknown_tensors_are_named(official: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "sam3.pt"
    new = [f"tracker.new_part.{number}" for number in range(5)]
    torch.save({**official, **dict.fromkeys(new, torch.zeros(1))}, path)
    assert refused(path, config=SMALL) == (
        f"{path} does not fit the model {SMALL.name!r} (official naming): 0 tensors missing; 5 "
        f"tensors unknown ({', '.join(new)}). Expected all parameters of the model and no others. "
        f"Its sizes may differ from the preset {SMALL.name!r}. Pass its configuration."
    )


def test_misshapen_tensors_are_named(tiny: ClickModel, tmp_path: Path) -> None:
    state = {k: v.clone() for k, v in tiny.state_dict().items()}
    state["trunk.ln_pre.weight"] = torch.zeros(7)
    state["trunk.blocks.0.attn.qkv.weight"] = torch.zeros(3, 192)
    path = tmp_path / "weights.safetensors"
    save_file(state, path, {"sam3_config": TINY.to_json()})
    message = refused(path)
    assert message.startswith(f"{path} does not fit the model 'tiny': 2 tensors misshapen (")
    assert "trunk.ln_pre.weight is 7, expected 192" in message
    assert "trunk.blocks.0.attn.qkv.weight is 3x192, expected 576x192" in message
    assert ", expected 576x192). Expected the shapes of the model." in message


def test_misshapen_parts_of_a_tensor_are_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    peer = transformers_model()
    save_as_released(peer, path)
    wide = dataclasses.replace(CONFIG, trunk=dataclasses.replace(CONFIG.trunk, mlp_hidden=999))
    message = refused(path, config=wide)
    assert "tensors misshapen" in message
    assert "expected 999x" in message
    assert message.count(", expected") == 5
    assert ", ...). Expected the shapes of the model." in message


def test_file_for_another_model(tmp_path: Path) -> None:
    path = tmp_path / "sam1.safetensors"
    save_file({f"image_encoder.{n}": torch.zeros(1) for n in "dbca"}, path)
    assert refused(path) == (
        f"{path} is not a SAM 3 weights file: none of its 4 tensors has a name from sam3.pt or "
        "model.safetensors (the first are image_encoder.a, image_encoder.b, image_encoder.c). "
        "Expected such names; SAM 1 and SAM 2 files do not fit. Get sam3.pt from "
        "huggingface.co/facebook/sam3."
    )
    save_file({}, path)
    assert "none of its 0 tensors has a name" in refused(path)
    assert "(the first are absent)" in refused(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    path = tmp_path / "absent.pt"
    with pytest.raises(CheckpointNotFoundError) as caught:
        checkpoint.load(path)
    assert isinstance(caught.value, FileNotFoundError)
    assert str(caught.value) == (
        f"the weights file does not exist: {path}. Expected a downloaded file. Check the path, "
        'or use the embedded model (name "tiny").'
    )
    assert refused(tmp_path) == (
        f"{tmp_path} is a folder. Expected a file. Give the weights file inside it."
    )
    with pytest.raises(CheckpointNotFoundError):
        checkpoint.inspect(path)


def test_a_loaded_model_is_ready_for_use(tiny: ClickModel, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    checkpoint.save(tiny, path, metadata={"note": "a", "sam3_config": "never this"})
    loaded = checkpoint.load(path)
    assert not loaded.training
    assert not any(one.requires_grad for one in loaded.parameters())
    info = checkpoint.inspect(path)
    assert (info.path, info.format, info.config) == (path, "napari-sam3", TINY)
    assert info.tensors == len(tiny.state_dict())
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"note": "a", "sam3_config": TINY.to_json()}
    smaller, taken = checkpoint.load_with_fingerprint(path, resolution=252)
    assert smaller.config == TINY.with_resolution(252)
    assert taken == checkpoint.fingerprint(smaller) == checkpoint.fingerprint(loaded)
    assert re.fullmatch("[0-9a-f]{16}", taken)
    assert checkpoint.load(path, resolution=252).config.resolution == 252


def test_another_configuration_takes_over(tiny: ClickModel, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    checkpoint.save(tiny, path)
    other = dataclasses.replace(TINY, name="other")
    assert checkpoint.load(path, config=other).config.name == "other"
    assert checkpoint.inspect(path).config.name == "tiny"


def test_what_was_loaded_is_logged(
    tiny: ClickModel,
    official: dict[str, torch.Tensor],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path, newer = tmp_path / "weights.safetensors", tmp_path / "sam3.1.pt"
    checkpoint.save(tiny, path)
    torch.save({"tracker.model.interactive_sam_x": torch.zeros(1)}, newer)
    with caplog.at_level("INFO", logger="sam3"):
        checkpoint.load(path)
        assert checkpoint.inspect(newer).config.name == "sam3"
    assert caplog.messages == [
        f"loaded {path} (napari-sam3 naming, {len(tiny.state_dict())} tensors)",
        f"{newer} looks like SAM 3.1; loading its click head is experimental",
    ]


@pytest.mark.parametrize("kept", [0, 5, 100, 100_000])
def test_truncated_files(
    tiny: ClickModel, official: dict[str, torch.Tensor], tmp_path: Path, kept: int
) -> None:
    ours, theirs = tmp_path / "weights.safetensors", tmp_path / "sam3.pt"
    checkpoint.save(tiny, ours)
    torch.save(official, theirs)
    for path in (ours, theirs):
        path.write_bytes(path.read_bytes()[:kept])
        with pytest.raises(CheckpointError, match=path.name):
            checkpoint.load(path)


class _Attack:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (self.target,))  # type: ignore[return-value]


def test_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    torch.save({"model": _Attack(victim)}, tmp_path / "sam3.pt")
    with pytest.raises(CheckpointError, match="could run code"):
        checkpoint.load(tmp_path / "sam3.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(_Attack(victim)))
    with pytest.raises(CheckpointError, match="neither a safetensors file nor a PyTorch archive"):
        checkpoint.load(tmp_path / "plain.pt")
    assert not victim.exists()


def test_damaged_configuration(tiny: ClickModel, tmp_path: Path) -> None:
    state = {k: v.clone() for k, v in tiny.state_dict().items()}
    save_file(state, tmp_path / "weights.safetensors", {"sam3_config": '{"name": "x"}'})
    with pytest.raises(ConfigError, match="configuration cannot be read"):
        checkpoint.load(tmp_path / "weights.safetensors")


def test_unknown_preset_lists_the_valid_ones() -> None:
    with pytest.raises(ConfigError, match=r"'huge'\. Expected one of sam3, tiny"):
        get_preset("huge")


def test_info_command(tiny: ClickModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint.save(tiny, tmp_path / "weights.safetensors")
    assert main(["info", str(tmp_path / "weights.safetensors")]) == 0
    out = capsys.readouterr().out
    assert "napari-sam3" in out
    assert checkpoint.fingerprint(tiny) in out
    assert main(["info", str(tmp_path / "absent.pt")]) == 2
    assert "weights file does not exist" in capsys.readouterr().err
