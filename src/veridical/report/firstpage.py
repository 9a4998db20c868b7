"""The first screen of an evaluation's report in plain words: what was judged, what it says, and
what it does not say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from veridical.evaluation.results import DECIDING, Endpoint, Evaluation, Judgement, LevelVerdict
from veridical.report import rows
from veridical.report.words import capital, listed
from veridical.types import SEVERITY, Level, Verdict

if TYPE_CHECKING:
    from markupsafe import Markup

NAMES: dict[Level, str] = {
    "integrity": "integrity",
    "pixel": "pixel fidelity",
    "feature": "feature realism",
    "task": "task relevance",
    "trust": "trust",
}
QUESTIONS: dict[Level, str] = {
    "pixel": "Does every pixel show what the real image shows?",
    "feature": "Taken together, do the images look like real ones?",
    "task": "Are the answers read off them the same?",
    "trust": "Do the images know where they may be wrong?",
}


@dataclass(frozen=True)
class Tile:
    """One level on the first screen.

    Args:
        level, name, question: which one, and what it asks.
        verdict: of the level.
        result, scale: the number that decided and what it is, in words; empty where none did.
        sentence: why, in plain words.
        decided: the endpoint that decided, in words; empty where none did.
        strip: that endpoint on its scale, or None.
    """

    level: Level
    name: str
    question: str
    verdict: Judgement
    sentence: str
    result: str = ""
    scale: str = ""
    decided: str = ""
    strip: Markup | None = None


@dataclass(frozen=True)
class Opening:
    """The headline: the worst verdict, a title, and what was judged on how many."""

    verdict: Judgement
    title: str
    judged: str


def opening(evaluation: Evaluation) -> Opening:
    """Return the headline over the levels: fail before inconclusive before pass; what was not run
    is said and is no pass.
    """
    named = {
        v: [NAMES[one.level] for one in evaluation.levels if one.verdict == v]
        for v in (*reversed(DECIDING), "not_run")
    }
    failed, open_, passed, absent = (listed(each) for each in named.values())
    if refused(evaluation):
        return Opening("not_run", "No score was given.", judged(evaluation))
    if failed:
        also = f" Not decided: {open_}." if open_ else ""
        return Opening("fail", f"Falls short in {failed}.{also}", judged(evaluation))
    if open_:
        passes = (
            f" {capital(passed)} {'passes' if len(named['pass']) == 1 else 'pass'}."
            if passed
            else ""
        )
        return Opening("inconclusive", f"Not decided in {open_}.{passes}", judged(evaluation))
    if not passed:
        return Opening("not_run", "Nothing was decided.", judged(evaluation))
    return Opening(
        "pass",
        f"Good enough in {passed}{f'; {absent} not judged' if absent else ''}.",
        judged(evaluation),
    )


def refused(evaluation: Evaluation) -> bool:
    """Say whether the integrity gate stopped the evaluation."""
    return any(finding.verdict == "fail" for finding in evaluation.integrity)


def judged(evaluation: Evaluation) -> str:
    """Return what was judged against what, on how many patients and cases."""
    about = evaluation.about
    if not evaluation.cases:
        patients, cases = (
            _count(about.get("patients", 0), "patient"),
            _count(about.get("cases", 0), "case"),
        )
        return f"To be judged: {evaluation.title}; {patients}, {cases}, none analysed."
    total, done = rows.patients(evaluation)
    failed = [row for row in evaluation.cases if row.failed]
    every = len(evaluation.cases)
    counted = f" ({every - len(failed)} of {every} cases)" if every != total else ""
    said = f"Judged: {evaluation.title}, on {done} of {total} patients{counted}."
    if failed:
        count = "counts" if len(failed) == 1 else "count"
        said += (
            f" {_count(len(failed), 'case')} could not be analysed and {count} as the worst value."
        )
    paired = about.get("paired")
    if paired is not None:
        said += (
            " Both sides show the same patients."
            if paired
            else " The two sides show different patients."
        )
    return said


def gate(evaluation: Evaluation) -> tuple[Verdict, str]:
    """Return the verdict of the integrity gate and one line about it."""
    found = evaluation.integrity
    if not found:
        return "not_run", "No integrity check was recorded."
    said = {v: [f for f in found if f.verdict == v] for v in SEVERITY}
    if said["fail"]:
        return "fail", f"{len(said['fail'])} of {_count(len(found), 'check')} failed."
    line = f"The data can be compared: {len(said['pass'])} of {_count(len(found), 'check')} passed"
    if said["not_run"]:
        line += f", not run: {listed(f.check for f in said['not_run'])}"
    if said["warn"]:
        warned = "; ".join(f"{f.check}: {f.reason.rstrip('.')}" for f in said["warn"])
        return "warn", f"{line}. To bear in mind: {warned}."
    return "pass", f"{line}."


def tiles(evaluation: Evaluation) -> tuple[Tile, ...]:
    """Return one tile a level."""
    return tuple(_tile(evaluation, one) for one in evaluation.levels)


def deciding(evaluation: Evaluation, one: LevelVerdict) -> Endpoint | None:
    """Return the primary endpoint that decided a level: of those with its verdict the one with the
    lowest score.
    """
    ours = [
        e
        for e in evaluation.endpoints
        if e.primary and e.level == one.level and e.verdict == one.verdict
    ]
    ours = [e for e in ours if e.value is not None and e.verdict in DECIDING]
    return min(ours, key=lambda e: 0.0 if e.score is None else e.score, default=None)


def uncovered(evaluation: Evaluation) -> tuple[str, ...]:
    """Return what this evaluation does not say."""
    about, said = evaluation.about, []
    roles = set(about.get("roles", ()))
    for one in evaluation.levels:
        if one.verdict == "not_run":
            said.append(f"{capital(NAMES[one.level])}: {one.reason}")
    for e in evaluation.endpoints:
        if e.primary and e.verdict == "not_run":
            said.append(
                f"{rows.named(e)} was declared and could not be judged: "
                f"{e.note or 'no reason was given'}"
            )
    floors = {
        e.floor_is
        for e in evaluation.endpoints
        if e.primary and e.level in ("pixel", "task") and e.floor_is
    }
    if floors and not roles & {"retest"}:
        said.append(
            "How much two real scans of one patient differ: no second scan was given; real was "
            "taken as "
            f"{listed(sorted(floors))}."
        )
    if not evaluation.subgroups:
        said.append(
            "Fairness: no subgroups were compared. Give --table with columns such as site, sex, "
            "age."
        )
    if not about.get("training"):
        said.append(
            "Copies of training images and leakage between training and test: no training set was "
            "given."
        )
    said += [
        f"{capital(f.check)}: {f.reason}" for f in evaluation.findings if f.verdict == "not_run"
    ]
    if _one_site(evaluation):
        said.append("Other sites and scanners: the cases are not known to come from more than one.")
    said.append(
        "Clinical use: no reader looked at the images here, and the limits are those of the "
        "protocol, not clinical thresholds."
    )
    return tuple(text if text.endswith((".", "!", "?")) else f"{text}." for text in said)


def result(e: Endpoint) -> tuple[str, str]:
    """Return the number of a primary endpoint and, in plain words, what it is, what is likely and
    what was asked for.
    """
    if e.limit is None:
        return rows.number(e.value, e.units, e.interval), e.label
    if e.limit_of == "score":
        if e.score is None:
            return rows.number(e.value, e.units, e.interval), e.note
        likely = (
            ""
            if e.score_interval is None
            else f"likely {_percent(e.score_interval[0])} to {_percent(e.score_interval[1])}; "
        )
        return (
            _percent(e.score),
            f"of the way from a simple baseline to real images; {likely}asked for: "
            f"{_percent(e.limit)}",
        )
    likely = f"likely {rows.between(e.interval)}; " if e.interval else ""
    way = (
        f"{e.ideal:g} ± {e.limit:g}"
        if e.ideal is not None
        else f"at {'most' if e.better == 'lower' else 'least'} {rows.number(e.limit, e.units)}"
    )
    return rows.number(e.value, e.units, e.interval), f"{e.label}; {likely}asked for: {way}"


def _tile(evaluation: Evaluation, one: LevelVerdict) -> Tile:
    e = deciding(evaluation, one)
    name, question = capital(NAMES[one.level]), QUESTIONS.get(one.level, "")
    if e is None or e.value is None:
        return Tile(one.level, name, question, one.verdict, one.reason)
    count = sum(other.primary and other.level == one.level for other in evaluation.endpoints)
    decided = (
        f"Decided by {rows.named(e)}{f', the weakest of {count}' if count > 1 else ''}, "
        f"{e.analysed} of {e.total} cases."
    )
    number, scale = result(e)
    return Tile(
        one.level,
        name,
        question,
        one.verdict,
        _consequence(e),
        number,
        scale,
        decided,
        rows.strip(e, "large"),
    )


def _consequence(e: Endpoint) -> str:
    """Return what the verdict of a primary endpoint rests on."""
    good = rows.ruler(e).good
    interval = e.score_interval if e.limit_of == "score" else e.interval
    if e.verdict == "pass":
        return "Enough: even the unfavourable end of what is likely meets what was asked for."
    if e.verdict == "fail":
        return "Not enough: even the favourable end of what is likely misses what was asked for."
    if (
        interval is not None
        and good is not None
        and good[0] <= interval[0]
        and interval[1] <= good[1]
    ):
        return "Enough by itself, but not after the correction for the number of endpoints."
    if interval is None:
        return f"It cannot be told: {e.note}"
    return (
        "It cannot be told: what is likely reaches to both sides of what was asked for. More "
        "patients would narrow it."
    )


def _one_site(evaluation: Evaluation) -> bool:
    return all(
        len({row.groups[c] for row in evaluation.cases if c in row.groups}) < 2
        for c in ("site", "scanner", "center", "centre")
    )


def _percent(share: float) -> str:
    return f"{round(100 * share):d} %"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
