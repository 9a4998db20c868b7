"""The commands around the tasks: list, rerun, demo, train, calibrate, export, bench, version."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import veridical
from veridical import registry
from veridical.doors import show
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
    resume: Switch = False,
    quiet: Switch = False,
) -> None:
    """Train a model by a recipe and write its weights and card; `torchrun -m veridical.doors.cli train ...` uses many GPUs.

    Args:
        recipe: TOML file with the tables [model], [data] and [training], or the name of a shipped one: fine-tune.
        data: folder of images (BIDS, BraTS, DICOM, plain NIfTI, ...) that the recipe calls `data`.
        out: folder for checkpoints, log, curves and weights; runs/NAME_OF_THE_RECIPE when not given.
        from_: weights to start from, by name or path; their card then says model and net.
        resume: go on from the last checkpoint in that folder.
        quiet: draw no progress bar.
    """
    from veridical.workflow.train import train as fit

    with show.progress(quiet) as progress:
        print(fit(recipe, out or Path("runs") / Path(recipe).stem, resume, progress, data=data, start=from_))


def calibrate(weights: str, /, *, patients: int = 60, scans: int = 400, quiet: Switch = False) -> None:
    """Calibrate the intervals and the scope of trained weights on digital patients, and write both into their card.

    Args:
        weights: shipped name, or path of a .safetensors file with its card beside it.
        patients: calibration patients for each job; a 90 % interval needs at least 9.
        scans: for the scope; at least 198.
        quiet: draw no progress bar.
    """
    from veridical.workflow.calibrate import calibrate_weights

    with show.progress(quiet) as progress:
        print(calibrate_weights(weights, patients, scans, progress))


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
    from veridical.workflow.export import export as write

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
    from veridical.io.files import read
    from veridical.types import Measurement
    from veridical.workflow import bench as compare

    subject = read(scan, axes=axes)
    if not isinstance(subject, Measurement) or not 0 <= index < len(subject.data):
        raise InputError(
            f"{scan} has no slice {index} of raw data; expected MR k-space and an index below the number of slices."
        )
    with show.progress(quiet) as progress:
        rows = compare.bench(subject.data[index], seeds, methods, progress)
    print(compare.table(rows))


def demo(*, out: Path = Path("demo"), quiet: Switch = False) -> None:
    """Scan a digital patient at 4x, reconstruct it four ways, compare with the truth, and write one HTML report.

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


ALL = (list_, rerun, demo, train, calibrate, export, bench, version)
