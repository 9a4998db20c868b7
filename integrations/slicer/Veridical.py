"""Veridical in 3D Slicer: runs a job on a volume and shows estimate, interval width and evidence.

Slicer only shows; the work is done by the command line of Veridical in its own environment. Add the
folder of this file under Edit > Application Settings > Modules > Additional module paths. The first
half of the file knows nothing of Slicer. Research only, not for diagnosis.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import ctk
import qt
import slicer
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleWidget,
)

JOBS = {
    "Denoise": ("enhance", ["--job", "denoise"]),
    "Thick slices to thin ones": ("enhance", ["--job", "super-resolve"]),
    "Low-dose CT": ("enhance", ["--job", "low-dose-ct"]),
    "Structures of a head": ("segment", []),
    "CT from MR (head)": ("translate", ["--to", "CT", "--model", "structures"]),
}
"""What the list shows -> task and flags."""
CONTRASTS = ("T1w", "T2w", "FLAIR", "PD", "T1c", "CT", "PET")
RESEARCH = "Research only, not for diagnosis."
BLOCKED = 3
"""Exit code of the command line where a policy blocks a result."""


class Refused(Exception):
    """The command line refused; the text is its one sentence."""


def executable(given=""):
    """Return the command `veridical`: the one given, else that on the path."""
    found = given or shutil.which("veridical")
    if not found or not Path(found).exists():
        raise Refused(
            f"There is no command at {found or 'veridical on the path'}. Install Veridical in an "
            "environment of its own and name bin/veridical in it."
        )
    return str(found)


def words(command, job, volume, output, contrast, more=()):
    """Return the words of the command line.

    Args:
        command: path of `veridical`.
        job: one of JOBS.
        volume, output: file to read, folder to write.
        contrast: of the volume; NIfTI does not say it.
        more: further flags.
    """
    task, flags = JOBS[job]
    units = {"CT": ["--units", "HU"], "PET": ["--units", "SUV"]}.get(contrast, [])
    asked = [*flags, "--contrast", contrast, *units, *more]
    return [command, task, str(volume), str(output), *asked, "--json"]


def run(line, environment, report=lambda what, done, total: None, wait=lambda: None):
    """Run a command and return the JSON object that it prints.

    Args:
        line: words of the command.
        environment: variables; those of Slicer would lead another Python astray.
        report: called with what is being done, steps done, steps in all.
        wait: called a few times a second while it runs; what it raises ends the command.

    Raises:
        Refused: exit code 2 or 3, or an error; with the sentence of the command line.
    """
    said = []
    process = subprocess.Popen(
        line,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**environment, "VERIDICAL_PROGRESS": "lines"},
    )
    printed = []
    readers = [
        threading.Thread(target=lambda: printed.append(process.stdout.read())),
        threading.Thread(target=lambda: said.extend(process.stderr)),
    ]
    for reader in readers:
        reader.start()
    heard = 0
    try:
        while any(reader.is_alive() for reader in readers):
            readers[0].join(0.1)
            for text in said[heard:]:
                heard += 1
                if text.startswith('{"progress"'):
                    step = json.loads(text)
                    report(step["progress"], step["done"], step["total"])
            wait()
    except BaseException:
        process.kill()
        raise
    finally:
        code = process.wait()
        for reader in readers:
            reader.join()
        process.stdout.close()
        process.stderr.close()
    if code:
        reasons = [text for text in said if text.startswith("veridical: ")]
        reason = reasons[-1][len("veridical: ") :].strip() if reasons else f"Exit code {code}."
        raise Refused(f"Blocked by your policy. {reason}" if code == BLOCKED else reason)
    return json.loads(printed[0])


def warnings_of(result):
    """Return a sentence for every finding that warns or fails, and for what is absent."""
    found = [
        f"{one['verdict']}: {one['check']}. {one['reason']}"
        for one in result["findings"]
        if one["verdict"] in ("warn", "fail")
    ]
    return found + [f"absent: {name}. {why}" for name, why in result["absent"].items()]


class Veridical(ScriptedLoadableModule):
    """The module as Slicer lists it."""

    def __init__(self, parent):
        super().__init__(parent)
        parent.title = "Veridical"
        parent.categories = ["Research"]
        parent.contributors = ["The Veridical developers"]
        parent.helpText = f"What was measured, what was imagined, how certain it is. {RESEARCH}"
        parent.acknowledgementText = "Apache-2.0"


class VeridicalWidget(ScriptedLoadableModuleWidget):
    """The panel: volume, contrast, job, command, run."""

    def setup(self):
        super().setup()
        self.logic = VeridicalLogic()
        box = ctk.ctkCollapsibleButton()
        box.text = "Veridical"
        self.layout.addWidget(box)
        form = qt.QFormLayout(box)
        self.volume = slicer.qMRMLNodeComboBox()
        self.volume.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        self.volume.setMRMLScene(slicer.mrmlScene)
        form.addRow("Volume", self.volume)
        self.contrast, self.job = qt.QComboBox(), qt.QComboBox()
        self.contrast.addItems(list(CONTRASTS))
        form.addRow("Contrast", self.contrast)
        self.job.addItems(list(JOBS))
        form.addRow("Job", self.job)
        self.command = qt.QLineEdit(str(qt.QSettings().value("Veridical/command") or ""))
        self.command.placeholderText = "path of bin/veridical"
        form.addRow("Command", self.command)
        self.button = qt.QPushButton("Run")
        self.button.connect("clicked(bool)", self.on_run)
        form.addRow(self.button)
        self.said = qt.QLabel(RESEARCH)
        self.said.wordWrap = True
        form.addRow(self.said)
        self.layout.addStretch(1)

    def on_run(self, _clicked=False):
        """Run the job on the volume and show what came of it."""
        node = self.volume.currentNode()
        if node is None:
            self.said.text = "Choose a volume."
            return
        qt.QSettings().setValue("Veridical/command", self.command.text)
        self.button.enabled = False
        try:
            result = self.logic.process(
                node,
                self.contrast.currentText,
                self.job.currentText,
                self.command.text,
                self.report,
            )
            self.said.text = "\n".join([RESEARCH, *warnings_of(result)])
        except Refused as refusal:
            self.said.text = str(refusal)
            slicer.util.errorDisplay(str(refusal))
        finally:
            self.button.enabled = True

    def report(self, what, done, total):
        """Show how far it is."""
        self.said.text = f"{what}: {done} of {total}"


class VeridicalLogic(ScriptedLoadableModuleLogic):
    """What the module does, without its panel; scripts call `process` too."""

    def process(self, node, contrast, job, command="", report=lambda what, done, total: None):
        """Run a job on a volume, load what came of it, and return the JSON object of the command.

        The companions are added to the scene as volumes named after the input: `estimate`,
        `interval width` and `evidence`.
        """
        line_of = executable(command)
        folder = Path(tempfile.mkdtemp(prefix="veridical-"))
        try:
            source = folder / "volume.nii.gz"
            if not slicer.util.saveNode(node, str(source)):
                raise Refused(f"{node.GetName()} could not be written as NIfTI.")
            line = words(line_of, job, source, folder / "out", contrast)
            environment = dict(slicer.util.startupEnvironment())
            result = run(line, environment, report, slicer.app.processEvents)
            self.show(result, node.GetName())
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return result

    def show(self, result, name):
        """Load estimate, interval width and evidence, and put them into the slice views."""
        labels = set(result["units"].values()) == {"label"}
        load = slicer.util.loadLabelVolume if labels else slicer.util.loadVolume
        estimate = load(result["estimate"], {"name": f"{name} estimate", "show": False})
        over = None
        if "interval_lower" in result and "interval_upper" in result:
            over = self.width(result, name)
        if "evidence" in result:
            evidence = slicer.util.loadVolume(
                result["evidence"], {"name": f"{name} evidence", "show": False}
            )
            self.colour(evidence, "vtkMRMLColorTableNodeFileViridis.txt", 0.0, 1.0)
        if labels:
            slicer.util.setSliceViewerLayers(label=estimate, labelOpacity=0.5)
        else:
            slicer.util.setSliceViewerLayers(
                background=estimate, foreground=over, foregroundOpacity=0.3 if over else 0.0
            )

    def width(self, result, name):
        """Load both ends of the interval and keep the width between them."""
        upper = slicer.util.loadVolume(
            result["interval_upper"], {"name": f"{name} interval width", "show": False}
        )
        lower = slicer.util.loadVolume(result["interval_lower"], {"show": False})
        width = slicer.util.arrayFromVolume(upper) - slicer.util.arrayFromVolume(lower)
        slicer.util.updateVolumeFromArray(upper, width)
        slicer.mrmlScene.RemoveNode(lower)
        self.colour(upper, "vtkMRMLColorTableNodeFileInferno.txt", 0.0, float(width.max()))
        return upper

    def colour(self, node, table, low, high):
        """Draw a volume in colours from `low` to `high`."""
        display = node.GetDisplayNode()
        display.SetAndObserveColorNodeID(table)
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(low, max(high, low + 1e-6))
