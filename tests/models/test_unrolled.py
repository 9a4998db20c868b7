"""Laws of the unrolled model: its training loss and its estimate."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

import toys
from veridical.errors import SettingError
from veridical.models.base import channels_last, pick_device
from veridical.models.prepared_scan import Scan
from veridical.models.unrolled import Unrolled
from veridical.nets.unrolled import UnrolledNet

SETTINGS = {"cascades": 2, "widths": (4, 6)}


def model(**settings: int) -> Unrolled:
    return Unrolled(weights=str(toys.weights("unrolled")), device="cpu", **settings)


def scan() -> Scan:
    return next(toys.scans())


def truth(of: Scan) -> Tensor:
    """The picture in the phase of the estimated maps, `(set, y, x)`, in the units of the scan."""
    return of.operator.combine(toys.sensitivities() * toys.picture()) / of.scale


def test_the_loss_falls_as_the_estimate_comes_nearer() -> None:
    net, of = Unrolled.build(SETTINGS), scan()
    generator = torch.Generator()
    near = Unrolled.predict(net, of, "T1w")
    losses = [
        float(Unrolled.objective(net, of, near + offset * (truth(of) - near), "T1w", generator).detach())
        for offset in (0.1, 1.0, 3.0)
    ]
    assert losses == sorted(losses)


def test_the_loss_counts_decibels_alike() -> None:
    """Ten times the error is the same step wherever one stands: the last cascade's log error and a tenth of the others'."""
    net, of = Unrolled.build({"cascades": 2, "widths": (4,)}), scan()
    far = [float(Unrolled.objective(net, of, factor * truth(of), "", torch.Generator()).detach()) for factor in (1e3, 1e4, 1e5)]
    assert far[1] - far[0] == pytest.approx(1.1 * torch.log(torch.tensor(100.0)).item(), rel=0.01)
    assert far[2] - far[1] == pytest.approx(far[1] - far[0], rel=0.01)


def test_a_few_steps_of_training_lower_the_loss() -> None:
    torch.manual_seed(0)
    net, of = Unrolled.build(SETTINGS), scan()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    losses = []
    for _ in range(15):
        loss = Unrolled.objective(net, of, 1.5 * truth(of), "T1w", torch.Generator())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.3


def test_it_gives_one_estimate_the_same_for_every_seed() -> None:
    first, again = (model().solve(scan(), draws, seed, "T1w") for draws, seed in ((1, 0), (8, 5)))
    assert first.shape == (1, 2, *toys.SIZE)
    assert torch.equal(first, again)


def test_the_estimate_grows_with_the_data() -> None:
    """In the scan's own units nothing changes when the data are a thousand times as large."""
    found = model().solve(scan(), 1, 0, "T1w")
    larger = model().solve(next(toys.scans(1000.0)), 1, 0, "T1w")
    torch.testing.assert_close(larger, found, atol=2e-3, rtol=0)


def test_an_unknown_setting_of_the_net_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingError, match="'widths'"):
        Unrolled.build({"widhts": [4]})


def test_a_net_laid_out_for_the_processor_is_the_same_net() -> None:
    torch.manual_seed(0)
    plain = UnrolledNet(2, (4, 6))
    torch.manual_seed(0)
    laid = channels_last(UnrolledNet(2, (4, 6)))
    for a, b in zip(plain.parameters(), laid.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a.ndim != 4 or b.is_contiguous(memory_format=torch.channels_last)


def test_auto_picks_a_device_and_a_name_is_taken_at_its_word() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert dataclasses.asdict(Unrolled())["device"] == "auto"
