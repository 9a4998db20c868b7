from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veridical.errors import InputError, ProvenanceError
from veridical.evaluation.results import CaseRow, Endpoint, Evaluation, LevelVerdict
from veridical.evaluation.signature import (
    FORMAT,
    PARTS,
    canonical,
    changes,
    head,
    links,
    sign,
    verify,
)
from veridical.types import Finding

PAGE = "<!doctype html><title>Größe ≥ 3 µm</title>\n"


def document(inputs: dict[str, str]) -> dict[str, Any]:
    return Evaluation(
        "fake against real",
        {"out": "report", "levels": ("pixel",)},
        {"level": 0.9, "resamples": 2000},
        inputs,
        (Finding("geometry", "pass", "Same grid: 2 × 2 mm²", {"cases": 3}),),
        (LevelVerdict("pixel", "pass", "SSIM is 0.9"),),
        (
            Endpoint(
                "pixel/ssim/all",
                "pixel",
                "ssim",
                "SSIM",
                "1",
                "higher",
                "all",
                0.1 + 0.2,
                (0.25, 1 / 3),
                n=3,
                score=-0.0,
            ),
        ),
        (CaseRow("a", "a", {"pixel/ssim/all": 1e-7}), CaseRow("b", "b", {"pixel/ssim/all": 1e22})),
    ).to_dict()


@pytest.fixture
def report(tmp_path: Path) -> Path:
    folder = tmp_path / "report"
    folder.mkdir()
    (tmp_path / "in.bin").write_bytes(b"grey")
    inputs = {"../in.bin": hashlib.sha256(b"grey").hexdigest(), "memory:reference/a": "0" * 64}
    (folder / "report.html").write_bytes(PAGE.encode())
    (folder / "report.json").write_bytes(sign(document(inputs), PAGE.encode()))
    return folder / "report.json"


@pytest.fixture
def small(report: Path) -> Path:
    """The shortest report that holds one of each kind of value."""
    known = {
        "inputs": json.loads(report.read_bytes())["inputs"],
        "protocol": {"level": 0.9},
        "cases": ["é", 3, True, None, 1e-7],
    }
    report.write_bytes(sign(known, PAGE.encode()))
    return report


def flips(whole: bytes) -> Iterator[bytes]:
    """Yield the bytes with every single bit flipped in turn."""
    for bit in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)


def test_every_flipped_bit_of_the_report_and_its_page_is_found(small: Path) -> None:
    report, page = small.read_bytes(), PAGE.encode()
    assert changes(report, page) == ()
    assert all(changes(flipped, page) for flipped in flips(report))
    assert all(changes(report, flipped) for flipped in flips(page))


def test_every_flipped_bit_of_an_input_is_found(small: Path) -> None:
    data = small.parent / "../in.bin"
    whole = data.read_bytes()
    for flipped in flips(whole):
        data.write_bytes(flipped)
        assert verify(small) == ("the input ../in.bin was changed",)
    data.write_bytes(whole)
    assert verify(small) == ()


def test_every_byte_that_is_left_out_or_put_in_is_found(small: Path) -> None:
    report = small.read_bytes()
    for place in range(len(report)):
        for changed in (
            report[:place] + report[place + 1 :],
            report[:place] + b" " + report[place:],
        ):
            assert changes(changed, PAGE.encode())


def test_what_was_changed_is_named(report: Path) -> None:
    whole = json.loads(report.read_bytes())
    for part, entries in PARTS[FORMAT].items():
        changed = (
            {**whole, entries[0]: "another"} if part != "inputs" else {**whole, "title": "another"}
        )
        report.write_bytes(canonical(changed))
        assert verify(report, inputs=False) == (f"{part} was changed",)
    signature = [{**link, "head": "0" * 64} for link in whole["signature"]]
    for broken in (signature, signature[1:], [1, 2], None, "signed"):
        report.write_bytes(canonical({**whole, "signature": broken}))
        assert verify(report) == ("the signature was changed",)


def test_a_page_or_an_input_that_is_gone_or_changed_is_named(report: Path) -> None:
    data = report.parent / "../in.bin"
    data.write_bytes(b"green")
    assert verify(report) == ("the input ../in.bin was changed",)
    assert verify(report, inputs=False) == ()
    data.unlink()
    assert verify(report) == ("the input ../in.bin is not there",)
    report.with_name("report.html").write_text(PAGE + " ", encoding="utf-8")
    assert verify(report, inputs=False) == ("report.html was changed",)
    report.with_name("report.html").unlink()
    assert verify(report, inputs=False) == ("report.html is not there",)


def test_one_who_signs_anew_is_caught_by_the_head_alone(report: Path) -> None:
    kept = head(report)
    assert verify(report, kept) == ()
    forged = {
        k: v for k, v in json.loads(report.read_bytes()).items() if k not in ("signature", "format")
    }
    report.write_bytes(sign({**forged, "title": "better"}, PAGE.encode()))
    assert verify(report) == ()
    assert verify(report, kept) == (f"the head of the chain is {head(report)}, not {kept}",)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\xff\xfe", b"[]", b"{}", b"null\n", b'{"format":1}', b'{"signature":[],"inputs":[],"format":1}', b"[" * 100_000,  # noqa: E501
        b'{"a":' + b"9" * 5000 + b"}", "\ufeff{}".encode(), b'{"a":"\\ud800"}',
        canonical({"format": FORMAT, "inputs": [], "signature": links({"inputs": []}, b"")}),
    ],
)  # fmt: skip
def test_what_is_no_report_is_said_to_be_none_and_never_raises(
    report: Path, content: bytes
) -> None:
    report.write_bytes(content)
    assert "report.json was changed" in verify(report)[0]


def test_a_report_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        verify(tmp_path / "report.json")


def test_the_chain_is_what_the_module_says() -> None:
    known = document({})
    last = hashlib.sha256(b"veridical-report-1").hexdigest()
    for part, link in zip((*PARTS[FORMAT], "page"), links(known, PAGE.encode()), strict=True):
        content = (
            PAGE.encode()
            if part == "page"
            else canonical({entry: known[entry] for entry in PARTS[FORMAT][part] if entry in known})
        )
        own = hashlib.sha256(content).hexdigest()
        last = hashlib.sha256((last + own).encode()).hexdigest()
        assert link == {"part": part, "sha256": own, "head": last}


def test_each_link_depends_on_all_before_it() -> None:
    known = document({})
    before = links(known, b"page")
    for place, entries in enumerate(PARTS[FORMAT].values()):
        after = links({**known, entries[0]: "another"}, b"page")
        assert [a["head"] == b["head"] for a, b in zip(before, after, strict=True)] == [
            i < place for i in range(len(before))
        ]


def test_every_field_of_an_evaluation_is_covered_and_a_stranger_is_refused() -> None:
    links(document({}))
    with pytest.raises(ProvenanceError, match="remark"):
        links({**document({}), "remark": "unseen"})


def test_an_entry_that_was_not_there_cannot_be_put_in_as_nothing(report: Path) -> None:
    whole = json.loads(report.read_bytes())
    assert "checklists" not in whole
    report.write_bytes(canonical({**whole, "checklists": None}))
    assert verify(report, inputs=False) == ("results was changed",)


def test_a_report_made_again_has_the_same_bytes_whatever_the_order_of_its_entries() -> None:
    known = document({"b": "1", "a": "2"})
    turned = {key: known[key] for key in reversed(known)}
    assert (
        sign(known, b"page")
        == sign(turned, b"page")
        == sign(document({"a": "2", "b": "1"}), b"page")
    )


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(plain)
def test_the_canonical_form_is_read_back_as_itself(value: Any) -> None:
    once = canonical(value)
    assert once.endswith(b"\n")
    assert canonical(json.loads(once)) == once


def test_the_canonical_form_knows_numpy_and_dataclasses_and_writes_what_is_not_finite_as_null() -> (
    None
):
    value = {
        "b": np.float32(0.5),
        "a": np.array([1, 2]),
        "c": (np.int64(3), np.bool_(True), float("nan"), np.inf),
        "d": Path("x/y"),
    }
    assert json.loads(canonical(value)) == {
        "a": [1, 2],
        "b": 0.5,
        "c": [3, True, None, None],
        "d": "x/y",
    }
    assert list(json.loads(canonical(asdict(CaseRow("a", "b"))))) == sorted(
        asdict(CaseRow("a", "b"))
    )
