"""The 3D Slicer module without Slicer: stand-ins that know what the module may call, and fail on
anything else; the command line is the real one. It was not run inside of Slicer.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import shutil
import stat
import sys
import types
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

MODULE = Path(__file__).parents[2] / "integrations" / "slicer" / "Veridical.py"
COMMAND = str(Path(sys.executable).parent / "veridical")


class Strict(types.SimpleNamespace):
    """Has the attributes that it was given, and no others."""

    def __setattr__(self, name: str, value: Any) -> None:
        assert hasattr(self, name), f"{name} is not known"
        super().__setattr__(name, value)


class Display:
    def __init__(self) -> None:
        self.table, self.window, self.auto = "", (0.0, 0.0), True

    def SetAndObserveColorNodeID(self, table: str) -> None:
        self.table = table

    def AutoWindowLevelOff(self) -> None:
        self.auto = False

    def SetWindowLevelMinMax(self, low: float, high: float) -> None:
        assert not self.auto
        self.window = (low, high)


class Node:
    def __init__(self, name: str, data: np.ndarray, kind: str = "volume") -> None:
        self.name, self.data, self.kind, self.display = name, data, kind, Display()

    def GetName(self) -> str:
        return self.name

    def GetDisplayNode(self) -> Display:
        return self.display


class Scene:
    """What Slicer would hold and show."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.layers: dict[str, Any] = {}
        self.events = 0
        self.errors: list[str] = []

    def RemoveNode(self, node: Node) -> None:
        self.nodes.remove(node)

    def save(self, node: Node, path: str) -> bool:
        nibabel.Nifti1Image(node.data, np.eye(4)).to_filename(path)
        return True

    def load(self, path: str, properties: dict[str, Any], kind: str = "volume") -> Node:
        data = np.asarray(nibabel.load(path).dataobj)
        self.nodes.append(Node(properties.get("name", Path(path).name), data, kind))
        return self.nodes[-1]

    def update(self, node: Node, data: np.ndarray) -> None:
        node.data = data

    def show(self, **layers: Any) -> None:
        known = {"background", "foreground", "label", "foregroundOpacity", "labelOpacity"}
        assert set(layers) <= known
        self.layers = layers

    def wait(self) -> None:
        self.events += 1


class Base:
    def __init__(self, parent: Any = None) -> None:
        self.parent = parent

    def setup(self) -> None:
        self.layout = Strict(addWidget=lambda one: None, addStretch=lambda n: None)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene()


@pytest.fixture
def module(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Any:
    util = Strict(
        saveNode=scene.save,
        loadVolume=scene.load,
        loadLabelVolume=lambda path, said: scene.load(path, said, "label"),
        arrayFromVolume=lambda node: node.data,
        updateVolumeFromArray=scene.update,
        setSliceViewerLayers=scene.show,
        startupEnvironment=lambda: dict(os.environ),
        errorDisplay=scene.errors.append,
    )
    slicer = types.ModuleType("slicer")
    slicer.__path__ = []
    slicer.util, slicer.mrmlScene = util, scene
    slicer.app = Strict(processEvents=scene.wait)
    slicer.qMRMLNodeComboBox = lambda: Strict(
        nodeTypes=None, setMRMLScene=lambda one: None, currentNode=lambda: None
    )
    loadable = types.ModuleType("slicer.ScriptedLoadableModule")
    loadable.ScriptedLoadableModule = Base
    loadable.ScriptedLoadableModuleLogic = Base
    loadable.ScriptedLoadableModuleWidget = Base
    settings = {"Veridical/command": COMMAND}
    qt, ctk = types.ModuleType("qt"), types.ModuleType("ctk")
    qt.QSettings = lambda: Strict(value=settings.get, setValue=settings.__setitem__)
    qt.QFormLayout = lambda box: Strict(addRow=lambda *parts: None)
    qt.QComboBox = lambda: Strict(addItems=lambda names: None, currentText="T1w")
    qt.QLineEdit = lambda text: Strict(text=text, placeholderText="")
    qt.QPushButton = lambda text: Strict(enabled=True, connect=lambda signal, call: None)
    qt.QLabel = lambda text: Strict(text=text, wordWrap=False)
    ctk.ctkCollapsibleButton = lambda: Strict(text="")
    for one in (slicer, loadable, qt, ctk):
        monkeypatch.setitem(sys.modules, one.__name__, one)
    spec = importlib.util.spec_from_file_location("Veridical", MODULE)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def volume() -> Node:
    rng = np.random.default_rng(0)
    return Node("Head", rng.uniform(1, 2, (16, 16, 2)).astype(np.float32))


def fake(path: Path, script: str) -> str:
    path.write_text(f"#!{shutil.which('sh')}\n{script}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_a_job_runs_by_the_real_command_and_its_companions_are_shown(
    module: Any, scene: Scene
) -> None:
    steps: list[tuple[str, int, int]] = []
    result = module.VeridicalLogic().process(
        volume(), "T1w", "Denoise", COMMAND, lambda *step: steps.append(step)
    )
    names = {node.name: node for node in scene.nodes}
    assert set(names) == {"Head estimate", "Head interval width", "Head evidence"}
    assert names["Head estimate"].data.shape == (16, 16, 2)
    assert names["Head interval width"].data.min() >= 0
    assert names["Head evidence"].display.window == (0.0, 1.0)
    assert names["Head evidence"].display.table.startswith("vtkMRMLColorTableNodeFile")
    assert scene.layers["background"] is names["Head estimate"]
    assert scene.layers["foreground"] is names["Head interval width"]
    assert steps
    assert scene.events, "Slicer stays alive while it runs"
    assert result["task"] == "enhance"


def test_a_label_map_lies_over_what_was_there(module: Any, scene: Scene, tmp_path: Path) -> None:
    path = tmp_path / "labels.nii.gz"
    nibabel.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4)).to_filename(path)
    result = {"estimate": str(path), "units": {"structures": "label"}}
    module.VeridicalLogic().show(result, "Head")
    assert scene.nodes[0].kind == "label"
    assert scene.layers == {"label": scene.nodes[0], "labelOpacity": 0.5}


def test_a_refusal_is_shown_in_the_words_of_the_command(module: Any, tmp_path: Path) -> None:
    command = fake(tmp_path / "veridical", "echo 'noise' >&2; echo 'veridical: No.' >&2; exit 2")
    with pytest.raises(module.Refused, match=r"^No\.$"):
        module.VeridicalLogic().process(volume(), "T1w", "Denoise", command)


def test_what_a_policy_blocks_says_so(module: Any, tmp_path: Path) -> None:
    command = fake(tmp_path / "veridical", "echo 'veridical: The policy.' >&2; exit 3")
    with pytest.raises(module.Refused, match=r"Blocked by your policy\. The policy"):
        module.run([command], dict(os.environ))


def test_a_command_that_is_cancelled_ends(module: Any, tmp_path: Path) -> None:
    command = fake(tmp_path / "veridical", "exec sleep 60")

    def cancel() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        module.run([command], dict(os.environ), wait=cancel)


def test_a_command_that_is_not_there_is_named(module: Any, tmp_path: Path) -> None:
    with pytest.raises(module.Refused, match="no command at"):
        module.executable(str(tmp_path / "nothing"))


def test_the_temporary_folder_is_removed_whatever_happens(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    command = fake(tmp_path / "veridical", "exit 1")
    with pytest.raises(module.Refused):
        module.VeridicalLogic().process(volume(), "T1w", "Denoise", command)
    assert [path.name for path in tmp_path.iterdir()] == ["veridical"]


def test_every_job_is_a_command_that_the_command_line_takes(module: Any) -> None:
    from veridical import registry, task

    for job in module.JOBS:
        line = module.words("veridical", job, "in.nii", "out", "T1w")
        known = set(task.form(registry.get("task", line[1]))["properties"])
        flags = {word[2:].replace("-", "_") for word in line if word.startswith("--")}
        assert flags <= known | {"contrast", "units", "json"}


def test_warnings_and_what_is_absent_are_told(module: Any) -> None:
    result = {
        "findings": [
            {"check": "a", "verdict": "pass", "reason": "."},
            {"check": "b", "verdict": "fail", "reason": "Bad."},
        ],
        "absent": {"draws": "None."},
    }
    assert module.warnings_of(result) == ["fail: b. Bad.", "absent: draws. None."]


def test_the_panel_is_built_and_without_a_volume_asks_for_one(module: Any) -> None:
    widget = module.VeridicalWidget()
    widget.setup()
    widget.on_run()
    assert widget.said.text == "Choose a volume."


def test_the_script_parses_as_the_python_of_slicer() -> None:
    ast.parse(MODULE.read_text(encoding="utf-8"), feature_version=(3, 9))
