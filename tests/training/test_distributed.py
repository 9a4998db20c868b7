"""Laws of several processes: all end in the same weights, those of one process that saw all their
items.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import toys
from veridical.errors import SettingError
from veridical.models.generator import Generator
from veridical.training.distributed import Ranks, together
from veridical.training.loop import Run, precision
from veridical.training.recipe import Recipe, Training
from veridical.training.train import train

SCRIPT = """
import sys
import torch
from veridical.models.generator import Generator
from veridical.task import silent
from veridical.training.checkpoints import write_tensors
from veridical.training.distributed import together
from veridical.training.recipe import Recipe
from veridical.training.loop import Run
from pathlib import Path

torch.set_num_threads(1)
recipe, folder = sys.argv[1:]
with together("cpu") as ranks:
    run = Run(Recipe.read(recipe), Generator, Path(folder), ranks)
    run.loop(silent)
    write_tensors(Path(folder) / f"rank{ranks.rank}.safetensors", run.net.state_dict(), {})
"""


def start(rank: int, port: int, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a process as `torchrun` does."""
    told = {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    return subprocess.Popen([sys.executable, "-c", SCRIPT, *arguments], env=os.environ | told)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two processes."""
    folder = tmp_path_factory.mktemp("two")
    recipe = toys.recipe(folder / "toy.toml", steps=3, checkpoint=3)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [start(rank, port, str(recipe), str(folder)) for rank in range(2)]
    assert [process.wait(300) for process in processes] == [0, 0]
    return folder


def test_all_processes_have_the_same_weights_to_the_bit(both: Path) -> None:
    one, other = (load_file(both / f"rank{rank}.safetensors") for rank in range(2))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_two_processes_learn_what_one_does_from_twice_the_items(both: Path, tmp_path: Path) -> None:
    single = toys.recipe(tmp_path / "toy.toml", steps=3, checkpoint=3, accumulate=2)
    train(single, tmp_path)
    alone, together_, half = (
        load_file(path / "checkpoint.safetensors")
        for path in (tmp_path, both, _half(tmp_path / "half"))
    )
    for key, value in alone.items():
        torch.testing.assert_close(together_[key], value, atol=2e-5, rtol=1e-3)
    assert any(not torch.allclose(half[key], value, atol=1e-4) for key, value in alone.items()), (
        "and not from half of them"
    )


def _half(folder: Path) -> Path:
    return train(toys.recipe(folder / "toy.toml", steps=3, checkpoint=3), folder).parent


def test_only_the_first_process_writes(both: Path) -> None:
    assert len((both / "log.jsonl").read_text(encoding="utf-8").splitlines()) == 1
    assert {path.name for path in both.iterdir()} == {
        "toy.toml",
        "log.jsonl",
        "curves.html",
        "checkpoint.safetensors",
        "rank0.safetensors",
        "rank1.safetensors",
    }


def test_every_item_is_learned_from_once_whoever_takes_it(tmp_path: Path) -> None:
    plan = Recipe.read(toys.recipe(tmp_path / "toy.toml", steps=4, accumulate=3))
    taken = []
    for rank in range(2):
        run = Run(plan, Generator, tmp_path, Ranks(rank, 2, torch.device("cpu")))
        run.step = 1
        taken.append(run.items())
    assert sorted(taken[0] + taken[1]) == list(range(6, 24)), (
        "steps 1 to 3 of 2 processes with 3 items each"
    )
    assert not set(taken[0]) & set(taken[1])


def test_alone_there_is_nothing_to_average_or_to_agree_on() -> None:
    with together("cpu") as ranks:
        weight = torch.nn.Parameter(torch.ones(2))
        ranks.average([weight])
        ranks.agree(7)
        assert (ranks.first, ranks.size, weight.grad) == (True, 1, None)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("auto", torch.float32), ("bf16-mixed", torch.bfloat16), ("16-mixed", torch.float16)],
)
def test_the_precision_on_a_cpu_is_32_bits_unless_asked_for_less(
    name: str, kind: torch.dtype
) -> None:
    assert precision(name, torch.device("cpu")) is kind


def test_an_unknown_precision_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingError, match="'bf16-mixed'"):
        Training(precision="bf16-mixd")


def learned(folder: Path, precision: str) -> torch.Tensor:
    """All weights after four steps in a precision."""
    recipe = toys.recipe(
        folder / precision / "toy.toml", steps=4, checkpoint=4, precision=f'"{precision}"'
    )
    run = load_file(train(recipe, folder / precision).parent / "checkpoint.safetensors")
    return torch.cat([run[key].flatten() for key in sorted(run) if key.startswith("net.")])


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    return learned(tmp_path_factory.mktemp("full"), "32")


@pytest.mark.parametrize("name", ["bf16-mixed", "16-mixed"])
def test_training_in_half_precision_moves_the_weights_about_as_in_full(
    name: str, full: torch.Tensor, tmp_path: Path
) -> None:
    half = learned(tmp_path, name)
    assert torch.isfinite(half).all()
    assert not torch.equal(full, half)
    assert float((full - half).norm() / full.norm()) < 0.02
