"""Going on from trained weights on a folder of one's own: patients apart, and a card that says
where it all comes from.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

import folders
import priors
import toys
from veridical.errors import InputError, SettingError
from veridical.io.assemble import read_together
from veridical.models import weights
from veridical.models.generator import Generator
from veridical.tasks.complete import Complete
from veridical.training.generation_data import GenerationData
from veridical.training.recipe import Recipe, find
from veridical.training.train import train

TRAINING = """
[data]
sources = { data = 1.0 }
validate_on = 1
batch = 2
patch = 32

[training]
steps = 2
checkpoint = 2
validate = 2
workers = 0
warmup = 1
device = "cpu"
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders.bids(tmp_path_factory.mktemp("mine") / "our-ward")


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Weights that may be passed on, with limits of their own, as shipped ones have."""
    path = priors.weights(
        tmp_path_factory.mktemp("parent"), toys.CONTRASTS, ["complete-FLAIR"], "parent"
    )
    card = weights.card(path) | {
        "patches": 4,
        "limits": "Heads of toys.",
        "may_ship": True,
        "barred_by": [],
    }
    Path(path).with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def tuned(tree: Path, parent: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Toy weights that went on learning from a folder."""
    folder = tmp_path_factory.mktemp("tuned")
    (folder / "tune.toml").write_text(TRAINING, encoding="utf-8")
    return train(folder / "tune.toml", folder / "run", data=tree, start=parent)


def card(path: Path | str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(path).with_suffix(".json").read_text(encoding="utf-8"))
    return found


def log(path: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for line in (path.parent / "log.jsonl").read_text(encoding="utf-8").splitlines()
    ]


def test_it_starts_from_the_weights_and_has_their_net(tuned: Path, parent: str) -> None:
    assert card(tuned)["model"] == "generator"
    assert card(tuned)["net"] == card(parent)["net"]
    before, after = load_file(parent), load_file(tuned)
    assert before.keys() == after.keys()
    moved = [float((after[key].float() - before[key].float()).abs().max()) for key in before]
    assert 0 < max(moved) < 0.02


def test_the_first_line_of_the_log_is_what_the_weights_could_do_before(tuned: Path) -> None:
    first, last = log(tuned)
    assert (first["step"], last["step"]) == (0, 2)
    assert "loss" not in first
    starts = {key for key in first if "start" in key}
    assert starts
    assert {key: first[key] for key in starts} == {key: last[key] for key in starts}


def test_the_card_says_from_what_on_how_many_and_that_it_may_not_ship(
    tuned: Path, parent: str, tree: Path
) -> None:
    found = card(tuned)
    assert found["from"] == {
        "weights": "parent",
        "sha256": weights.fingerprint(parent),
        "patches": 4,
    }
    assert found["patches"] == 4
    assert found["patients"] == {"our-ward": 3}
    assert found["validation_patients"] == {"our-ward": 1}
    assert found["data"]["sources"] == {"our-ward": 1.0}
    assert found["licences"]["our-ward"] == "yours"
    assert (found["may_ship"], found["barred_by"]) == (False, ["our-ward"])
    assert found["limits"] == "Heads of toys.", "those of the weights that it started from"
    assert str(tree.parent) not in json.dumps(found), "no path of this machine"


def test_maps_are_those_of_the_folder_and_the_calibration_of_other_weights_is_not_taken_over(
    tuned: Path, parent: str
) -> None:
    assert card(tuned)["intensity_maps"] != card(parent)["intensity_maps"]
    assert set(card(tuned)["intensity_maps"]["FLAIR"]) == {"", "T1w"}
    assert "calibration" in card(parent)
    assert "calibration" not in card(tuned)


def test_the_weights_complete_a_visit(tuned: Path, tree: Path) -> None:
    task = Complete(to="FLAIR", weights=str(tuned), draws=2, steps=2, device="cpu")
    found = task(read_together([tree / "sub-01/anat/sub-01_T1w.nii.gz"]))
    assert found.image.channels == ("FLAIR",)
    assert "not calibrated" in found.absent["interval"]
    assert len(Generator(str(tuned)).weights_hash) == 64


def test_what_may_not_ship_has_no_children_that_may(
    tuned: Path, tree: Path, tmp_path: Path
) -> None:
    (tmp_path / "again.toml").write_text(TRAINING, encoding="utf-8")
    other = folders.bids(tmp_path / "other-ward", 2)
    again = train(tmp_path / "again.toml", tmp_path / "run", data=other, start=str(tuned))
    assert (card(again)["may_ship"], card(again)["barred_by"]) == (
        False,
        ["other-ward", "our-ward"],
    )


def test_the_shipped_recipe_takes_a_folder_and_starts_from_the_generator_of_heads(
    tree: Path,
) -> None:
    with toys.shipped():
        plan = Recipe.read("adapt-generation", tree)
        assert (plan.model, plan.start) == ("generator", "brain")
        assert plan.net == weights.card("brain")["net"]
    assert set(plan.data.sources) == {str(tree), "phantoms"}
    assert isinstance(plan.data, GenerationData)
    assert plan.data.validate_on == 1


def test_a_recipe_that_wants_a_folder_asks_for_it_and_one_that_does_not_refuses_it(
    tree: Path, parent: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match="--data FOLDER"):
        train(find("adapt-generation"), tmp_path / "run", start=parent)
    with pytest.raises(SettingError, match="no source 'data'"):
        Recipe.read("brain", tree)
    with pytest.raises(SettingError, match="no source 'data'"):
        Recipe.read("denoiser", tree)
    with pytest.raises(SettingError, match="named sets"):
        Recipe.read("segmenter", tree)
    with pytest.raises(SettingError, match="'adapt-generation'"):
        Recipe.read("adapt-generaton")
    with toys.shipped(), pytest.raises(InputError, match="does not exist"):
        Recipe.read("adapt-generation", tmp_path / "nowhere")


def test_folders_of_a_recipe_lie_beside_it(tmp_path: Path) -> None:
    folders.bids(tmp_path / "mine", 2)
    path, model = tmp_path / "r.toml", '[model]\nname = "generator"\ncontrasts = ["T1w"]\n'
    path.write_text(model + "[data]\nsources = { mine = 1, phantoms = 1 }", encoding="utf-8")
    assert set(Recipe.read(path).data.sources) == {str(tmp_path / "mine"), "phantoms"}
    path.write_text(model + "[data]\nsources = { phantms = 1 }", encoding="utf-8")
    with pytest.raises(SettingError, match=r"Did you mean 'phantoms'.* Or give a folder"):
        train(path, tmp_path / "run")


def test_a_net_that_is_not_that_of_the_weights_is_refused(parent: str, tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('[model]\nname = "generator"\nwidths = [8, 12]', encoding="utf-8")
    with pytest.raises(SettingError, match=r"widths = \[8, 12\]"):
        Recipe.read(path, start=parent)
    path.write_text('[model]\nname = "generator"\nembedding = 32', encoding="utf-8")
    with pytest.raises(SettingError, match="do not fit the net"):
        train(path, tmp_path / "run", start=parent)
    path.write_text('[model]\nname = "generator"\nwidths = [8, 8]', encoding="utf-8")
    assert Recipe.read(path, start=parent).net == weights.card(parent)["net"]
    with pytest.raises(InputError, match="no weights"):
        Recipe.read(path, start="brian")


def test_the_page_of_curves_shows_the_loss_and_each_score_against_its_start(tuned: Path) -> None:
    page = (tuned.parent / "curves.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 1
    shown = [key for key in log(tuned)[-1] if "net" in key]
    assert shown
    assert all(key.replace("_", " ").replace(" db", " (dB)") in page for key in ["loss", *shown])
    assert "http-equiv" not in page, "a finished run is not loaded again"
    assert np.isfinite(log(tuned)[-1]["loss"])


def test_steps_asked_for_take_the_place_of_those_of_the_recipe(
    tree: Path, parent: str, tmp_path: Path
) -> None:
    (tmp_path / "tune.toml").write_text(TRAINING, encoding="utf-8")
    made = train(tmp_path / "tune.toml", tmp_path / "run", steps=1, data=tree, start=parent)
    assert card(made)["training"]["steps"] == log(made)[-1]["step"] == 1
    with pytest.raises(SettingError, match="steps = 0"):
        train(tmp_path / "tune.toml", tmp_path / "none", steps=0, data=tree, start=parent)
