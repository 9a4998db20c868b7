"""CT and PET of heads from their structures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import segmenters
from veridical.errors import InputError, SettingError
from veridical.models.head_segmenter import GROUPS
from veridical.tasks.from_structures import HOUNSFIELD, UPTAKE
from veridical.tasks.translate import Translate


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return segmenters.weights(tmp_path_factory.mktemp("segmenter"))


def test_every_structure_has_a_value() -> None:
    assert set(HOUNSFIELD) == set(GROUPS) == set(UPTAKE)


def test_bone_air_and_brain_have_their_values(weights: str) -> None:
    image, truth = segmenters.head()
    made = Translate(to="CT,PET", model="structures", weights=weights, device="cpu")(image)
    ct, pet = made.image["CT"], made.image["PET"]
    assert made.image.units_of("CT") == "HU"
    assert made.image.units_of("PET") == "SUV"
    for name, low, high in (
        ("skull", 500, 1000), ("background", -1000, -900), ("white matter", 0, 60),
    ):  # fmt: skip
        assert low < float(np.median(ct[truth == GROUPS.index(name)])) < high
    assert pet[truth == GROUPS.index("white matter")].mean() > 2.5
    assert pet[truth == GROUPS.index("background")].mean() < 0.4
    assert "usual" in made.absent["interval"]
    assert made.steps[0].model == "structures"
    findings = {one.check: one.verdict for one in made.findings}
    assert findings["pathology"] != "pass"


def test_what_has_no_value_or_was_measured_is_refused(weights: str) -> None:
    image, _ = segmenters.head()
    with pytest.raises(SettingError, match="T2w"):
        Translate(to="T2w", model="structures", weights=weights, device="cpu")(image)
    ct, _ = segmenters.head(channel="CT")
    with pytest.raises(InputError, match="measured already"):
        Translate(to="CT", model="structures", weights=weights, device="cpu")(ct)


def test_of_a_visit_all_but_pet_is_looked_at(weights: str) -> None:
    task = Translate(model="structures", weights=weights)
    _, given, made = task.of_visit(("T1w", "FLAIR", "PET"))
    assert (given, made) == (("T1w", "FLAIR"), ("CT",))
    assert task.of_visit(("T1w", "CT"))[1:] == ((), ())


def test_the_same_place_on_another_grid_has_the_same_value(weights: str, tmp_path: Path) -> None:
    task = Translate(model="structures", weights=weights, device="cpu")
    fine, _ = segmenters.head((4.0, 4.0, 4.0))
    other, _ = segmenters.head((5.0, 4.0, 6.0), "PIR")
    volumes = [
        float((made.image["CT"] > 300).sum() * np.prod(made.image.geometry.spacing)) / 1000
        for made in (task(fine), task(other))
    ]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.12)
