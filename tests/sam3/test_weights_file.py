"""Weights read into memory: what is read, what it is called, and files that change meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sam3.config import get_preset
from sam3.errors import CheckpointError
from sam3.model.click_model import ClickModel
from sam3.model.unfilled import unfilled_model
from sam3.model_builder import build_click_model
from sam3.weights import load as checkpoint
from sam3.weights.file import empty_parameter, fill, open_weights
from tests.sam3.golden_model import SMALL, golden_state
from tests.sam3.oracle import CONFIG, save_as_released, transformers_model

TINY = get_preset("tiny")
MEGABYTE = 1 << 20


@pytest.fixture
def tiny() -> ClickModel:
    return build_click_model(TINY, seed=3)


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_as_released(transformers_model(), path)
    return path


@pytest.mark.parametrize("kind", ["own", "half", "official", "transformers"])
def test_the_fingerprint_taken_on_the_way_is_the_models(
    tiny: ClickModel, released: Path, tmp_path: Path, kind: str
) -> None:
    path, config = tmp_path / "weights", None
    if kind == "official":
        torch.save(golden_state(SMALL), path)
        config = SMALL
    elif kind == "transformers":
        path, config = released, CONFIG
    else:
        checkpoint.save(tiny, path, dtype=torch.float16 if kind == "half" else torch.float32)
    model, fingerprint = checkpoint.load_with_fingerprint(path, config=config)
    assert fingerprint == checkpoint.fingerprint(model)
    assert (fingerprint == checkpoint.fingerprint(tiny)) == (kind == "own")


def test_the_fingerprint_sees_every_parameter_to_its_last_value(tiny: ClickModel) -> None:
    seen = {checkpoint.fingerprint(tiny)}
    state = tiny.state_dict()
    for parameter in state.values():
        last = parameter.view(-1)[-1:]
        last += 1
        seen.add(checkpoint.fingerprint(tiny))
        last -= 1
    assert len(seen) == 1 + len(state)


def test_the_fingerprint_sees_exchanged_parameters(tiny: ClickModel) -> None:
    before = checkpoint.fingerprint(tiny)
    norm = tiny.trunk.ln_pre
    norm.weight.data, norm.bias.data = norm.bias.data, norm.weight.data
    assert checkpoint.fingerprint(tiny) != before
    norm.weight.data, norm.bias.data = norm.bias.data, norm.weight.data
    assert checkpoint.fingerprint(tiny) == before


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_kinds_of_numbers_become_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    values = torch.randn(3, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    save_file({"a": values}, tmp_path / "file")
    read = empty_parameter((3, 5))
    with ExitStack() as stack:
        fill([(read, [open_weights(tmp_path / "file", stack).tensors["a"]])])
    assert torch.equal(read, values.float())


def test_whole_numbers_are_refused(tiny: ClickModel, tmp_path: Path) -> None:
    state = {k: v.clone() for k, v in tiny.state_dict().items()}
    state["trunk.ln_pre.weight"] = torch.ones(192, dtype=torch.int64)
    save_file(state, tmp_path / "weights", {"sam3_config": TINY.to_json()})
    with pytest.raises(CheckpointError, match=r"'trunk.ln_pre.weight' has the data type I64.*F32"):
        checkpoint.load(tmp_path / "weights")


def test_tensors_larger_than_a_piece_and_parts_are_read_in_order(tmp_path: Path) -> None:
    numbers = torch.arange(MEGABYTE, dtype=torch.float32)  # 4 MB
    save_file({"a": numbers, "b": -numbers[:3]}, tmp_path / "file")
    read = empty_parameter((MEGABYTE + 3,))
    assert read.data_ptr() % (2 * MEGABYTE) == 0
    with ExitStack() as stack:
        tensors = open_weights(tmp_path / "file", stack).tensors
        fill([(read, [tensors["b"], tensors["a"]])])
    assert torch.equal(read, torch.cat([-numbers[:3], numbers]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty, as after a download that was stopped"),
        (b"<!doctype html><title>Log in</title>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "it is a pointer of Git LFS"),
        (b"II*\x00" + bytes(20), "it begins with b'II"),
        (None, "holds objects other than tensors"),
    ],
)
def test_other_files_are_named_by_their_kind(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "sam3.pt"
    if content is None:  # as micro-sam and others save a training
        torch.save({"model_state": {}, "trainer": tmp_path}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        checkpoint.load(path)
    assert "Get sam3.pt from huggingface.co/facebook/sam3" in str(caught.value)
    assert "truncated" not in str(caught.value)


def test_a_file_cut_short_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    save_file({"a": torch.ones(MEGABYTE)}, tmp_path / "file")
    with ExitStack() as stack:
        stored = open_weights(tmp_path / "file", stack).tensors["a"]
        os.truncate(tmp_path / "file", 3 * MEGABYTE)
        with pytest.raises(CheckpointError, match=r"ends at byte 3145728.*truncated"):
            fill([(empty_parameter((MEGABYTE,)), [stored])])


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be replaced there")
def test_a_file_replaced_while_it_is_read_is_read_as_it_was(tmp_path: Path) -> None:
    save_file({"a": torch.ones(10)}, tmp_path / "file")
    save_file({"a": torch.zeros(10)}, tmp_path / "new")
    read = empty_parameter((10,))
    with ExitStack() as stack:
        stored = open_weights(tmp_path / "file", stack).tensors["a"]
        (tmp_path / "new").replace(tmp_path / "file")
        fill([(read, [stored])])
    assert torch.equal(read, torch.ones(10))


def test_a_loaded_model_does_without_its_file(tiny: ClickModel, tmp_path: Path) -> None:
    path = tmp_path / "weights"
    checkpoint.save(tiny, path)
    model = checkpoint.load(path)
    with path.open("r+b") as file:  # the same file, not one of its name
        file.write(bytes(MEGABYTE))
        file.truncate(2 * MEGABYTE)
    assert checkpoint.fingerprint(model) == checkpoint.fingerprint(tiny)


def test_parts_that_do_not_fit_are_named_with_their_sizes(released: Path, tmp_path: Path) -> None:
    state = load_file(released)
    name = "detector_model.vision_encoder.backbone.layers.0.attention.k_proj.weight"
    state[name] = state[name][:, 1:].contiguous()
    save_file(state, tmp_path / "file")
    expected = r"q_proj.weight is 64x64 and 64x63 and 64x64, expected 192x64"
    with pytest.raises(CheckpointError, match=expected):
        checkpoint.load(tmp_path / "file", config=CONFIG)


def test_an_unfilled_model_has_the_shapes_and_no_memory(tiny: ClickModel) -> None:
    state = unfilled_model(TINY).state_dict()
    assert {k: v.shape for k, v in state.items()} == {
        k: v.shape for k, v in tiny.state_dict().items()
    }
    assert all(tensor.is_meta for tensor in state.values())


def test_loading_loads_no_compiler(released: Path) -> None:
    """Neither torch's nor sympy, which take a second, nor Triton, which OpenGL does not bear."""
    code = (
        "import sys\n"
        "from sam3 import checkpoint, load_predictor\n"
        "from sam3.config import ModelConfig\n"
        "load_predictor('tiny', 'cpu')\n"
        "checkpoint.load(sys.argv[1], config=ModelConfig.from_json(sys.argv[2]))\n"
        "print('loaded', *{'sympy', 'torch._dynamo', 'torch._inductor', 'triton'} & {*sys.modules})"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(released), CONFIG.to_json()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.split() == ["loaded"], run.stdout + run.stderr
