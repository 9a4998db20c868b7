"""Synthetic patients as a BIDS data set of derivatives, one at a time: what is whole stays, what is
not is made again.

`sub-0001/anat/sub-0001_T1w.nii.gz` and so on, a label map with the table of its labels, a sidecar
with each volume that says that it is synthetic and how it was made, and a `provenance.json` from
which the same bytes are made again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from veridical import __version__, provenance
from veridical.errors import InputError, PolicyError, ProvenanceError, VeridicalError
from veridical.governance.admission import admit
from veridical.governance.stored import to_be_overridden
from veridical.io import bids
from veridical.io.guards import permit, write_text
from veridical.io.nifti import write_nifti
from veridical.phantoms.head_labels import LABELS
from veridical.task import Progress, silent
from veridical.tasks.synthesize import NOTHING, Synthesize
from veridical.terms import ENVIRONMENT, Terms
from veridical.types import Finding, Image, Result, Study

NAME = "Synthetic heads by Veridical"
TABLE = "participants.tsv"
FOLDERS = {"CT": "ct", "PET": "pet"}
"""Modality -> folder of a subject; all others lie in `anat`."""
ENTITIES = {"T1c": "_ce-gadolinium", "PET": "_trc-FDG"}
SAID = (
    "Synthetic: no patient was measured. Made by the signal equations over an imagined or given "
    "label map."
)
README = """Synthetic heads, made by Veridical {version}. No patient was measured.

Paired volumes of one anatomy each, with a label map (`*_dseg.nii.gz`, numbers in `dseg.tsv`).
participants.tsv says who was imagined, and how far each head is from the nearest of the real heads
that the generator learned from. `veridical rerun sub-0001/provenance.json` makes a patient again.
"""
COLUMNS = {
    "age": "Years; n/a where the anatomy was given.",
    "sex": "female or male.",
    "pathology": "none, ms or tumour.",
    "lesions_ml": "Volume of lesions in the label map, ml.",
    "lateral_ventricles_ml": "Volume of the lateral ventricles in the label map, ml.",
    "site": "Scanner, see `veridical synthesize --help`.",
    "field": "Tesla.",
    "nearest_head": "Real head that the generator learned from and that is nearest.",
    "nearest_distance": "Distance to it: 1 minus the mean Dice of structures at 4 mm.",
    "memorization": "pass, or warn where it is nearer than real heads are to one another.",
    "synthetic": "true: no patient was measured.",
}
"""Columns of the table of patients."""


@dataclass(frozen=True)
class Made:
    """What came of one patient.

    Args:
        name: `sub-0001`.
        status: `kept`: it was there, whole, from the same settings; `blocked` by the policy, or
            `failed`: `reason` says why.
        about: its row in the table of patients.
        findings: of the result.
        seconds: it took.
        reason: why it failed or was blocked.
    """

    name: str
    status: Literal["made", "kept", "blocked", "failed"]
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    seconds: float = 0.0
    reason: str = ""


def synthetic_patients(
    task: Synthesize,
    output: str | Path,
    count: int = 1,
    seed: int = 0,
    labels: Study | Image | None = None,
    progress: Progress = silent,
    overwrite: bool = False,
    terms: Terms | None = None,
) -> list[Made]:
    """Write patients from `task.number` on into a folder, one in memory at a time.

    Args:
        task: with its settings.
        output: folder of the data set; made when missing.
        count: of patients.
        seed: same seed and settings: same bytes.
        labels: a label map to paint; None imagines the anatomy.
        progress: told after every patient, and within each by the task.
        overwrite: replace patients in the folder that were made with other settings.
        terms: policy, ledger and override; those of the environment.

    Raises:
        InputError: the folder holds something else, or a patient that was made otherwise.
        VeridicalError: the first patient could not be made. A later one that fails stops nothing.
    """
    root, found = Path(output), list[Made]()
    study = NOTHING if labels is None else Study.of(labels)
    _described(root)
    try:
        for index in range(count):
            one = dataclasses.replace(task, number=task.number + index)
            progress(f"patients: {_name(one)}", index, count)
            given = (seed, study, progress, overwrite, index == 0, terms or ENVIRONMENT)
            try:
                found.append(_attempt(one, root, *given))
            except PolicyError as error:
                found.append(Made(_name(one), "blocked", reason=str(error)))
        progress("patients: all", count, count)
    finally:
        _tabulate(root)
    return found


def _name(task: Synthesize) -> str:
    return f"sub-{task.number:04}"


def _attempt(
    task: Synthesize,
    root: Path,
    seed: int,
    study: Study,
    progress: Progress,
    overwrite: bool,
    first: bool,
    terms: Terms,
) -> Made:
    """Make one patient unless it is there."""
    begun, name = time.perf_counter(), _name(task)
    for left in root.glob(f".{name}.*.part"):
        shutil.rmtree(left, ignore_errors=True)
    record = _whole(root / name)
    if record is not None:
        differing = _differing(record, task, seed, study)
        if not differing and not to_be_overridden(record, terms):
            return Made(name, "kept", _row(root / name), record.findings)
        if differing and not overwrite:
            raise InputError(
                f"{root / name} was made otherwise: its {', '.join(differing)} differ. Give "
                "another folder, or --overwrite."
            )
    try:
        result = task(study, seed, progress)
    except VeridicalError as error:
        if first:
            raise
        return Made(name, "failed", reason=str(error))
    about = _save(result, root, name, task.number, seed, terms)
    seconds = round(time.perf_counter() - begun, 1)
    return Made(name, "made", about, result.findings, seconds)


def _whole(folder: Path) -> bids.Record | None:
    """Return the record of a patient whose files are all there with the bytes that it names."""
    try:
        record = bids.load_provenance(folder)
        for entry in record.files.values():
            file = folder / entry["path"]
            if hashlib.sha256(file.read_bytes()).hexdigest() != entry["sha256"]:
                return None
        _row(folder)
    except (ProvenanceError, OSError, KeyError, ValueError):
        return None
    return record


def _differing(record: bids.Record, task: Synthesize, seed: int, study: Study) -> list[str]:
    """Return in what a patient that is there differs from the one that was asked for."""
    step = record.steps[-1]
    wanted: dict[str, tuple[Any, Any]] = {
        "settings": (dict(step.settings), dataclasses.asdict(task)),
        "shapes of heads": (step.weights, task.model_and_weights()[1]),
        "seed": (step.seed, seed),
        "label map": (dict(step.inputs), provenance.inputs(study)),
    }
    return [what for what, (before, now) in wanted.items() if before != now]


def _save(
    result: Result, root: Path, name: str, number: int, seed: int, terms: Terms
) -> dict[str, Any]:
    """Write a patient beside its place and move it in when it is whole; return its row."""
    admitted = admit(result, name, terms)
    temporary = Path(tempfile.mkdtemp(dir=root, prefix=f".{name}.", suffix=".part"))
    try:
        row, files = _about(result), dict[str, str]()
        for role, stem, image, said in _volumes(result, name):
            files[role] = f"{stem}.nii.gz"
            write_nifti(image, temporary / files[role])
            bids.dump({"Synthetic": True, "Description": SAID, **said}, temporary / f"{stem}.json")
        labelled = {"Patient": row, "Seed": seed, "Number": number}
        side = temporary / "anat" / f"{name}_dseg.json"
        bids.dump({**json.loads(side.read_text(encoding="utf-8")), **labelled}, side)
        record = bids.record(result, files, temporary, admitted.record())
        bids.dump({**record, "synthetic": row}, temporary / bids.PROVENANCE)
        admitted.seal(result, temporary / bids.PROVENANCE)
        if (root / name).exists():
            shutil.rmtree(root / name)
        permit(temporary, 0o777)
        temporary.rename(root / name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return row


def _volumes(result: Result, name: str) -> Iterator[tuple[str, str, Image, dict[str, Any]]]:
    """Yield role, path without suffix, image and sidecar of each volume."""
    image, scans = result.image, result.facts["scans"]
    about = image.header["synthetic"]
    for channel in image.channels:
        one = image.channel(channel)
        folder = FOLDERS.get(channel, "anat")
        stem = f"{folder}/{name}{ENTITIES.get(channel, '')}_{bids.SUFFIX[channel]}"
        yield channel, stem, one, {"Units": one.units, **scans[channel]}
    labels = result.also["labels"].image
    said = {"Units": "label", "LabelTable": "dseg.tsv", "Anatomy": about["anatomy"]}
    yield "labels", f"anat/{name}_dseg", labels, said


def _about(result: Result) -> dict[str, Any]:
    """Return the row of a patient in the table."""
    near = result.facts["nearest_head"]
    verdict = next((f.verdict for f in result.findings if f.check == "memorization"), "not_run")
    row = {
        **result.image.header["synthetic"],
        "nearest_head": near["name"],
        "nearest_distance": near["distance"],
        "memorization": verdict,
        "synthetic": True,
    }
    known = {"genes": row["genes"]} if "genes" in row else {}
    return {column: row[column] for column in COLUMNS} | known


def _row(folder: Path) -> dict[str, Any]:
    """Return the row of a patient that is there."""
    side = folder / "anat" / f"{folder.name}_dseg.json"
    return dict(json.loads(side.read_text(encoding="utf-8"))["Patient"])


def _described(root: Path) -> None:
    """Write what describes the data set.

    Raises:
        InputError: the folder is another data set, or a file.
    """
    description = root / bids.DESCRIPTION
    if root.exists() and not root.is_dir():
        raise InputError(f"{root} is a file; expected a folder for the data set. Give another one.")
    if description.exists():
        try:
            said = json.loads(description.read_text(encoding="utf-8"))
        except ValueError:
            said = {}
        if not isinstance(said, dict) or said.get("Name") != NAME:
            raise InputError(
                f"{root} is another data set; synthetic patients do not go among others. Give a "
                "new folder."
            )
        return
    if root.exists() and any(root.iterdir()):
        raise InputError(
            f"{root} is not empty and no data set of ours; give a new folder for the patients."
        )
    generated = {"Name": "Veridical", "Version": __version__, "Description": SAID}
    bids.dump(
        {
            "Name": NAME,
            "BIDSVersion": "1.10.0",
            "DatasetType": "derivative",
            "GeneratedBy": [generated],
        },
        description,
    )
    rows = "".join(f"{number}\t{name}\n" for number, name in enumerate(LABELS))
    write_text(root / "dseg.tsv", "index\tname\n" + rows)
    write_text(root / "README", README.format(version=__version__))
    write_text(root / ".bidsignore", "*/ct/\n*/provenance.json\n")
    bids.dump(
        {column: {"Description": text} for column, text in COLUMNS.items()},
        root / "participants.json",
    )


def _tabulate(root: Path) -> None:
    """Write the table of all patients that are there."""
    rows = ["\t".join(("participant_id", *COLUMNS))]
    for folder in sorted(root.glob("sub-*")):
        try:
            row = _row(folder)
        except (OSError, ValueError, KeyError):  # half of a patient
            continue
        cells = ["n/a" if row[column] is None else str(row[column]) for column in COLUMNS]
        rows.append("\t".join((folder.name, *cells)))
    write_text(root / TABLE, "\n".join(rows).replace("True", "true") + "\n")
