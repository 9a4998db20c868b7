"""What an evaluation says: endpoints with intervals and verdicts, levels, cases, curves; plain
values that JSON can hold.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from veridical.errors import FormatError
from veridical.types import Finding, Level

Judgement = Literal["pass", "fail", "inconclusive", "exploratory", "not_run"]
DECIDING: tuple[Judgement, ...] = ("pass", "inconclusive", "fail")
"""Verdicts on endpoints and levels that were judged, from the least to the most serious, as
`types.SEVERITY` for findings.
"""


@dataclass(frozen=True)
class Endpoint:
    """One number of an evaluation with all that is needed to defend it.

    Args: key: `level/metric/region`, e.g. `pixel/ssim/foreground`, `feature/kid/efficientnet`,
        `task/dice/lesion`; unique. level: of the three levels, or `trust`. metric: the registry's
        name. label, units, better: as the metric says of itself. region: region, structure,
        extractor or subgroup. value: over all cases; None when it could not be computed (`note`
        says why). interval: 95 % interval by bootstrap over patients, or None. n: patients behind
        it. analysed, total: cases with a value of their own, and all; the rest failed and count as
        the worst value. floor: what real against real scores, or None; `floor_is` says what it was.
        bad: what a simple baseline scores, or None; `bad_is` says what it was. ideal: the perfect
        value where deviation either way is worse; `floor`, `bad` and a limit of `value` are then
        distances from it. None otherwise. score: `(bad - value) / (bad - floor)`: 1 is as good as
        real, 0 as bad as the baseline; None without both. score_interval: of the score, from the
        interval of the value. limit: what the interval must clear, on the scale `limit_of`; None
        for exploratory endpoints. limit_of: `value` or `score`. primary: declared before in the
        protocol. p: one-sided p-value against the limit, or of a test where the metric is one; None
        otherwise. p_adjusted: by Holm over the primary endpoints, by Benjamini-Hochberg over
        exploratory ones. verdict: pass, fail, inconclusive; `exploratory` without a limit;
        `not_run` without a value. note: why it is absent, or what to bear in mind.
    """

    key: str
    level: Level
    metric: str
    label: str
    units: str
    better: Literal["higher", "lower"]
    region: str
    value: float | None
    interval: tuple[float, float] | None = None
    n: int = 0
    analysed: int = 0
    total: int = 0
    floor: float | None = None
    floor_is: str = ""
    bad: float | None = None
    bad_is: str = ""
    ideal: float | None = None
    score: float | None = None
    score_interval: tuple[float, float] | None = None
    limit: float | None = None
    limit_of: Literal["value", "score"] = "score"
    primary: bool = False
    p: float | None = None
    p_adjusted: float | None = None
    verdict: Judgement = "exploratory"
    note: str = ""


@dataclass(frozen=True)
class CaseRow:
    """What one case scored.

    Args: case, patient: names. values: endpoint key -> value of the candidate. baseline, retest:
        the same of the simple baseline and of the second real image, where there is one. failed:
        why the case failed; empty when it did not. groups: subgroup columns, e.g. `{"site": "CS",
        "sex": "F"}`. labelled: structures found in the labels -> volume in ml in the candidate and
        in the reference. notes: endpoint key -> why this metric could not be computed on this case.
    """

    case: str
    patient: str
    values: Mapping[str, float] = field(default_factory=dict)
    baseline: Mapping[str, float] = field(default_factory=dict)
    retest: Mapping[str, float] = field(default_factory=dict)
    failed: str = ""
    groups: Mapping[str, str] = field(default_factory=dict)
    labelled: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Curve:
    """One plot: lines over a common axis, or paired points.

    Args: key: unique, e.g. `pixel/noise-power`. level: where it is shown. kind: `line`, `points`
        (Bland-Altman and the like; `x` is then one list a line as well), `bars` (rank histograms).
        title, x_label, y_label: with units. x: positions, common to all lines; for `points`, those
        of the first line. lines: name -> values, as long as `x`. marks: name -> horizontal line,
        e.g. bias and limits of agreement. said: what it shows, in a sentence.
    """

    key: str
    level: Level
    kind: Literal["line", "points", "bars"]
    title: str
    x_label: str
    y_label: str
    x: tuple[float, ...]
    lines: Mapping[str, tuple[float, ...]]
    marks: Mapping[str, float] = field(default_factory=dict)
    said: str = ""


@dataclass(frozen=True)
class LevelVerdict:
    """The verdict of one level: its worst primary endpoint.

    Args:
        level: which one.
        verdict: pass, fail, inconclusive, or not_run.
        reason: in a sentence, with the endpoint that decided.
    """

    level: Level
    verdict: Judgement
    reason: str


@dataclass(frozen=True)
class Conflict:
    """Two levels that disagree in a telling way, e.g. pixels better and task worse:
    over-smoothing.
    """

    name: str
    reason: str
    endpoints: tuple[str, ...]


@dataclass(frozen=True)
class Evaluation:
    """All that an evaluation found.

    Args: title: in words, what was judged against what. settings: of the call, as plain values,
        paths relative or as given. protocol: the declared endpoints and rules, as in the protocol
        file. inputs: file as given -> SHA-256. integrity: findings of level 0; one that failed
        means that nothing else was computed. levels: pixel, feature, task, trust. endpoints: all
        numbers, primary first. cases: one row a case. curves: plots. conflicts: flags. findings: of
        the audits. subgroups: endpoints by subgroup; `region` is `column=value`. about: what is
        known of the cases, e.g. number of patients, sites, channels, units, data range and how it
        was found. versions: of what computed it.
    """

    title: str
    settings: Mapping[str, Any]
    protocol: Mapping[str, Any]
    inputs: Mapping[str, str]
    integrity: tuple[Finding, ...]
    levels: tuple[LevelVerdict, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    cases: tuple[CaseRow, ...] = ()
    curves: tuple[Curve, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    findings: tuple[Finding, ...] = ()
    subgroups: tuple[Endpoint, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; what is not finite is None."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Evaluation:
        """Return the evaluation of a `report.json`, but for its curves.

        Raises:
            FormatError: it holds entries of another version, or lacks some.
        """
        parts: dict[str, type[Any]] = {
            "integrity": Finding,
            "levels": LevelVerdict,
            "endpoints": Endpoint,
            "cases": CaseRow,
            "conflicts": Conflict,
            "findings": Finding,
            "subgroups": Endpoint,
        }
        try:
            entries: dict[str, Any] = {
                key: tuple(kind(**one) for one in said[key]) for key, kind in parts.items()
            }
            plain = {key: said[key] for key in ("title", "settings", "protocol", "inputs")}
            return cls(**entries, **plain, **{k: said.get(k, {}) for k in ("about", "versions")})
        except (KeyError, TypeError) as error:
            raise FormatError(
                f"This is no report of an evaluation of this version ({error}). Evaluate again."
            ) from error

    def __getitem__(self, key: str) -> Endpoint:
        """Return the endpoint called `level/metric/region`."""
        for endpoint in (*self.endpoints, *self.subgroups):
            if endpoint.key == key:
                return endpoint
        raise KeyError(
            f"No endpoint {key!r}. There are: {', '.join(e.key for e in self.endpoints) or 'none'}."
        )
