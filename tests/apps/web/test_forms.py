"""Forms from settings, and settings from forms."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from veridical import registry
from veridical.apps.run import Reading
from veridical.apps.web import forms
from veridical.errors import SettingError
from veridical.task import form
from veridical.workflow.audit import Audit
from veridical.workflow.evaluate import Evaluate


@pytest.mark.parametrize("name", registry.entries("task"))
def test_what_the_form_of_a_task_shows_makes_its_usual_settings(name: str) -> None:
    kind = registry.get("task", name)
    defaults = {key: field["default"] for key, field in form(kind)["properties"].items()}
    assert forms.build(kind, defaults) == kind()


@pytest.mark.parametrize("kind", [Reading, Audit, Evaluate])
def test_every_field_has_a_control_and_says_what_it_does(kind: Any) -> None:
    shown = forms.schema(kind)["properties"]
    assert list(shown) == [field.name for field in dataclasses.fields(kind)]
    for field in shown.values():
        assert field["type"] in {"string", "integer", "number", "boolean", "array"}
        assert field["description"]
    assert forms.build(kind, {key: field["default"] for key, field in shown.items()}) == kind()


def test_files_are_chosen_and_lists_are_split() -> None:
    shown = forms.schema(Audit)["properties"]
    assert shown["against"]["format"] == "file"
    made = forms.build(Audit, {"against": "/a/b.nii", "checks": "copies, face", "table": ""})
    assert made == Audit(against=Path("/a/b.nii"), checks=("copies", "face"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"jb": "denoise"}, "no setting 'jb'. Did you mean 'job'"),
        ({"job": "polish"}, "job = 'polish'; expected denoise, super-resolve"),
        ({"draws": "many"}, "draws = 'many'; expected a whole number"),
        ({"draws": 2.5}, "draws = 2.5; expected a whole number"),
        ({"draws": True}, "draws = True; expected a whole number"),
        ({"noise": "1e999"}, "expected a number"),
        ({"noise": float("nan")}, "expected a number"),
        ({"varying": "yes"}, "expected yes or no"),
        ({"channel": 3}, "expected a text"),
        ({"channel": None}, "expected a text"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_is_expected(
    settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(SettingError) as caught:
        forms.build(registry.get("task", "enhance"), settings)
    assert said in str(caught.value)
