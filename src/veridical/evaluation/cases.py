"""Putting the images of an evaluation together: which candidate belongs to which reference, and
what is known of a case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from veridical.errors import InputError, SettingError, nearest
from veridical.evaluation.draws import find_draws
from veridical.evaluation.groups import CaseTable, read_table
from veridical.evaluation.names import base_of, match, patient_of, suffix_of
from veridical.evaluation.sources import NIFTI, Source, find, results

BOTH = frozenset({"mask", "baseline"})
OF_CANDIDATE = frozenset({"candidate_labels", "lower", "upper", "draws", "candidate_dose"})
OF_REFERENCE = frozenset({"labels", "retest", "dose"})
ROLES = BOTH | OF_CANDIDATE | OF_REFERENCE
LABELS = frozenset({"mask", "labels", "candidate_labels"})
DOSES = frozenset({"dose", "candidate_dose"})

Role = Source | tuple[Source, ...]


@dataclass(frozen=True, eq=False)
class Case:
    """One case of an evaluation.

    Args: name: unique; of a pair, the reference's. patient: the table's column `patient`, else the
        BIDS entity `sub-`, else the name. candidate, reference: None where that side is missing.
        roles: `mask`, `labels`, `candidate_labels`, `lower`, `upper`, `draws` (a tuple, one source
        a draw), `retest`, `baseline`, `dose`, `candidate_dose`; those that there are. groups:
        columns of the table: site, scanner, sex, age, class, split ...
    """

    name: str
    patient: str
    candidate: Source | None
    reference: Source | None
    roles: Mapping[str, Role] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Cases:
    """All cases of an evaluation.

    Args: paired: each candidate belongs to one reference. cases: paired: all of both sides by name,
        what is missing is None; unpaired: first the candidates, then the references. training:
        images that a model was trained on, by name. second: a second real set, by name. dropped:
        case -> why it was left out. notes: how names were made to fit, and what is missing, in
        sentences. patients: of each case in `training` and `second`, by name. insisted: the user
        said that they are pairs, so that images that are no more alike than others are no error.
    """

    paired: bool
    cases: tuple[Case, ...]
    training: Mapping[str, Source] = field(default_factory=dict)
    second: Mapping[str, Source] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    patients: Mapping[str, str] = field(default_factory=dict)
    insisted: bool = False


def collect(
    candidate: Any,
    reference: Any,
    *,
    paired: bool | None = None,
    roles: Mapping[str, Any] = {},
    training: Any = None,
    second: Any = None,
    table: Path | None = None,
    options: Mapping[str, Any] = {},
) -> Cases:
    """Find all images and put them together.

    Args: candidate, reference: as `veridical.evaluation.sources.find` takes them. paired: None:
        when the names of at least half of the smaller side fit. roles: role -> where its files lie;
        `draws` as `veridical.evaluation.draws.find_draws` takes them. Intervals and draws in
        results of Veridical are found without being asked for. training, second: where the training
        set and a second real set lie. table: a CSV or TSV file with a column `case` or `patient`;
        the other columns are subgroups. options: of `veridical.read`. Masks and labels are read as
        labels, doses in Gy.

    Raises: InputError: nothing is there, no names fit and `paired` is True, a role fits no case, or
        the table is wrong. SettingError: an unknown role.
    """
    for role in roles:
        if role not in ROLES:
            raise SettingError(f"No role is called {role!r}. {nearest(role, ROLES)}")
    ours, theirs = find(candidate, options), find(reference, options)
    ours, theirs, dropped, notes = _common_contrasts(ours, theirs)
    insisted = paired is True
    pairs, paired, said = _paired(ours, theirs, paired)
    notes += said
    known = read_table(table) if table is not None else CaseTable()
    cases = _pairs(ours, theirs, pairs) if paired else _sides(ours, theirs, notes)
    sets = {
        name: find(where, options) if where is not None else {}
        for name, where in (("t", training), ("s", second))
    }
    aliases = {case.name: _aliases(case) for case in cases}
    everyone = [*(name for names in aliases.values() for name in names), *sets["t"], *sets["s"]]
    rows = known.fit(everyone, notes)
    cases = [_with_row(case, aliases[case.name], known, rows) for case in cases]
    given = _found_roles(candidate, cases, roles, options)
    cases = _with_roles(cases, given, paired, notes)
    others = {name: known.patient(name, rows) for found in sets.values() for name in found}
    return Cases(
        paired, tuple(cases), sets["t"], sets["s"], dropped, tuple(notes), others, insisted
    )


def _common_contrasts(
    ours: dict[str, Source], theirs: dict[str, Source]
) -> tuple[dict[str, Source], dict[str, Source], dict[str, str], list[str]]:
    """Leave out the contrasts of BIDS trees that only one side has."""
    kinds = [{suffix_of(name) for name in side} for side in (ours, theirs)]
    shared = kinds[0] & kinds[1]
    if None in kinds[0] | kinds[1] or not shared:
        return ours, theirs, {}, []
    dropped = {}
    for side, other in ((ours, "reference"), (theirs, "candidate")):
        for name in side:
            if suffix_of(name) not in shared:
                dropped[name] = f"no {other} has the contrast {suffix_of(name)}"
    alone = sorted({str(suffix_of(name)) for name in dropped})
    notes = (
        [
            f"{len(dropped)} images of contrasts that only one side has were left out: "
            f"{', '.join(alone)}."
        ]
        if dropped
        else []
    )
    kept = [
        {name: source for name, source in side.items() if name not in dropped}
        for side in (ours, theirs)
    ]
    return kept[0], kept[1], dropped, notes


def _paired(
    ours: Mapping[str, Source], theirs: Mapping[str, Source], paired: bool | None
) -> tuple[dict[str, str], bool, list[str]]:
    """Return candidate name -> reference name, whether these are pairs, and notes on how that was
    decided.
    """
    if paired is False:
        return {}, False, []
    sides = [*ours.values(), *theirs.values()]
    if all(source.index is not None for source in sides) and len(ours) != len(theirs):
        if paired:
            raise InputError(
                f"{len(ours)} candidates and {len(theirs)} references are numbered, not named, so "
                "pairs need equal numbers. "
                "Give case -> image, or compare them unpaired."
            )
        return (
            {},
            False,
            [
                f"{len(ours)} candidates and {len(theirs)} references without names: compared "
                "unpaired."
            ],
        )
    pairs, stripped = match(ours, theirs)
    if not pairs and len(ours) == len(theirs) == 1 and _is_file(ours) and _is_file(theirs):
        (one,), (other,) = ours, theirs
        return {one: other}, True, [f"One file on each side: {one} was compared with {other}."]
    enough = 2 * len(pairs) >= min(len(ours), len(theirs)) and pairs
    if paired and not pairs:
        raise InputError(
            f"No candidate has the name of a reference. Candidates: {_three(ours)}. References: "
            f"{_three(theirs)}. "
            "Rename one side, or compare the two sets unpaired."
        )
    if paired is None and not enough:
        few = f"{len(pairs)} of {min(len(ours), len(theirs))} names fit"
        return (
            {},
            False,
            [f"Compared unpaired: {few} (candidates {_three(ours)}; references {_three(theirs)})."],
        )
    return pairs, True, [f"Names were paired after leaving out {stripped}."] if stripped else []


def _is_file(side: Mapping[str, Source]) -> bool:
    return all(source.path is not None and source.path.is_file() for source in side.values())


def _three(names: Mapping[str, Any] | list[str]) -> str:
    return ", ".join(islice(names, 3)) + (", ..." if len(names) > 3 else "")


def _pairs(
    ours: Mapping[str, Source], theirs: Mapping[str, Source], pairs: Mapping[str, str]
) -> list[Case]:
    back = {reference: candidate for candidate, reference in pairs.items()}
    cases = [
        Case(name, patient_of(name), ours.get(back.get(name, "")), source)
        for name, source in theirs.items()
    ]
    for name, source in ours.items():
        if name not in pairs:
            unique = name if name not in theirs else f"{name} (candidate)"
            cases.append(Case(unique, patient_of(name), source, None))
    return sorted(cases, key=lambda case: case.name)


def _sides(
    ours: Mapping[str, Source], theirs: Mapping[str, Source], notes: list[str]
) -> list[Case]:
    """Return one case an image; where both sides use a name, the side is put after it."""
    both = set(ours) & set(theirs)
    if both:
        notes.append(f"{len(both)} names are on both sides; the side is written after them.")
    cases = [
        Case(f"{name} (candidate)" if name in both else name, patient_of(name), source, None)
        for name, source in ours.items()
    ]
    cases += [
        Case(f"{name} (reference)" if name in both else name, patient_of(name), None, source)
        for name, source in theirs.items()
    ]
    return cases


def _aliases(case: Case) -> list[str]:
    """Return the names under which a case may be found elsewhere: those of its images."""
    names = [source.name for source in (case.reference, case.candidate) if source is not None]
    return list(dict.fromkeys(names))


def _with_row(case: Case, aliases: list[str], known: CaseTable, rows: Mapping[str, str]) -> Case:
    name = next((name for name in aliases if name in rows), aliases[0])
    return replace(case, patient=known.patient(name, rows), groups=known.groups(name, rows))


def _found_roles(
    candidate: Any, cases: list[Case], roles: Mapping[str, Any], options: Mapping[str, Any]
) -> dict[str, Mapping[str, Role]]:
    """Return role -> name -> source, those in results of Veridical included."""
    plain = {key: value for key, value in options.items() if key not in ("contrast", "units")}
    width = _channels(cases, options)
    found: dict[str, Mapping[str, Role]] = {}
    for role, where in roles.items():
        if role == "draws":
            found[role] = find_draws(where, options, width)
        else:
            fixed = "label" if role in LABELS else "Gy" if role in DOSES else None
            found[role] = find(where, {**plain, "units": fixed} if fixed else options)
    if isinstance(candidate, str | Path) and Path(candidate).is_dir():
        for role in ("lower", "upper"):
            if role not in found and (saved := results(Path(candidate), role, options)):
                found[role] = saved
        if "draws" not in found and results(Path(candidate), "draws", options):
            found["draws"] = find_draws(candidate, options, width)
    return found


def _channels(cases: list[Case], options: Mapping[str, Any]) -> int:
    """Return how many channels a candidate has, from the header of the first; what cannot be read
    says so when loaded.
    """
    import nibabel

    first = next((case.candidate for case in cases if case.candidate is not None), None)
    if first is not None and first.image is not None:
        return int(first.image.data.shape[0])
    contrast = options.get("contrast")
    if contrast is not None:
        return len(contrast.split(",")) if isinstance(contrast, str) else len(contrast)
    if first is None or first.path is None or not first.path.name.endswith(NIFTI):
        return 1
    try:
        shape = nibabel.load(first.path).shape
    except Exception:
        return 1
    return int(shape[3]) if len(shape) > 3 else 1


def _with_roles(
    cases: list[Case], given: Mapping[str, Mapping[str, Role]], paired: bool, notes: list[str]
) -> list[Case]:
    roles: dict[str, dict[str, Role]] = {case.name: {} for case in cases}
    for role, found in given.items():
        takers = [case for case in cases if paired or _takes(case, role)]
        placed = _placed(role, found, takers, notes)
        for name, source in placed.items():
            roles[name][role] = source
        lacking = [case.name for case in takers if case.name not in placed]
        if lacking:
            notes.append(
                f"{len(lacking)} of {len(takers)} cases have no {role}: {_three(lacking)}."
            )
    return [replace(case, roles=roles[case.name]) for case in cases]


def _takes(case: Case, role: str) -> bool:
    return role in BOTH or (
        case.candidate is not None if role in OF_CANDIDATE else case.reference is not None
    )


def _placed(
    role: str, found: Mapping[str, Role], cases: list[Case], notes: list[str]
) -> dict[str, Role]:
    """Return case -> source: by the same name, else by the BIDS name without its suffix, else after
    stripping as for pairs.
    """
    placed = {
        case.name: found[name] for case in cases for name in _aliases(case)[::-1] if name in found
    }
    used = {name for case in cases for name in _aliases(case) if name in found}
    rest = {base_of(name): name for name in found if name not in used}
    for case in cases:
        for name in _aliases(case):
            if case.name not in placed and base_of(name) in rest:
                placed[case.name] = found[rest[base_of(name)]]
                used.add(rest[base_of(name)])
    if 2 * len(placed) < min(len(found), len(cases)) or not placed:
        names = {_aliases(case)[0]: case.name for case in cases}
        pairs, stripped = match(found, names)
        if len(pairs) > len(placed):
            placed, used = {names[name]: found[own] for own, name in pairs.items()}, set(pairs)
            notes.append(
                f"{role}: names were paired after leaving out {stripped}.".replace(
                    "candidates", role
                )
            )
    if not placed:
        raise InputError(
            f"No {role} has the name of a case. {role}: {_three(list(found))}. Cases: "
            f"{_three([c.name for c in cases])}. "
            "Rename the files, or give the folder that belongs to these cases."
        )
    extra = sorted(set(found) - used)
    if extra:
        notes.append(f"{len(extra)} {role} belong to no case: {_three(extra)}.")
    return placed
