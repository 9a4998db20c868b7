"""Judge a generator: two folders in, one report with verdicts out.

`Evaluate` holds the settings, which are also the flags of `veridical evaluate`; `evaluate` is the same in one call, for
files, arrays and tensors. Cases are streamed, several at a time, and kept on disk until the report stands, so that an
evaluation that was interrupted goes on where it was.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from veridical import registry
from veridical.errors import InputError, SettingError, VeridicalError, nearest
from veridical.evaluation import protocol as protocols
from veridical.evaluation import store
from veridical.evaluation.cases import Case, Cases, collect
from veridical.evaluation.conclude import conclude
from veridical.evaluation.integrity import check
from veridical.evaluation.measure import Measured, Probe, Rules, embed, measure
from veridical.evaluation.protocol import LEVELS, Protocol
from veridical.evaluation.results import CaseRow, Evaluation
from veridical.evaluation.sources import Source
from veridical.task import Progress, silent
from veridical.types import Array

RANGE_CASES = 16
"""Reference images, evenly spread over the cases, from which the range of the signal is found."""
RESUME = ".resume"
ROLES = ("masks", "labels", "candidate_labels", "draws", "lower", "upper", "retest", "baseline", "dose", "candidate_dose")


@dataclass(frozen=True)
class Evaluate:
    """Judge generated images against real ones: pixel fidelity, feature realism, task relevance, trust.

    Paths are folders or files of NIfTI, DICOM or arrays, or BIDS trees; in Python also arrays, tensors and images.
    """

    masks: Any = None
    """Where it counts, one mask a case. Without: the voxels of the reference above a tenth of the way from its 1st to its 99th
    percentile."""
    labels: Any = None
    """Label maps or lesion masks of the reference cases: regions for all metrics, and the truth of the task level."""
    candidate_labels: Any = None
    """The same structures as found in the candidate images."""
    draws: Any = None
    """Several draws a case, as a folder a case, as files CASE_draw-N or as the fourth axis."""
    lower: Any = None
    """Lower ends of the candidate's intervals."""
    upper: Any = None
    """Upper ends of the candidate's intervals."""
    retest: Any = None
    """A second real image of the same cases: the floor of pixel and task level. Without: a perfect match."""
    baseline: Any = None
    """A simple method's images of the same cases. Without: one number everywhere (pixels), a blurred reference (features)."""
    dose: Any = None
    """Doses in Gy on the reference images, for gamma and dose-volume points."""
    candidate_dose: Any = None
    """Doses in Gy on the candidate images."""
    training: Any = None
    """The real images that the generator was trained on: checked for leakage, and what the segmenter is trained on."""
    training_labels: Any = None
    """Their label maps: a small segmenter is then trained and tried on candidate and reference images (needs labels)."""
    second: Any = None
    """Another set of real images, e.g. of another site: the floor of feature level. Without: halves of the reference set."""
    table: Path | None = None
    """CSV with a column case or patient; other columns (site, scanner, sex, age, class) are subgroups."""
    strata: str = "site"
    """Column within whose groups patients are resampled, where the table has it."""
    protocol: Path | None = None
    """Protocol file: primary endpoints, limits, rules. Write one with veridical protocol. Without: the convention."""
    paired: Literal["auto", "yes", "no"] = "auto"
    """Whether candidate and reference show the same cases. auto: when at least half of the names match."""
    levels: tuple[str, ...] = ()
    """Levels to judge: pixel, feature, task, trust; all when none is given."""
    extractors: tuple[str, ...] = ()
    """Feature extractors; all that the registry knows when none is given."""
    structures: tuple[str, ...] = ()
    """Names of labels, for instance 1=lesion."""
    tasks: tuple[str, ...] = ()
    """Your own tasks, as module:function; each takes an Image and returns a number or a label map (x, y, z)."""
    axes: str | None = None
    """Axes of bare arrays in their order, for instance x,y,z, or case,x,y for a stack."""
    units: str | None = None
    """Units of the images where the files do not say them: HU, SUV, a.u."""
    contrast: str | None = None
    """Contrast of the images where the files do not say it: T1w, FLAIR, CT."""
    workers: int = 0
    """Cases measured at a time. 0: one a processor, at most 4."""

    def __post_init__(self) -> None:
        for level in self.levels:
            if level not in LEVELS:
                raise SettingError(f"There is no level {level!r}. {nearest(level, LEVELS)}")
        for name in self.extractors:
            if name not in registry.entries("extractor"):
                raise SettingError(f"No feature extractor is called {name!r}. {nearest(name, registry.entries('extractor'))}")
        if (self.lower is None) != (self.upper is None):
            raise SettingError("An interval has two ends: give lower and upper.")
        if self.training_labels is not None and (self.training is None or self.labels is None):
            raise SettingError("training_labels needs training (what to train on) and labels (what to test against).")
        if self.candidate_dose is not None and self.dose is None:
            raise SettingError("candidate_dose needs dose, the doses on the reference images.")

    def __call__(
        self, candidate: Any, reference: Any, out: str | Path | None = None, progress: Progress = silent
    ) -> Evaluation:
        """Evaluate, and write the report where a folder is given.

        Args:
            candidate: the generated images.
            reference: the real ones.
            out: folder for report.html and report.json; nothing is written when None.
            progress: called as work goes on.

        Raises:
            InputError: nothing to compare, or settings that do not fit the data. What is wrong with the images themselves
                does not raise: it fails the integrity gate, and the result says so.
        """
        from veridical.workflow import judgement

        target = None if out is None else Path(out)
        cases = self._cases(candidate, reference)
        judged, exhibits = self._judge(cases, target, progress)
        if target is not None:
            judgement.write(judged, exhibits, target)
            shutil.rmtree(target / RESUME, ignore_errors=True)
        return judged

    def _cases(self, candidate: Any, reference: Any) -> Cases:
        roles = {ROLES_OF.get(name, name): getattr(self, name) for name in ROLES if getattr(self, name) is not None}
        options = {"axes": self.axes, "units": self.units, "contrast": self.contrast}
        return collect(
            candidate,
            reference,
            paired={"auto": None, "yes": True, "no": False}[self.paired],
            roles=roles,
            training=self.training,
            second=self.second,
            table=self.table,
            options={key: value for key, value in options.items() if value is not None},
        )

    def _judge(self, cases: Cases, out: Path | None, progress: Progress) -> tuple[Evaluation, Sequence[Any]]:
        protocol = Protocol() if self.protocol is None else protocols.load(self.protocol)
        findings, failed = check(cases, progress)
        context = Context(self, cases, findings, failed, out)
        if any(finding.verdict == "fail" for finding in findings):
            return context.refused(protocol), ()
        protocol = with_range(protocol, cases, failed)
        probes = self._probes(cases, protocol, out, progress)
        rules = Rules(protocol, self._extractors(), _structures(self.structures), probes)
        measured = list(measure_all(cases, rules, failed, out, self._workers(), progress))
        return context.concluded(rules, measured, progress)

    def _extractors(self) -> tuple[str, ...]:
        if self.levels and "feature" not in self.levels:
            return ()
        return self.extractors or tuple(registry.entries("extractor"))

    def _workers(self) -> int:
        return self.workers or min(4, os.cpu_count() or 1)
