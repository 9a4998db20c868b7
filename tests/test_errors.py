"""Errors form one tree and help with misspelt names."""

from __future__ import annotations

import inspect

from veridical import errors


def test_every_error_of_ours_can_be_caught_as_one() -> None:
    classes = [
        item
        for item in vars(errors).values()
        if inspect.isclass(item) and item.__module__ == errors.__name__
    ]
    assert len(classes) > 8
    assert all(issubclass(item, errors.VeridicalError) for item in classes)


def test_a_misspelt_name_gets_the_nearest_known_one_and_the_whole_list() -> None:
    sentence = errors.nearest("enhnace", ["reconstruct", "enhance"])
    assert sentence == "Did you mean 'enhance'? Known: enhance, reconstruct."


def test_a_name_like_none_of_the_known_gets_the_list_only() -> None:
    assert errors.nearest("xyz", ["enhance"]) == "Known: enhance."
    assert errors.nearest("xyz", []) == "Known: none."
