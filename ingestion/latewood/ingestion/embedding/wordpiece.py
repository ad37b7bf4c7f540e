"""BERT's uncased WordPiece: how the light model's texts become the numbers of word pieces.

Written out here because the usual library brings a client for a model hub, and thirty megabytes, into every install.
A test holds it to that library, text by text.
"""

from __future__ import annotations

import gzip
import hashlib
import string
import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.resources import files
from itertools import islice
from typing import Final

from latewood.graph_schema.errors import RefusedError

__all__ = ["TOKENS_MAX", "WordPiece"]

TOKENS_MAX: Final = 256
"""Pieces of a text that are looked at, with the two that mark its ends: what the model was trained on."""
_WORD_CHARS_MAX: Final = 100
_WORDS_KEPT_MAX: Final = 50_000
_VOCABULARY_SHA256: Final = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
# What Unicode has not assigned yet stays: the published tokenizer, older than some signs, keeps them too.
_UNSEEN: Final = frozenset({"Cc", "Cf", "Co", "Cs"})
_PUNCTUATION: Final = frozenset(string.punctuation)
# Each sign of these blocks is a word of its own.
_IDEOGRAPHS: Final = (
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF), (0x2F800, 0x2FA1F),
)  # fmt: skip


def _vocabulary() -> Mapping[str, int]:
    raw = gzip.decompress(files(__package__ or "").joinpath("vocabulary", "bert-uncased.txt.gz").read_bytes())
    if hashlib.sha256(raw).hexdigest() != _VOCABULARY_SHA256:
        msg = "the vocabulary beside the light embedder is not the one it came with; install latewood again"
        raise RefusedError(msg, code="embedder.model_differs")
    return {piece: number for number, piece in enumerate(raw.decode("utf-8").splitlines())}


def _cleaned(text: str) -> Iterator[str]:
    for char in text:
        if char in "\t\n\r":
            yield " "
        elif char == "\ufffd" or unicodedata.category(char) in _UNSEEN:
            continue
        elif char.isspace():
            yield " "
        elif any(first <= ord(char) <= last for first, last in _IDEOGRAPHS):
            yield f" {char} "
        else:
            yield char


def _folded(text: str) -> str:
    if text.isascii():
        return "".join(char if char.isprintable() else " " if char in "\t\n\r" else "" for char in text).lower()
    apart = unicodedata.normalize("NFD", "".join(_cleaned(text)))
    # Letter by letter: Python's own lower() of a whole word would give the last sigma of a Greek word its other shape.
    return "".join(char.lower() for char in apart if unicodedata.category(char) != "Mn")


def _words(text: str) -> Iterator[str]:
    for run in text.split():
        start = 0
        for place, char in enumerate(run):
            if char in _PUNCTUATION or unicodedata.category(char)[0] == "P":
                if start < place:
                    yield run[start:place]
                yield char
                start = place + 1
        if start < len(run):
            yield run[start:]


class WordPiece:
    """The tokenizer with its vocabulary loaded."""

    def __init__(self) -> None:
        """Load the vocabulary.

        Raises:
            RefusedError: code ``embedder.model_differs``.
        """
        self._numbers = _vocabulary()
        self._unknown = self._numbers["[UNK]"]
        self._first, self._last = self._numbers["[CLS]"], self._numbers["[SEP]"]
        self._split = lru_cache(maxsize=_WORDS_KEPT_MAX)(self._pieces)

    def encode(self, text: str) -> list[int]:
        """Return the numbers of the pieces of *text*, its ends marked; what is past `TOKENS_MAX` is left out."""
        pieces = (piece for word in _words(_folded(text)) for piece in self._split(word))
        return [self._first, *islice(pieces, TOKENS_MAX - 2), self._last]

    def _pieces(self, word: str) -> tuple[int, ...]:
        """Split *word* greedily, longest piece first; one that does not come out is unknown as a whole."""
        if len(word) > _WORD_CHARS_MAX:
            return (self._unknown,)
        found: list[int] = []
        start = 0
        while start < len(word):
            for end in range(len(word), start, -1):
                number = self._numbers.get(word[start:end] if start == 0 else f"##{word[start:end]}")
                if number is not None:
                    found.append(number)
                    start = end
                    break
            else:
                return (self._unknown,)
        return tuple(found)
