"""What runs the core of a network on the CPU: torch, or a faster runtime on the exported graph with the same numbers.

The graph is made when weights are loaded, which takes less than a tenth of a second, and compared with torch before it is
trusted. Quantized graphs need calibration: `veridical export --quantize` makes them, and they run only where asked for.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from veridical.errors import FormatError, MissingExtra, SettingError, nearest
from veridical.nets.unet import UNet
from veridical.nets.unet_onnx import conditions_of, unet_onnx
from veridical.types import Array

RUNTIMES = ("auto", "torch", "onnxruntime", "openvino", "onnxruntime-int8", "openvino-int8")
"""`auto` is onnxruntime on a CPU where the extra `fast` is installed, and torch elsewhere."""
TOLERANCE = 1e-4
"""Largest difference from torch that is accepted, relative to the root mean square of what torch gives."""
PROBE = ((1, 5, 4), (3, 2, 7))
"""Batch and sides, in multiples of what the U-Net pads to, of the inputs on which graph and torch are compared."""
Run = Callable[[Array, Array], Array]


class Exported(nn.Module):
    """A U-Net run by another runtime. Gradients are asked of the U-Net itself, which it keeps.

    Args:
        core: the U-Net.
        run: maps inputs and condition to outputs, sides being multiples of `core.multiple`.
    """

    def __init__(self, core: UNet, run: Run) -> None:
        super().__init__()
        self.core, self.run = core, run

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map `(batch, inputs, y, x)` and `(batch, conditions)` to `(batch, outputs, y, x)`; any image size."""
        if torch.is_grad_enabled() and (x.requires_grad or condition.requires_grad):
            found: Tensor = self.core(x, condition)
            return found
        rows, columns = x.shape[-2:]
        pad = (0, -columns % self.core.multiple, 0, -rows % self.core.multiple)
        whole = functional.pad(x, pad).contiguous().numpy()
        return torch.from_numpy(self.run(whole, condition.contiguous().numpy()))[..., :rows, :columns]


def resolve(wanted: str, device: torch.device, dims: int = 2) -> str:
    """Return which runtime a setting means on a device, for a U-Net on slices (2) or volumes (3).

    Raises:
        SettingError: it is unknown, or not for this device or these dimensions.
        MissingExtra: it is not installed.
    """
    if wanted not in RUNTIMES:
        raise SettingError(f"No runtime is called {wanted!r}. {nearest(wanted, RUNTIMES)}")
    if wanted == "auto":
        fast = device.type == "cpu" and dims == 2 and installed("onnxruntime") and installed("onnx")
        return "onnxruntime" if fast else "torch"
    package = wanted.removesuffix("-int8")
    if package != "torch" and (device.type != "cpu" or dims != 2):
        raise SettingError(
            f"{package} runs networks on slices on the CPU; this one has {dims} dimensions, and the device is {device}. "
            "Use runtime torch."
        )
    if not installed(package):
        raise MissingExtra(f"The runtime {package} is not installed: pip install {package} onnx.")
    return wanted


def installed(package: str) -> bool:
    """Tell whether a package is there, without importing it."""
    return importlib.util.find_spec(package) is not None


def graph_hash(fingerprint: str, runtime: str) -> str:
    """Return the SHA-256, for provenance, of what a runtime runs: the weights themselves, or the graph quantized from them."""
    if not runtime.endswith("-int8"):
        return fingerprint
    return hashlib.sha256(quantized(fingerprint).read_bytes()).hexdigest()


def exported(core: UNet, fingerprint: str, runtime: str) -> Exported:
    """Return the U-Net run by a runtime.

    Args:
        core: float32, on the CPU.
        fingerprint: of its weights; finds the quantized graph.
        runtime: resolved, and not torch.

    Raises:
        FormatError: the numbers are not those of torch, or the quantized graph is damaged.
        SettingError: the quantized graph is asked for and was not made.
    """
    if runtime.endswith("-int8"):
        return Exported(core, start(quantized(fingerprint).read_bytes(), runtime))
    net = Exported(core, start(unet_onnx(core).SerializeToString(), runtime))
    if (found := difference(core, net)) > TOLERANCE:
        raise FormatError(
            f"{runtime} differs from torch by {found:.1e} of the output's size; expected at most {TOLERANCE:.0e}. "
            "Use runtime torch, and report it."
        )
    return net


def quantized(fingerprint: str) -> Path:
    """Return the quantized graph of some weights.

    Raises:
        SettingError: it was not made on this machine.
    """
    path = quantized_path(fingerprint)
    if not path.is_file():
        raise SettingError("These weights were not quantized on this machine: `veridical export NAME --quantize` does it.")
    return path


def quantized_path(fingerprint: str) -> Path:
    """Return where the quantized graph of some weights is kept: in `$XDG_CACHE_HOME` or `~/.cache`, by their hash."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "veridical" / f"{fingerprint[:32]}.int8.onnx"


def start(graph: bytes, runtime: str) -> Run:
    """Load a graph into a runtime, on as many threads as torch uses, in float32 wherever the graph is."""
    try:
        return _openvino(graph) if runtime.startswith("openvino") else _onnxruntime(graph)
    except Exception as error:  # both raise classes of their own that have no common base
        first = str(error).splitlines()[0]
        raise FormatError(f"{runtime} cannot load the network ({first}). Export it again, or use runtime torch.") from error


def _onnxruntime(graph: bytes) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def run(inputs: Array, condition: Array) -> Array:
        found: Array = session.run(None, dict(zip(names, (inputs, condition), strict=True)))[0]
        return found

    return run


def _openvino(graph: bytes) -> Run:
    import openvino

    core = openvino.Core()
    threads = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "NUM_STREAMS": 1}
    model = core.compile_model(core.read_model(graph), "CPU", {"INFERENCE_PRECISION_HINT": "f32", **threads})
    request = model.create_infer_request()

    def run(inputs: Array, condition: Array) -> Array:
        return np.array(request.infer([inputs, condition])[0])

    return run


def difference(core: UNet, net: nn.Module) -> float:
    """Return the largest difference between a U-Net and what runs in its place, relative to the root mean square of its
    output, over probes of fixed random numbers.
    """
    generator = torch.Generator().manual_seed(0)
    inputs, conditions, unit = core.enter.in_channels // 4, conditions_of(core), core.multiple
    worst = 0.0
    for batch, rows, columns in PROBE:
        x = torch.randn(batch, inputs, unit * rows - 1, unit * columns, generator=generator)
        condition = torch.randn(batch, conditions, generator=generator)
        with torch.inference_mode():
            wanted, found = core(x, condition), net(x, condition)
        size = float(wanted.square().mean().sqrt().clamp_min(1e-6))
        worst = max(worst, float((wanted - found).abs().max()) / size)
    return worst
