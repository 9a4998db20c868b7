"""The utilities around the tasks; each public function is a command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import veridical
from veridical import registry
from veridical.apps import show
from veridical.errors import InputError, SettingError, nearest

Switch = Annotated[bool, Parameter(negative=())]


def list_(kind: str | None = None, /, *, json: Switch = False) -> None:
    """List what is installed: tasks, models, metrics, audits, operators, layouts of data sets and
    more.

    Args: kind: one kind only, for instance task, model, metric, extractor, audit, operator,
        degradation, reader or layout. json: print one JSON object: kind -> name -> what it is.
    """
    if kind is not None and kind not in registry.FOLDERS:
        raise SettingError(f"There is no kind {kind!r}. {nearest(kind, registry.FOLDERS)}")
    kinds = list(registry.FOLDERS) if kind is None else [kind]
    show.listing(
        {name: {e.name: e.summary for e in registry.entries(name).values()} for name in kinds},
        as_json=json,
    )


def form(task: str, /) -> None:
    """Print the settings of a task as JSON Schema, from which a form can be drawn.

    Args:
        task: its name: reconstruct, enhance, ...
    """
    import json

    from veridical.task import form as schema

    print(json.dumps(schema(registry.get("task", task)), indent=2))


def rerun(provenance: Path, /, *, quiet: Switch = False) -> None:
    """Repeat a stored result from its provenance.json and compare it byte for byte.

    Args:
        provenance: the provenance.json of the result.
        quiet: draw no progress bar.
    """
    from veridical.workflow.rerun import rerun as repeat

    with show.progress(quiet) as progress:
        repeated = repeat(provenance, progress)
    print(f"same bytes: {', '.join(repeated.steps[-1].outputs)}")


def train(
    recipe: str,
    /,
    *,
    data: Path | None = None,
    out: Path | None = None,
    from_: Annotated[str, Parameter(name="--from")] = "",
    steps: int | None = None,
    resume: Switch = False,
    quiet: Switch = False,
) -> None:
    """Train a model by a recipe and write its weights and card; `torchrun -m veridical.apps.cli
    train ...` uses many GPUs.

    Args: recipe: TOML file with the tables [model], [data] and [training], or the name of a shipped
        one: brain. data: folder of images (BIDS, BraTS, DICOM, plain NIfTI, ...) that the
        recipe calls `data`. out: folder for checkpoints, log, curves and weights;
        runs/NAME_OF_THE_RECIPE when not given. from_: weights to start from, by name or path; their
        card then says model and net. steps: optimizer steps; those of the recipe when not given.
        resume: go on from the last checkpoint in that folder. quiet: draw no progress bar.
    """
    from veridical.training.train import train as fit

    with show.progress(quiet) as progress:
        print(
            fit(
                recipe,
                out or Path("runs") / Path(recipe).stem,
                resume,
                progress,
                data=data,
                start=from_,
                steps=steps,
            )
        )


def train_on(*, runs: Path = Path("runs")) -> None:
    """Continue the first unfinished training in the background, at the lowest priority; says what
    it does.

    Args:
        runs: folder of runs.
    """
    from veridical.training.train_on import train_on as go_on

    print(go_on(runs))


def calibrate(
    weights: str,
    /,
    *,
    data: Path | None = None,
    jobs: str = "",
    level: float = 0.9,
    patients: int = 32,
    quiet: Switch = False,
) -> None:
    """Calibrate the intervals of trained weights on patients they never saw, and add that to their
    card.

    Args: weights: shipped name, or path of a .safetensors file with its card beside it. data:
        folder of your patients; those that the weights were trained on are left out. Without it:
        digital patients of a second simulator and held-out real ones. jobs: separated by commas,
        for instance complete-FLAIR; all that can be calibrated when not given. level: share of
        voxels that are to lie inside; 0.9 needs 9 patients, 0.8 four. patients: at most so many a
        job where they are digital. quiet: draw no progress bar.
    """
    from veridical.training.calibrate import calibrate_weights

    asked = [job.strip() for job in jobs.split(",") if job.strip()]
    with show.progress(quiet) as progress:
        found = calibrate_weights(weights, data, asked, level, patients, progress)
    for job, one in found.items():
        print(
            f"{job}: {one.level:.0%} interval from {one.patients} patients, {one.reach}; "
            f"it holds {one.reached[0]:.0%} to {one.reached[2]:.0%} of a patient's voxels"
        )


def interval(
    estimate: Path,
    output: Path,
    /,
    *,
    spread: Path,
    patients: Path,
    level: float = 0.9,
    share: float | None = None,
    labels: Path | None = None,
    overwrite: Switch = False,
    quiet: Switch = False,
) -> None:
    """Give an estimate of any generator a calibrated interval, from patients whose truth is known.

    Args: estimate: image file. output: folder for the result; made when missing. spread: image of
        its uncertainty, larger where it is less sure: the standard deviation of samples, for
        instance. patients: folder with the folders estimate, spread, truth and, for bands of their
        own, labels; one file of the same name a patient in each. level: share of foreground voxels
        inside, on average over patients; 0.9 needs 9 patients. share: promise this share to each
        single patient, with the level as probability. labels: label map of the new image.
        overwrite: replace an earlier result. quiet: draw no progress bar.
    """
    from veridical.workflow.calibrated_interval import CalibratedInterval

    with show.progress(quiet) as progress:
        made = CalibratedInterval(patients, level, share, labels)(estimate, spread, progress)
        made.save(output, estimate.name.split(".")[0], overwrite=overwrite)
    band = made.interval
    print(f"{output}\n{band.promises if band else ''}")


def style(images: tuple[Path, ...], /, *, contrast: str | None = None) -> None:
    """Print the intensity style of a site, for `veridical harmonize --style`.

    Args:
        images: files of one contrast, of patients of that site.
        contrast: of them, where the files do not say it.
    """
    from veridical.io.files import read
    from veridical.tasks.harmonize import style as of_images
    from veridical.types import Image

    found = [
        image
        for image in (read(path, contrast=contrast) for path in images)
        if isinstance(image, Image)
    ]
    print(" ".join(f"--style {value:g}" for value in of_images(found)))


def export(weights: str, /, *, out: Path = Path("exports"), runtime: str = "onnxruntime") -> None:
    """Export the backbone of trained weights to ONNX and compare its numbers with torch.

    Inside Veridical an installed onnxruntime runs the network without this.

    Args:
        weights: shipped name, or path of a .safetensors file with its card beside it.
        out: folder for NAME.onnx and, beside it, what is known of it as JSON.
        runtime: in which the numbers are compared: onnxruntime or openvino.
    """
    from veridical.models.export import export as write

    for path in write(weights, out, runtime):
        print(path)


def bench(
    scan: Path,
    /,
    *,
    axes: str | None = None,
    index: int = 0,
    methods: Annotated[tuple[str, ...], Parameter(negative_iterable=())] = (),
    seeds: int = 5,
    quiet: Switch = False,
) -> None:
    """Compare reconstructions of a real scan, peers included, and print the scores as a table.

    A complete scan is undersampled after the fact and compared with itself; of another, samples are
    withheld and predicted.

    Args: scan: raw data. axes: axes of a bare array in their order, for instance coil,y,x. index:
        which slice, counted from 0. methods: models or peers ("bart wavelet", "bart total
        variation"); all when none is given. Repeat the flag for several. seeds: sampling patterns
        drawn of each kind. quiet: draw no progress bar.
    """
    from veridical.evaluation import bench as compare
    from veridical.io.files import read
    from veridical.types import Measurement

    subject = read(scan, axes=axes)
    if not isinstance(subject, Measurement) or not 0 <= index < len(subject.data):
        raise InputError(
            f"{scan} has no slice {index} of raw data; expected MR k-space and an index below the "
            "number of slices."
        )
    with show.progress(quiet) as progress:
        rows = compare.bench(subject.data[index], seeds, methods, progress)
    print(compare.table(rows))


def demo(*, out: Path = Path("demo"), quiet: Switch = False) -> None:
    """Scan a digital patient at 4x, reconstruct it three ways, compare with the truth, and write
    one HTML report.

    Args:
        out: folder for the scan, the results and the report.
        quiet: draw no progress bar.
    """
    from veridical.workflow.demo import demo as walk

    with show.progress(quiet) as progress:
        print(walk(out, progress))


def version() -> None:
    """Print the version."""
    print(veridical.__version__)
