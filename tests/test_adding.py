"""A backbone, a family, a condition, a degradation, an audit and a task over two visits are each
added as one file.

`tests/added/` holds the six files. Each is copied into its folder of a copy of the package; nothing
else is edited. They are then listed, explained, documented, checked, trained with, calibrated and
run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

import veridical

HOMES = {
    "transformer": "nets",
    "engression": "generative",
    "age": "conditioning",
    "speckle": "physics",
    "brightness": "audit",
    "difference": "tasks",
}
KINDS = {
    "transformer": "backbone",
    "engression": "family",
    "age": "condition",
    "speckle": "degradation",
    "brightness": "audit",
    "difference": "task",
}
RECIPE = """
limits = "A test."

[model]
name = "generator"
family = "engression"
backbone = "transformer"
contrasts = ["T1w", "T2w"]
conditions = ["contrast", "available", "images", "initial-estimate", "degradation-kind", "age"]
degradations = ["speckle"]
width = 16

[data]
sources = { data = 1.0 }
held_out = ["sub-02", "sub-03", "sub-04", "sub-05"]
batch = 2
patch = 32

[training]
steps = 3
warmup = 1
checkpoint = 3
validate = 1
workers = 0
"""
SCRIPT = """
import json, sys
import torch
from veridical import registry, testing
from veridical.apps.cli import main
from veridical.task import form

torch.set_num_threads(1)
root = sys.argv[1]
testing.check_backbone(registry.get("backbone", "transformer"))
testing.check_family(registry.get("family", "engression")(), "transformer")
testing.check_condition(registry.get("condition", "age")())
testing.check_degradation(registry.get("degradation", "speckle")())
testing.check_audit(registry.get("audit", "brightness"))
testing.check_task(registry.get("task", "difference"))
assert set(form(registry.get("task", "difference"))["properties"]) == {"channel", "scale"}
quiet = "--quiet"
for words in (
    ["train", f"{root}/r.toml", "--data", f"{root}/set", "--out", f"{root}/run", quiet],
    ["calibrate", f"{root}/run/r.safetensors", "--data", f"{root}/set", "--level", "0.8", quiet],
    ["complete", f"{root}/set/sub-02/ses-d0/anat/sub-02_ses-d0_T1w.nii.gz", f"{root}/made", "--to", "T2w", "--weights",
     f"{root}/run/r.safetensors", "--draws", "3", quiet],
    ["difference", f"{root}/set", f"{root}/changes", quiet],
):
    code = main(words)
    assert code == 0, f"{words} ended with {code}"
print(json.dumps({kind: sorted(registry.entries(kind)) for kind in sys.argv[2:]}))
"""


def patients(root: Path) -> None:
    """A BIDS set of five patients with two visits a hundred days apart, T1w and T2w."""
    rng = np.random.default_rng(0)
    x, y, _ = np.meshgrid(*[np.linspace(-1, 1, n) for n in (40, 36, 6)], indexing="ij")
    rows = ["participant_id\tage"]
    for index in range(1, 6):
        rows.append(f"sub-{index:02d}\t{40 + index}")
        for visit, day in enumerate((0, 100)):
            body = 500.0 * (x**2 + y**2 < rng.uniform(0.6, 0.8)) + 200 * (
                x**2 + (y - 0.1 * visit) ** 2 < 0.1
            )
            folder = root / f"sub-{index:02d}" / f"ses-d{day}" / "anat"
            folder.mkdir(parents=True)
            for name, image in (("T1w", body), ("T2w", 900 - 0.8 * body)):
                data = np.where(body > 0, image, 0) + rng.normal(0, 5, body.shape)
                file = folder / f"sub-{index:02d}_ses-d{day}_{name}.nii.gz"
                nibabel.save(
                    nibabel.Nifti1Image(data.clip(0).astype(np.float32), np.diag([2, 2, 4, 1.0])),
                    file,
                )
    (root / "participants.tsv").write_text("\n".join(rows) + "\n")
    (root / "dataset_description.json").write_text('{"Name": "two visits", "BIDSVersion": "1.8.0"}')


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the six files, a set of patients, and what a script did with
    both.
    """
    root = tmp_path_factory.mktemp("added")
    source = Path(veridical.__file__).parent
    shutil.copytree(
        source,
        root / "package/veridical",
        ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"),
    )
    for name, home in HOMES.items():
        shutil.copy(
            Path(__file__).parent / f"added/{name}.py", root / f"package/veridical/{home}/{name}.py"
        )
    patients(root / "set")
    (root / "r.toml").write_text(RECIPE)
    return root


def call(root: Path, *words: str) -> str:
    """Run Python with the enlarged package and return what it printed."""
    known = {**os.environ, "PYTHONPATH": str(root / "package"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env=known, cwd=root, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


def test_each_is_listed_explained_checked_trained_with_calibrated_and_run(added: Path) -> None:
    said = call(added, "-c", SCRIPT, str(added), *KINDS.values())
    listed = json.loads(said.strip().splitlines()[-1])
    for name, kind in KINDS.items():
        assert name in listed[kind]
    card = json.loads((added / "run/r.json").read_text())
    assert card["net"]["backbone"] == "transformer"
    assert card["calibration"]["complete-T2w"]["patients"] == 4
    made = json.loads((added / "made/provenance.json").read_text())
    assert "interval" not in made["absent"], made["absent"]
    assert "brightness" not in {finding["check"] for finding in made["findings"]}, (
        "T2w was not measured"
    )
    summary = json.loads((added / "changes/summary.json").read_text())
    assert summary["counts"]["done"] == 5, summary["cases"]
    checks = {finding["check"] for case in summary["cases"] for finding in case["findings"]}
    assert "brightness" in checks


def test_a_new_task_is_in_the_help_of_the_command_line(added: Path) -> None:
    assert "difference" in call(added, "-m", "veridical.apps.cli", "--help")
    explained = call(added, "-m", "veridical.apps.cli", "difference", "--help")
    assert "Subtract the first visit from the last." in explained
    assert "--scale" in explained


def test_each_has_its_page_in_the_reference(added: Path) -> None:
    docs = Path(__file__).parents[1] / "docs"
    script = (
        f"import sys; sys.path.insert(0, {str(docs)!r}); import reference; "
        "print('\\n'.join(reference.pages()))"
    )
    written = call(added, "-c", script)
    for name, home in HOMES.items():
        assert f"reference/{home}/{name}.md" in written
