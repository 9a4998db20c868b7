"""The demo, with small weights: a scan, three reconstructions with their provenance, and one report
that holds itself.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import toys
from veridical.io.files import read
from veridical.training.digital_patients import VALIDATION
from veridical.training.recipe import Recipe
from veridical.types import Measurement
from veridical.workflow import demo as module
from veridical.workflow.demo import METHODS, demo


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the demo wrote, with the toys in the place of the shipped weights."""
    seen: list[tuple[str, int, int]] = []
    with toys.shipped():
        report = demo(tmp_path_factory.mktemp("demo") / "out", lambda *step: seen.append(step))
    assert seen[-1] == ("demo", 3, 3)
    assert report.name == "report.html"
    return report.parent


def test_the_scan_is_there_to_be_reconstructed_by_hand(folder: Path) -> None:
    scan = read(folder / "scan.npy", axes="coil,y,x")
    assert isinstance(scan, Measurement)
    assert scan.data.shape == (1, 8, 232, 184)
    assert 0.25 < scan.operator.describe()["sampled"] < 0.4
    assert "--axes coil,y,x" in (folder / "README.txt").read_text(encoding="utf-8")


def test_every_method_has_its_result_with_provenance(folder: Path) -> None:
    for method in METHODS:
        (record,) = (folder / method).rglob("*provenance.json")
        steps = json.loads(record.read_text(encoding="utf-8"))["steps"]
        assert [step["model"] for step in steps] == [method]
        assert list((folder / method).rglob("*.nii.gz"))


def test_the_report_holds_everything_itself_and_names_all_methods(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert all(method in page for method in METHODS)
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]+', page), (
        "nothing is fetched from elsewhere"
    )
    assert "PSNR" in page


def test_the_patient_has_a_lesion_and_is_of_a_cohort_that_no_recipe_trains_on(folder: Path) -> None:
    recipes = (Path(__file__).parents[2] / "recipes").glob("*.toml")
    with toys.shipped():
        seeds = {Recipe.read(path).training.seed for path in recipes}
    assert module.COHORT_SEED not in seeds | {seed + VALIDATION for seed in seeds}
    assert "lesion" in (folder / "report.html").read_text(encoding="utf-8")
    assert np.load(folder / "scan.npy").dtype == np.complex64
