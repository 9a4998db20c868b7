"""The bench: its protocols on a small scan without peers, the region that counts, what is predicted
and how it is scored.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

import toys
from veridical.errors import InputError, SettingError
from veridical.evaluation import bench
from veridical.evaluation.bench import BenchRow
from veridical.physics import masks
from veridical.physics.fourier import ifft

SIZE = (64, 60)
FEW = ("zero-filled", "cg-sense", "wavelet")


@cache
def full() -> np.ndarray:
    """A complete scan of four coils, read-only as scans from files are."""
    kspace = toys.kspace(SIZE).numpy()
    kspace.flags.writeable = False
    return kspace


def mean(rows: list[BenchRow], method: str, key: str) -> float:
    return float(np.mean([row.values[key] for row in rows if row.method == method]))


def test_a_complete_scan_is_undersampled_and_compared_with_itself() -> None:
    seen: list[tuple[str, int, int]] = []
    rows = bench.bench(full(), seeds=2, methods=FEW, progress=lambda *step: seen.append(step))
    assert len(rows) == len(bench.PATTERNS) * 2 * len(FEW)
    assert {row.pattern for row in rows} == {
        "uniform 3x",
        "uniform 4x",
        "variable 4x",
        "variable 6x",
    }
    assert seen[-1] == ("bench", 8, 8)
    assert mean(rows, "zero-filled", "psnr") + 3 < mean(rows, "cg-sense", "psnr")
    assert mean(rows, "zero-filled", "nmse") > mean(rows, "wavelet", "nmse")
    assert all(row.seconds > 0 and row.best_of == 1 for row in rows)
    assert all(0 < row.values["ssim"] <= 1 for row in rows)


def test_without_undersampling_there_is_no_error_but_that_of_the_maps() -> None:
    (row,) = bench.retrospective(full(), ("cg-sense",), 1, (("uniform", 1),))
    assert row.values["psnr"] > 35
    assert row.values["nmse"] < 2e-3


def test_only_columns_that_were_acquired_are_ever_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    part = full().copy()
    part[..., :10] = part[..., 50:] = 0
    seen: list[np.ndarray] = []
    monkeypatch.setattr(
        bench, "solve", lambda method: lambda kspace, mask: seen.append(mask) or [np.abs(kspace)]
    )
    bench.bench(part, seeds=3, methods=("any",))
    assert len(seen) == 12
    assert not any(mask[:, :10].any() or mask[:, 50:].any() for mask in seen)
    assert all(mask[:, 18:42].all() for mask in seen)
    assert len({mask.tobytes() for mask in seen[:3]}) == 3, "another seed is another pattern"


def test_the_best_of_several_settings_counts_and_is_called_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = ifft(torch.from_numpy(full().copy())).numpy()
    monkeypatch.setattr(
        bench, "solve", lambda method: lambda kspace, mask: [0.5 * images, 0.9 * images, 2 * images]
    )
    (row,) = bench.retrospective(full(), ("any",), 1, (("uniform", 3),))
    assert row.best_of == 3
    assert row.values["nmse"] == pytest.approx(0.01, rel=1e-3)
    assert "any (best of 3)" in bench.table([row])


def test_an_incomplete_scan_is_predicted_where_samples_are_withheld() -> None:
    mask = masks.poisson_disc(SIZE, 3, acs=16, seed=1)
    rows = bench.bench(full() * mask, seeds=2, methods=FEW)
    assert {row.pattern for row in rows} == {"withheld samples"}
    assert mean(rows, "zero-filled", "error") > mean(rows, "cg-sense", "error")
    assert mean(rows, "wavelet", "error") < 0.8


def test_what_is_withheld_is_a_fifth_of_the_samples_outside_the_centre(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mask = masks.poisson_disc(SIZE, 3, acs=16, seed=1)
    kept: list[np.ndarray] = []
    monkeypatch.setattr(
        bench, "solve", lambda method: lambda kspace, part: kept.append(part) or [0 * kspace]
    )
    rows = bench.withheld(full() * mask, ("nothing",), seeds=3)
    centre = masks.fully_sampled_centre(mask)
    outside = mask.sum() - mask[centre].sum()
    for part in kept:
        assert not (part & ~mask).any()
        assert part[centre].all()
        assert (mask & ~part).sum() == round(bench.WITHHELD * outside)
    assert len({part.tobytes() for part in kept}) == 3
    assert [row.values["error"] for row in rows] == pytest.approx([1, 1, 1]), (
        "predicting nothing is an error of one"
    )


def test_a_scan_that_is_its_centre_alone_has_nothing_to_withhold() -> None:
    mask = np.zeros(SIZE, bool)
    mask[20:44, 18:42] = True
    with pytest.raises(InputError, match="withheld"):
        bench.withheld(full() * mask, FEW)


def test_the_head_is_the_largest_bright_region_without_holes() -> None:
    image = toys.magnitude((96, 80))
    image[2:5, 2:5] = 1
    head = bench.head_mask(image)
    assert head[48, 40]
    assert head[48, int(0.35 * 80)], "the dark hole inside belongs to it"
    assert not head[3, 3], "a bright spot in the air does not"
    y, x = np.mgrid[-1:1:96j, -1:1:80j]
    inside = x**2 + y**2 / 0.8 < 0.7
    assert (head ^ inside).mean() < 0.02


def test_an_empty_reference_has_no_head() -> None:
    with pytest.raises(InputError, match="empty"):
        bench.head_mask(np.zeros((32, 32)))


def test_the_table_gives_mean_and_spread_over_seeds() -> None:
    rows = [BenchRow("p", seed, "m", {"psnr": 30.0 + 2 * seed}, 1.0) for seed in range(3)]
    assert bench.table(rows).splitlines()[2] == "| p | m | 32.000 ± 1.633 | 1.00 |"


def test_unknown_methods_and_patterns_are_refused() -> None:
    with pytest.raises(SettingError, match="'wavelet'"):
        bench.bench(full(), 1, ("wavelets",))
    with pytest.raises(SettingError, match="uniform or variable"):
        bench.retrospective(full(), FEW, 1, (("poisson", 4),))
