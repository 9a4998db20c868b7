"""The command of a task, made from its dataclass: `veridical TASK INPUT OUTPUT [--settings]`.

Attributes of this module are made on demand: `run.reconstruct` loads the task and returns its
command.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from cyclopts import Group, Parameter

from veridical import registry
from veridical.apps import create, sequence, show
from veridical.errors import InputError, PolicyError, SettingError
from veridical.task import Task, explained
from veridical.terms import ENVIRONMENT, Terms

if TYPE_CHECKING:
    from veridical.types import Image, Measurement, Study

SETTINGS = Group("Settings", sort_key=1)
READING = Group("Reading: what the file does not say itself", sort_key=2)
RUNNING = Group("Running", sort_key=3)
TERMS = Group("Terms: what may be written, and where it is noted", sort_key=4)


@explained
@dataclasses.dataclass(frozen=True)
class Reading:
    """How to read the input; each is needed only where the file does not say it."""

    axes: str | None = None
    """Axes of a bare array in their order, for instance coil,y,x for k-space."""
    mask: Path | None = None
    """File with the sampling mask of k-space, 1 where sampled. Without it, exact zeros count as not
    sampled.
    """
    geometry: Path | None = None
    """TOML file with the operator that measured a bare array: fan-beam, parallel-beam, pet,
    photoacoustic, ultrasound.
    """
    trajectory: Path | None = None
    """File with the positions (ky, kx) of the samples of a bare array, cycles per field of view;
    --axes coil,readout,sample.
    """
    maps: Path | None = None
    """Coil maps to reconstruct raw MR data with, .npy or .cfl: (coil, y, x) or (set, coil, y, x),
    slices first where there are several. Without them they are found from the data.
    """
    noise_scan: Path | None = None
    """Noise-only scan of the coils of raw MR data: ISMRMRD, .npy or .cfl, (coil, sample)."""
    select: str | None = None
    """Of an ISMRMRD file with several scans, which to read, counted from 0:
    encoding=1,repetition=2; also contrast, phase, set, slice.
    """
    contrast: str | None = None
    """Contrast, one for each channel or file, separated by commas: T1w, T2w, FLAIR, PD, T1c, CT,
    PET; other:NAME for another. Of a folder of patients: which images to use; all that fit when not
    given. Where a visit has several of one contrast, one is taken and the choice is reported: no
    localizer, the whole field of view, the smallest voxels, the last run. T1w.2 names the one that
    is next by that rule.
    """
    units: str | None = None
    """Units of an image: HU, SUV, ms, a.u., 1; label for a label map."""
    spacing: str | None = None
    """Voxel size of a file that does not state it, mm along x, y, z: 1,1,2."""
    slices: tuple[int, int] | None = None
    """First and last slice of a DICOM series, counted from 1."""
    series: str | None = None
    """Instance UID of the DICOM series to read, of a folder that holds several."""
    stack: int | None = None
    """Which volume of a DICOM series of several (echoes, orientations, times), counted from 1 as
    the message lists them.
    """
    allow_gaps: Annotated[bool, Parameter(negative=())] = False
    """Interpolate where slices of a DICOM series are missing or lie unevenly; the result says so.
    """
    beside: tuple[Path, ...] = ()
    """Another image of the same patient, which becomes a channel on the grid of INPUT. Repeat the
    flag for several.
    """
    register: Annotated[bool | None, Parameter(negative="--no-register")] = None
    """Move every image beside INPUT rigidly so that it fits INPUT, by mutual information; how far
    is reported. When not said, MR volumes that do not fit as they lie are; --no-register moves
    none.
    """
    same_space: Annotated[bool, Parameter(negative=())] = False
    """Assume that the positions of all images are coordinates of one space, though their headers
    name different ones.
    """
    lesions: Path | None = None
    """File with a mask of lesions, for the checks that say whether they are kept."""
    budget: int = 4 * 2**30
    """Bytes of memory that the read may take."""


@explained
@dataclasses.dataclass(frozen=True)
class Running:
    """How to run and what to print."""

    name: str | None = None
    """Start of the names of the output files, for instance sub-01; that of INPUT when not given."""
    seed: int = 0
    """Seed of everything random: same seed, same bytes."""
    json: bool = False
    """Print one JSON object with every output file by role, and nothing else, on standard output.
    """
    overwrite: bool = False
    """Replace an earlier result in OUTPUT; of a folder of patients only what came of other input,
    settings or weights.
    """
    dicom: bool = False
    """Where INPUT is a DICOM series, or a folder of patients in DICOM: write each result as DICOM
    objects too, in a folder `dicom` in that of the result: a derived series, maps of interval and
    evidence, a report. Needs the extra clinical.
    """
    keep_draws: bool = False
    """Of a folder of patients: write the draws too, which take most of the space. Those of a single
    case are always written.
    """
    workers: int = 1
    """Processes over a folder of patients. More than one needs the extra cluster."""
    cluster: str = ""
    """Ray cluster over a folder of patients that all its nodes see: auto, or ray://host:10001."""
    quiet: bool = False
    """Draw no progress bar."""


def __getattr__(name: str) -> Callable[..., None]:
    if name.startswith("_") or name not in registry.entries("task"):
        raise AttributeError(name)
    return command(registry.get("task", name))


def command(task: type[Task]) -> Callable[..., None]:
    """Return the function from which the command line makes a task's flags and help."""
    if task.takes == "nothing":
        return create.command(task)
    if task.takes == "sequence":
        return sequence.command(task)

    def run(
        source: Path,
        output: Path,
        /,
        *,
        settings: Any,
        reading: Any = Reading(),
        running: Any = Running(),
        terms: Any = ENVIRONMENT,
    ) -> None:
        execute(settings, source, output, reading, running, terms)

    if all(
        f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING
        for f in dataclasses.fields(task)
    ):
        run.__kwdefaults__ = {**(run.__kwdefaults__ or {}), "settings": task()}
    hints = get_type_hints(
        task
    )  # an inherited setting's type is a word of another module, which `__init__` does not know
    task.__init__.__annotations__ = {f.name: hints[f.name] for f in dataclasses.fields(task)} | {
        "return": None
    }
    run.__doc__ = " ".join((task.__doc__ or "").partition("\n\nArgs:")[0].split())
    run.__annotations__ = {
        "source": Annotated[
            Path,
            Parameter(
                name="INPUT",
                help=(
                    "File to read, or a folder: a DICOM series, or a data set of patients (BIDS, "
                    "BraTS, ...)."
                ),
            ),
        ],
        "output": Annotated[
            Path, Parameter(name="OUTPUT", help="Folder for the result; made when missing.")
        ],
        "settings": Annotated[task, Parameter(name="*", negative_iterable=(), group=SETTINGS)],
        "reading": Annotated[Reading, Parameter(name="*", negative_iterable=(), group=READING)],
        "running": Annotated[Running, Parameter(name="*", negative=(), group=RUNNING)],
        "terms": Annotated[Terms, Parameter(name="*", group=TERMS)],
        "return": None,
    }
    return run


def execute(
    task: Task, source: Path, output: Path, reading: Reading, running: Running, terms: Terms
) -> None:
    """Read, run, save, and say what came of it; a folder of patients case by case."""
    from veridical.io import bids

    stored = task.results and (source / bids.PROVENANCE).is_file()
    if holds_patients(source) and not stored:
        return over_folder(task, source, output, reading, running, terms)
    if running.workers > 1 or running.cluster:
        raise SettingError(
            f"{source} is one case; --workers and --cluster are for folders of patients. Leave "
            "them out."
        )
    if (output / bids.PROVENANCE).exists() and not running.overwrite:
        raise InputError(f"{output} already holds a result. Give another folder, or --overwrite.")
    if running.dicom:
        from veridical.io.dicom_objects import highdicom
        from veridical.io.dicom_series import series_of
        from veridical.workflow import dicom_results

        highdicom()  # what is missing, or no DICOM, is told before the work
        series_of((source, *reading.beside))
    with show.only_result(running.json), show.progress(running.quiet) as progress:
        subject = subject_of(task, source, reading, stored)
        derived = task(subject, running.seed, progress)
        name = running.name or case(source)
        written = derived.save(output, name, overwrite=running.overwrite, terms=terms)
        if running.dicom:
            written["dicom"] = output / "dicom"
            places = (source, *reading.beside)
            dicom_results.write(
                output, places, written["dicom"], terms=terms, overwrite=running.overwrite
            )
    show.result(derived, written, as_json=running.json)


def subject_of(
    task: Task, source: Path, reading: Reading, stored: bool
) -> Study | Image | Measurement:
    """Read what a task takes: a result with its evidence, all objects of a DICOM folder, or
    files.
    """
    if stored:
        from veridical.io.stored_results import study_of

        return study_of(source)
    return whole(source) if task.objects and is_dicom(source) else read(source, reading)


def read(source: Path, reading: Reading) -> Image | Measurement:
    """Read the input, with what stands beside it.

    Raises:
        SettingError: a flag that is about a single file, for several.
    """
    from veridical.io import assemble, files

    said = {f.name: getattr(reading, f.name) for f in dataclasses.fields(reading)}
    said["allow_gaps"] = reading.allow_gaps or None
    together = {name: said.pop(name) for name in ("lesions", "register", "same_space")}
    beside = said.pop("beside")
    if not beside and together["lesions"] is None:
        for name in ("register", "same_space"):
            if together[name]:
                raise SettingError(
                    f"--{name.replace('_', '-')} is for several images of one patient: name them "
                    "with --beside."
                )
        return files.read(source, **said)
    shared = {name: said.pop(name) for name in ("contrast", "units", "budget")}
    for name, value in said.items():
        if value is not None:
            raise SettingError(
                f"--{name.replace('_', '-')} is for a single file; several images of one patient "
                "are read without it."
            )
    return assemble.read_together((source, *beside), **together, **shared)


def is_dicom(source: Path) -> bool:
    """Say whether this is a folder of DICOM files."""
    from veridical.io import dicom

    return source.is_dir() and dicom.recognises(source)


def whole(source: Path) -> Study:
    """Read all DICOM objects of a patient: images, structure sets, doses."""
    from veridical.io.dicom_study import read_study

    again = {"path": str(source.resolve()), "objects": True}
    return dataclasses.replace(read_study(source), source=again)


def holds_patients(source: Path) -> bool:
    """Say whether this is a folder of patients: a BIDS data set, or a folder that is no single
    series of DICOM files.
    """
    from veridical.io import dicom

    return source.is_dir() and (
        (source / "dataset_description.json").exists() or not dicom.recognises(source)
    )


def over_folder(
    task: Task, source: Path, output: Path, reading: Reading, running: Running, terms: Terms
) -> None:
    """Run a task on every case of a folder and say what came of each.

    Raises:
        SettingError: a flag that is about one file.
        InputError: some cases failed; all others are done.
        PolicyError: none failed, and the policy blocks some.
    """
    from veridical.workflow.cases import Keeping
    from veridical.workflow.folder import run_folder
    from veridical.workflow.spreading import Spreading

    plain = dataclasses.replace(reading, contrast=None)
    given = [f.name for f in dataclasses.fields(Reading) if getattr(plain, f.name) != f.default] + [
        "name"
    ] * bool(running.name)
    if given:
        raise SettingError(
            f"{source} is a folder of patients; --{given[0].replace('_', '-')} is for one file. "
            "Leave it out, or give one file."
        )
    spreading = Spreading(running.workers, running.cluster)
    contrasts = tuple((reading.contrast or "").split(",")) if reading.contrast else ()
    with show.only_result(running.json), show.progress(running.quiet) as progress:
        outcomes = run_folder(
            task,
            source,
            output,
            running.seed,
            progress,
            contrasts,
            Keeping(running.keep_draws, running.overwrite, running.dicom),
            terms,
            spreading,
        )
    show.outcomes(outcomes, output, as_json=running.json)
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if failed:
        reasons = "; ".join(f"{one.case}: {one.reason}" for one in failed[:3])
        more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
        raise InputError(
            f"{len(failed)} of {len(outcomes)} cases failed: {reasons}{more} All of them: "
            f"{output / 'cases.tsv'}."
        )
    blocked = [outcome for outcome in outcomes if outcome.status == "blocked"]
    if blocked:
        raise PolicyError(
            f"{len(blocked)} of {len(outcomes)} cases are blocked; for instance {blocked[0].case}: "
            f"{blocked[0].reason}"
        )


def case(source: Path) -> str:
    """Return how the output files start: the BIDS entities of the input's name, else its letters
    and digits.
    """
    stem = source.name.split(".")[0]
    entities = re.match(r"sub-[A-Za-z0-9]+(_[a-z]+-[A-Za-z0-9]+)*", stem)
    return entities[0] if entities else re.sub(r"[^A-Za-z0-9]", "", stem) or "case"
