"""BART as a peer: the same units and axes as the reference; an error that says so when it is not
installed or fails.
"""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

import toys
from veridical.errors import MissingExtra, VeridicalError
from veridical.evaluation import bench, peers
from veridical.physics.fourier import ifft

SIZE = (64, 60)
installed = pytest.mark.skipif(shutil.which("bart") is None, reason="BART is not installed")


def test_without_bart_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(MissingExtra, match="apt-get install bart"):
        peers.bart(np.zeros((4, 8, 8), np.complex64), 1, "W:3:0")


@installed
@pytest.mark.parametrize(("maps", "size"), [(1, SIZE), (2, SIZE), (1, (64, 62))])
def test_coil_images_come_back_in_the_units_axes_and_phase_of_the_data(
    maps: int, size: tuple[int, int]
) -> None:
    kspace = toys.kspace(size).numpy()
    reference = ifft(torch.from_numpy(kspace)).numpy()
    ((weight, images, seconds),) = peers.bart(kspace, maps, "W:3:0", weights=(1e-4,))
    assert weight == 1e-4
    assert seconds > 0
    assert images.shape == kspace.shape
    inside = toys.magnitude(size) > 0.1
    assert np.linalg.norm((images - reference)[:, inside]) < 0.1 * np.linalg.norm(
        reference[:, inside]
    )
    scale = np.vdot(reference[:, inside], images[:, inside]) / np.vdot(
        reference[:, inside], reference[:, inside]
    )
    assert scale == pytest.approx(1, abs=0.05)


@installed
def test_the_bench_takes_the_best_of_five_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = bench.retrospective(
        toys.kspace(SIZE).numpy(), ("bart wavelet", "zero-filled"), 1, (("uniform", 3),)
    )
    assert [row.best_of for row in rows] == [len(peers.WEIGHTS), 1]
    assert rows[0].values["psnr"] > rows[1].values["psnr"] + 3


@installed
def test_what_bart_says_when_it_fails_is_passed_on() -> None:
    with pytest.raises(VeridicalError, match=r"bart pics .* failed"):
        peers.bart(toys.kspace(SIZE).numpy(), 1, "Q:nonsense", weights=(1e-3,))
