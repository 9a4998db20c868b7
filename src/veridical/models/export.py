"""Export: the backbone of trained weights as an ONNX graph for other runtimes, its numbers compared
with torch.
"""

from __future__ import annotations

import hashlib
import json
from importlib import metadata
from pathlib import Path

import torch

from veridical import registry
from veridical.errors import SettingError
from veridical.io.guards import replacing
from veridical.models import weights
from veridical.models.runtime import RUNTIMES, TOLERANCE, difference, exported
from veridical.nets.backbone import Backbone


def export(name: str, out: Path, runtime: str = "onnxruntime") -> list[Path]:
    """Write the graph of a network's backbone, and beside it what its users must know.

    Inside Veridical an installed runtime runs the network without this.

    Args:
        name: shipped weights, or the path of a .safetensors file with its card beside it.
        out: folder for `NAME.onnx` and `NAME.onnx.json`; made when missing.
        runtime: in which the numbers are compared: onnxruntime or openvino.

    Returns:
        The paths of both files.

    Raises:
        SettingError: the runtime is not one to export for, or the backbone is not exported.
        MissingExtra: a package is not installed.
        FormatError: the runtime's numbers are not those of torch.
    """
    if runtime not in RUNTIMES[2:]:
        raise SettingError(f"--runtime {runtime}: expected {' or '.join(RUNTIMES[2:])}.")
    kind = registry.get("model", weights.card(name)["model"])
    core = weights.network(kind.name, kind.build, name).eval().get_submodule("backbone")
    if not isinstance(core, Backbone) or not core.exports:
        raise SettingError(f"The backbone of {name!r} is not exported to ONNX. Use it by torch.")
    with torch.inference_mode():
        fast = exported(core, runtime)
    graph, path = core.onnx().SerializeToString(), out / f"{weights.find(name).stem}.onnx"
    facts = {
        "weights": weights.find(name).name,
        "weights_sha256": weights.fingerprint(name),
        "graph_sha256": hashlib.sha256(graph).hexdigest(),
        "sides_are_multiples_of": core.multiple,
        "compared_in": f"{runtime} {metadata.version(runtime)}",
        "tolerance": TOLERANCE,
        "largest_difference": difference(core, fast),
        "unit_of_both": "root mean square of torch's output",
    }
    out.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(graph)
    about = path.with_name(f"{path.name}.json")
    with replacing(about) as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return [path, about]
