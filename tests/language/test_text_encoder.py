"""Laws of the text encoder: unit vectors that depend on the text alone, typing errors lie near, and
what resembles nothing is offered nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from veridical.errors import InputError
from veridical.language.encoder import (
    HashedLetters,
    SentenceFolder,
    nearest_phrase,
    suggestions,
)


def test_vectors_have_unit_length_and_depend_on_the_text_alone() -> None:
    vectors = HashedLetters().encode(["left frontal tumour", "Left-frontal tumour", ""])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 1, 0], atol=1e-6)
    np.testing.assert_array_equal(vectors[0], vectors[1])
    np.testing.assert_array_equal(HashedLetters().encode(["left frontal tumour"])[0], vectors[0])


@pytest.mark.parametrize(
    ("typed", "known"),
    [("glioblastma", "glioblastoma"), ("ocipital", "occipital"), ("demyelinatng plaques",
     "demyelinating plaques")],
)  # fmt: skip
def test_a_typing_error_is_offered_what_it_resembles(typed: str, known: str) -> None:
    assert nearest_phrase(typed) == known


def test_what_resembles_nothing_is_offered_nothing() -> None:
    assert nearest_phrase("zanthoma xyz") is None
    assert suggestions(["zzz", "ocipital"]) == "'zzz'; 'ocipital' (did you mean 'occipital'?)"


def test_any_encoder_of_the_interface_may_compare() -> None:
    class FirstLetter:
        def encode(self, texts: list[str]) -> np.ndarray:
            return np.eye(256, dtype=np.float32)[[ord(text[0]) for text in texts]]

    assert str(nearest_phrase("gxx", FirstLetter())).startswith("g")
    with pytest.raises(InputError, match="no folder"):
        SentenceFolder(Path("nowhere")).encode(["a"])
