"""A stored result can be made again to the byte, or the first thing that differs is named."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import veridical
from fakes import Jitter
from veridical import registry
from veridical.errors import ProvenanceError
from veridical.io import bids
from veridical.types import Geometry, Image
from veridical.workflow.rerun import rerun

Stored = Callable[..., Path]


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    data = np.random.default_rng(0).normal(size=(1, 6, 5, 4)).astype(np.float32)
    return veridical.write(
        Image(data, Geometry((6, 5, 4), np.eye(4)), "a.u.", ("T1w",)), tmp_path / "sub-1_T1w.nii.gz"
    )


@pytest.fixture
def stored(scan: Path, tmp_path: Path, jitter: None) -> Stored:
    """Save a result and return its provenance.json, with entries of its step changed as asked."""

    def save(**changed: Any) -> Path:
        written = bids.save(
            Jitter(keep=("T1w",))(veridical.read(scan), seed=5), tmp_path / "out", "sub-1"
        )
        path = written["provenance"]
        record = json.loads(path.read_text())
        for key, value in changed.items():
            entry = record["steps"][0][key]
            record["steps"][0][key] = {**entry, **value} if isinstance(value, dict) else value
        path.write_text(json.dumps(record))
        return path

    return save


def test_a_result_made_again_has_the_same_bytes(stored: Stored) -> None:
    path = stored()
    repeated = rerun(path)
    record = json.loads(path.read_text())["steps"][0]
    assert record["outputs"] == dict(repeated.steps[0].outputs)
    assert record["seed"] == 5


def test_other_versions_with_the_same_bytes_are_the_same_result(stored: Stored) -> None:
    rerun(stored(versions={"numpy": "0.1"}))


def test_a_changed_input_is_named_first(stored: Stored, scan: Path) -> None:
    path = stored(outputs={"estimate": "0"})
    image = veridical.read(scan)
    assert isinstance(image, Image)
    veridical.write(dataclasses.replace(image, data=image.data + 1), scan)
    with pytest.raises(ProvenanceError, match="Input changed since jitter was run: T1w"):
        rerun(path)


def test_an_input_that_is_gone_is_named(stored: Stored, scan: Path) -> None:
    path = stored()
    scan.unlink()
    with pytest.raises(ProvenanceError, match=r"cannot be read any more.*sub-1_T1w"):
        rerun(path)


def test_changed_weights_are_named_before_any_work(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stored()
    monkeypatch.setattr(Jitter, "weights", "f" * 64)
    monkeypatch.setattr(Jitter, "apply", lambda *_: pytest.fail("the task was run"))
    with pytest.raises(ProvenanceError, match="Weights changed: jitter"):
        rerun(path)


def test_a_changed_version_is_named_when_bytes_differ(stored: Stored) -> None:
    with pytest.raises(
        ProvenanceError, match=r"Version changed: numpy was 0\.1.*estimate of jitter differ"
    ):
        rerun(stored(versions={"numpy": "0.1"}, outputs={"estimate": "0"}))


def test_the_outputs_that_differ_are_named_and_so_are_the_others(stored: Stored) -> None:
    with pytest.raises(
        ProvenanceError,
        match=r"^upper of jitter differ; the same are: .*estimate.*versions are the same",
    ):
        rerun(stored(outputs={"upper": "0"}))


def test_a_result_of_an_input_made_in_memory_cannot_be_repeated(
    scan: Path, tmp_path: Path, jitter: None
) -> None:
    image = veridical.read(scan)
    bare = dataclasses.replace(image, header={})
    written = bids.save(Jitter()(bare), tmp_path / "out", "sub-1")
    with pytest.raises(ProvenanceError, match="made in memory"):
        rerun(written["provenance"])


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"steps": []}', '{"steps": [{"task": 1}]}', '{"steps": {"a": 1}}']
)
def test_what_is_no_record_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "provenance.json"
    path.write_text(text)
    with pytest.raises(ProvenanceError):
        rerun(path)


def test_a_task_that_is_not_there_is_refused_with_the_nearest(stored: Stored) -> None:
    registry.entries("task")
    with pytest.raises(veridical.VeridicalError, match="Did you mean 'jitter'"):
        rerun(stored(task="jittr"))
