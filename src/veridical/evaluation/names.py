"""What a file is called as a case, and which names of two sides mean the same case."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import PurePosixPath

LEFT_OUT = frozenset(
    {"desc", "space", "rec", "res", "den", "label", "seg", "atlas", "hemi", "draw"}
)
"""BIDS entities that say how a file was derived, not of whom it is."""
BIDS = re.compile(r"(sub-[A-Za-z0-9]+(?:_[a-z]+-[A-Za-z0-9]+)*)(?:_([A-Za-z0-9]+))?")
SAMPLED = 20


def bids_key(stem: str) -> str | None:
    """Return subject, session, run and suffix of a BIDS name, derivation left out; None when it is
    not one.

    `sub-01_ses-2_desc-estimate_T1w` is `sub-01_ses-2_T1w`.
    """
    found = BIDS.fullmatch(stem)
    if found is None:
        return None
    entities = [part for part in found[1].split("_") if part.split("-")[0] not in LEFT_OUT]
    return "_".join([*entities, *([found[2]] if found[2] else [])])


def suffix_of(name: str) -> str | None:
    """Return the BIDS suffix of a case, `T1w`; None where it has none."""
    found = BIDS.fullmatch(name)
    return found[2] if found else None


def base_of(name: str) -> str:
    """Return a BIDS case without its suffix; other names as they are."""
    found = BIDS.fullmatch(name)
    return found[1] if found else name


def patient_of(name: str) -> str:
    """Return the BIDS `sub-` entity of a case, else its name."""
    return name.split("_")[0] if BIDS.fullmatch(name) else name


def case_names(places: Sequence[tuple[str, str]]) -> list[str]:
    """Return one case name a place.

    Args: places: `(folder, stem)` relative to the root, the folder with `/` and empty for the root;
        a DICOM series has its folder and an empty stem.
    """
    bids = [bids_key(stem or PurePosixPath(folder).name) for folder, stem in places]
    rest = [place for place, key in zip(places, bids, strict=True) if key is None]
    alone = max(Counter(folder for folder, _ in rest if folder).values(), default=0) <= 1
    trimmed = _without_common_end({folder for folder, _ in rest if folder}) if alone else {}
    named = iter(
        trimmed.get(folder) or "/".join(part for part in (folder, stem) if part)
        for folder, stem in rest
    )
    return [key if key is not None else next(named) for key in bids]


def _without_common_end(folders: Collection[str]) -> dict[str, str]:
    """Return each folder without the last parts that all share: `a/anat`, `b/anat` are `a`, `b`."""
    parts = {folder: folder.split("/") for folder in folders}
    while (
        len(parts) > 1
        and len({p[-1] for p in parts.values()}) == 1
        and min(map(len, parts.values())) > 1
    ):
        parts = {folder: p[:-1] for folder, p in parts.items()}
    return {folder: "/".join(p) for folder, p in parts.items()}


def match(candidate: Collection[str], reference: Collection[str]) -> tuple[dict[str, str], str]:
    """Return candidate name -> reference name, and in words what was stripped to get there (empty:
    nothing).

    Names that are equal count most. Where fewer than half of the smaller side are, a change of all
    names is tried that keeps them apart: the folder left out, then what all names of one side have
    in common at their ends, then of both sides, then the same without punctuation. The first that
    matches half of the smaller side is taken.
    """
    enough = max(1, (min(len(candidate), len(reference)) + 1) // 2)
    same = {name: name for name in candidate if name in set(reference)}
    if len(same) >= enough or not candidate or not reference:
        return same, ""
    forms = (
        ({name: name for name in candidate}, {name: name for name in reference}, ""),
        (_unique(candidate, _last), _unique(reference, _last), "the folders"),
        (_unique(candidate, _letters), _unique(reference, _letters), "punctuation"),
    )
    for ours, theirs, said in forms:
        for stripped_ours, stripped_theirs, what in _strippings(ours, theirs):
            back = {form: name for name, form in stripped_theirs.items()}
            pairs = {name: back[form] for name, form in stripped_ours.items() if form in back}
            if len(pairs) >= enough and len(pairs) > len(same):
                return pairs, " and ".join(part for part in (said, what) if part)
    return same, ""


Forms = Mapping[str, str]


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", _last(name).lower())


def _unique(names: Iterable[str], change: object) -> dict[str, str]:
    """Return name -> changed name, or nothing when two become one."""
    assert callable(change)
    forms = {name: str(change(name)) for name in names}
    return forms if len(set(forms.values())) == len(forms) else {}


def _strippings(ours: Forms, theirs: Forms) -> Iterable[tuple[Forms, Forms, str]]:
    """Yield ways to strip what all names of a side share at their ends, with what was stripped in
    words.
    """
    if not ours or not theirs:
        return
    yield ours, theirs, ""
    for start, end in _affixes(ours.values(), theirs.values()):
        yield _strip(ours, start, end), theirs, f"{_said(start, end)} of the candidates"
    for start, end in _affixes(theirs.values(), ours.values()):
        yield ours, _strip(theirs, start, end), f"{_said(start, end)} of the references"
    if len(ours) > 1 and len(theirs) > 1:
        (a, b), (c, d) = _shared(ours.values()), _shared(theirs.values())
        said = f"{_said(a, b)} of the candidates and {_said(c, d)} of the references"
        yield _strip(ours, a, b), _strip(theirs, c, d), said


def _affixes(longer: Iterable[str], shorter: Collection[str]) -> list[tuple[str, str]]:
    """Return (prefix, suffix) that all of `longer` carry and that leave a name of `shorter`, the
    most frequent first.
    """
    whole, known = list(longer), sorted(shorter)
    seen: Counter[tuple[str, str]] = Counter()
    for name in islice(whole, SAMPLED):
        for other in known:
            at = name.find(other)
            if at >= 0 and len(other) < len(name):
                seen[name[:at], name[at + len(other) :]] += 1
    fits = []
    for (start, end), _ in seen.most_common(SAMPLED):
        if all(n.startswith(start) and n.endswith(end) and _apart(n, start, end) for n in whole):
            fits.append((start, end))
    return fits


def _apart(name: str, start: str, end: str) -> bool:
    """Say whether stripping leaves something and does not cut a number in two."""
    core = name[len(start) : len(name) - len(end)]
    cuts = (start[-1:] + core[:1], core[-1:] + end[:1])
    return (
        bool(core)
        and len(start) + len(end) < len(name)
        and not any(len(cut) == 2 and cut.isdigit() for cut in cuts)
    )


def _shared(names: Collection[str]) -> tuple[str, str]:
    """Return the prefix and the suffix that all names share, cut back so that no number is cut in
    two.
    """
    start = _common(names).rstrip("0123456789")
    cores = [name[len(start) :] for name in names]
    end = _common([core[::-1] for core in cores])[::-1].lstrip("0123456789")
    return (start, end) if all(len(end) < len(core) for core in cores) else (start, "")


def _common(names: Collection[str]) -> str:
    """Return the longest start that all names share; of the first and the last in order it is that
    of all.
    """
    first, last = min(names), max(names)
    return first[
        : next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    ]


def _strip(forms: Forms, start: str, end: str) -> dict[str, str]:
    return {name: form[len(start) : len(form) - len(end)] for name, form in forms.items()}


def _said(start: str, end: str) -> str:
    parts = [f"{text!r} at the {where}" for text, where in ((start, "start"), (end, "end")) if text]
    return " and ".join(parts) or "nothing"
