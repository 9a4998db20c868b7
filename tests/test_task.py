"""A task is its settings; calling it records what was done."""

from __future__ import annotations

import dataclasses
import inspect
import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from fakes import Jitter
from veridical import registry
from veridical.errors import SettingError
from veridical.task import Task, audited, form, setting_docs
from veridical.types import Geometry, Image, Study

KNOWN = [(kind, name) for kind in ("task", "model") for name in registry.entries(kind)]


@pytest.fixture
def image() -> Image:
    data = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    return Image(data, Geometry.index((3, 4, 5)), "a.u.", ("T1w", "FLAIR"))


def test_the_name_is_that_of_the_class_in_the_words_of_the_command_line() -> None:
    @dataclass(frozen=True)
    class SeeClearer(Jitter):
        pass

    assert SeeClearer.name == "see-clearer"


def test_calling_a_task_records_settings_seed_inputs_and_outputs(image: Image) -> None:
    (step,) = Jitter(spread=0.25)(image, seed=3).steps
    assert (step.task, step.seed, step.model, step.weights) == ("jitter", 3, "none", "none")
    assert step.settings == {"spread": 0.25, "draws": 4, "keep": ()}
    assert set(step.inputs) == {"T1w", "FLAIR"}
    assert set(step.outputs) == {
        "estimate",
        "draws",
        "lower",
        "upper",
        "evidence",
        "measured",
        "unmeasured",
    }


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(image: Image) -> None:
    first, again, other = (Jitter()(image, seed).steps[0].outputs for seed in (1, 1, 2))
    assert first == again
    assert first["estimate"] != other["estimate"]


def test_progress_is_told(image: Image) -> None:
    told: list[tuple[str, int, int]] = []
    Jitter(draws=2)(image, progress=lambda *what: told.append(what))
    assert told == [("drawing", 1, 2), ("drawing", 2, 2)]


def test_settings_that_are_not_there_are_refused_with_the_nearest() -> None:
    assert Jitter.from_settings({"draws": 2}) == Jitter(draws=2)
    with pytest.raises(SettingError, match="'draws'"):
        Jitter.from_settings({"drawz": 2})


def test_docstrings_under_fields_are_read_through_base_classes() -> None:
    @dataclass(frozen=True)
    class More(Jitter):
        """More."""

        more: int = 1
        """Another
        setting."""

    assert setting_docs(More)["more"] == "Another\nsetting."
    assert setting_docs(More)["draws"].startswith("Number of draws")


def test_help_of_a_task_explains_its_settings_and_those_it_inherits() -> None:
    @dataclass(frozen=True)
    class Further(Jitter):
        """Do more."""

        more: int = 1
        """Another
        setting."""
        kind: ClassVar[str] = "a"
        """Not a setting."""

    about = inspect.getdoc(Further) or ""
    assert about.startswith("Do more.\n\nArgs:\n")
    assert "    more: Another setting." in about
    assert "    spread: Standard deviation of the noise, in the units of the image." in about
    assert "Not a setting" not in about
    assert about.count("Do more.") == 1


def test_a_task_typed_into_an_interpreter_has_no_source_and_works() -> None:
    made = type("Made", (Jitter,), {"__doc__": "Made.", "__module__": "__main__"})
    assert (made.__doc__ or "").startswith("Made.\n\nArgs:\n    spread:")


def test_the_result_of_a_task_remembers_what_it_was_made_from(image: Image) -> None:
    result = Jitter()(image)
    assert result.study is not None
    assert list(result.study.visit()) == ["T1w", "FLAIR"]


def test_a_task_takes_an_image_or_a_study_and_every_audit_that_applies_is_heard(
    image: Image,
) -> None:
    noted = dataclasses.replace(Study.of(image), notes=("A spacing of 1 mm was assumed.",))
    plain, told = Jitter()(image), Jitter()(noted)
    assert plain.steps[0].outputs == told.steps[0].outputs
    said = {finding.check: finding for finding in told.findings}
    assert said["input"].verdict == "warn"
    assert "1 mm was assumed" in said["input"].reason
    assert {f.check for f in told.findings} - {f.check for f in plain.findings} == {"input"}
    assert audited(noted, plain)


@pytest.mark.parametrize("name", list(registry.entries("task")))
def test_the_settings_of_a_task_are_a_schema_that_forms_are_drawn_from(name: str) -> None:
    kind = registry.get("task", name)
    schema = json.loads(json.dumps(form(kind)))
    assert (schema["type"], schema["title"]) == ("object", name)
    assert list(schema["properties"]) == [f.name for f in dataclasses.fields(kind)]
    for setting in schema["properties"].values():
        assert len(setting["description"]) > 10
        assert setting["default"] in setting.get("enum", [setting["default"]])


def test_a_task_without_its_work_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Task()  # type: ignore[abstract]


@pytest.mark.parametrize(("kind", "name"), [("fake", "jitter"), *KNOWN], ids=lambda word: word)
def test_settings_are_frozen_and_each_says_what_it_does(kind: str, name: str) -> None:
    cls = Jitter if kind == "fake" else registry.get(kind, name)
    assert dataclasses.is_dataclass(cls)
    assert cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    docs = setting_docs(cls)
    for setting in dataclasses.fields(cls):
        assert len(docs.get(setting.name, "")) > 10, (
            f"{cls.__name__}.{setting.name} needs a docstring under the field"
        )
