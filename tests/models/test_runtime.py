"""Other runtimes give the numbers of torch within the stated tolerance, the same bytes for the same seed, and gradients."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from known_slices import awake, known_slices, noise, saved
from veridical.errors import FormatError, MissingExtra, SettingError
from veridical.models import runtime, weights
from veridical.models.brain_prior import BrainPrior
from veridical.models.runtime import TOLERANCE, Exported, difference, exported, resolve, start
from veridical.nets.unet import UNet
from veridical.nets.unet_onnx import unet_onnx

CPU = torch.device("cpu")
THERE = [name for name in ("onnxruntime", "openvino") if runtime.installed(name) and runtime.installed("onnx")]
needs_one = pytest.mark.skipif("onnxruntime" not in THERE, reason="the extra 'fast' is not installed")


def core() -> UNet:
    torch.manual_seed(0)
    net = awake(UNet(6, 2, 5, (8, 12), blocks=1, embedding=8)).eval()
    assert isinstance(net, UNet)
    return net


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved(BrainPrior, tmp_path_factory.mktemp("weights"))


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", THERE)
def test_the_numbers_are_those_of_torch_for_any_size_within_the_tolerance(name: str) -> None:
    net = core()
    assert 0 < difference(net, exported(net, "none", name)) < TOLERANCE


@needs_one
def test_a_runtime_that_differs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = awake(core())
    assert isinstance(other, UNet)
    monkeypatch.setattr(runtime, "unet_onnx", lambda net: unet_onnx(other))
    with pytest.raises(FormatError, match="differs from torch"):
        exported(core(), "none", "onnxruntime")


@pytest.mark.parametrize("name", THERE)
def test_what_is_no_graph_is_refused(name: str) -> None:
    with pytest.raises(FormatError, match="cannot load"):
        start(b"no graph", name)


def test_gradients_are_those_of_torch() -> None:
    net = core()
    stand_in = Exported(net, lambda x, condition: pytest.fail("the runtime has no gradient"))
    x, condition = noise(1, 6, 8, 8).requires_grad_(), noise(1, 5, seed=1)
    (found,) = torch.autograd.grad(stand_in(x, condition).square().sum(), x)
    (wanted,) = torch.autograd.grad(net(x, condition).square().sum(), x)
    assert torch.equal(found, wanted)


@needs_one
def test_the_prior_draws_the_same_by_torch_and_by_onnxruntime_and_the_same_bytes_for_the_same_seed(prior: str) -> None:
    known, _ = known_slices()
    first, again, plain = (
        BrainPrior(weights=prior, device="cpu", runtime=r).complete(known, 2, 3)
        for r in ("onnxruntime", "onnxruntime", "torch")
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, plain)
    torch.testing.assert_close(first, plain, rtol=1e-3, atol=1e-4)


@needs_one
def test_an_installed_runtime_is_used_on_the_cpu_without_being_asked(prior: str) -> None:
    by = BrainPrior(weights=prior, device="cpu").net().net
    assert isinstance(by, Exported)
    assert isinstance(BrainPrior(weights=prior, device="cpu", runtime="torch").net().net, UNet)


def test_auto_is_torch_on_a_gpu_for_volumes_and_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve("auto", torch.device("cuda")) == "torch"
    assert resolve("auto", CPU, dims=3) == "torch"
    monkeypatch.setattr(runtime, "installed", lambda package: False)
    assert resolve("auto", CPU) == "torch"
    with pytest.raises(MissingExtra, match="pip install onnxruntime"):
        resolve("onnxruntime", CPU)


@pytest.mark.parametrize(
    ("wanted", "device", "dims", "said"),
    [("onnx-runtime", "cpu", 2, "onnxruntime"), ("onnxruntime", "cuda", 2, "cuda"), ("onnxruntime", "cpu", 3, "3 dimensions")],
)
def test_a_runtime_that_is_unknown_or_does_not_fit_is_refused(wanted: str, device: str, dims: int, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        resolve(wanted, torch.device(device), dims)


def test_provenance_names_the_quantized_graph_and_its_absence_is_refused(prior: str, alone: Path) -> None:
    plain = weights.fingerprint(prior)
    assert BrainPrior(weights=prior).weights_hash == plain
    quantized = BrainPrior(weights=prior, runtime="onnxruntime-int8")
    with pytest.raises(SettingError, match="--quantize"):
        assert quantized.weights_hash
    path = runtime.quantized_path(plain)
    assert path.is_relative_to(alone)
    path.parent.mkdir()
    path.write_bytes(b"graph")
    assert quantized.weights_hash not in ("none", plain)


def test_the_wrapped_network_pads_to_what_the_u_net_needs_and_crops_again() -> None:
    net, seen = core(), []

    def run(x: object, condition: object) -> object:
        seen.append(x.shape)  # type: ignore[attr-defined]
        with torch.inference_mode():
            return net(torch.from_numpy(x), torch.from_numpy(condition)).numpy()

    stand_in: nn.Module = Exported(net, run)  # type: ignore[arg-type]
    x, condition = noise(2, 6, 13, 10), noise(2, 5, seed=1)
    with torch.inference_mode():
        torch.testing.assert_close(stand_in(x, condition), net(x, condition))
    assert seen == [(2, 6, 16, 12)]
