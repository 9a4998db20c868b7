"""Export: the graph of any network's backbone beside what its users must know, compared with torch
before it is written.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import toys
from priors import weights
from veridical.apps.cli import main
from veridical.errors import FormatError, SettingError
from veridical.models import runtime
from veridical.models import weights as stored
from veridical.models.export import export
from veridical.models.generator import Generator
from veridical.nets.unet import UNet

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")


@pytest.mark.parametrize("kind", ["generator", "denoiser"])
def test_the_command_writes_the_graph_of_any_kind_of_weights_and_its_facts_and_leaves_the_card(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = weights(tmp_path, name="mine") if kind == "generator" else str(toys.weights("denoiser"))
    card = Path(name).with_suffix(".json").read_bytes()
    assert main(["export", name, "--out", str(tmp_path / "out")]) == 0
    path = tmp_path / "out" / f"{Path(name).stem}.onnx"
    assert capsys.readouterr().out.splitlines() == [str(path), f"{path}.json"]
    said = json.loads(path.with_name(f"{path.name}.json").read_text(encoding="utf-8"))
    assert said["graph_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert said["weights_sha256"] == stored.fingerprint(name)
    assert 0 <= said["largest_difference"] <= said["tolerance"] == runtime.TOLERANCE
    assert said["sides_are_multiples_of"] == 4
    assert Path(name).with_suffix(".json").read_bytes() == card


def test_the_graph_is_the_backbone_of_the_weights(tmp_path: Path) -> None:
    name = weights(tmp_path)
    path, _ = export(name, tmp_path / "out")
    core = stored.network(Generator.name, Generator.build, name).eval().get_submodule("backbone")
    run = runtime.start(path.read_bytes(), "onnxruntime")
    x, condition = torch.randn(2, core.inputs, 8, 12), torch.randn(2, core.conditions)
    with torch.inference_mode():
        np.testing.assert_allclose(run(x.numpy(), condition.numpy()), core(x, condition), atol=1e-4)


def test_a_backbone_that_is_not_exported_and_other_runtimes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingError, match="expected onnxruntime or openvino"):
        export(weights(tmp_path), tmp_path, "torch")
    monkeypatch.setattr(UNet, "exports", False)
    with pytest.raises(SettingError, match="is not exported to ONNX"):
        export(str(toys.weights("denoiser")), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_where_the_numbers_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "TOLERANCE", 0.0)
    with pytest.raises(FormatError, match="differs from torch"):
        export(weights(tmp_path), tmp_path / "out")
    assert not (tmp_path / "out").exists()
