"""Training a denoiser on a small made-up set: resumed to the bit, a card of its own, and gone on
with by train-on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import toys
from veridical.errors import FormatError, SettingError
from veridical.models.denoiser import Denoiser
from veridical.models.weights import fingerprint
from veridical.preprocessing.preprocessing import Preprocessing
from veridical.task import Progress
from veridical.training import train_on as module
from veridical.training.checkpoints import claimed, owner, step_of
from veridical.training.recipe import Recipe
from veridical.training.train import train
from veridical.training.train_on import started, train_on, unfinished

STEPS = 4
RECIPE = """
limits = "White noise in toys."

[model]
name = "denoiser"
widths = [4, 6]
reach = 1

[data]
sources = {{ toy = 1.0 }}
held_out = ["toy-2"]
batch = 3
patch = 16
cache = "{cache}"

[training]
steps = {steps}
checkpoint = 2
validate = 3
workers = 0
warmup = 1
device = "cpu"
"""


class Killed(Exception):
    """Stands for a power cut."""


def stop_at(step: int) -> Progress:
    def progress(what: str, done: int, total: int) -> None:
        if done == step:
            raise Killed

    return progress


@pytest.fixture(scope="module", autouse=True)
def toy() -> Iterator[None]:
    with toys.clean_set():
        yield


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipe")
    (folder / "tiny.toml").write_text(
        RECIPE.format(cache=folder / "cache", steps=STEPS), encoding="utf-8"
    )
    return folder / "tiny.toml"


@pytest.fixture(scope="module")
def whole(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run: its folder."""
    return train(recipe, tmp_path_factory.mktemp("whole")).parent


def card(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "tiny.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("killed", [2, 3])
def test_a_killed_run_goes_on_to_the_same_weights_to_the_bit(
    recipe: Path, whole: Path, tmp_path: Path, killed: int
) -> None:
    with pytest.raises(Killed):
        train(recipe, tmp_path, progress=stop_at(killed))
    assert step_of(tmp_path) == 2
    train(recipe, tmp_path, resume=True)
    mine, theirs = (load_file(path / "checkpoint.safetensors") for path in (tmp_path, whole))
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    assert (tmp_path / "tiny.safetensors").read_bytes() == (whole / "tiny.safetensors").read_bytes()


def test_the_card_says_on_whom_it_was_trained_on_how_much_and_that_it_may_ship(whole: Path) -> None:
    found = card(whole)
    assert (found["model"], found["net"]) == ("denoiser", {"widths": [4, 6], "reach": 1})
    assert found["data"]["sources"] == {"toy": 1.0}
    assert found["data"]["held_out"] == ["toy-2"]
    assert (found["patients"], found["validation_patients"]) == ({"toy": 2}, {"toy": 1})
    assert found["licences"] == {"toy": "made up"}
    assert (found["may_ship"], found["barred_by"]) == (True, [])
    assert found["patches"] == STEPS * 3
    assert found["limits"] == "White noise in toys."
    assert found["preprocessing"] == Preprocessing().to_card()
    assert found["validation"]["step"] == STEPS
    assert np.isfinite(
        [found["validation"][name] for name in ("start_db", "net_db", "stack_net_db")]
    ).all()


def test_the_weights_are_those_of_a_denoiser_that_runs(whole: Path) -> None:
    model = Denoiser(str(whole / "tiny.safetensors"), "cpu")
    assert model.solve(toys.problem(), 2, 0).shape == (2, 1, *toys.SIZE)


def test_it_starts_from_other_weights_whose_card_leaves_defaults_unsaid(
    recipe: Path, whole: Path, tmp_path: Path
) -> None:
    (tmp_path / "tiny.toml").write_text(
        recipe.read_text(encoding="utf-8").replace("[model]", '[model]\nbackbone = "unet"'),
        encoding="utf-8",
    )
    start = str(whole / "tiny.safetensors")
    plan = Recipe.read(tmp_path / "tiny.toml", start=start)
    assert plan.net == {"widths": [4, 6], "reach": 1, "backbone": "unet"}
    done = card(train(tmp_path / "tiny.toml", tmp_path / "run", start=start).parent)
    assert done["from"] == {"weights": "tiny", "sha256": fingerprint(start), "patches": STEPS * 3}


def test_a_net_of_another_reach_is_refused(recipe: Path, whole: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(
        recipe.read_text(encoding="utf-8").replace("reach = 1", "reach = 2"), encoding="utf-8"
    )
    with pytest.raises(SettingError, match="reach = 2"):
        Recipe.read(tmp_path / "tiny.toml", start=str(whole / "tiny.safetensors"))


def interrupted(recipe: Path, folder: Path) -> Path:
    """A run that was killed at step 3."""
    with pytest.raises(Killed):
        train(recipe, folder, progress=stop_at(3))
    return folder


def test_unfinished_runs_are_found_with_what_they_were_started_with(
    recipe: Path, whole: Path, tmp_path: Path
) -> None:
    half = interrupted(recipe, tmp_path / "half")
    (tmp_path / "cache").mkdir()
    (found,) = unfinished([whole, half, tmp_path / "cache"])
    assert (found.folder, found.step, found.steps) == (half, 2, STEPS)
    words = found.command()
    assert words[:3] == ["nice", "-n", "19"]
    assert words[-5:] == [str(recipe), "--out", str(half), "--resume", "--quiet"]
    assert started(tmp_path / "cache") is None


def test_a_folder_called_like_a_shipped_recipe_goes_on_with_it(tmp_path: Path) -> None:
    (tmp_path / "denoiser").mkdir()
    assert started(tmp_path / "denoiser") == {"recipe": "denoiser"}
    (found,) = unfinished([tmp_path / "denoiser"])
    assert (found.step, found.steps) == (0, Recipe.read("denoiser").training.steps)


def test_more_steps_and_other_weights_are_handed_on(
    recipe: Path, whole: Path, tmp_path: Path
) -> None:
    start = str(whole / "tiny.safetensors")
    train(recipe, tmp_path / "more", start=start, steps=2)
    given = started(tmp_path / "more")
    assert given == {"recipe": str(recipe), "data": None, "start": start, "steps": 2}
    path = tmp_path / "more" / "started.json"
    path.write_text(json.dumps(given | {"steps": 3}), encoding="utf-8")
    (found,) = unfinished([tmp_path / "more"])
    assert found.command()[-4:] == ["--from", start, "--steps", "3"]
    path.write_text("{", encoding="utf-8")
    with pytest.raises(FormatError, match=r"started\.json"):
        started(tmp_path / "more")


def test_nothing_is_started_where_all_is_finished_or_one_trains_already(
    recipe: Path, tmp_path: Path
) -> None:
    assert "No run" in train_on(tmp_path)
    half = interrupted(recipe, tmp_path / "half")
    with claimed(half):
        said = train_on(tmp_path)
    assert f"Process {os.getpid()} trains in {half} already" in said
    assert not (half / module.LOG).exists()


class Child:
    """Stands for a training in the background, which holds the lock of its folder, or ends at
    once.
    """

    lives: bool
    given: list[str]

    def __init__(self, words: list[str], **settings: Any) -> None:
        type(self).given = words
        self.pid, folder = 4321, Path(words[words.index("--out") + 1])
        settings["stdout"].write("training\n")
        assert settings["start_new_session"]
        if self.lives:
            self.real = REAL([sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE)
            self.pid = self.real.pid

    def poll(self) -> int | None:
        return None if self.lives else 2


REAL = subprocess.Popen
HOLD = """
import sys
from pathlib import Path
from veridical.training.checkpoints import claimed
with claimed(Path(sys.argv[1])):
    sys.stdin.read()
"""


@pytest.mark.parametrize("lives", [True, False])
def test_the_first_unfinished_run_goes_on_in_the_background_and_a_failure_is_told(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lives: bool
) -> None:
    half = interrupted(recipe, tmp_path / "half")
    monkeypatch.setattr(Child, "lives", lives, raising=False)
    children: list[Child] = []
    monkeypatch.setattr(
        module.subprocess, "Popen", lambda *a, **k: children.append(Child(*a, **k)) or children[-1]
    )
    if not lives:
        with pytest.raises(SettingError, match=r"ended at once.*train\.log says why"):
            train_on(tmp_path)
        return
    try:
        said = train_on(tmp_path)
        assert f"Process {children[0].pid} trains in {half} from step 2 of {STEPS} on" in said
        assert owner(half) == str(children[0].pid)
        assert "already; nothing was started" in train_on(tmp_path)
        assert len(children) == 1
    finally:
        children[0].real.communicate()
    assert owner(half) == "", "the claim ends with the process"
    assert (half / module.LOG).read_text(encoding="utf-8") == "training\n"
