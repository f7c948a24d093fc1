"""Byte-pair tokenizer of the text encoder: CLIP's vocabulary, cleaning and limits."""

from __future__ import annotations

import gzip
import html
import logging
import os
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from zlib import error as ZlibError

import ftfy
from tokenizers import Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Split
from tokenizers.pre_tokenizers import Sequence as PreTokenizers

from sam3.errors import CheckpointError, PromptError

__all__ = ["ConceptTokenizer", "embedded_vocabulary"]

_LOG = logging.getLogger(__name__)
_START, _END, _WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"
_VOCABULARY = 49408
#: Contractions, runs of letters, single digits, and runs of other characters except white space.
_WORDS = r"(?i)'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_QUOTED = 60  # characters of a text quoted in messages


def embedded_vocabulary() -> Path:
    """Return the path of the vocabulary included in the package."""
    return Path(__file__).with_name("assets") / "bpe_simple_vocab_16e6.txt.gz"


class ConceptTokenizer:
    """Convert short texts to token ids for the text encoder.

    Parameters
    ----------
    vocabulary : path-like, optional
        A list of merges, one per line, plain or compressed with gzip. By default the one
        included in the package.
    context : int
        Longest sequence of ids, start and end included.

    Raises
    ------
    CheckpointError
        If the vocabulary cannot be read or has the wrong size.
    """

    def __init__(
        self, vocabulary: str | os.PathLike[str] | None = None, *, context: int = 32
    ) -> None:
        self.context = context
        merges = _read_merges(Path(vocabulary or embedded_vocabulary()))
        symbols = _byte_symbols()
        tokens = [*symbols, *(symbol + _WORD_END for symbol in symbols)]
        tokens += [left + right for left, right in merges]
        ids = {token: number for number, token in enumerate([*tokens, _START, _END])}
        self._start, self._end = ids[_START], ids[_END]
        self._tokenizer = Tokenizer(BPE(vocab=ids, merges=merges, end_of_word_suffix=_WORD_END))
        words = Split(Regex(_WORDS), behavior="removed", invert=True)
        # Bytes are written as printable characters, all of which are in the vocabulary.
        bytes_of_words = ByteLevel(add_prefix_space=False, use_regex=False)
        self._tokenizer.pre_tokenizer = PreTokenizers([words, bytes_of_words])

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, including start and end, at most `context` in total.

        Raises
        ------
        PromptError
            If `text` is not a string.
        """
        if not isinstance(text, str):
            raise PromptError(
                f"the text is a {type(text).__name__}: {text!r}. Expected a string such as "
                '"nucleus". Pass one.'
            )
        ids = [self._start, *self._tokenizer.encode(clean(text)).ids, self._end]
        if len(ids) > self.context:
            _LOG.warning(
                "truncated the text %r from %d to %d tokens", text[:_QUOTED], len(ids), self.context
            )
            ids = [*ids[: self.context - 1], self._end]
        return ids


def clean(text: str) -> str:
    """Repair Unicode, resolve HTML entities, collapse white space, and convert to lower case."""
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()


def _byte_symbols() -> list[str]:
    """Return one character per byte: printable bytes first, as themselves, then the others."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    printable += range(ord("®"), ord("ÿ") + 1)
    others = len(set(range(256)) - set(printable))
    return [chr(code) for code in chain(printable, range(256, 256 + others))]


def _read_merges(path: Path) -> list[tuple[str, str]]:
    """Read as many merges as the vocabulary holds; the first line is a comment."""
    needed = _VOCABULARY - 2 * 256 - 2
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        lines = content.decode("utf-8").split("\n")[1 : needed + 1]
        merges = [_pair(line.split()) for line in lines]
    except (OSError, EOFError, ZlibError, ValueError) as error:
        raise CheckpointError(
            f"the vocabulary {path} cannot be read: {error}. Expected "
            "bpe_simple_vocab_16e6.txt.gz. Leave bpe_path out to use the one in the package."
        ) from error
    if len(merges) < needed:
        raise CheckpointError(
            f"the vocabulary {path} has {len(merges)} merges. Expected at least {needed}. Leave "
            "bpe_path out to use the one in the package."
        )
    return merges


def _pair(words: Sequence[str]) -> tuple[str, str]:
    left, right = words
    return left, right
