"""The matrix of a review's groups and families: no cell without an entry or a reason, and every
kind of entry runs.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from veridical import registry
from veridical.errors import SettingError
from veridical.generative.family import Given
from veridical.models.generator import Generator, parts
from veridical.training import curves
from veridical.training.league_course import LeagueCourse
from veridical.workflow.league import league
from veridical.workflow.league_images import cases
from veridical.workflow.league_matrix import Matrix, markdown, matrix, named
from veridical.workflow.league_protocol import Entrant

TINY = {"digital": 2, "digital_held_out": 2, "size": 48, "patch": 16, "batch": 2}
CELLS = [(g, f) for g, row in matrix().groups.items() for f in row.methods]


def tiny(entry: Entrant) -> Entrant:
    """The same entry around the smallest U-Net."""
    return replace(entry, backbone="unet", net={"widths": [8, 8], "blocks": 1})


def test_no_cell_is_without_an_entry_or_a_reason() -> None:
    assert len(matrix().groups) == 17
    assert len(CELLS) > 60
    for group, family in CELLS:
        cell = matrix().cell(group, family)
        assert cell.methods >= 1
        assert (cell.entry is None) == bool(cell.reason), (group, family)


def test_from_nothing_only_families_that_sample_are_asked() -> None:
    entries = matrix().protocol("unconditional-synthesis").entries
    families = [registry.get("family", entry.family) for entry in entries if entry.family]
    assert families
    assert all(family.stochastic for family in families)


def test_a_family_that_is_not_installed_is_the_reason_of_its_cells() -> None:
    options = ({"family": "telepathy"}, {"family": "regression", "backbone": "oracle"})
    known = Matrix({"GAN": options}, {"g": matrix().row("denoising")}, {})
    cell = known.cell("g", "GAN")
    assert cell.entry is None
    assert cell.reason == "GAN: not installed: family telepathy, backbone oracle."


def test_names_that_are_not_there_are_refused() -> None:
    with pytest.raises(SettingError, match="Did you mean 'denoising'"):
        matrix().row("denoisin")
    with pytest.raises(SettingError, match="lists no VAE"):
        matrix().cell("denoising", "VAE")
    with pytest.raises(SettingError, match="Did you mean 'completion'"):
        named("completon")


@pytest.mark.parametrize("group", list(matrix().groups))
def test_every_row_is_a_protocol_with_all_of_its_entries(group: str) -> None:
    plan = matrix().protocol(group)
    cells = [matrix().cell(group, family) for family in matrix().row(group).methods]
    names = {entry.name for entry in plan.entries}
    assert {cell.entry.name for cell in cells if cell.entry is not None} <= names
    assert any(entry.classical for entry in plan.entries)
    assert named(group) == plan


@pytest.mark.parametrize("group", list(matrix().groups))
def test_the_job_of_every_row_gives_samples_and_cases(group: str) -> None:
    plan = matrix().protocol(group, TINY)
    data = plan.training_data(())
    net = plan.net(tiny(Entrant("a", "regression")))
    course = LeagueCourse(data, net, 0)
    course.facts()
    item = course[0]
    assert item.truth.shape == (2, 1, 16, 16)
    assert bool(torch.isfinite(item.given.initial).all())
    asked = list(cases(data, 1))
    assert len(asked) == 2
    assert all(np.isfinite(one.truth).all() and len(one.requests) == 1 for one in asked)


@pytest.mark.parametrize("name", sorted(registry.entries("family")))
@pytest.mark.parametrize("group", ["denoising", "image-to-image", "unconditional-synthesis"])
def test_every_family_learns_and_draws_in_every_kind_of_job(group: str, name: str) -> None:
    plan = matrix().protocol(group, TINY)
    data, entry = plan.training_data(()), tiny(Entrant(name, name))
    net, settings = Generator.build(plan.net(entry)), plan.net(entry)
    course = LeagueCourse(data, settings, 0)
    course.facts()
    item, family = course[0], parts(settings).family
    for loss in course.losses(net, item, torch.Generator().manual_seed(0), torch.device("cpu")):
        torch.autograd.backward(loss)
    assert any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in net.parameters())
    asked = next(iter(cases(data, 1))).requests
    given = Given.of(parts(settings).conditions, asked)
    noise = torch.randn(1, 2, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    drawn = family.draw(net.eval(), given, noise, 2)
    assert drawn.shape == (1, 2 if family.stochastic else 1, 1, 48, 48)
    assert bool(torch.isfinite(drawn).all())


@pytest.mark.parametrize("group", ["denoising", "treatment-planning", "foundation-models"])
def test_a_row_runs_end_to_end(group: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "draw", lambda folder, name, steps: folder)
    plan = matrix().protocol(group, TINY).with_budget("1 steps")
    judging = replace(plan.judging, levels=("pixel",), draws=1, pictures=1)
    entries = (tiny(Entrant("regression", "regression")), plan.entries[-1])
    found = league(replace(plan, judging=judging, entries=entries), tmp_path)
    assert [one.status for one in found.entries] == ["done", "done"]


def test_the_table_prints_a_row_a_group_and_the_reasons_below() -> None:
    text = markdown()
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(matrix().groups)
    numbers = set(re.findall(r"none \((\d+)\)", text))
    assert all(f"\n({number}) " in text for number in numbers)


@pytest.mark.real
def test_the_counts_are_those_of_the_review(real_data: Path) -> None:
    file = real_data.parent / "reference" / "review_methods.csv"
    if not file.is_file():
        pytest.skip("the list of the review is not there")
    with file.open(encoding="utf-8", newline="") as stream:
        rows: list[dict[str, Any]] = list(csv.DictReader(stream))
    covered = 0
    for row in matrix().groups.values():
        mine = [
            one
            for one in rows
            if (one["stage"], one["group"]) == (row.stage, row.group)
            and (not row.of or one["application"] in row.of)
        ]
        counted = Counter(
            family.strip() for one in mine for family in re.split("[,，]", one["model"])
        )
        counted.pop("", None)
        assert counted == row.methods, row.name
        covered += len(mine)
    left = [one for one in rows if one["application"] in matrix().left_out]
    assert covered + len(left) == len(rows)
