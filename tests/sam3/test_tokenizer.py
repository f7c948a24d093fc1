"""Texts become the ids that the original implementation makes of them."""

from __future__ import annotations

import gzip
import hashlib
import logging
from pathlib import Path

import numpy as np
import pytest

from sam3.concepts.tokenizer import ConceptTokenizer, embedded_vocabulary
from sam3.errors import CheckpointError, PromptError
from tests.sam3.golden_model import GOLDEN

RECORDED = np.load(GOLDEN / "official_detector_small.npz")


@pytest.fixture(scope="module")
def tokenizer() -> ConceptTokenizer:
    return ConceptTokenizer()


@pytest.mark.parametrize("index", range(15))
def test_ids_are_those_recorded(tokenizer: ConceptTokenizer, index: int) -> None:
    ids = tokenizer.encode(str(RECORDED["texts"][index]))
    assert ids + [0] * (32 - len(ids)) == RECORDED["tokens"][index].tolist()


# Made with the tokenizer of open_clip_torch 3.3.0, from which the vocabulary is.
@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("!-", [43499]),
        ("!!a", [748, 320]),
        ("&amp;lt;", [283]),
        ("l'été", [331, 262, 3459, 39694]),
        ("<|endoftext|> x", [27, 347, 40786, 4160, 91, 285, 343]),
        (" \t\n", []),
    ],
)
def test_symbols_and_entities(tokenizer: ConceptTokenizer, text: str, ids: list[int]) -> None:
    assert tokenizer.encode(text) == [49406, *ids, 49407]


@pytest.mark.parametrize("text", ["cell " * 200, "%&/" * 333, "細" * 1000, "\x00\ud800"])
def test_any_text_fits_the_context(
    tokenizer: ConceptTokenizer, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        ids = tokenizer.encode(text)
    assert (ids[0], ids[-1]) == (49406, 49407)
    assert len(ids) <= 32
    assert bool(caplog.records) == (len(text) >= 999)


@pytest.mark.parametrize("text", [None, 3, b"cell", ["cell"]])
def test_what_is_no_text_is_refused(tokenizer: ConceptTokenizer, text: object) -> None:
    with pytest.raises(PromptError, match=r"Expected a string"):
        tokenizer.encode(text)  # type: ignore[arg-type]


def test_the_vocabulary_may_lie_elsewhere(tokenizer: ConceptTokenizer, tmp_path: Path) -> None:
    content = embedded_vocabulary().read_bytes()
    digest = "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"
    assert hashlib.sha256(content).hexdigest() == digest
    plain = tmp_path / "merges.txt"
    plain.write_bytes(gzip.decompress(content))
    assert ConceptTokenizer(plain).encode("Yellow School Bus") == [49406, 4481, 1228, 2840, 49407]


@pytest.mark.parametrize(
    "content", [b"", b"\x1f\x8b broken", b"\xff\xfe", b"#\ni n\nt h\n", b"#\none two three\n"]
)
def test_a_wrong_vocabulary_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "merges.txt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="the vocabulary"):
        ConceptTokenizer(path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        ConceptTokenizer(tmp_path / "absent.txt")
