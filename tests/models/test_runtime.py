"""Other runtimes give the numbers of torch within the stated tolerance, the same bytes for the same
seed, and gradients.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import toys
from priors import awake, request, weights
from veridical.errors import FormatError, MissingExtra, SettingError
from veridical.generative.conditioned import Conditioned
from veridical.models import generator, runtime
from veridical.models.denoiser import denoising_net
from veridical.models.generator import Generator
from veridical.models.runtime import (
    SILENT,
    TOLERANCE,
    Exported,
    accelerated,
    difference,
    exported,
    start,
)
from veridical.nets.backbone import Backbone, backbone

CPU = torch.device("cpu")
THERE = [
    name
    for name in ("onnxruntime", "openvino")
    if runtime.installed(name) and runtime.installed("onnx")
]
needs_one = pytest.mark.skipif(
    "onnxruntime" not in THERE, reason="the extra 'fast' is not installed"
)


def core(**settings: Any) -> Backbone:
    torch.manual_seed(0)
    net = awake(
        backbone("unet", 6, 2, 5, {"widths": (8, 12), "blocks": 1, "embedding": 8, **settings})
    ).eval()
    assert isinstance(net, Backbone)
    return net


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def network(**settings: Any) -> Conditioned:
    made = Conditioned((), "unet", {"widths": (8, 8), "blocks": 1, **settings})
    assert isinstance(awake(made), Conditioned)
    return made.eval()


@pytest.mark.parametrize("name", THERE)
def test_the_numbers_are_those_of_torch_for_any_size_within_the_tolerance(name: str) -> None:
    net = core()
    assert 0 < difference(net, exported(net, name)) < TOLERANCE


@needs_one
def test_a_runtime_that_differs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    net, other = core(), awake(core())
    monkeypatch.setattr(net, "onnx", other.onnx)
    with pytest.raises(FormatError, match="differs from torch"):
        exported(net, "onnxruntime")


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
def test_a_generator_draws_the_same_by_torch_and_by_onnxruntime(
    tmp_path: Path,
) -> None:
    path, asked = weights(tmp_path), [request(seed=1), request("T2w", ("PD",), seed=2)]
    by = [Generator(path, 3, "cpu", name) for name in ("onnxruntime", "onnxruntime", "torch")]
    first, again, plain = (model.make(asked, 2) for model in by)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, plain)
    np.testing.assert_allclose(first, plain, rtol=1e-3, atol=1e-4)


@needs_one
def test_an_installed_runtime_is_used_on_the_cpu_without_being_asked(tmp_path: Path) -> None:
    path = weights(tmp_path)
    assert isinstance(generator._network(path, CPU, "auto").get_submodule("backbone"), Exported)
    assert not isinstance(
        generator._network(path, CPU, "torch").get_submodule("backbone"), Exported
    )
    denoiser = str(toys.weights("denoiser"))
    assert isinstance(denoising_net(denoiser, CPU, "auto").backbone, Exported)


def test_auto_is_torch_on_a_gpu_for_volumes_and_without_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for net, device in ((network(), torch.device("cuda")), (network(dims=3), CPU)):
        assert accelerated(net, "auto", device) is net
        assert not isinstance(net.backbone, Exported)
    monkeypatch.setattr(runtime, "installed", lambda package: False)
    net = network()
    assert not isinstance(accelerated(net, "auto", CPU).backbone, Exported)
    with pytest.raises(MissingExtra, match="pip install onnxruntime"):
        accelerated(net, "onnxruntime", CPU)


@pytest.mark.parametrize(
    ("wanted", "device", "dims", "said"),
    [
        ("onnx-runtime", "cpu", 2, "'onnxruntime'"),
        ("onnxruntime", "cuda", 2, "cannot run UNet on cuda"),
        ("onnxruntime", "cpu", 3, "cannot run UNet on cpu"),
    ],
)
def test_a_runtime_that_is_unknown_or_does_not_fit_is_refused(
    wanted: str, device: str, dims: int, said: str
) -> None:
    with pytest.raises(SettingError, match=said):
        accelerated(network(dims=dims), wanted, torch.device(device))


def test_the_wrapped_network_pads_to_what_the_backbone_needs_and_crops_again() -> None:
    net, seen = core(), []

    def run(x: np.ndarray, condition: np.ndarray) -> np.ndarray:
        seen.append(x.shape)
        with torch.inference_mode():
            return net(torch.from_numpy(x), torch.from_numpy(condition)).numpy()

    stand_in = Exported(net, run)
    x, condition = noise(2, 6, 13, 10), noise(2, 5, seed=1)
    with torch.inference_mode():
        torch.testing.assert_close(stand_in(x, condition), net(x, condition))
    assert seen == [(2, 6, 16, 12)]


LOADED = """
import importlib, os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            print(",".join(str(os.environ.get(each)) for each in {names}))
        return None
sys.meta_path.insert(0, Watch())
import torch
from veridical.models.runtime import exported
from veridical.nets.backbone import backbone
net = backbone("unet", 3, 1, 2, dict(widths=(8, 8), blocks=1))
exported(net, "onnxruntime")
import onnxruntime
print("onnxruntime" in sys.modules)
"""


@needs_one
def test_the_library_is_kept_from_sending_anything_before_it_is_loaded() -> None:
    """It reads both variables when it is imported, and again nothing else may import it first."""
    code = LOADED.format(names=SILENT)
    plain = {key: value for key, value in os.environ.items() if key not in SILENT}
    run = subprocess.run(
        [sys.executable, "-c", code], env=plain, capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines() == ["1,1", "True"]


def test_only_the_runtime_imports_the_library() -> None:
    sources = Path(runtime.__file__).parents[1]
    users = [
        p.name
        for p in sources.rglob("*.py")
        if "import onnxruntime" in p.read_text(encoding="utf-8")
    ]
    assert users == ["runtime.py"]
