"""The commands around the tasks: list, rerun, demo, train, calibrate, export, bench, version."""

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
    """Show what is there: tasks, models, metrics, audits, operators, readers, data sets.

    Args:
        kind: one kind only: task, model, metric, audit, operator, reader or dataset.
        json: print one JSON object, kind -> name -> what it is.
    """
    if kind is not None and kind not in registry.FOLDERS:
        raise SettingError(f"There is no kind {kind!r}. {nearest(kind, registry.FOLDERS)}")
    kinds = list(registry.FOLDERS) if kind is None else [kind]
    show.listing({name: {e.name: e.summary for e in registry.entries(name).values()} for name in kinds}, as_json=json)


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
    """Train a model by a recipe and write its weights and card; `torchrun -m veridical.apps.cli train ...` uses many GPUs.

    Args:
        recipe: TOML file with the tables [model], [data] and [training], or the name of a shipped one: fine-tune.
        data: folder of images (BIDS, BraTS, DICOM, plain NIfTI, ...) that the recipe calls `data`.
        out: folder for checkpoints, log, curves and weights; runs/NAME_OF_THE_RECIPE when not given.
        from_: weights to start from, by name or path; their card then says model and net.
        steps: optimizer steps; those of the recipe when not given.
        resume: go on from the last checkpoint in that folder.
        quiet: draw no progress bar.
    """
    from veridical.training.train import train as fit

    with show.progress(quiet) as progress:
        print(fit(recipe, out or Path("runs") / Path(recipe).stem, resume, progress, data=data, start=from_, steps=steps))


def train_on(*, runs: Path = Path("runs")) -> None:
    """Continue the first unfinished training in the background, at the lowest priority; says what it does.

    Args:
        runs: folder of runs.
    """
    from veridical.training.train_on import train_on as go_on

    print(go_on(runs))


def calibrate(
    weights: str,
    /,
    *,
    patients: int = 60,
    scans: int = 400,
    data: Path | None = None,
    to: str = "",
    level: float = 0.9,
    quiet: Switch = False,
) -> None:
    """Calibrate trained weights and write it into their card: intervals and scope on digital patients, or intervals on yours.

    Args:
        weights: shipped name, or path of a .safetensors file with its card beside it.
        patients: digital ones for each job; a 90 % interval needs at least 9. Not for --data, which takes all.
        scans: images of each contrast for the scope; at least 198. Not for --data.
        data: folder of your patients, none of whom the weights were trained on: calibrates what completes their contrasts.
        to: contrasts to calibrate with --data, separated by commas; all that the folder has when not given.
        level: of the bands calibrated with --data: share of voxels that are to lie inside; 0.9 needs 9 patients, 0.8 four.
        quiet: draw no progress bar.
    """
    from veridical.training.calibrate import calibrate_weights
    from veridical.training.calibrate_folder import calibrate_folder

    if data is not None and (patients, scans) != (60, 400):
        raise SettingError("--patients and --scans are for digital patients; with --data all patients of the folder count.")
    if data is None and (to, level) != ("", 0.9):
        raise SettingError("--to and --level are for calibration on patients of yours: --data FOLDER.")
    with show.progress(quiet) as progress:
        if data is None:
            print(calibrate_weights(weights, patients, scans, progress))
            return
        found = calibrate_folder(weights, data, to, level, progress)
    for job, one in found.items():
        print(
            f"{job}: {one.level:.0%} band from {one.patients} patients, {one.multiplier:.3g} spreads; "
            f"inside it {one.reached[0]:.0%} to {one.reached[2]:.0%} of a patient"
        )


def export(
    weights: str,
    /,
    *,
    out: Path = Path("exports"),
    runtime: str = "onnxruntime",
    quantize: Switch = False,
    quiet: Switch = False,
) -> None:
    """Export the network of a joint prior to ONNX and compare its numbers with torch.

    Inside Veridical an installed onnxruntime runs the network without this; quantized networks must be made by it.

    Args:
        weights: shipped name, or path of a .safetensors file with its card beside it.
        out: folder for NAME.onnx, NAME.int8.onnx and, beside each, what is known of it as JSON.
        runtime: in which the numbers are compared: onnxruntime or openvino.
        quantize: make the int8 network too, calibrated on digital patients, and say what it costs in dB.
        quiet: draw no progress bar.
    """
    from veridical.training.export import export as write

    with show.progress(quiet) as progress:
        for path in write(weights, out, runtime, quantize, progress):
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

    A complete scan is undersampled after the fact and compared with itself; of another, samples are withheld and predicted.

    Args:
        scan: raw data.
        axes: axes of a bare array in their order, for instance coil,y,x.
        index: which slice, counted from 0.
        methods: models or peers ("bart wavelet", "bart total variation"); all when none is given. Repeat the flag for several.
        seeds: sampling patterns drawn of each kind.
        quiet: draw no progress bar.
    """
    from veridical.evaluation import bench as compare
    from veridical.io.files import read
    from veridical.types import Measurement

    subject = read(scan, axes=axes)
    if not isinstance(subject, Measurement) or not 0 <= index < len(subject.data):
        raise InputError(
            f"{scan} has no slice {index} of raw data; expected MR k-space and an index below the number of slices."
        )
    with show.progress(quiet) as progress:
        rows = compare.bench(subject.data[index], seeds, methods, progress)
    print(compare.table(rows))


def demo(*, out: Path = Path("demo"), quiet: Switch = False) -> None:
    """Scan a digital patient at 4x, reconstruct it three ways, compare with the truth, and write one HTML report.

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


ALL = (list_, rerun, demo, train, train_on, calibrate, export, bench, version)
