"""The audit of a result, an image or a set of images from any generator: one page, one signed JSON.

Every registered audit is asked. What is known of the subject decides which of them apply: raw data
or input images to hold it against, the truth, the images that its generator learned from, a table
of patients, and for results of Veridical the task, which can then be run again on changed input.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from veridical import provenance, registry
from veridical.audit.audited_study import Again, Audited, AuditedStudy, known
from veridical.errors import InputError, ProvenanceError, SettingError, nearest
from veridical.evaluation import sources
from veridical.io.bids import PROVENANCE
from veridical.io.files import read
from veridical.io.stored_results import stored_result
from veridical.report.audit_page import write
from veridical.task import Progress, Task, explained, silent
from veridical.types import Finding, Image, Measurement, Result, Study
from veridical.workflow import rerun

PROMISES = (
    "An interval holds its level on average over the foreground, for patients exchangeable with "
    "the calibration patients: not for each voxel, not for each patient, not after a shift.",
    "Consistency says that the image agrees with the measured data to within the noise. It says "
    "nothing of what was not measured: a structure there may be imagined.",
    "A check that passes did not find what it looks for; its reason says what it can find.",
)
"""What an audit may promise and what not, on every page."""


class Loaded(Mapping[str, Image]):
    """Images of a folder by name, each read when it is asked for, none kept."""

    def __init__(self, found: Mapping[str, sources.Source]) -> None:
        self.found = found

    def __getitem__(self, name: str) -> Image:
        return self.found[name].load()

    def __iter__(self) -> Iterator[str]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)


@explained
@dataclass(frozen=True)
class Audit:
    """What is known of a subject, and which checks to run."""

    against: Any = None
    """File of the raw data or image that it was made from; results of Veridical name their input.
    In Python also a study, an image or a measurement.
    """
    reference: Any = None
    """File of the truth, where it is known; in Python also an image."""
    training: Any = None
    """Folder of the images that the generator learned from; in Python also images by name."""
    table: Path | None = None
    """Of a set: CSV or TSV with a row for each image, its name first, then age, sex, site, scores,
    ...
    """
    checks: tuple[str, ...] = ()
    """Names of checks; all that apply when not given."""

    def __call__(
        self,
        subject: str | Path | Result | Image,
        out: str | Path | None = None,
        progress: Progress = silent,
    ) -> Audited:
        """Ask the audits about a result, an image or a set of images.

        Args:
            subject: a result or its folder, an image or its file, or a folder of images, which is
                audited as a set.
            out: folder for report.html and report.json; None writes nothing.
            progress: called as work goes on.

        Raises:
            SettingError: no audit has a name that was asked for.
            InputError: there is nothing to audit, or a file cannot be read.
        """
        asked = chosen(self.checks)
        made, images = _subject(subject)
        study = replace(
            _study(made, self.against),
            reference=_image(self.reference),
            training=_images(self.training),
            generated=images,
            table=_table(self.table),
        )
        findings = tuple(_findings(asked, study, made, progress))
        found = Audited(
            _named(subject), made, study, findings, _hashes(made, study), {"checks": list(asked)}
        )
        if out is not None:
            write(found, Path(out), document(found))
        return found


def chosen(checks: Sequence[str]) -> dict[str, Callable[[Study, Result], Finding | None]]:
    """Return the audits of these names, or all.

    Raises:
        SettingError: one is not known.
    """
    entries = registry.entries("audit")
    for name in checks:
        if name not in entries:
            raise SettingError(f"There is no check {name!r}. {nearest(name, entries)}")
    return {name: entry.load() for name, entry in entries.items() if name in checks or not checks}


def of_sets(check: Callable[[Study, Result], Finding | None]) -> bool:
    """Say whether an audit is about a set of images: its module then has `SUBJECT = "set"`."""
    return getattr(sys.modules[check.__module__], "SUBJECT", "image") == "set"


def _findings(
    asked: Mapping[str, Callable[[Study, Result], Finding | None]],
    study: AuditedStudy,
    made: Result,
    progress: Progress,
) -> Iterator[Finding]:
    """Ask every audit; one that was asked for by name and does not apply says so."""
    for done, (name, check) in enumerate(asked.items()):
        progress(f"checks: {name}", done, len(asked))
        if study.generated and not of_sets(check):
            continue
        found = check(study, made)
        if found is not None:
            yield found
    progress("checks: all", len(asked), len(asked))


def _subject(subject: str | Path | Result | Image) -> tuple[Result, Mapping[str, Image]]:
    """Return the result, and the set where it is one."""
    if isinstance(subject, Result):
        return subject, {}
    if isinstance(subject, Image):
        return _of_image(subject), {}
    place = Path(subject)
    if (place / PROVENANCE).exists() or place.name == PROVENANCE:
        return stored_result(place.parent if place.name == PROVENANCE else place), {}
    found = sources.find(place, {})
    loaded = Loaded(found)
    first = _of_image(loaded[next(iter(loaded))])
    return first, loaded if len(loaded) > 1 else {}


def _of_image(image: Image) -> Result:
    reason = "The image is of another generator, which gave none."
    return Result(image, "image", absent=dict.fromkeys(("draws", "interval", "evidence"), reason))


def _study(made: Result, against: str | Path | Study | Image | Measurement | None) -> AuditedStudy:
    """Return what the subject was made from, and how to make it again."""
    if isinstance(against, str | Path):
        against = read(against)
    if against is None:
        against = made.study or _input(made)
    if against is None:
        return known(Study("", {0.0: {}}))
    return known(Study.of(against), again=_again(made))


def _input(made: Result) -> Study | Image | Measurement | None:
    """Return the input that the provenance of a result names, None where it cannot be read."""
    if not made.steps:
        return None
    try:
        subject = rerun.source(made.steps, Path(PROVENANCE))
        rerun.same_input(made.steps[0], subject)
    except ProvenanceError:
        return None
    return subject


def _again(made: Result) -> Again | None:
    """Return what makes the result again; None where it took several steps or no known task."""
    if len(made.steps) != 1 or made.steps[0].task not in registry.entries("task"):
        return None
    step = made.steps[0]
    task: Task = registry.get("task", step.task).from_settings(rerun.plain(step.settings))
    return lambda study, seed: task.apply(study, seed, silent)


def _image(found: str | Path | Image | None) -> Image | None:
    if found is None or isinstance(found, Image):
        return found
    image = read(found)
    if isinstance(image, Measurement):
        raise InputError(f"{found} holds raw data; expected an image. Reconstruct it first.")
    return image


def _images(found: str | Path | Mapping[str, Image] | None) -> Mapping[str, Image]:
    if found is None:
        return {}
    return found if isinstance(found, Mapping) else Loaded(sources.find(Path(found), {}))


def _table(path: str | Path | None) -> dict[str, dict[str, str]]:
    """Return name -> row of a CSV or TSV file."""
    import csv

    if path is None:
        return {}
    place = Path(path)
    if not place.is_file():
        raise InputError(f"{place} does not exist; expected a CSV or TSV file. Check the path.")
    with place.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t" if place.suffix == ".tsv" else ",")
        names = rows.fieldnames or []
        if len(names) < 2:
            raise InputError(
                f"{place} has the columns {', '.join(names) or 'none'}; expected the name of the "
                "image and at least one more."
            )
        return {str(row[names[0]]): dict(row) for row in rows}


def _named(subject: str | Path | Result | Image) -> str:
    return Path(subject).name if isinstance(subject, str | Path) else "in memory"


def _hashes(made: Result, study: AuditedStudy) -> dict[str, str]:
    """Return the hashes of what was looked at."""
    found = {f"memory:{name}": digest for name, digest in provenance.outputs(made).items()}
    found |= {f"memory:against/{name}": one for name, one in provenance.inputs(study).items()}
    if study.reference is not None:
        found["memory:reference"] = provenance.outputs(Result(study.reference, "image"))["estimate"]
    return found


def document(found: Audited) -> dict[str, Any]:
    """Return the machine-readable audit without its signature."""
    import veridical

    image = found.subject.image
    return {
        "title": found.title,
        "settings": dict(found.settings),
        "inputs": dict(found.inputs),
        "versions": {"veridical": veridical.__version__},
        "about": {
            "kind": found.subject.kind,
            "channels": list(image.channels),
            "images": list(found.study.generated) or None,
            "steps": [asdict(step) for step in found.subject.steps],
        },
        "findings": [asdict(finding) for finding in found.findings],
        "promises": list(PROMISES),
    }
