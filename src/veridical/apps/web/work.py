"""The orders of the web app, each a function that its own process calls; all return plain
values.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veridical import registry
from veridical.apps.web import summary
from veridical.apps.web.forms import build
from veridical.errors import InputError, VeridicalError
from veridical.terms import Terms

if TYPE_CHECKING:
    from veridical.task import Progress
    from veridical.types import Image, Measurement
    from veridical.workflow.intake import Intake


def loaded() -> None:
    """Load the modules that all orders share."""
    from veridical.report import scene
    from veridical.workflow import intake

    assert scene
    assert intake


def inspect(
    paths: Sequence[str], options: Mapping[str, Any], folder: str, progress: Progress
) -> dict[str, Any]:
    """Say what was handed in, and draw its first part where that is one patient.

    Args:
        paths: files, or one folder or zip archive.
        options: of the reader.
        folder: of the case, for what is drawn and unpacked.
        progress: called as work goes on.
    """
    from veridical.apps.web.uploads import unpacked
    from veridical.workflow import intake

    place = Path(folder)
    progress("reading", 0, 2)
    given = [str(unpacked(Path(path), place / "unpacked")) for path in paths]
    stored = intake.results_in(Path(given[0])) if Path(given[0]).is_dir() else []
    if stored:
        return {"results": [str(one) for one in stored], "patients": []}
    found = intake.take_in(given, options)
    progress("drawing", 1, 2)
    for old in place.glob("view-*"):
        shutil.rmtree(old, ignore_errors=True)
    views, said = {}, [asdict(one) for one in found]
    if len(found) == 1 and (first := next(iter(found[0].parts), None)):
        name = view_name(first.day, first.name)
        try:
            views[name] = view(said[0], first.day, first.name, str(place / name), progress)
        except VeridicalError as error:  # it may be a job's input all the same
            said[0]["notes"] = [*said[0]["notes"], f"It cannot be shown: {error}"]
    progress("ready", 2, 2)
    return {"results": [], "patients": said, "views": views}


def view_name(day: float, name: str, number: int = 0) -> str:
    """Return the folder of a part's pictures below its case; `number` is that of the patient."""
    said = f"{number}-{day:g}-{name}"
    return "view-" + "".join(c if c.isascii() and c.isalnum() else "-" for c in said)[:100]


def view(
    patient: Mapping[str, Any], day: float, name: str, folder: str, progress: Progress
) -> dict[str, Any]:
    """Draw one part of a patient; of raw data what the usual reconstruction makes of them."""
    from veridical.report import scene

    part = _intake(patient).part(day, name)
    image, said = _seen(part, progress)
    layers = scene.of_image(image)
    return {**scene.write(Path(folder), image.geometry, layers), "about": said}


def task(
    task: str,
    settings: Mapping[str, Any],
    patient: Mapping[str, Any] | None,
    chosen: Sequence[tuple[float, str]],
    seed: int,
    out: str,
    before: Sequence[str],
    terms: Mapping[str, str],
    progress: Progress,
) -> dict[str, Any]:
    """Run a task, write its result as the command line does, and draw it.

    Args:
        task: its name.
        settings: its fields.
        patient: the intake; None for a task that takes nothing.
        chosen: day and name of the parts to use.
        seed: of everything random.
        out: folder; the result goes into `result` below it, the pictures into `view`.
        before: folders of scenes of raw data that it was made from, for the comparison.
        terms: policy, ledger, override.
        progress: called as work goes on.
    """
    from veridical.types import Image, Study

    made = build(registry.get("task", task), settings)
    subject = Study("", {}) if patient is None else _intake(patient).subject(made, chosen)
    result = made(subject, seed, progress)
    progress("writing", 0, 2)
    name = "sub-" + ("".join(c for c in (patient or {}).get("name", "") if c.isalnum()) or "made")
    folder = Path(out) / "result"
    result.save(folder, name[:60], overwrite=True, terms=_terms(terms))
    progress("drawing", 1, 2)
    visit = subject.visit().values() if subject.visits else ()
    inputs = [one for one in visit if isinstance(one, Image)] or _images(before)
    return _drawn(result, folder, Path(out) / "view", inputs)


def open_result(folder: str, view: str, progress: Progress) -> dict[str, Any]:
    """Draw a stored result."""
    from veridical.io.stored_results import stored_result

    progress("reading", 0, 1)
    return _drawn(stored_result(folder), Path(folder), Path(view), [])


def audit(
    subject: str, settings: Mapping[str, Any], out: str, terms: Mapping[str, str],
    progress: Progress,
) -> dict[str, Any]:  # fmt: skip
    """Audit a result or an image; the report lies in `out`."""
    from veridical.workflow.audit import Audit

    found = build(Audit, settings)(subject, out, progress, _terms(terms))
    decision = found.decision
    return {
        "title": found.title,
        "findings": [asdict(one) for one in found.findings],
        "policy": None if decision is None else decision.record(),
        "report": str(Path(out) / "report.html"),
    }


def evaluate(
    candidate: str, reference: str, settings: Mapping[str, Any], out: str, progress: Progress
) -> dict[str, Any]:
    """Judge an image against the true one; the report lies in `out`."""
    from veridical.workflow.evaluate import Evaluate

    judged = build(Evaluate, settings)(candidate, reference, out, progress)
    if not judged.cases:
        raise InputError(
            "No score was given: the images cannot be compared. Expected the same patient on the "
            "same grid, or two folders of images; got "
            + "; ".join(f"{f.check}: {f.reason}" for f in judged.integrity if f.verdict == "fail")
        )
    levels = [{"level": o.level, "verdict": o.verdict, "reason": o.reason} for o in judged.levels]
    return {"title": judged.title, "levels": levels, "report": str(Path(out) / "report.html")}


def dicom(
    result: str, source: Sequence[str], out: str, terms: Mapping[str, str], progress: Progress
) -> dict[str, Any]:
    """Write a stored result as DICOM objects beside the series it was made from, in one archive."""
    from veridical.workflow.dicom_results import write

    progress("writing DICOM", 0, 1)
    folder = Path(out)
    files = write(result, [Path(one) for one in source], folder / "dicom", terms=_terms(terms))
    archive = shutil.make_archive(str(folder / "dicom"), "zip", folder / "dicom")
    return {"files": len(files), "archive": archive}


def _drawn(result: Any, folder: Path, view: Path, inputs: Sequence[Image]) -> dict[str, Any]:
    """Draw a result and say what it is."""
    from veridical.io.bids import load_provenance
    from veridical.report import scene

    drawn = scene.write(view, result.image.geometry, scene.of_result(result, inputs))
    more = {}
    under = [result.image.channel(name) for name in result.image.channels[:1]]
    for name, other in result.also.items():
        below = view.parent / f"{view.name}-{name}"
        layers = scene.of_result(other, under)
        more[name] = scene.write(below, other.image.geometry, layers)
    said = summary.of_result(result, load_provenance(folder))
    return {"folder": str(folder), "summary": said, "scene": drawn, "more": more}


def _seen(part: Image | Measurement, progress: Progress) -> tuple[Image, str]:
    """Return a picture of a part; of raw data by the usual inversion, without a prior."""
    from veridical.tasks.reconstruct import Reconstruct
    from veridical.types import Image

    if isinstance(part, Image):
        return part, ""
    model = "zero-filled" if part.operator.name == "cartesian-mri" else "classical"
    result = Reconstruct(model=model, draws=1, sets=1)(part, 0, progress)
    return result.image, f"raw data, shown by the {model} reconstruction"


def _images(folders: Sequence[str]) -> list[Image]:
    from veridical.report import scene

    drawn = [Path(folder) for folder in folders if (Path(folder) / scene.SCENE).is_file()]
    return [image for folder in drawn for image in scene.images(folder)]


def _intake(said: Mapping[str, Any]) -> Intake:
    from veridical.workflow.intake import CasePart, Intake

    parts = tuple(CasePart(**part) for part in said["parts"])
    return Intake(
        tuple(said["paths"]), said["options"], said["patient"], parts, tuple(said["notes"]),
        said["name"],
    )  # fmt: skip


def _terms(said: Mapping[str, str]) -> Terms:
    """Return terms; what is not given is taken from the environment."""
    paths = {key: Path(said[key]) for key in ("policy", "ledger") if said.get(key)}
    return Terms(**paths, override=said.get("override", ""))
