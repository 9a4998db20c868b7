"""Text as vectors: a small encoder of our own over letters, behind an interface that an offline
sentence encoder fits too; and the known phrase that is nearest to one that is not known.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from veridical.errors import InputError, MissingExtra
from veridical.language import vocabulary as words

Vectors = NDArray[np.float32]
BUCKETS = 2048
NGRAMS = (3, 4, 5)
"""Letters of the pieces of a word, with a mark at its ends (fastText: Bojanowski et al. 2017,
10.1162/tacl_a_00051).
"""
ALIKE = 0.5
"""Cosine from which on a known phrase is offered for one that is not known."""


class TextEncoder(Protocol):
    """Anything that turns texts into vectors."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return `(text, size)` float32 of unit length; a text without letters is 0."""


@dataclass(frozen=True)
class HashedLetters:
    """Counts of groups of letters, hashed into buckets; the same text has the same vector
    everywhere.
    """

    buckets: int = BUCKETS

    def encode(self, texts: Sequence[str]) -> Vectors:
        out = np.zeros((len(texts), self.buckets), np.float32)
        for row, text in zip(out, texts, strict=True):
            for word in text.lower().replace("-", " ").split():
                marked = f"<{word}>"
                for size in NGRAMS:
                    for start in range(max(len(marked) - size + 1, 1)):
                        piece = marked[start : start + size]
                        row[zlib.crc32(piece.encode()) % self.buckets] += 1.0
        lengths = np.linalg.norm(out, axis=1, keepdims=True)
        return np.asarray(out / np.maximum(lengths, 1e-9), np.float32)


@dataclass(frozen=True)
class SentenceFolder:
    """A sentence encoder that lies in a folder, for instance all-MiniLM-L6-v2. Nothing is
    downloaded.
    """

    folder: Path

    def encode(self, texts: Sequence[str]) -> Vectors:
        if not self.folder.is_dir():
            raise InputError(
                f"{self.folder} is no folder; expected that of a sentence encoder with its "
                "config.json and weights."
            )
        try:
            package = importlib.import_module("sentence_transformers")
        except ImportError as error:
            raise MissingExtra(
                "Sentence encoders need sentence-transformers: pip install sentence-transformers. "
                "Without it, HashedLetters is there."
            ) from error
        model = package.SentenceTransformer(str(self.folder), local_files_only=True)
        found = model.encode(list(texts), normalize_embeddings=True)
        return np.asarray(found, np.float32)


def nearest_phrase(text: str, encoder: TextEncoder | None = None) -> str | None:
    """Return the known phrase that is most like a text; None where none is alike. It is for a
    person to choose: nothing is read as what it resembles.

    Args:
        text: a word or a few.
        encoder: that compares; None: `HashedLetters`.
    """
    phrases = _phrases()
    if encoder is None:
        known, own = _known(), HashedLetters().encode([text])
    else:
        vectors = encoder.encode([*phrases, text])
        known, own = vectors[:-1], vectors[-1:]
    alike = known @ own[0]
    best = int(alike.argmax())
    return phrases[best] if alike[best] >= ALIKE else None


def suggestions(unread: Sequence[str]) -> str:
    """Return for each phrase that was not understood the known one that it resembles, in words."""
    said = []
    for phrase in unread:
        other = nearest_phrase(phrase)
        said.append(f"{phrase!r}" + (f" (did you mean {other!r}?)" if other else ""))
    return "; ".join(said)


@lru_cache(maxsize=1)
def _phrases() -> tuple[str, ...]:
    tables = (words.KINDS, words.LOBES, words.SIDES, words.SIZE_CLASSES, words.COUNTS)
    return tuple(dict.fromkeys(phrase for table in tables for phrase in words.table(table)))


@lru_cache(maxsize=1)
def _known() -> Vectors:
    return HashedLetters().encode(_phrases())
