"""Laws of training: a killed run goes on to the same weights, the step decides the data, recipes
are read strictly.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import toys
from veridical.errors import FormatError, InputError, SettingError
from veridical.layouts.pool import SETS
from veridical.models.generator import Generator
from veridical.preprocessing.preprocessing import Preprocessing
from veridical.task import Progress
from veridical.training.checkpoints import claimed, owner, write_tensors
from veridical.training.clean_volumes import SOURCES
from veridical.training.denoising_data import DenoisingData
from veridical.training.digital_patients import LICENCES
from veridical.training.distributed import Ranks
from veridical.training.dose_data import DoseData
from veridical.training.embedding_data import EmbeddingData
from veridical.training.generation_data import GenerationData
from veridical.training.loop import Run, rate
from veridical.training.recipe import Recipe, Training
from veridical.training.segmentation_data import SegmentationData
from veridical.training.train import train
from veridical.training.training_data import YOURS

STEPS = 4
FILES = {
    "checkpoint.safetensors",
    "log.jsonl",
    "curves.html",
    "toy.safetensors",
    "toy.json",
    "started.json",
    "train.pid",
}


class Killed(Exception):
    """Stands for a power cut."""


def stop_at(step: int) -> Progress:
    def progress(what: str, done: int, total: int) -> None:
        if done == step:
            raise Killed

    return progress


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def plan(folder: Path) -> Path:
    return toys.recipe(folder / "toy.toml", steps=STEPS, checkpoint=2)


@pytest.fixture(scope="module")
def whole(plan: Path, folder: Path) -> Path:
    """An uninterrupted run: its folder."""
    return train(plan, folder / "whole").parent


def same(one: Path, other: Path) -> bool:
    """Whether two runs ended in the same weights and in the same state to go on from, to the
    bit.
    """
    mine, theirs = (load_file(path / "checkpoint.safetensors") for path in (one, other))
    alike = mine.keys() == theirs.keys() and all(
        torch.equal(mine[key], theirs[key]) for key in mine
    )
    return (
        alike and (one / "toy.safetensors").read_bytes() == (other / "toy.safetensors").read_bytes()
    )


def steps(run: Path) -> list[int]:
    return [
        json.loads(line)["step"]
        for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    ]


@pytest.mark.parametrize("killed", [2, 3])
def test_a_killed_run_goes_on_to_the_same_weights(
    plan: Path, whole: Path, tmp_path: Path, killed: int
) -> None:
    """Killed right after a checkpoint, and between two, so that a step is lost."""
    with pytest.raises(Killed):
        train(plan, tmp_path, progress=stop_at(killed))
    assert not (tmp_path / "toy.safetensors").exists()
    train(plan, tmp_path, resume=True)
    assert same(tmp_path, whole)
    assert steps(tmp_path) == steps(whole) == [2, 4]


def test_processes_that_prepare_batches_do_not_change_the_result(folder: Path, whole: Path) -> None:
    several = toys.recipe(folder / "several" / "toy.toml", steps=STEPS, checkpoint=2, workers=1)
    assert same(train(several, folder / "workers").parent, whole)


def test_a_finished_run_that_is_resumed_stays_as_it_is(plan: Path, whole: Path) -> None:
    before = (whole / "toy.safetensors").read_bytes()
    train(plan, whole, resume=True)
    assert (whole / "toy.safetensors").read_bytes() == before
    assert steps(whole) == [2, 4]


def test_the_log_of_steps_that_are_taken_again_is_forgotten(
    plan: Path, whole: Path, tmp_path: Path
) -> None:
    (tmp_path / "log.jsonl").write_bytes((whole / "log.jsonl").read_bytes())
    run = Run(Recipe.read(plan), Generator, tmp_path, Ranks(0, 1, torch.device("cpu")))
    for step, left in ((4, [2, 4]), (3, [2]), (0, [])):
        run.step = step
        run.forget()
        assert steps(tmp_path) == left


def test_nothing_half_written_is_left(whole: Path) -> None:
    assert {path.name for path in whole.iterdir()} == FILES


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"a": torch.ones(2)}, {})
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_tensors(path, {"a": torch.zeros(2)}, {"step": 3})  # type: ignore[dict-item]
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_the_weights_are_the_moving_average_in_half_precision(whole: Path) -> None:
    kept, state = load_file(whole / "toy.safetensors"), load_file(whole / "checkpoint.safetensors")
    for key, value in kept.items():
        assert value.dtype == torch.float16
        assert torch.equal(value, state[f"average.{key}"].half())
    assert any(not torch.equal(state[f"average.{key}"], state[f"net.{key}"]) for key in kept)


def test_the_card_says_what_was_trained_on_what(plan: Path, whole: Path) -> None:
    card = json.loads((whole / "toy.json").read_text(encoding="utf-8"))
    recipe = Recipe.read(plan)
    assert card["model"] == "generator"
    assert card["net"] == {"widths": [8, 8], "blocks": 1, "contrasts": list(toys.CONTRASTS)}
    assert card["patches"] == STEPS * 2
    assert card["data"]["sources"] == {"ward": 1.0}
    assert card["data"]["held_out"] == []
    assert (card["patients"], card["validation_patients"]) == ({"ward": 3}, {"ward": 1})
    assert card["preprocessing"] == Preprocessing().to_card()
    assert set(card["intensity_maps"]) == set(toys.CONTRASTS)
    assert Training(**card["training"]) == recipe.training
    assert card["validation"]["step"] == STEPS
    scores = [value for key, value in card["validation"].items() if key.endswith("net_db")]
    assert scores
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("damage", ["truncated", "other net"])
def test_a_checkpoint_that_cannot_be_gone_on_from_is_refused(
    plan: Path, whole: Path, tmp_path: Path, damage: str
) -> None:
    content = (whole / "checkpoint.safetensors").read_bytes()
    (tmp_path / "checkpoint.safetensors").write_bytes(
        content[:-100] if damage == "truncated" else content
    )
    other = tmp_path / "toy.toml"
    other.write_text(
        plan.read_text(encoding="utf-8").replace("[8, 8]", "[8, 12]"), encoding="utf-8"
    )
    with pytest.raises(FormatError, match="without --resume"):
        train(plan if damage == "truncated" else other, tmp_path, resume=True)


MODEL = '[model]\nname = "generator"\ncontrasts = ["T1w"]\n'


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (MODEL + "[trainig]\nsteps = 3", "'training'"),
        (MODEL + "[training]\nstep = 3", "'steps'"),
        (MODEL + "[data]\nheldout = []", "'held_out'"),
        (MODEL + "[training]\nsteps = 0", "steps = 0"),
        (MODEL + "[training]\ncheckpoint = 0", "checkpoint = 0"),
        (MODEL + '[training]\nsteps = "many"', "expected int"),
        (MODEL + "[training]\nsteps = 2.5", "expected int"),
        (MODEL + '[training]\nprecision = "16-mxed"', "'16-mixed'"),
        (MODEL + '[data]\nsources = "phantoms"', "expected dict"),
        (MODEL + "[data]\npatch = 8", "patch = 8"),
        ("[model]\nwidths = [8, 8]", "needs a name"),
        ('[model]\nname = "denoiser"\n[data]\njobs = {}', "no key 'jobs'"),
        ('[model]\nname = "denoiser"\n[data]\nsources = { ixy = 1.0 }', "'ixi'"),
        ('[model]\nname = "genrator"', "'generator'"),
        ('[model]\nname = "wavelet"', "Nothing is there to learn"),
    ],
)
def test_a_recipe_is_read_strictly(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingError, match=word):
        Recipe.read(path)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (MODEL + "widhts = [8]", "'widths'"),
        (MODEL + 'family = "brigde"', "'bridge'"),
        (MODEL + 'conditions = ["contrats"]', "'contrast'"),
        ('[model]\nname = "generator"', "names the contrasts"),
        ('[model]\nname = "denoiser"\nwidhts = [8]', "'widths'"),
        ('[model]\nname = "denoiser"\nbackbone = "unett"', "'unet'"),
    ],
)
def test_unknown_settings_of_the_net_are_refused(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingError, match=word):
        train(path, tmp_path / "out")


def test_a_recipe_that_is_not_there_or_no_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read"):
        Recipe.read(tmp_path / "none.toml")
    (tmp_path / "r.toml").write_text("[model", encoding="utf-8")
    with pytest.raises(FormatError, match="cannot be read"):
        Recipe.read(tmp_path / "r.toml")


@pytest.mark.parametrize(
    "recipe", sorted((Path(__file__).parents[2] / "recipes").glob("*.toml")), ids=lambda p: p.stem
)
def test_the_shipped_recipes_are_read(recipe: Path) -> None:
    with toys.shipped():
        plan = Recipe.read(recipe)
    assert plan.name == recipe.stem
    kind, sources = {
        "denoiser": (DenoisingData, {*SOURCES, YOURS}),
        "generator": (GenerationData, {*LICENCES, YOURS, *SETS}),
        "head-segmenter": (SegmentationData, {"painted"}),
        "dose-predictor": (DoseData, {"openkbp"}),
        "joint-embedding": (EmbeddingData, {"phantoms"}),
    }[plan.model]
    assert type(plan.data) is kind
    assert set(plan.data.sources) <= sources
    assert plan.limits or plan.start, "for which images the weights are is said for their card"


def test_the_learning_rate_warms_up_stays_and_falls_to_zero_along_a_cosine() -> None:
    settings = Training(steps=1000, warmup=100, decay_from=0.6)
    rates = np.array([rate(step, settings) for step in range(1001)])
    np.testing.assert_allclose(rates[:100], np.arange(1, 101) / 100)
    np.testing.assert_array_equal(rates[100:600], 1.0)
    assert rates[800] == pytest.approx(0.5)
    assert rates[700] == pytest.approx(0.5 * (1 + 2**-0.5))
    assert (np.diff(rates[600:]) <= 0).all()
    assert rates[1000] == pytest.approx(0, abs=1e-12)
    assert rate(0, replace(settings, warmup=0)) == 1


def test_two_processes_do_not_train_in_one_folder(plan: Path, tmp_path: Path) -> None:
    """Flock belongs to the open file, so that a second one in the same process is refused like
    another process.
    """
    with (
        claimed(tmp_path),
        pytest.raises(InputError, match=rf"Process {os.getpid()} trains in .*already"),
    ):
        train(plan, tmp_path)
    assert not (tmp_path / "log.jsonl").exists()
    with claimed(tmp_path, first=False), claimed(tmp_path):
        assert owner(tmp_path) == str(os.getpid())
    assert owner(tmp_path) == ""
