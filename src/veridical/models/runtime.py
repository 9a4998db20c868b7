"""What runs a network's backbone on the CPU: torch, or a faster runtime on the exported graph with
the same numbers.

The graph is made when weights are loaded, which takes less than a tenth of a second, and compared
with torch before it is trusted. A backbone that cannot be exported is run by torch.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from veridical.errors import FormatError, MissingExtra, SettingError, nearest
from veridical.nets.backbone import Backbone
from veridical.types import Array

RUNTIMES = ("auto", "torch", "onnxruntime", "openvino")
"""`auto` is onnxruntime on a CPU where the extra `fast` is installed, and torch elsewhere."""
TOLERANCE = 1e-4
"""Largest difference from torch that is accepted, relative to the root mean square of what torch
gives.
"""
PROBE = ((1, 5, 4), (3, 2, 7))
"""Batch and sides, in multiples of what the backbone pads to, of the inputs on which graph and
torch are compared.
"""
SILENT = ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED")
"""Environment variables by which onnxruntime, since 1.29, is kept from sending what it is used for
over the network.
"""
Run = Callable[[Array, Array], Array]
Net = TypeVar("Net", bound=nn.Module)


class Exported(nn.Module):
    """A backbone run by another runtime. Gradients are asked of the backbone itself, which it
    keeps.

    Args:
        core: the backbone.
        run: maps inputs and condition to outputs, sides being multiples of `core.multiple`.
    """

    def __init__(self, core: Backbone, run: Run) -> None:
        super().__init__()
        self.core, self.run = core, run

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map `(batch, inputs, y, x)` and `(batch, conditions)` to `(batch, outputs, y, x)`; any
        image size.
        """
        if torch.is_grad_enabled() and (x.requires_grad or condition.requires_grad):
            found: Tensor = self.core(x, condition)
            return found
        rows, columns = x.shape[-2:]
        pad = (0, -columns % self.core.multiple, 0, -rows % self.core.multiple)
        whole = functional.pad(x, pad).contiguous().numpy()
        return torch.from_numpy(self.run(whole, condition.contiguous().numpy()))[
            ..., :rows, :columns
        ]


def accelerated(net: Net, runtime: str, device: torch.device) -> Net:
    """Return a network whose backbone is run by a runtime; the network itself where torch runs it.

    Args:
        net: with a `backbone`, float32, on `device`.
        runtime: one of `RUNTIMES`.
        device: of the network.

    Raises:
        SettingError: the runtime is not known, not for this device, or cannot run this backbone.
        MissingExtra: it is not installed.
        FormatError: its numbers are not those of torch.
    """
    if runtime not in RUNTIMES:
        raise SettingError(f"No runtime is called {runtime!r}. {nearest(runtime, RUNTIMES)}")
    core = net.get_submodule("backbone")
    if not isinstance(core, Backbone):
        raise AssertionError("networks are built around a Backbone")
    able = device.type == "cpu" and core.exports
    if runtime == "auto":
        runtime = (
            "onnxruntime" if able and installed("onnxruntime") and installed("onnx") else "torch"
        )
    if runtime == "torch":
        return net
    if not able:
        raise SettingError(
            f"{runtime} cannot run {type(core).__name__} on {device}; expected a CPU. Use "
            "--runtime torch."
        )
    if not installed(runtime) or not installed("onnx"):
        raise MissingExtra(
            f"The runtime {runtime} is not installed: pip install {runtime} onnx, or --runtime "
            "torch."
        )
    net.register_module("backbone", exported(core, runtime))
    return net


def installed(package: str) -> bool:
    """Tell whether a package is there, without importing it."""
    return importlib.util.find_spec(package) is not None


def exported(core: Backbone, runtime: str) -> Exported:
    """Return a backbone run by a runtime.

    Raises:
        FormatError: the numbers are not those of torch.
    """
    net = Exported(core, start(core.onnx().SerializeToString(), runtime))
    if (found := difference(core, net)) > TOLERANCE:
        raise FormatError(
            f"{runtime} differs from torch by {found:.1e} of the output's size; expected at most "
            f"{TOLERANCE:.0e}. "
            "Use --runtime torch, and report it."
        )
    return net


def start(graph: bytes, runtime: str) -> Run:
    """Load a graph into a runtime, on as many threads as torch uses, in float32 wherever the graph
    is.
    """
    try:
        return _openvino(graph) if runtime.startswith("openvino") else _onnxruntime(graph)
    except Exception as error:  # both raise classes of their own that have no common base
        first = str(error).splitlines()[0]
        raise FormatError(
            f"{runtime} cannot load the network ({first}). Export it again, or use --runtime torch."
        ) from error


def _onnxruntime(graph: bytes) -> Run:
    os.environ |= dict.fromkeys(SILENT, "1")  # read when the library is loaded
    import onnxruntime

    onnxruntime.disable_telemetry_events()
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
    model = core.compile_model(
        core.read_model(graph), "CPU", {"INFERENCE_PRECISION_HINT": "f32", **threads}
    )
    request = model.create_infer_request()

    def run(inputs: Array, condition: Array) -> Array:
        return np.array(request.infer([inputs, condition])[0])

    return run


def difference(core: Backbone, net: nn.Module) -> float:
    """Return the largest difference between a backbone and what runs in its place, relative to the
    root mean square of its output, over probes of fixed random numbers.
    """
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for batch, rows, columns in PROBE:
        x = torch.randn(
            batch,
            core.inputs,
            core.multiple * rows - 1,
            core.multiple * columns,
            generator=generator,
        )
        condition = torch.randn(batch, core.conditions, generator=generator)
        with torch.inference_mode():
            wanted, found = core(x, condition), net(x, condition)
        size = float(wanted.square().mean().sqrt().clamp_min(1e-6))
        worst = max(worst, float((wanted - found).abs().max()) / size)
    return worst
