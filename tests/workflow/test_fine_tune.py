"""Going on from trained weights on a folder of one's own: patients apart, and a card that says where it all comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import folders
import toys
from veridical.errors import InputError, SettingError
from veridical.models import weights
from veridical.training.image_data import ImageData
from veridical.training.image_samples import ImageCourse
from veridical.training.loop import Run
from veridical.training.recipe import Recipe, find
from veridical.training.train import train

TRAINING = """
[data]
sources = { data = 0.7, cohort = 0.3 }
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
def tuned(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a fine-tuned toy."""
    folder = tmp_path_factory.mktemp("tuned")
    (folder / "tune.toml").write_text(f'[model]\nname = "brain-prior"\n{TRAINING}', encoding="utf-8")
    return train(folder / "tune.toml", folder / "run", data=tree, start=str(toys.weights("brain-prior")))


def card(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    return found


def log(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path.parent / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def test_it_starts_from_the_weights_and_has_their_net(tuned: Path) -> None:
    parent = toys.weights("brain-prior")
    assert card(tuned)["model"] == "brain-prior"
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


def test_the_card_says_from_what_on_how_many_and_that_it_may_not_ship(tuned: Path, tree: Path) -> None:
    parent, found = toys.weights("brain-prior"), card(tuned)
    assert found["from"] == {"weights": parent.stem, "sha256": weights.fingerprint(str(parent)), "patches": 4}
    assert found["patches"] == 4
    assert found["patients"] == {"our-ward": 3}
    assert found["validation_patients"] == {"our-ward": 1}
    assert found["data"]["sources"] == {"our-ward": 0.7, "cohort": 0.3}
    assert found["licences"]["our-ward"] == "not known to this package"
    assert (found["may_ship"], found["barred_by"]) == (False, ["our-ward"])
    assert str(tree.parent) not in json.dumps(found), "no path of this machine"
    assert card(parent)["may_ship"] is True


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a toy whose samplers of 2 and 4 steps were taught by its own of 4, on digital patients."""
    folder, parent = tmp_path_factory.mktemp("taught"), str(toys.weights("brain-prior"))
    text = TRAINING.replace("data = 0.7, ", "")
    (folder / "few.toml").write_text(f"{text}teacher = 4\nstudents = [2, 4]\n", encoding="utf-8")
    return train(folder / "few.toml", folder / "run", start=parent)


def test_weights_that_were_taught_by_their_own_say_so_and_others_do_not(taught: Path, tuned: Path) -> None:
    parent = toys.weights("brain-prior")
    said = {"teacher_steps": 4, "student_steps": [2, 4], "from": weights.fingerprint(str(parent))}
    assert card(taught)["distilled"] == said
    assert "distilled" not in card(tuned)
    assert np.isfinite(log(taught)[-1]["loss"])
    before, after = load_file(parent), load_file(taught)
    assert any(not torch.equal(before[key], after[key]) for key in before)


def test_the_teacher_of_a_run_that_goes_on_is_what_it_started_from(taught: Path, tmp_path: Path) -> None:
    from veridical.models.brain_prior import BrainPrior
    from veridical.training.distributed import together

    plan = Recipe.read(taught.parents[1] / "few.toml", start=str(toys.weights("brain-prior")))
    with together("cpu") as ranks:
        run = Run(plan, BrainPrior, taught.parent, ranks)
        run.restore()
    assert run.step == 2
    assert run.teacher is not None
    start, now = load_file(toys.weights("brain-prior")), run.net.state_dict()
    assert all(torch.equal(value, start[key].float()) for key, value in run.teacher.net.state_dict().items())
    assert any(not torch.equal(value, start[key].float()) for key, value in now.items())
    assert run.source.__getstate__()["teacher"] is None, "processes that prepare batches do not get it"
    assert run.unseen.teacher is None


def test_models_that_draw_otherwise_cannot_be_taught(tmp_path: Path) -> None:
    kept = [line for line in TRAINING.splitlines() if not line.startswith(("sources", "validate_on"))]
    (tmp_path / "d.toml").write_text("\n".join([*kept, "teacher = 4", "students = [2]"]), encoding="utf-8")
    with pytest.raises(SettingError, match="denoiser cannot be distilled"):
        train(tmp_path / "d.toml", tmp_path / "run", start=str(toys.weights("denoiser")))


def test_what_may_not_ship_has_no_children_that_may(tuned: Path, tmp_path: Path) -> None:
    (tmp_path / "again.toml").write_text(TRAINING.replace("data = 0.7, ", ""), encoding="utf-8")
    again = train(tmp_path / "again.toml", tmp_path / "run", start=str(tuned))
    assert (card(again)["may_ship"], card(again)["barred_by"]) == (False, ["our-ward"])


def test_nobody_is_trained_and_validated_on(tree: Path) -> None:
    data = ImageData({str(tree): 1.0}, validate_on=1, batch=2, patch=32)
    assert len(data.unseen()) == 1
    seen, unseen = ({one.patient for one in members(image_course(data, validation))} for validation in (False, True))
    assert unseen == set(data.unseen())
    assert len(seen) == 3
    assert not seen & unseen


def test_a_patient_who_is_held_out_of_one_folder_is_held_out_of_all(tree: Path, tmp_path: Path) -> None:
    other = folders.bids(tmp_path / "copy", 3)
    data = ImageData({str(tree): 1.0, str(other): 1.0}, validate_on=1, batch=2, patch=32)
    names = [{one.patient for one in members(image_course(data, validation))} for validation in (False, True)]
    assert not names[0] & names[1]


def image_course(data: ImageData, validation: bool) -> ImageCourse:
    model = Recipe.read(toys.recipe(Path(toys._folder()) / "again.toml", "brain-prior"))
    from veridical.models.brain_prior import BrainPrior

    return ImageCourse(BrainPrior, BrainPrior.build(model.net), data, 0, validation)


def members(course: ImageCourse) -> list[Any]:
    return [volume for pool in course.pools.values() for volume, _ in pool]


def test_the_shipped_recipe_takes_a_folder_and_starts_from_the_brain_prior(tree: Path) -> None:
    plan = Recipe.read("fine-tune", tree)
    assert (plan.model, plan.start) == ("brain-prior", "brain-prior")
    assert plan.net == weights.card("brain-prior")["net"]
    assert set(plan.data.sources) == {str(tree), "cohort"}
    assert plan.data.validate_on == 1


def test_a_recipe_that_wants_a_folder_asks_for_it_and_one_that_does_not_refuses_it(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="--data FOLDER"):
        train(find("fine-tune"), tmp_path / "run", start=str(toys.weights("brain-prior")))
    with pytest.raises(SettingError, match="no source 'data'"):
        Recipe.read("brain-prior", tree)
    with pytest.raises(SettingError, match="named sets"):
        Recipe.read("denoiser", tree)
    with pytest.raises(SettingError, match="'fine-tune'"):
        Recipe.read("finetune")
    with pytest.raises(InputError, match="does not exist"):
        Recipe.read("fine-tune", tmp_path / "nowhere")


def test_folders_of_a_recipe_lie_beside_it(tree: Path, tmp_path: Path) -> None:
    folders.bids(tmp_path / "mine", 2)
    path = tmp_path / "r.toml"
    path.write_text('[model]\nname = "brain-prior"\n[data]\nsources = { mine = 1, cohort = 1 }', encoding="utf-8")
    assert set(Recipe.read(path).data.sources) == {str(tmp_path / "mine"), "cohort"}
    path.write_text('[model]\nname = "brain-prior"\n[data]\nsources = { mien = 1 }', encoding="utf-8")
    with pytest.raises(SettingError, match="folder that exists"):
        Recipe.read(path).data.real()  # type: ignore[attr-defined]


def test_a_net_that_is_not_that_of_the_weights_is_refused(tmp_path: Path) -> None:
    path, start = tmp_path / "r.toml", str(toys.weights("brain-prior"))
    path.write_text('[model]\nname = "brain-prior"\nwidths = [8, 12]', encoding="utf-8")
    with pytest.raises(SettingError, match=r"widths = \[8, 12\]"):
        Recipe.read(path, start=start)
    path.write_text('[model]\nname = "brain-prior"\nwidths = [8, 8]\nblocks = 1', encoding="utf-8")
    with pytest.raises(SettingError, match="do not fit the net"):
        train(path, tmp_path / "run", start=start)
    path.write_text('[model]\nname = "brain-prior"\nwidths = [8, 8]', encoding="utf-8")
    assert Recipe.read(path, start=start).net == weights.card(start)["net"]
    with pytest.raises(InputError, match="no weights"):
        Recipe.read(path, start="brian-prior")


def test_the_page_of_curves_shows_the_loss_and_each_score_against_its_start(tuned: Path) -> None:
    page = (tuned.parent / "curves.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 1
    shown = [key for key in log(tuned)[-1] if "net" in key]
    assert shown
    assert all(key.replace("_", " ").replace(" db", " (dB)") in page for key in ["loss", *shown])
    assert "http-equiv" not in page, "a finished run is not loaded again"
    assert np.isfinite(log(tuned)[-1]["loss"])


def test_steps_asked_for_take_the_place_of_those_of_the_recipe(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "tune.toml").write_text(f'[model]\nname = "brain-prior"\n{TRAINING}', encoding="utf-8")
    given = {"data": tree, "start": str(toys.weights("brain-prior"))}
    made = train(tmp_path / "tune.toml", tmp_path / "run", steps=1, **given)  # type: ignore[arg-type]
    assert card(made)["training"]["steps"] == log(made)[-1]["step"] == 1
    with pytest.raises(SettingError, match="steps = 0"):
        train(tmp_path / "tune.toml", tmp_path / "none", steps=0, **given)  # type: ignore[arg-type]
