"""What every part that the registry knows must keep. What lands in its folder is tested with no
edit here.

The checks are those of `veridical.testing`, which third parties run on parts of their own; networks
are toys in the place of the shipped weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

import cines
import plans
import segmenters
import shrinking
import toys
import trunks
from veridical import registry, testing
from veridical.apps import create, run
from veridical.audit.input_notes import input_notes
from veridical.errors import MissingExtra
from veridical.models.base import Model
from veridical.task import Task
from veridical.testing import subjects
from veridical.types import SEVERITY, Image, Result, Study

KINDS = (
    "task",
    "model",
    "family",
    "backbone",
    "condition",
    "metric",
    "audit",
    "operator",
    "degradation",
)
KNOWN = {kind: list(registry.entries(kind)) for kind in KINDS}
CLASSICAL = {"reconstruct": "wavelet", "complete": "intensity-map", "translate": "intensity-map"}
"""Task -> a classical model of it."""
NEEDS: dict[str, dict[str, Any]] = {
    "harmonize": {"style": (0.2, 0.35, 0.5, 0.6, 0.7, 0.8)},
    "add-finding": {"text": "left frontal 3 cm enhancing tumour"},
    "dose": {"voxel": 10.0, "angles": (0.0,)},
}
"""Task -> settings without which it does not run."""
OTHERWISE = {
    "add-finding": Study.of(segmenters.head((5.0, 5.0, 5.0), size=0.8)[0]),
    "describe": Study.of(segmenters.head((6.0, 6.0, 6.0), size=0.7)[0]),
    "deface": Study.of(segmenters.head((6.0, 6.0, 6.0))[0]),
    "translate": Study.of(subjects.image("T1w")),
    "dose": Study.of(trunks.patient()),
    "forecast": shrinking.study((-1.0, 0.0)),
    "interpolate-time": Study.of(cines.breath()),
    "plan": Study.of(plans.patient()),
    "track": cines.study("surrogate"),
    "segment": Study.of(segmenters.head((6.0, 6.0, 6.0), size=0.7)[0]),
}
"""Task -> a study that fits it better than any of its kind."""


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    with toys.shipped():
        yield


@pytest.fixture(
    scope="module",
    params=[
        (task, by) for task in KNOWN["task"] for by in dict.fromkeys(("", CLASSICAL.get(task, "")))
    ],
    ids=lambda pair: " by ".join(filter(None, pair)),
)
def done(request: pytest.FixtureRequest) -> tuple[type[Task], Study, Result]:
    """A task by its own and by a classical model, through its checks: the class, the study and the
    result.
    """
    name, model = request.param
    kind: type[Task] = registry.get("task", name)
    study = OTHERWISE.get(name, subjects.study(kind.takes))
    settings = {**NEEDS.get(name, {}), **({"model": model} if model else {})}
    return kind, study, testing.check_task(kind, study, **settings)


def test_a_task_keeps_its_promises_and_names_its_model(
    done: tuple[type[Task], Study, Result],
) -> None:
    kind, _, result = done
    (step,) = result.steps
    assert step.task == kind.name
    assert kind.name in KNOWN["task"]
    assert step.model
    assert step.weights == "none" or len(step.weights) == 64


def test_a_task_that_makes_channels_makes_others_than_those_measured_and_all_else_keep_them(
    done: tuple[type[Task], Study, Result],
) -> None:
    kind, study, result = done
    given = [one for one in study.visit().values() if isinstance(one, Image)]
    if kind.takes == "visit":
        assert not set(result.image.channels) & {image.channels[0] for image in given}
    elif kind.takes == "image":
        assert result.image.channels == given[0].channels
        assert result.image.units == given[0].units


def test_no_finding_of_a_good_study_fails(done: tuple[type[Task], Study, Result]) -> None:
    for finding in done[2].findings:
        assert SEVERITY.index(finding.verdict) <= SEVERITY.index("warn"), (
            f"{finding.check}: {finding.reason}"
        )


@pytest.mark.parametrize("name", KNOWN["task"])
def test_no_setting_takes_the_name_of_a_flag_that_every_task_has(name: str) -> None:
    kind = registry.get("task", name)
    shared = (create.Creating,) if kind.takes == "nothing" else (run.Reading, run.Running)
    taken = {f.name for cls in shared for f in dataclasses.fields(cls)}
    assert not taken & {f.name for f in dataclasses.fields(kind)}


@pytest.mark.parametrize("name", KNOWN["model"])
def test_a_model_keeps_its_promises(name: str) -> None:
    kind: type[Model] = registry.get("model", name)
    assert kind.name == name
    testing.check_model(kind())


@pytest.mark.parametrize("backbone", KNOWN["backbone"])
@pytest.mark.parametrize("name", KNOWN["family"])
def test_a_family_learns_and_draws_on_every_backbone(name: str, backbone: str) -> None:
    kind = registry.get("family", name)
    assert kind.name == name
    testing.check_family(kind(), backbone)


@pytest.mark.parametrize("name", KNOWN["backbone"])
def test_a_backbone_keeps_its_promises(name: str) -> None:
    testing.check_backbone(registry.get("backbone", name))


@pytest.mark.parametrize("name", KNOWN["condition"])
def test_a_condition_keeps_its_promises(name: str) -> None:
    kind = registry.get("condition", name)
    assert kind.name == name
    testing.check_condition(kind())


@pytest.mark.parametrize("name", KNOWN["metric"])
def test_a_metric_keeps_its_promises(name: str) -> None:
    testing.check_metric(name)


@pytest.mark.parametrize("name", KNOWN["audit"])
def test_an_audit_keeps_its_promises(name: str) -> None:
    testing.check_audit(registry.get("audit", name))


@pytest.mark.parametrize("name", KNOWN["operator"])
def test_an_operator_keeps_its_promises(name: str) -> None:
    try:
        testing.check_operator(registry.get("operator", name))
    except MissingExtra as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("name", KNOWN["degradation"])
def test_a_degradation_keeps_its_promises(name: str) -> None:
    kind = registry.get("degradation", name)
    assert kind.name == name
    testing.check_degradation(kind())


def test_a_promise_that_is_broken_is_named() -> None:
    """The checks are no formality: an audit that passes what nobody measured does not pass them."""
    with pytest.raises(AssertionError, match="passes an image that nothing was measured for"):
        testing.check_audit(lambda study, result: FINE)
    assert testing.check_audit(input_notes) is None


FINE = input_notes(
    Study("p", {}, notes=("It was read.",)), Result(subjects.image(), "point estimate")
)
