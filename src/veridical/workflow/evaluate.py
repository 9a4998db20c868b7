"""Judge a generator: two folders in, one report with verdicts out.

`Evaluate` holds the settings, which are also the flags of `veridical evaluate`; `evaluate` is the
same in one call, for files, arrays and tensors. Cases are streamed, several at a time, and kept on
disk until the report stands, so that an evaluation that was interrupted goes on where it was.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from veridical import registry
from veridical.errors import SettingError, nearest
from veridical.evaluation import protocol as protocols
from veridical.evaluation.protocol import LEVELS, Protocol
from veridical.task import Progress, explained, silent

if (
    TYPE_CHECKING
):  # what measures loads torch; the settings, and with them the help, need none of it
    from veridical.evaluation.cases import Cases
    from veridical.evaluation.measure import Probe
    from veridical.evaluation.results import Evaluation
    from veridical.evaluation.segmenter import Segmenter
    from veridical.evaluation.sources import Source
    from veridical.evaluation.stream import Schedule

RESUME = ".resume"
"""Folder for measured cases inside the report's; gone when the report stands."""
ROLES = {
    "masks": "mask",
    "labels": "labels",
    "candidate_labels": "candidate_labels",
    "draws": "draws",
    "lower": "lower",
    "upper": "upper",
    "retest": "retest",
    "baseline": "baseline",
    "dose": "dose",
    "candidate_dose": "candidate_dose",
}
"""Setting -> role of a case."""
Reader = Literal["auto", "no"]


TRAINED: dict[str, Segmenter] = {}
"""Segmenters of this process by what they were trained on, so that several candidates are tried by
one and the same.
"""


@explained
@dataclass(frozen=True)
class Evaluate:
    """Judge generated images against real ones: pixel fidelity, feature realism, task relevance,
    trust.

    Paths are folders or files of NIfTI, DICOM or arrays, or BIDS trees; in Python also arrays,
    tensors and images.
    """

    masks: Path | None = None
    """Where it counts, one mask a case. Without: the voxels of the reference above a tenth of the
    way from its 1st to its 99th percentile.
    """
    labels: Path | None = None
    """Label maps or lesion masks of the reference cases: regions for all metrics, and the truth of
    the task level.
    """
    candidate_labels: Path | None = None
    """The same structures as found in the candidate images."""
    draws: Path | None = None
    """Several draws a case, as a folder a case, as files CASE_draw-N or as the fourth axis."""
    lower: Path | None = None
    """Lower ends of the candidate's intervals."""
    upper: Path | None = None
    """Upper ends of the candidate's intervals."""
    retest: Path | None = None
    """A second real image of the same cases: the floor of pixel and task level. Without: a perfect
    match.
    """
    baseline: Path | None = None
    """A simple method's images of the same cases. Without: one number everywhere (pixels), a
    blurred reference (features).
    """
    dose: Path | None = None
    """Doses in Gy on the reference images, for gamma and dose-volume points."""
    candidate_dose: Path | None = None
    """Doses in Gy on the candidate images."""
    training: Path | None = None
    """The real images that the generator was trained on: checked for leakage, and what the
    segmenter is trained on.
    """
    training_labels: Path | None = None
    """Their label maps: a small segmenter is then trained and tried on candidate and reference
    images (needs labels).
    """
    second: Path | None = None
    """Another set of real images, e.g. of another site: the floor of feature level. Without: halves
    of the reference set.
    """
    table: Path | None = None
    """CSV with a column case or patient; other columns (site, scanner, sex, age, class) are
    subgroups.
    """
    strata: str = "site"
    """Column within whose groups patients are resampled, where the table has it."""
    protocol: Path | None = None
    """Protocol file: primary endpoints, limits, rules. Write one with veridical protocol. Without:
    the convention.
    """
    paired: Literal["auto", "yes", "no"] = "auto"
    """Whether candidate and reference show the same cases. auto: when at least half of the names
    match.
    """
    levels: tuple[str, ...] = ()
    """Levels to judge: pixel, feature, task, trust; all when none is given."""
    extractors: tuple[str, ...] = ()
    """Feature extractors; all that the registry knows when none is given."""
    structures: tuple[str, ...] = ()
    """Names of labels, for instance 1=lesion."""
    tasks: tuple[str, ...] = ()
    """Your own tasks, as module:function; each takes an Image and returns a number or a label map
    (x, y, z).
    """
    axes: str | None = None
    """Axes of bare arrays in their order, for instance x,y,z, or case,x,y for a stack."""
    units: str | None = None
    """Units of the images where the files do not say them: HU, SUV, a.u."""
    contrast: str | None = None
    """Contrast of the images where the files do not say it: T1w, FLAIR, CT."""
    classes: str = "class"
    """Column of the table with a yes/no class of every case: a classifier is then trained on the
    candidates and tried on real images, beside one trained on as many real ones.
    """
    reader: Reader = "auto"
    """auto: where pairs show heads and no label maps are given, the shipped segmenter of heads
    labels made and real images, and its structures are compared; some seconds a case. no: it does
    not.
    """
    segmenter_steps: int = 1500
    """Training steps of the segmenter, about 12 a second on two processor cores."""
    workers: int = 0
    """Cases measured at a time. 0: one a processor, at most 4."""

    def __post_init__(self) -> None:
        for level in self.levels:
            if level not in LEVELS:
                raise SettingError(f"There is no level {level!r}. {nearest(level, LEVELS)}")
        for name in self.extractors:
            if name not in registry.entries("extractor"):
                raise SettingError(
                    f"No feature extractor is called {name!r}. "
                    f"{nearest(name, registry.entries('extractor'))}"
                )
        if (self.lower is None) != (self.upper is None):
            raise SettingError("An interval has two ends: give lower and upper.")
        if self.training_labels is not None and (self.training is None or self.labels is None):
            raise SettingError(
                "training_labels needs training (what to train on) and labels (what to test "
                "against)."
            )
        if self.reader not in get_args(Reader):
            raise SettingError(f"reader = {self.reader!r}; expected auto or no.")
        if self.candidate_dose is not None and self.dose is None:
            raise SettingError("candidate_dose needs dose, the doses on the reference images.")

    def __call__(
        self,
        candidate: Any,
        reference: Any,
        out: str | Path | None = None,
        progress: Progress = silent,
    ) -> Evaluation:
        """Evaluate, and write the report where a folder is given.

        Args:
            candidate: the generated images.
            reference: the real ones.
            out: folder for report.html and report.json; nothing is written when None.
            progress: called as work goes on.

        Raises: InputError: nothing to compare, or settings that do not fit the data. What is wrong
            with the images themselves does not raise: it fails the integrity gate, and the result
            says so.
        """
        from veridical.evaluation.conclude import Known, conclude, refuse
        from veridical.evaluation.integrity import check
        from veridical.evaluation.measure import Rules
        from veridical.evaluation.stream import Schedule, embed_all, measure_all, with_range
        from veridical.provenance import versions

        target = None if out is None else Path(out)
        running = Schedule(None if target is None else target / RESUME, self._workers(), progress)
        protocol = Protocol() if self.protocol is None else protocols.load(self.protocol)
        given = self._cases(candidate, reference)
        gate = check(given, progress=progress)
        cases, failed = gate.cases, gate.failed
        known = Known(
            title=f"{_called(candidate, 'candidate')} against {_called(reference, 'reference')}",
            settings=self._settings(candidate, reference, target),
            inputs=_hashes(given, target),
            integrity=gate.findings,
            versions=versions(),
            strata=self.strata,
            classes=self.classes,
            levels=self.levels or LEVELS,
        )
        if any(finding.verdict == "fail" for finding in gate.findings):
            judged = refuse(known, given, protocol)
        else:
            protocol, units = with_range(protocol, cases, failed)
            probes, trained = self._probes(cases, protocol, running)
            rules = Rules(protocol, self._extractors(), _structures(self.structures), probes, units)
            running = dataclasses.replace(running, extra=trained)
            measured = measure_all(cases, rules, failed, running)
            further = {
                name: embed_all(found, rules, running, f"reading the {name} set")
                for name, found in _further(cases)
            }
            judged = conclude(known, cases, rules, measured, further)
        if target is not None:
            from veridical.report.evaluation_report import write

            write(judged, cases, target)
            shutil.rmtree(target / RESUME, ignore_errors=True)
        return judged

    def _cases(self, candidate: Any, reference: Any) -> Cases:
        from veridical.evaluation.cases import collect

        options = {"axes": self.axes, "units": self.units, "contrast": self.contrast}
        return collect(
            candidate,
            reference,
            paired={"auto": None, "yes": True, "no": False}[self.paired],
            roles={
                role: getattr(self, name)
                for name, role in ROLES.items()
                if getattr(self, name) is not None
            },
            training=self.training,
            second=self.second,
            table=self.table,
            options={key: value for key, value in options.items() if value is not None},
        )

    def _probes(
        self, cases: Cases, protocol: Protocol, running: Schedule
    ) -> tuple[dict[str, Probe], str]:
        """Return the user's tasks, and with its hash what reads structures: the segmenter trained
        on the training set where it has labels, or the reader of heads where nobody drew any.
        """
        from veridical.evaluation import head_reader, segmenter
        from veridical.evaluation.sources import find

        probes = {spec.partition(":")[2]: _function(spec) for spec in self.tasks}
        if "task" not in (self.levels or LEVELS):
            return probes, ""
        if self.training_labels is None:
            fixed = cases.paired and self.labels is None and self.reader == "auto"
            reader = head_reader.reader_of(cases.cases) if fixed else None
            if reader is None:
                return probes, ""
            return {**probes, head_reader.NAME: reader}, reader.sha256()
        labels = find(
            self.training_labels, {"units": "label"} | ({"axes": self.axes} if self.axes else {})
        )
        identity = segmenter.identity(cases.training, labels, self.segmenter_steps, protocol.seed)
        kept = None if running.folder is None else running.folder / f"{identity[:16]}.safetensors"
        if identity not in TRAINED:
            if kept is not None and kept.exists():
                TRAINED[identity] = segmenter.load(kept)
            else:
                found = segmenter.train(
                    cases.training, labels, self.segmenter_steps, protocol.seed, running.progress
                )
                TRAINED[identity] = found
        trained = TRAINED[identity]
        if kept is not None and not kept.exists():
            segmenter.save(trained, kept)
        return {**probes, "segmenter": trained}, trained.sha256()

    def _extractors(self) -> tuple[str, ...]:
        if self.levels and "feature" not in self.levels:
            return ()
        return self.extractors or tuple(registry.entries("extractor"))

    def _workers(self) -> int:
        return self.workers or min(4, os.cpu_count() or 1)

    def _settings(self, candidate: Any, reference: Any, out: Path | None) -> dict[str, Any]:
        """Return what was set away from its default, with paths as seen from the report."""
        given = {"candidate": candidate, "reference": reference}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if (
                field.name != "workers"
                and value is not field.default
                and not (isinstance(value, tuple) and not value)
            ):
                given[field.name] = value
        return {name: _plain(value, out) for name, value in given.items()}


def evaluate(
    candidate: Any,
    reference: Any,
    out: str | Path | None = None,
    progress: Progress = silent,
    **settings: Any,
) -> Evaluation:
    """Judge generated images against real ones; see `Evaluate` for the settings.

    Args: candidate, reference: folders or files; or in memory an array or tensor `(case, x, y)`,
        `(case, channel, x, y)` or `(case, channel, x, y, z)`, a list of images, or case -> image.
        In a training loop, `levels=("pixel",)` is fastest. out: folder for the report; nothing is
        written when None. progress: called as work goes on. settings: fields of `Evaluate`; in
        memory as candidate and reference are.

    Raises:
        SettingError: an unknown setting, with the nearest known one.
        InputError: as `Evaluate` says.
    """
    known = {field.name for field in dataclasses.fields(Evaluate)}
    for name in settings:
        if name not in known:
            raise SettingError(f"evaluate has no setting {name!r}. {nearest(name, known)}")
    return Evaluate(**settings)(candidate, reference, out, progress)


def _further(cases: Cases) -> list[tuple[str, Mapping[str, Source]]]:
    return [
        (name, found)
        for name, found in (("second", cases.second), ("training", cases.training))
        if found
    ]


def _hashes(cases: Cases, out: Path | None) -> dict[str, str]:
    """Return every input file, as seen from the report, with its SHA-256; what is in memory under
    its name.
    """
    from veridical.evaluation.sources import Source

    found: dict[str, str] = {}

    def add(side: str, source: Source | tuple[Source, ...] | None) -> None:
        for one in source if isinstance(source, tuple) else (source,):
            if one is not None:
                if one.path is None:
                    found[f"memory:{side}/{one.name}"] = one.sha256()
                elif (place := _plain(one.path, out)) not in found:
                    found[place] = Source(one.name, one.path).sha256()

    for case in cases.cases:
        for side, source in {
            "candidate": case.candidate,
            "reference": case.reference,
            **case.roles,
        }.items():
            add(side, source)
    for name, sources in _further(cases):
        for source in sources.values():
            add(name, source)
    return dict(sorted(found.items()))


def _plain(value: Any, out: Path | None) -> Any:
    if isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Path):
        return str(value) if out is None else os.path.relpath(value, out).replace(os.sep, "/")
    if isinstance(value, tuple):
        return [_plain(item, out) for item in value]
    return "in memory"


def _called(what: Any, otherwise: str) -> str:
    return Path(what).name or str(what) if isinstance(what, str | Path) else otherwise


def _structures(given: tuple[str, ...]) -> dict[int, str]:
    """Read `1=lesion`."""
    found = {}
    for entry in given:
        label, _, name = entry.partition("=")
        if not label.isdigit() or not name:
            raise SettingError(
                f"{entry!r} names no structure; expected LABEL=NAME, for instance 1=lesion."
            )
        found[int(label)] = name
    return found


def _function(spec: str) -> Probe:
    """Import a user's task, `module:function`."""
    module, _, name = spec.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingError(
            f"The task {spec!r} cannot be imported ({error}). Expected module:function, the module "
            "on the Python path."
        ) from error
    if not callable(found):
        raise SettingError(
            f"The task {spec!r} is a {type(found).__name__}; expected a function of an Image."
        )
    probe: Probe = found
    return probe
