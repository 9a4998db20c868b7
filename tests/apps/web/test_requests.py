"""Requests of all kinds, made from the description of the application: none ends in an error of
ours.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from veridical.terms import Terms
from web_site import Site

EXAMPLES = 12
"""Requests of each kind and operation."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = Site(tmp_path_factory.mktemp("web") / "bench", Terms())
    site.result(site.case())
    return site


def test_no_request_ends_in_an_error_of_ours(found: Site) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import schemathesis  # takes a second

        schema = schemathesis.openapi.from_asgi("/api/openapi.json", found.app)
        tried = 0
        for operation in schema.get_all_operations():
            case_of = operation.ok()
            if case_of.path == "/api/events":  # a stream without an end
                continue

            @settings(
                max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
                suppress_health_check=list(HealthCheck), phases=[Phase.generate],
            )  # fmt: skip
            @given(case=case_of.as_strategy())
            def ask(case: object) -> None:
                answer = case.call()  # type: ignore[attr-defined]
                assert answer.status_code < 500, (answer.status_code, answer.text[:300])

            ask()
            tried += 1
    assert tried > 15


def test_nothing_was_written_outside_of_the_folder(found: Site) -> None:
    root: Path = found.root
    assert {one.name for one in root.parent.iterdir()} == {root.name}
    for case in root.iterdir():
        files = case / "files"
        for file in files.rglob("*") if files.is_dir() else ():
            assert file.resolve().is_relative_to(root.resolve())
