"""What was chosen or assumed while reading stands beside the result; an assumption warns."""

from __future__ import annotations

from studies import image, picture, result, study

from veridical.audit.input_notes import input_notes

GIVEN = {"T1w": image(picture())}
CHOSEN = "Two T1w runs: run-2 was chosen, the later one"
ASSUMED = "The voxel size is assumed to be 1 mm: the file does not state it."


def test_choices_are_listed_and_pass() -> None:
    found = input_notes(study(GIVEN, (CHOSEN, CHOSEN)), result(picture()))
    assert found is not None
    assert (found.check, found.verdict, found.reason) == ("input", "pass", f"{CHOSEN}.")


def test_an_assumption_warns_and_comes_first() -> None:
    found = input_notes(study(GIVEN, (CHOSEN, ASSUMED)), result(picture()))
    assert found is not None
    assert (found.verdict, found.reason) == ("warn", f"{ASSUMED} {CHOSEN}.")
    assert found.evidence == {"notes": [CHOSEN, ASSUMED], "assumed": [ASSUMED]}


def test_without_notes_there_is_no_finding() -> None:
    assert input_notes(study(GIVEN), result(picture())) is None
