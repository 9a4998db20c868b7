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
from veridical.audit.audited_study import Audited, AuditedStudy, known
from veridical.errors import InputError, ProvenanceError, SettingError, nearest
from veridical.evaluation import sources
from veridical.governance.admission import note_audit
from veridical.governance.gate import decided, findings_of, task_of
from veridical.governance.promises import PROMISES
from veridical.io.bids import PROVENANCE
from veridical.io.files import read, read_image
from veridical.io.stored_results import stored_result
from veridical.report.audit_page import write
from veridical.task import Progress, explained, silent
from veridical.terms import ENVIRONMENT, Terms
from veridical.types import Finding, Image, Measurement, Result, Study
from veridical.workflow import rerun
from veridical.workflow.made_again import made_again

NOT_FOR_IT = (
    "This check does not apply to what was given: `veridical list audit` says what each looks at."
)


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
    """File of the truth, where it is known, of a set the folder of all; in Python also an image, or
    images by name.
    """
    training: Any = None
    """Folder of the images that the generator learned from; in Python also images by name."""
    held_out: Any = None
    """Folder of real images like them that it did not learn from; in Python also images by name."""
    model: str = ""
    """Weights whose card says what an image must be like to be their input: brain, body, denoiser,
    or a path.
    """
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
        terms: Terms | None = None,
    ) -> Audited:
        """Ask the audits about a result, an image or a set of images.

        Args:
            subject: a result or its folder, an image or its file, or a folder of images, which is
                audited as a set.
            out: folder for report.html and report.json; None writes nothing.
            progress: called as work goes on.
            terms: policy, ledger and override; those of the environment. The report is written
                whatever the policy decides, and says what that is.

        Raises:
            SettingError: no audit has a name that was asked for.
            InputError: there is nothing to audit, or a file cannot be read.
        """
        asked = chosen(self.checks)
        made, images = _subject(subject)
        made = _for_model(made, self.model)
        study = replace(
            _study(made, self.against),
            reference=None if images else _image(self.reference),
            references=_images(self.reference) if images else {},
            asked=tuple(self.checks),
            training=_images(self.training),
            held_out=_images(self.held_out),
            files=_files(subject),
            generated=images,
            table=_table(self.table),
        )
        findings = tuple(_findings(asked, study, made, progress))
        settings = {"checks": list(asked), "model": self.model}
        found = Audited(_named(subject), made, study, findings, _hashes(made, study), settings)
        held = terms or ENVIRONMENT
        every = _all_findings(found)
        found = replace(found, decision=decided(every, task_of(made), held))
        if out is not None:
            head = write(found, Path(out), document(found))
            note_audit(head, found.inputs.values(), every, found.decision, held)
        return found


def _all_findings(found: Audited) -> tuple[Finding, ...]:
    """Return the findings of an audit, and those of the task that it did not ask for anew."""
    asked = {finding.check for finding in found.findings}
    made = (one for one in findings_of(found.subject) if one.check not in asked)
    return (*found.findings, *made)


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
        elif name in study.asked:
            yield Finding(name.replace("_", "-"), "not_run", NOT_FOR_IT)
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
    return known(Study.of(against), **made_again(made))


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


def _image(found: str | Path | Image | None) -> Image | None:
    return found if found is None or isinstance(found, Image) else read_image(found)


def _for_model(made: Result, model: str) -> Result:
    """Return the subject with the card of the model that it is to be the input of."""
    from veridical.models.weights import card

    return replace(made, facts={**made.facts, "card": card(model)}) if model else made


def _files(subject: str | Path | Result | Image) -> tuple[Path, ...]:
    """Return the files of a subject: all below a folder, or a file and its sidecars."""
    if isinstance(subject, Result | Image):
        return ()
    place = Path(subject)
    if place.is_dir():
        return tuple(sorted(file for file in place.rglob("*") if file.is_file()))
    stem = place.name.split(".")[0]
    return tuple(sorted(file for file in place.parent.glob(f"{stem}.*") if file.is_file()))


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
        found["memory:reference"] = provenance.digest(study.reference.data)
    several = {
        "set": study.generated,
        "training": study.training,
        "held-out": study.held_out,
        "references": study.references,
    }
    for role, images in several.items():
        found |= {f"memory:{role}/{name}": _hash(images, name) for name in images}
    return found


def _hash(images: Mapping[str, Image], name: str) -> str:
    """Return the hash of an image's file, or of its voxels where it is in memory."""
    if isinstance(images, Loaded):
        return images.found[name].sha256()
    return provenance.digest(images[name].data)


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
        **({} if found.decision is None else {"policy": found.decision.record()}),
    }
