"""Codes that FHIR requires: every value set of what is sent is checked, for both versions."""

from __future__ import annotations

from typing import Any

import pytest

from veridical.errors import SettingError
from veridical.workflow.fhir_bundle import checked, transaction

STUDY = {
    "resourceType": "ImagingStudy",
    "id": "a",
    "status": "available",
    "subject": {"display": "not stated"},
}
OBSERVATION = {"resourceType": "Observation", "id": "a", "status": "final", "code": {"text": "x"}}
PROVENANCE = {
    "resourceType": "Provenance",
    "id": "a",
    "target": [{"reference": "Observation/a"}],
    "recorded": "2020-01-01T00:00:00+00:00",
    "agent": [{"who": {"display": "x"}}],
    "entity": [{"role": "source", "what": {"display": "x"}}],
}


def entity(role: str) -> dict[str, Any]:
    return PROVENANCE | {"entity": [{"role": role, "what": {"display": "x"}}]}


WRONG = [
    (STUDY | {"status": "bogus"}, "ImagingStudy.status is 'bogus'"),
    (OBSERVATION | {"status": "done"}, "Observation.status is 'done'"),
    (OBSERVATION | {"status": "+"}, "Observation.status"),
    (entity("parent"), "Provenance.entity.role is 'parent'"),
    (
        OBSERVATION | {"valueQuantity": {"value": 1, "comparator": "about"}},
        "valueQuantity.comparator is 'about'",
    ),
    (
        OBSERVATION | {"text": {"status": "typed", "div": "<div>x</div>"}},
        "Observation.text.status is 'typed'",
    ),
    (STUDY | {"identifier": [{"use": "mine", "value": "1"}]}, "ImagingStudy.identifier.use"),
]


@pytest.mark.parametrize("version", ["R5", "R4B"])
@pytest.mark.parametrize(("resource", "said"), WRONG, ids=[said for _, said in WRONG])
def test_a_code_outside_of_its_value_set_is_refused_by_its_place(
    resource: dict[str, Any], said: str, version: Any
) -> None:
    with pytest.raises(SettingError) as caught:
        checked(resource, version)
    assert said in str(caught.value)


@pytest.mark.parametrize("status", ["preliminary", "corrected", "cancelled", "entered-in-error"])
@pytest.mark.parametrize("version", ["R5", "R4B"])
def test_codes_that_the_library_abbreviates_are_known(status: str, version: Any) -> None:
    assert checked(OBSERVATION | {"status": status}, version)["status"] == status


def test_codes_differ_between_versions() -> None:
    assert checked(entity("derivation"), "R4B")
    with pytest.raises(SettingError, match=r"entity\.role is 'derivation'"):
        checked(entity("derivation"), "R5")


@pytest.mark.parametrize("version", ["R5", "R4B"])
def test_a_wrong_code_inside_of_a_bundle_is_found(version: Any) -> None:
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {"resource": OBSERVATION | {"status": "x"}, "request": {"method": "PUT", "url": "a"}}
        ],
    }
    with pytest.raises(SettingError, match=r"Observation\.status is 'x'"):
        checked(bundle, version)


def test_what_does_not_fit_is_named_by_its_place_and_not_by_its_value() -> None:
    with pytest.raises(SettingError, match="started") as caught:
        checked(STUDY | {"started": "JANE DOE"}, "R5")
    assert "JANE" not in str(caught.value)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(SettingError, match="no resource 'Nothing'"):
        checked({"resourceType": "Nothing"}, "R5")


def test_each_resource_is_put_under_its_own_id() -> None:
    bundle = transaction([OBSERVATION | {"note": None}, STUDY], "R5")
    asked = [entry["request"] for entry in bundle["entry"]]
    assert asked == [
        {"method": "PUT", "url": "Observation/a"},
        {"method": "PUT", "url": "ImagingStudy/a"},
    ]
