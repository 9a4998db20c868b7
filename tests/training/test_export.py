"""Export: the graph beside what is known of it, the quantized one found by its setting, what it costs measured."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from known_slices import known_slices, saved
from veridical.apps.cli import main
from veridical.errors import SettingError
from veridical.models import runtime, weights
from veridical.models.brain_prior import BrainPrior
from veridical.models.regressor import Regressor
from veridical.training import export as module
from veridical.training.export import Recorder, export

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of its own, and few lessons."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, value in (("CALIBRATION", 1), ("JUDGED", 1), ("BATCH", 2), ("PATCH", 32)):
        monkeypatch.setattr(module, name, value)
    return tmp_path


def facts(path: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(path.with_name(f"{path.name}.json").read_text())
    assert found["graph_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def test_the_command_writes_the_graph_and_its_tolerance_and_leaves_the_card(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = saved(BrainPrior, small)
    card = Path(name).with_suffix(".json").read_bytes()
    assert main(["export", name, "--out", str(small), "--quiet"]) == 0
    path = small / "brain-prior.onnx"
    assert capsys.readouterr().out.splitlines() == [str(path)]
    said = facts(path)
    assert said["tolerance"] == runtime.TOLERANCE
    assert 0 <= float(str(said["largest_difference"])) <= runtime.TOLERANCE
    assert said["weights_sha256"] == weights.fingerprint(name)
    assert Path(name).with_suffix(".json").read_bytes() == card


def test_the_quantized_network_is_found_by_its_setting_and_is_near_the_other(small: Path) -> None:
    name = saved(BrainPrior, small)
    _, path = export(name, small / "out", quantize=True)
    said = facts(path)
    for steps in module.STEPS:
        gone = float(str(said[f"float32_db_in_{steps}_steps"])) - float(str(said[f"int8_db_in_{steps}_steps"]))
        assert abs(gone) < 1.0
    assert runtime.quantized_path(weights.fingerprint(name)).read_bytes() == path.read_bytes()
    known, _ = known_slices()
    by = [BrainPrior(weights=name, device="cpu", runtime=r) for r in ("onnxruntime-int8", "torch")]
    first, plain = (model.complete(known, 1, 0) for model in by)
    assert not torch.equal(first, plain)
    assert float((first - plain).square().mean().sqrt()) < 0.1 * float(plain.std())
    assert by[0].weights_hash == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [p.name for p in (small / "out").iterdir() if p.is_dir()] == []


def test_first_and_last_layer_stay_in_float(small: Path) -> None:
    import onnx

    _, path = export(saved(BrainPrior, small), small / "out", quantize=True)
    graph = onnx.load(path).graph
    made = {output: node.op_type for node in graph.node for output in node.output}
    read = {node.name: made.get(node.input[0]) for node in graph.node if node.op_type == "Conv"}
    assert read.pop("enter") == "SpaceToDepth"
    assert read.pop("leave") != "DequantizeLinear"
    assert set(read.values()) == {"DequantizeLinear"}


def test_the_recorder_keeps_what_the_network_is_asked() -> None:
    recorder = Recorder(torch.nn.Bilinear(2, 3, 4))
    x, condition = torch.ones(1, 2), torch.zeros(1, 3)
    with torch.inference_mode():
        recorder(x, condition)
    np.testing.assert_array_equal(recorder.seen[0][0], x.numpy())


def test_other_models_and_runtimes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no joint prior"):
        export(saved(Regressor, tmp_path), tmp_path)
    with pytest.raises(SettingError, match="expected onnxruntime or openvino"):
        export(saved(BrainPrior, tmp_path), tmp_path, run_by="torch")
