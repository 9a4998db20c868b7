"""Export: the core of a joint prior as an ONNX graph for other runtimes, its numbers compared with torch, quantized if asked.

What runs inside the package needs no export (`models/runtime.py` makes the graph itself), but for the quantized one: its
scales are calibrated on lessons of digital patients, first and last layer staying in float.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from veridical import registry
from veridical.errors import MissingExtra, SettingError
from veridical.generative.flow import standard_noise
from veridical.io.guards import replacing
from veridical.models import runtime, weights
from veridical.models.base import CONTRASTS
from veridical.models.joint_prior import JointPrior, sample
from veridical.models.known import Known
from veridical.nets.joint import JointNet
from veridical.nets.unet import UNet
from veridical.nets.unet_onnx import INPUTS, OPSET, unet_onnx
from veridical.task import Progress, silent
from veridical.training.image_data import ImageData
from veridical.training.image_samples import ImageCourse
from veridical.types import Array

if TYPE_CHECKING:
    from onnx import ModelProto

CALIBRATION, JUDGED = 12, 12
"""Batches of lessons that the scales are calibrated on, and others that the quantized network is judged on."""
BATCH, PATCH = 4, 96
STEPS = (1, 4)
"""Sampler steps of which the inputs are calibrated on and the results are judged."""
SEED = 77


def export(
    name: str, out: Path, run_by: str = "onnxruntime", quantize: bool = False, progress: Progress = silent
) -> list[Path]:
    """Export the U-Net of a joint prior.

    Args:
        name: shipped weights, or the path of a .safetensors file with its card beside it.
        out: folder for `NAME.onnx`, `NAME.int8.onnx` and what is known of each in `.json`; made when missing.
        run_by: the runtime that the numbers are compared in: onnxruntime or openvino.
        quantize: make the int8 graph too, and keep it where the settings `onnxruntime-int8` and `openvino-int8` find it.
        progress: called as work goes on.

    Returns:
        The paths of the graphs.

    Raises:
        SettingError: the weights are of no joint prior, the runtime is not one to export for, or digital patients do not
            show what would be quantized.
        MissingExtra: a package is not installed.
        FormatError: the runtime's numbers are not those of torch.
    """
    if run_by not in ("onnxruntime", "openvino"):
        raise SettingError(f"The runtime is {run_by!r}; expected onnxruntime or openvino.")
    runtime.resolve(run_by, torch.device("cpu"))
    kind, net = prior(name)
    core = net.net
    fast = runtime.exported(core, weights.fingerprint(name), run_by)
    facts = about(name, core, run_by) | {
        "tolerance": runtime.TOLERANCE,
        "largest_difference": runtime.difference(core, fast),
        "unit_of_both": "root mean square of torch's output",
    }
    stem = weights.find(name).stem
    written = [write(out / f"{stem}.onnx", unet_onnx(core).SerializeToString(), facts)]
    if quantize:
        lessons = Lessons(kind, net)
        small = quantized(core, lessons.inputs(progress), out).SerializeToString()
        cost = lessons.cost(runtime.Exported(core, runtime.start(small, run_by)), progress)
        facts = about(name, core, run_by) | {"calibrated_on": f"{CALIBRATION * BATCH} lessons of digital patients", **cost}
        write(runtime.quantized_path(weights.fingerprint(name)), small, facts)
        written.append(write(out / f"{stem}.int8.onnx", small, facts))
    return written


def prior(name: str) -> tuple[type[JointPrior], JointNet]:
    """Return the model of some weights and its network, run by torch."""
    kind = registry.get("model", weights.card(name)["model"])
    if not issubclass(kind, JointPrior):
        raise SettingError(f"{name!r} holds weights of {kind.name}, which is no joint prior; nothing of it is exported.")
    return kind, kind(weights=name, device="cpu", runtime="torch").net()


def about(name: str, core: UNet, run_by: str) -> dict[str, Any]:
    """Return what a user of a graph must know."""
    return {
        "weights": weights.find(name).name,
        "weights_sha256": weights.fingerprint(name),
        "opset": OPSET,
        "inputs": list(INPUTS),
        "sides_are_multiples_of": core.multiple,
        "compared_in": f"{run_by} {metadata.version(run_by)}",
    }


def write(path: Path, graph: bytes, facts: dict[str, Any]) -> Path:
    """Write a graph and, beside it, what is known of it."""
    with replacing(path) as temporary:
        temporary.write_bytes(graph)
    known = facts | {"graph_sha256": hashlib.sha256(graph).hexdigest()}
    with replacing(path.with_name(f"{path.name}.json")) as temporary:
        temporary.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
    return path


class Recorder(nn.Module):
    """Stands in for the U-Net and keeps what it is asked."""

    def __init__(self, core: nn.Module) -> None:
        super().__init__()
        self.core = core
        self.seen: list[tuple[Array, Array]] = []

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Pass everything on."""
        self.seen.append((x.contiguous().numpy(), condition.contiguous().numpy()))
        found: Tensor = self.core(x, condition)
        return found


class Lessons:
    """Lessons of digital patients whom no training saw, for calibration and, after those, for judging."""

    def __init__(self, kind: type[JointPrior], net: JointNet) -> None:
        if unseen := set(net.channels) - {*CONTRASTS}:
            raise SettingError(
                f"Quantizing is calibrated on digital patients, which do not show {', '.join(sorted(unseen))}. "
                "Use the float32 graph."
            )
        self.net = net
        self.course = ImageCourse(kind, net, ImageData({"cohort": 1.0}, batch=BATCH, patch=PATCH), SEED, validation=True)

    def batches(self, numbers: range, what: str, progress: Progress) -> Iterator[tuple[Known, Tensor, Tensor]]:
        """Yield what is known, the truth and noise to start from."""
        for index, number in enumerate(numbers):
            batch = self.course[number]
            generator = torch.Generator().manual_seed(SEED + number)
            yield batch.known, batch.truth, standard_noise(tuple(batch.truth.shape), torch.float32, generator)
            progress(what, index + 1, len(numbers))

    def inputs(self, progress: Progress) -> list[tuple[Array, Array]]:
        """Return what the U-Net is asked by samplers of few steps."""
        recorder = Recorder(self.net.net)
        for known, _, noise in self.batches(range(CALIBRATION), "calibrating", progress):
            for steps in STEPS:
                run(self.net, recorder, known, noise, steps)
        return recorder.seen

    def cost(self, core: nn.Module, progress: Progress) -> dict[str, float]:
        """Return PSNR in dB (peak 1) of the drawn channels inside the support, by the network and by another core, and of one
        beside the other.
        """
        errors: dict[str, list[Tensor]] = {}
        numbers = range(CALIBRATION, CALIBRATION + JUDGED)
        for known, truth, noise in self.batches(numbers, "judging the quantized network", progress):
            inside = (known.support > 0.5) & (known.drawn > 0)
            for steps in STEPS:
                plain, other = (run(self.net, by, known, noise, steps) for by in (self.net.net, core))
                pairs = {"float32": (plain, truth), "int8": (other, truth), "int8_beside_float32": (other, plain)}
                for name, (found, wanted) in pairs.items():
                    errors.setdefault(f"{name}_db_in_{steps}_steps", []).append((found - wanted).square()[inside])
        return {name: round(float(-10 * torch.cat(parts).mean().log10()), 3) for name, parts in errors.items()}


def run(net: JointNet, core: nn.Module, known: Known, noise: Tensor, steps: int) -> Tensor:
    """Draw one state of each slice with another core in the network's place."""
    own = net.net
    net.register_module("net", core)
    try:
        return sample(net, known, 1, noise, steps)
    finally:
        net.register_module("net", own)


def quantized(core: UNet, inputs: list[tuple[Array, Array]], folder: Path) -> ModelProto:
    """Quantize the convolutions of a U-Net to int8, static, per channel; the first and the last one stay in float.

    Args:
        core: float32.
        inputs: that the ranges of activations are taken from.
        folder: for temporary files.

    Raises:
        MissingExtra: `onnxruntime` is not installed.
    """
    try:
        import onnx
        from onnxruntime import quantization as q
    except ImportError as error:
        raise MissingExtra("Quantizing needs onnxruntime and onnx: pip install 'veridical[fast]'.") from error
    left = iter([dict(zip(INPUTS, pair, strict=True)) for pair in inputs])

    class Reader(q.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Array] | None:
            return next(left, None)

    with tempfile.TemporaryDirectory(dir=folder) as place:
        ready, made = (Path(place) / name for name in ("ready.onnx", "made.onnx"))
        onnx.save(unet_onnx(core), ready)
        q.shape_inference.quant_pre_process(str(ready), str(ready), skip_optimization=True, skip_symbolic_shape=True)
        q.quantize_static(
            ready, made, Reader(), quant_format=q.QuantFormat.QDQ, per_channel=True, op_types_to_quantize=["Conv"],
            nodes_to_exclude=["enter", "leave"], activation_type=q.QuantType.QUInt8, weight_type=q.QuantType.QInt8,
        )  # fmt: skip
        return onnx.load(made)
