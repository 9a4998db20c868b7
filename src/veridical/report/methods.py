"""The methods paragraph of an evaluation, from what was really done, with numbered references;
ready to paste.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from veridical import registry
from veridical.evaluation.protocol import LEVELS
from veridical.evaluation.results import Endpoint, Evaluation
from veridical.evaluation.verdicts import ALPHA
from veridical.metrics.scores import facts
from veridical.report import rows
from veridical.report.firstpage import NAMES, refused
from veridical.report.words import capital, listed

EFRON = "Efron B. Better bootstrap confidence intervals. J Am Stat Assoc 1987;82:171-185."
HESTERBERG = (
    "Hesterberg TC. What teachers should know about the bootstrap: resampling in the undergraduate "
    "statistics curriculum. "
    "Am Stat 2015;69:371-386."
)
HOLM = "Holm S. A simple sequentially rejective multiple test procedure. Scand J Stat 1979;6:65-70."
BENJAMINI = (
    "Benjamini Y, Hochberg Y. Controlling the false discovery rate: a practical and powerful "
    "approach to multiple testing. "
    "J R Stat Soc B 1995;57:289-300."
)


@dataclass(frozen=True)
class Methods:
    """Paragraphs with reference numbers in brackets, and the references in their order."""

    paragraphs: tuple[str, ...]
    references: tuple[str, ...]


@dataclass
class References:
    """Numbers sources in the order in which they are first cited."""

    listed: list[str] = field(default_factory=list)

    def cite(self, source: str) -> str:
        """Return ` [n]`, or nothing for no source."""
        if not source:
            return ""
        if source not in self.listed:
            self.listed.append(source)
        return f" [{self.listed.index(source) + 1}]"


def methods(evaluation: Evaluation) -> Methods:
    """Return the methods of an evaluation that was not refused; of a refused one the integrity
    checks only.
    """
    references = References()
    parts = [_data(evaluation)]
    if not refused(evaluation):
        parts += [
            _regions(evaluation),
            _metrics(evaluation, references),
            _scales(evaluation),
            _statistics(evaluation, references),
            _decisions(evaluation, references),
            _rest(evaluation),
        ]
    return Methods(tuple(part for part in parts if part), tuple(references.listed))


def source(metric: str) -> str:
    """Return what a metric cites; nothing for a user's own task, which is no metric of the
    registry.
    """
    return facts(metric).cites if metric in registry.entries("metric") else ""


def extractors(evaluation: Evaluation) -> dict[str, tuple[str, str]]:
    """Return the feature extractors that were used: name -> label and source."""
    found = {}
    for name in sorted(
        {e.region for e in evaluation.endpoints if e.level == "feature"}
        & set(registry.entries("extractor"))
    ):
        about = getattr(sys.modules[registry.get("extractor", name).__module__], "ABOUT", None)
        found[name] = (about.label, about.cites) if about is not None else (name, "")
    return found


def _data(evaluation: Evaluation) -> str:
    about = evaluation.about
    total, done = rows.patients(evaluation)
    patients = total or about.get("patients", 0)
    said = [
        f"Generated images were compared with real ones ({evaluation.title}): {patients} patients, "
        f"{about.get('cases', len(evaluation.cases))} cases"
    ]
    if about.get("paired") is not None:
        said[0] += ", paired by name" if about["paired"] else ", unpaired"
    said[0] += "."
    checks = listed(finding.check for finding in evaluation.integrity)
    if checks:
        ending = (
            "At least one failed, so nothing was scored"
            if refused(evaluation)
            else "None failed as a whole"
        )
        said.append(f"Before any score the data were checked for {checks}. {ending}.")
    failed = sum(bool(row.failed) for row in evaluation.cases)
    if evaluation.cases:
        said.append(
            f"{failed or 'No'} case{'' if failed == 1 else 's'} failed ({done} of {total} patients "
            "have an analysed case); a "
            "failed case counts as the worst value of a metric and is not left out of its mean."
        )
    if about.get("dropped"):
        said.append(f"Left out, as listed: {len(about['dropped'])}.")
    return " ".join(said)


def _regions(evaluation: Evaluation) -> str:
    about, protocol = evaluation.about, evaluation.protocol
    if "mask" in about.get("roles", ()):
        said = ["Voxels inside the masks given count as foreground."]
    else:
        said = [
            "Voxels of the reference above a tenth of the way from its 1st to its 99th percentile "
            "count as foreground, the "
            "same for candidate and reference."
        ]
    data_range = about.get("data_range") or protocol.get("data_range")
    if data_range:
        found = "found as the mean over reference images of their 0.5th to 99.5th percentile"
        how = (
            f"as the protocol says or, where it leaves it open, {found}"
            if "protocol" in evaluation.settings
            else found
        )
        said.append(
            f"One data range of {float(data_range):g}, {how}, holds for all cases; it never comes "
            "from a candidate."
        )
    window = about.get("window") or protocol.get("window")
    if window and window[1] > window[0] and any(e.level == "feature" for e in evaluation.endpoints):
        said.append(f"Feature extractors saw intensities from {window[0]:g} to {window[1]:g}.")
    return " ".join(said)


def _metrics(evaluation: Evaluation, references: References) -> str:
    said = []
    for level in LEVELS:
        ours = [e for e in evaluation.endpoints if e.level == level and e.value is not None]
        if not ours:
            continue
        where = list(dict.fromkeys(e.region for e in ours))
        if level == "feature":
            where = [
                f"{label}{references.cite(cites)}"
                for label, cites in extractors(evaluation).values()
            ] or where
        names = {e.metric: e.label for e in ours}
        cited = listed(
            f"{label}{references.cite(source(metric))}" for metric, label in names.items()
        )
        said.append(
            f"{capital(NAMES[level])} ({'on' if level == 'feature' else 'in'} {listed(where)}): "
            f"{cited}."
        )
    return " ".join(said)


def _scales(evaluation: Evaluation) -> str:
    scored = [e for e in evaluation.endpoints if e.score is not None]
    if not scored:
        return ""
    floors, bads = (_by_level(scored, name) for name in ("floor_is", "bad_is"))
    said = (
        "Each value m is also given as (b - m) / (b - r), 0 for a simple baseline b and 1 for real "
        "against real r."
    )
    if bads:
        said += f" Baseline: {bads}."
    if floors:
        said += f" Real against real: {floors}."
    return said


def _by_level(scored: Sequence[Endpoint], name: str) -> str:
    found: dict[str, list[str]] = {}
    for e in scored:
        what = getattr(e, name)
        if what and what not in found.setdefault(e.level, []):
            found[e.level].append(what)
    return "; ".join(f"{listed(what)} ({level} level)" for level, what in found.items() if what)


def _statistics(evaluation: Evaluation, references: References) -> str:
    protocol, strata = evaluation.protocol, evaluation.about.get("strata")
    if not any(e.interval is not None for e in evaluation.endpoints):
        return ""
    within = f" within each {strata}" if strata else ""
    said = (
        "Intervals are of 95 %, by the bias-corrected and accelerated "
        f"bootstrap{references.cite(EFRON)} over patients, "
        f"widened for few of them{references.cite(HESTERBERG)}, drawn with replacement{within} "
        f"({protocol.get('resamples', 'unknown')} resamples, seed "
        f"{protocol.get('seed', 'unknown')})."
    )
    feature = [e for e in evaluation.endpoints if e.level == "feature"]
    if any(e.interval is not None for e in feature):
        said += (
            " Metrics between sets depend on the sizes of the sets, so their intervals come from a "
            "jackknife or "
            "half-samples of patients, and "
            "their scores compare the candidates of one half of the patients with the real images "
            "of the other half."
        )
    if any(e.p is not None for e in feature):
        said += (
            f" P-values of two-sample tests come from {protocol.get('permutations', 'unknown')} "
            "permutations of patients."
        )
    return said


def _decisions(evaluation: Evaluation, references: References) -> str:
    primary = [e for e in evaluation.endpoints if e.primary]
    if not primary:
        return (
            "No endpoint was declared as primary, so nothing was decided; all numbers are "
            "exploratory."
        )
    limits = listed(f"{rows.named(e)} ({rows.row(e).limit})" for e in primary)
    said = (
        "Primary endpoints, declared in the protocol "
        f"'{evaluation.protocol.get('name', 'unnamed')}': {limits}. An endpoint "
        f"passes if it is better than its limit at a one-sided level of {ALPHA:g} after Holm's "
        "correction"
        f"{references.cite(HOLM)} over the primary endpoints, fails if it is worse than it at the "
        "same level, and is "
        "inconclusive otherwise; a level is its worst primary endpoint."
    )
    if any(not e.primary and e.p_adjusted is not None for e in evaluation.endpoints):
        said += (
            " Exploratory p-values are adjusted for the false discovery "
            f"rate{references.cite(BENJAMINI)}."
        )
    return said


def _rest(evaluation: Evaluation) -> str:
    said = []
    columns = sorted({forest.column for forest in rows.forests(evaluation)})
    if columns:
        said.append(
            f"Endpoints are also given by {listed(columns)}; these comparisons are exploratory."
        )
    audits = listed(dict.fromkeys(f.check for f in evaluation.findings if f.verdict != "not_run"))
    if audits:
        said.append(f"Audits: {audits}.")
    version = evaluation.versions.get("veridical")
    if version:
        said.append(f"All was computed by Veridical {version}.")
    return " ".join(said)
