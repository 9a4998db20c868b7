"""node.toml is read strictly: a spelling mistake must not become a lost image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from veridical.apps.node.routes import When
from veridical.apps.node.settings import NodeSettings, ladder
from veridical.errors import FormatError, InputError, SettingError
from veridical.types import Finding

PEER = '[peer.pacs]\nae_title = "PACS"\nhost = "pacs"\nport = 104\n'
ROUTE = '[[route]]\nname = "r"\ntask = "enhance"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[nod]\n", "Did you mean 'node'"),
        ("[peer.x]\nhots = 'a'\n", "Did you mean 'host'"),
        ("[peer.x]\nkind = 'dicmo'\n", "Did you mean 'dicom'"),
        ("[peer.x]\nhost = 'a'\nport = 1\n", "is no AE title"),
        ("[peer.x]\nkind = 'dicomweb'\nurl = 'ftp://x'\n", "needs a url"),
        ("[[route]]\ntask = 'enhance'\n", "without a name"),
        ("[[route]]\nname = 'r'\n", "does nothing"),
        (ROUTE + "tsk = 'x'\n", "Did you mean 'task'"),
        (ROUTE + "seed = 'x'\n", "expected int"),
        (ROUTE + "settings = {jobb = 'denoise'}\n", "Did you mean 'job'"),
        (ROUTE + "settings = {job = 'nothing'}\n", "expected one of denoise"),
        (ROUTE + "when = {modalty = 'MR'}\n", "Did you mean 'modality'"),
        (ROUTE + "when = {thickness = [3]}\n", "expected two numbers"),
        (ROUTE + "when = {thickness = [5, 3]}\n", "expected two numbers"),
        (ROUTE + "send = ['pasc']\n" + PEER, "Did you mean 'pacs'"),
        (ROUTE + "tell = ['pacs']\n" + PEER, "tell names 'pacs'"),
        (ROUTE + "refuse_when = {consistence = 'fail'}\n", "Did you mean 'consistency'"),
        (ROUTE + "refuse_when = {consistency = 'bad'}\n", "expected warn or fail"),
        (ROUTE + "on_refusal = 'drop'\n", "Known: forward-original, hold"),
        (ROUTE + "on_refusal = 'forward-original'\n", "to no peer"),
        (ROUTE + "group = 'patient'\n", "Known: series, study"),
        (ROUTE + ROUTE, "two routes called 'r'"),
        ("[[route]]\nname = 'r'\ntask = 'enhnace'\n", "Did you mean 'enhance'"),
    ],
)
def test_what_could_be_a_mistake_is_refused(
    said: Callable[..., NodeSettings], text: str, words: str
) -> None:
    with pytest.raises(SettingError, match=words):
        said(text)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("retry", ["5 times"], "how often x after what time"),
        ("ae_title", "a" * 17, "no AE title"),
        ("callers", ["a\\b"], "no AE title"),
        ("workers", 0, "at least 1"),
        ("certificate", "x.pem", "both certificate and key"),
        ("series_quite", 3, "Did you mean 'series_quiet'"),
    ],
)
def test_values_of_the_node_that_cannot_be_are_refused(
    said: Callable[..., NodeSettings], key: str, value: object, words: str
) -> None:
    with pytest.raises(SettingError, match=words):
        said("", **{key: value})


def test_a_file_that_is_missing_or_no_toml_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        NodeSettings.read(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[node\n")
    with pytest.raises(FormatError, match="no TOML"):
        NodeSettings.read(tmp_path / "bad.toml")


def test_a_ladder_is_the_waits_in_seconds() -> None:
    assert ladder(("2x1m", "1x2h", "3x5s", "1x1d")) == (60, 60, 7200, 5, 5, 5, 86400)


def test_conditions_hold_together_and_the_unknown_fits_none() -> None:
    when = When(modality=("MR",), description=("t1*", "t2*"), thickness=(3, 5))
    facts = {"modality": "MR", "description": "T2 TSE", "thickness": 4.0}
    assert when.fits(facts)
    assert When().fits({})
    for change in (
        {"modality": "CT"},
        {"description": "PD"},
        {"thickness": 5.1},
        {"thickness": None},
        {"description": ""},
    ):
        assert not when.fits({**facts, **change}), change
    assert When(image_type=("PRIMARY",)).fits({"image_type": ["ORIGINAL", "PRIMARY"]})


def test_a_finding_stops_a_result_from_its_limit_on(said: Callable[..., NodeSettings]) -> None:
    refuse = 'refuse_when = {out-of-distribution = "warn", "*" = "fail"}\n'
    (route,) = said(ROUTE + refuse).routes

    def stopped(check: str, verdict: str) -> bool:
        return bool(route.stopped_by([Finding(check, verdict, "why")]))  # type: ignore[arg-type]

    assert stopped("out-of-distribution", "warn")
    assert stopped("out of distribution", "fail")
    assert not stopped("out-of-distribution", "pass")
    assert not stopped("consistency", "warn")
    assert stopped("consistency", "fail")
    assert not stopped("consistency", "not_run")
