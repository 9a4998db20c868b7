"""Rounds go on without sites that drop out or spoil; too few end them; a killed server goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import federations
from veridical.errors import FormatError, InputError
from veridical.training.checkpoints import log_lines
from veridical.training.federated import FILE, Masked, Server, initial
from veridical.training.federation import Federation
from veridical.training.screening import Arrays
from veridical.training.site import SiteAnswer

Said = SiteAnswer | str


class Made:
    """Sites that answer at once: each moves all weights by a little, and some misbehave."""

    def __init__(self, spoil: dict[str, Callable[[int, SiteAnswer], Said]] | None = None) -> None:
        self.spoil = spoil or {}
        self.asked: list[tuple[str, ...]] = []

    def train(self, number: int, shared: Arrays, names: Sequence[str]) -> dict[str, Said]:
        self.asked.append(tuple(names))
        found: dict[str, Said] = {}
        for place, name in enumerate(names):
            rng = np.random.default_rng([number, place])
            update = {
                key: (0.01 + 0.002 * rng.standard_normal(one.shape)).astype(np.float32)
                for key, one in shared.items()
            }
            answer = SiteAnswer(update, 10, {"before_db": 30.0})
            found[name] = self.spoil.get(name, lambda _, one: one)(number, answer)
        return found

    def masked(self, number: int, shared: Arrays, names: Sequence[str]) -> Masked:
        update = {key: np.full_like(one, np.nan) for key, one in shared.items()}
        return Masked(update, tuple(names))

    def report(self, shared: Arrays, names: Sequence[str]) -> dict[str, str]:
        return {}


def times(factor: float) -> Callable[[int, SiteAnswer], Said]:
    return lambda _, one: replace(one, update={k: factor * v for k, v in one.update.items()})


def plan(folder: Path, line: str = "", more: str = "", rounds: int = 5) -> Federation:
    found = federations.federation(folder, line, more)
    return replace(found, settings=replace(found.settings, rounds=rounds))


def test_the_shared_weights_move_by_the_mean_update(tmp_path: Path) -> None:
    federation = plan(tmp_path, rounds=1)
    server, sites = Server(federation, tmp_path / "out"), Made()
    before = initial(federation)
    said = sites.train(1, before, list(federation.sites))
    standing = server.run(sites)
    for name, value in before.items():
        updates = [one.update[name] for one in said.values() if isinstance(one, SiteAnswer)]
        np.testing.assert_allclose(standing.shared[name] - value, np.mean(updates, 0), atol=1e-6)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda number, one: "no answer: gone", "no answer"),
        (times(np.nan), "garbage"),
        (lambda number, one: replace(one, update={}), "garbage"),
        (times(-1.0), "poison"),
        (times(30.0), "poison"),
    ],
)
def test_a_site_that_misbehaves_is_named_left_out_and_after_three_rounds_not_asked(
    tmp_path: Path, spoil: Callable[[int, SiteAnswer], Said], reason: str
) -> None:
    federation, sites = plan(tmp_path), Made({"north": spoil})
    standing = Server(federation, tmp_path / "out").run(sites)
    lines = log_lines(tmp_path / "out")
    left = [line["left_out"] for line in lines]
    assert [list(one) for one in left] == [["north"]] * 3 + [[], []]
    assert left[0]["north"].startswith(reason)
    assert sites.asked[-1] == ("east", "west")
    assert all(np.isfinite(one).all() for one in standing.average.values())


def test_a_site_that_comes_back_in_time_is_asked_on(tmp_path: Path) -> None:
    sites = Made({"north": lambda n, one: one if n % 3 == 0 else "no answer: gone"})
    Server(plan(tmp_path), tmp_path / "out").run(sites)
    assert all(len(names) == 3 for names in sites.asked)


def test_too_few_sites_end_the_rounds_and_resuming_gives_the_same_bytes(tmp_path: Path) -> None:
    federation = plan(tmp_path)
    whole = Server(federation, tmp_path / "whole").run(Made())
    gone = {
        name: (lambda n, one: one if n < 3 else "no answer: gone") for name in ("east", "north")
    }
    with pytest.raises(InputError, match=r"Round 3: 1 of 3 sites.*east: no answer.*--resume"):
        Server(federation, tmp_path / "cut").run(Made(gone))
    resumed = Server(federation, tmp_path / "cut", resume=True).run(Made())
    assert [line["round"] for line in log_lines(tmp_path / "cut")] == [1, 2, 3, 4, 5]
    for name, value in whole.average.items():
        assert np.array_equal(value, resumed.average[name])


def test_a_checkpoint_of_another_federation_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    Server(plan(tmp_path, rounds=1), tmp_path / "out").run(Made())
    with pytest.raises(InputError, match="other settings"):
        Server(plan(tmp_path, rounds=2), tmp_path / "out", resume=True)
    (tmp_path / "out" / FILE).write_bytes(b"no tensors")
    with pytest.raises(FormatError, match="damaged"):
        Server(plan(tmp_path, rounds=1), tmp_path / "out", resume=True)


def test_a_masked_sum_that_is_no_number_ends_the_rounds(tmp_path: Path) -> None:
    federation = plan(tmp_path, "secure_aggregation = true", "[defence]\nscreen = false")
    with pytest.raises(InputError, match="whose is hidden"):
        Server(federation, tmp_path / "out").run(Made())


def test_the_log_says_of_each_update_how_it_compares(tmp_path: Path) -> None:
    Server(plan(tmp_path, rounds=1), tmp_path / "out").run(Made())
    (line,) = log_lines(tmp_path / "out")
    one = line["sites"]["east"]
    assert one["cosine"] == pytest.approx(0.97, abs=0.03)
    assert one["ratio"] == pytest.approx(1, abs=0.1)
    assert json.dumps(line)
