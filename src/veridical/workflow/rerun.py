"""Make a stored result again from its provenance and compare it byte for byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from veridical import provenance, registry
from veridical.errors import InputError, ProvenanceError
from veridical.io.assemble import read_together
from veridical.io.bids import load_provenance
from veridical.io.cine import read_sequence
from veridical.io.dicom_study import read_study
from veridical.io.files import read
from veridical.io.stored_results import study_of
from veridical.layouts.selection import from_record
from veridical.task import Progress, Task, silent
from veridical.types import Image, Measurement, Result, Step, Study


def rerun(path: str | Path, progress: Progress = silent) -> Result:
    """Repeat every step of a stored result and return the result made again, which has the same
    bytes.

    Args:
        path: the `provenance.json` that was saved with the result.
        progress: called as work goes on.

    Raises: ProvenanceError: the record cannot be read or repeated, or the remake differs. The
        message names the first difference: the input, the weights, a version, or the outputs that
        differ.
    """
    steps = load_provenance(path).steps
    subject: Study | Image | Measurement = source(steps, Path(path))
    for step in steps:
        same_input(step, subject)
        task: Task = registry.get("task", step.task).from_settings(plain(step.settings))
        same_weights(step, task)
        derived = task(subject, step.seed, progress)
        same_outputs(step, derived.steps[-1])
        subject = derived.image
    return derived


def plain(value: Any) -> Any:
    """Turn JSON's lists back into the tuples that settings hold."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return tuple(plain(item) for item in value) if isinstance(value, list) else value


def source(steps: Sequence[Step], path: Path) -> Study | Image | Measurement:
    """Read the input of the first step again.

    Raises:
        ProvenanceError: the record names no file, or it cannot be read any more.
    """
    options = plain(steps[0].source) if steps else {}
    if steps and not steps[0].inputs:  # nothing went in
        return Study("", {})
    if not {"path", "paths"} & set(options):
        raise ProvenanceError(
            f"{path} names no input file: the input was made in memory. Save it to a file and "
            "start from veridical.read(file)."
        )
    try:
        if "layout" in options:
            return from_record(options)
        if "measurements" in options:
            return read_sequence(options.pop("path"), options.pop("measurements"), **options)
        if options.pop("objects", False):
            return read_study(options["path"])
        if options.pop("result", False):
            return study_of(options["path"])
        return (
            read_together(**options) if "paths" in options else read(options.pop("path"), **options)
        )
    except InputError as error:
        raise ProvenanceError(f"The input cannot be read any more. {error}") from error


def same_input(step: Step, subject: Study | Image | Measurement) -> None:
    """Raise a ProvenanceError when the input is not what it was."""
    changed = differing(step.inputs, provenance.inputs(Study.of(subject)))
    if changed:
        raise ProvenanceError(
            f"Input changed since {step.task} was run: {', '.join(changed)} differ. Restore the "
            "original file."
        )


def same_weights(step: Step, task: Task) -> None:
    """Raise a ProvenanceError when the model or its weights are not what they were."""
    model, weights = task.model_and_weights()
    if (model, weights) != (step.model, step.weights):
        raise ProvenanceError(
            f"Weights changed: {step.task} was run by {step.model} ({step.weights[:12]}), now it "
            f"is {model} ({weights[:12]}). "
            "Install the version of Veridical, or the weights, that the record names."
        )


def same_outputs(step: Step, repeated: Step) -> None:
    """Raise a ProvenanceError when outputs differ; a version that differs is named first, as the
    likely cause.
    """
    changed = differing(step.outputs, repeated.outputs)
    if not changed:
        return
    kept = ", ".join(name for name in step.outputs if name not in changed) or "none"
    difference = f"{', '.join(changed)} of {step.task} differ; the same are: {kept}."
    newer = differing(step.versions, repeated.versions)
    if not newer:
        raise ProvenanceError(f"{difference} Input, weights, settings and versions are the same.")
    named = "; ".join(
        f"{name} was {step.versions.get(name)}, is {repeated.versions.get(name)}" for name in newer
    )
    raise ProvenanceError(
        f"Version changed: {named}. {difference} Install the recorded versions and run it again."
    )


def differing(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the keys whose values are not the same, in order."""
    return [key for key in dict.fromkeys([*before, *now]) if before.get(key) != now.get(key)]
