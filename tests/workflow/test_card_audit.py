"""Audits on cards: what was signed is noted, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import toys
import veridical
from veridical.errors import InputError, ProvenanceError
from veridical.evaluation.signature import head
from veridical.models import weights
from veridical.report.card_page import render
from veridical.types import Geometry, Image
from veridical.workflow.audit import Audit
from veridical.workflow.card_audit import add_audit

GRID = Geometry((24, 24, 1), np.diag([2.0, 2.0, 2.0, 1.0]))


def test_a_card_notes_what_a_signed_audit_found_about_copies_and_refuses_a_changed_one(
    tmp_path: Path,
) -> None:
    source = toys.weights("denoiser")
    for suffix in (".safetensors", ".json"):
        shutil.copy(source.with_suffix(suffix), tmp_path / f"mine{suffix}")
    mine, rng = str(tmp_path / "mine.safetensors"), np.random.default_rng(0)
    for n in range(12):
        for kind in ("real", "made"):
            data = np.cumsum(rng.standard_normal((1, 24, 24, 1)), 1).astype(np.float32)
            path = tmp_path / kind / f"{n}.nii.gz"
            path.parent.mkdir(exist_ok=True)
            veridical.write(Image(data, GRID, "a.u.", ("T1w",)), path)
    checks = Audit(training=tmp_path / "real", checks=("copies", "membership"))
    checks(tmp_path / "made", tmp_path / "audit")
    add_audit(mine, tmp_path / "audit")
    card, signed = weights.stored_card(mine), tmp_path / "audit" / "report.json"
    assert card["audits"]["copies"]["head"] == head(signed)
    assert card["audits"]["copies"]["verdict"] in ("pass", "warn")
    assert "Does it copy" in render("mine", card, "0" * 64)
    assert "Inconclusive" in render("mine", card, "0" * 64)
    Audit(checks=("copies",))(tmp_path / "made", tmp_path / "without")
    with pytest.raises(InputError, match="--training DIR"):
        add_audit(mine, tmp_path / "without")
    signed.write_text(signed.read_text().replace("Inconclusive", "No copy was found"))
    with pytest.raises(ProvenanceError, match="not as it was signed"):
        add_audit(mine, signed)
