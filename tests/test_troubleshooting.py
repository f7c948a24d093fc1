"""The page on troubleshooting quotes the messages that users get."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from sam3 import load_predictor
from sam3.errors import CheckpointError

PAGE = Path(__file__).parents[1] / "docs" / "troubleshooting.md"


def test_weights_files_that_do_not_load_are_quoted_with_their_messages(tmp_path: Path) -> None:
    cut, other, foreign, lacking = (tmp_path / f"{name}.safetensors" for name in "abcd")
    tiny = next((Path(__file__).parents[1] / "src").rglob("tiny.safetensors"))
    cut.write_bytes(tiny.read_bytes()[:100_000])
    other.write_bytes(b"no weights at all")
    save_file({"some": torch.zeros(2)}, foreign)
    with safe_open(tiny, framework="pt") as whole:
        kept = {name: whole.get_tensor(name) for name in sorted(whole.keys())[1:]}
        save_file(kept, lacking, whole.metadata())
    messages = []
    for path in (cut, other, foreign, lacking):
        with pytest.raises(CheckpointError) as raised:
            load_predictor(path, device="cpu")
        messages.append(str(raised.value))
    (title,) = re.findall(
        r"^\*\*(.+)\*\* The download is incomplete", PAGE.read_text("utf-8"), re.M
    )
    quotes = re.findall(r'"([^"]+)"', title)
    assert len(quotes) == len(messages)
    for quote, message in zip(quotes, messages, strict=True):
        assert quote in message, message
