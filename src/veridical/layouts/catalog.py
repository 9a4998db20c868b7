"""Public data sets of the field: what they hold, who may use them, how they lie on disk, and what
others measured on them.

The entries are the TOML files in `catalog/`, one file a region of the body. An entry says of each
fact that was checked where it was checked; what is not known is absent and never guessed. Nothing
is downloaded.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from veridical.errors import SettingError, nearest

FOLDER = Path(__file__).parent / "catalog"
SOURCES = "_sources"
"""File of that folder that says what the short names under `source` and `verified` stand for."""
MODALITIES = frozenset(
    {
        "MR",
        "CT",
        "PET",
        "SPECT",
        "X-ray",
        "mammography",
        "ultrasound",
        "pathology",
        "microscopy",
        "fundus",
        "OCT",
        "dermoscopy",
    }
    | {"endoscopy", "photograph", "k-space", "sinogram", "dose", "text", "genomics", "clinical"}
)
ANATOMIES = frozenset(
    {
        "whole-body",
        "brain",
        "head-and-neck",
        "eye",
        "teeth",
        "chest",
        "lung",
        "breast",
        "heart",
        "vessels",
        "abdomen",
        "liver",
    }
    | {
        "kidney",
        "pancreas",
        "colon",
        "prostate",
        "pelvis",
        "fetus",
        "spine",
        "knee",
        "wrist",
        "musculoskeletal",
        "skin",
    }
)
JOBS = {
    "reconstruction": "reconstruct",
    "denoising": "enhance",
    "super-resolution": "enhance",
    "artefacts": "enhance",
    "translation": "translate",
    "completion": "complete",
    "harmonization": "harmonize",
    "segmentation": "synthesize",
    "classification": "synthesize",
    "detection": "synthesize",
    "reports": "synthesize",
    "motion": "track",
    "registration": "track",
    "radiotherapy": "plan",
    "longitudinal": "forecast",
    "survival": "forecast",
}
"""Task as the field calls it -> job of Veridical. Masks, labels and reports are conditions of a
synthesis.
"""
ACCESS = ("open", "registration", "agreement", "challenge", "commercial")
"""Anyone; an account; a signed agreement or an approved application; entrants of a challenge; for
money.
"""
LICENCES = frozenset(
    {
        "CC-BY",
        "CC-BY-3.0",
        "CC-BY-4.0",
        "CC-BY-SA-3.0",
        "CC-BY-SA-4.0",
        "CC-BY-NC-3.0",
        "CC-BY-NC-4.0",
        "CC-BY-NC-SA",
    }
    | {
        "CC-BY-NC-SA-3.0",
        "CC-BY-NC-SA-4.0",
        "CC-BY-ND-4.0",
        "CC-BY-NC-ND-4.0",
        "CC0-1.0",
        "PDDL-1.0",
        "ODbL-1.0",
        "MIT",
    }
    | {
        "Apache-2.0",
        "PhysioNet-Credentialed",
        "PhysioNet-Restricted",
        "own-terms",
        "own-terms-noncommercial",
        "mixed",
    }
)
"""SPDX names, without the version where the set gives none; PhysioNet's two; the owner's own terms;
or several, one a part.
"""
SYNONYMS = {
    "mri": "mr",
    "mris": "mr",
    "cmr": "heart mr",
    "cardiac": "heart",
    "neuro": "brain",
    "head": "brain head-and-neck",
    "xray": "x-ray",
    "radiograph": "x-ray",
    "histology": "pathology",
    "wsi": "pathology",
    "us": "ultrasound",
    "echo": "ultrasound",
    "retina": "fundus eye",
    "kspace": "k-space",
    "raw": "k-space sinogram",
    "thorax": "chest",
}
"""Word of a search -> the words an entry may use for it."""
FILLERS = frozenset({"a", "and", "for", "from", "in", "of", "on", "or", "the", "to", "with"})
WEIGHTS = {
    "name": 8,
    "aliases": 8,
    "modality": 4,
    "anatomy": 4,
    "tasks": 3,
    "layout": 3,
    "licence": 2,
    "access": 2,
}
"""What a match in a field counts in a search; 1 in the fields not named."""


@dataclass(frozen=True)
class Anchor:
    """A published number. `value` is in the units the metric's name gives; `what` is method,
    setting and split.
    """

    metric: str
    value: float
    what: str
    source: str


@dataclass(frozen=True)
class Dataset:
    """One public set. An absent field (None or empty) is unknown. `verified` tells of a field where
    it was checked.
    """

    name: str
    modality: tuple[str, ...]
    anatomy: tuple[str, ...]
    url: str
    source: str
    aliases: tuple[str, ...] = ()
    size: str | None = None
    tasks: tuple[str, ...] = ()
    licence: str | None = None
    access: str | None = None
    split: str | None = None
    layout: str | None = None
    citation: str | None = None
    note: str | None = None
    anchors: tuple[Anchor, ...] = ()
    verified: Mapping[str, str] = field(default_factory=dict)

    @property
    def jobs(self) -> tuple[str, ...]:
        """The jobs of Veridical that the set serves, from its tasks."""
        return tuple(dict.fromkeys(JOBS[task] for task in self.tasks))

    def as_dict(self) -> dict[str, Any]:
        """Every field that is known, and the jobs, as JSON holds them."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        found["anchors"] = [asdict(anchor) for anchor in self.anchors]
        found["verified"] = dict(self.verified)
        found["jobs"] = self.jobs
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in found.items()
            if value
        }


KEYS = {one.name for one in fields(Dataset)} - {"name"}
NEEDED = ("modality", "anatomy", "url", "source")
LISTS = ("modality", "anatomy", "tasks", "aliases")
TYPES = dict.fromkeys(LISTS, "a list of words") | {
    "anchors": "an array of tables",
    "verified": "a table of strings",
}
WORDS = {
    "modality": MODALITIES,
    "anatomy": ANATOMIES,
    "tasks": JOBS,
    "licence": LICENCES,
    "access": ACCESS,
}
"""Field -> the words it may hold."""


def load(folder: Path = FOLDER) -> dict[str, Dataset]:
    """Return all entries by name, in the order of the names.

    Args:
        folder: of TOML files; a table each entry, its title the name.

    Raises: SettingError: a file is no TOML, a key or word is unknown, a needed one is missing, or
        two entries share a name.
    """
    return dict(_load(folder))


@cache
def _load(folder: Path) -> Mapping[str, Dataset]:
    sources = _read(folder / f"{SOURCES}.toml") if (folder / f"{SOURCES}.toml").exists() else {}
    found: dict[str, Dataset] = {}
    taken: dict[str, str] = {}
    for path in sorted(folder.glob("[a-z]*.toml")):
        for name, table in _read(path).items():
            entry = parse(name, table, sources)
            for word in (entry.name, *entry.aliases):
                if key(word) in taken:
                    raise SettingError(
                        f"Two entries are called {word!r}: {taken[key(word)]} and {name}. Rename "
                        "one of them."
                    )
                taken[key(word)] = name
            found[name] = entry
    return MappingProxyType({name: found[name] for name in sorted(found, key=str.lower)})


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise SettingError(f"{path} is no TOML: {error}. Mend that line.") from error


def parse(name: str, table: Any, sources: Mapping[str, str] = MappingProxyType({})) -> Dataset:
    """Return the entry of one TOML table, or refuse it with what is wrong.

    Args:
        name: of the data set.
        table: its keys are the fields of a `Dataset`.
        sources: short name under `source` or `verified` -> what it stands for.

    Raises: SettingError: a key, word or short name is unknown, a needed key is missing, or a value
        is of the wrong type.
    """
    if not isinstance(table, dict):
        raise SettingError(f"{name} is {table!r}; expected a table: [{name!r}] and its keys below.")
    _known(f"{name} has a key", table, KEYS)
    if missing := [one for one in NEEDED if not table.get(one)]:
        raise SettingError(
            f"{name} lacks {', '.join(missing)}. Every entry needs {', '.join(NEEDED)}."
        )
    for one, value in table.items():
        _typed(name, one, value)
    if not re.fullmatch(r"https?://[\w.-]+\.[a-z]{2,}(:\d+)?(/\S*)?", table["url"]):
        raise SettingError(
            f"The url of {name} is {table['url']!r}; expected one that begins with https:// and "
            "has no blanks."
        )
    verified = table.get("verified", {})
    _known(f"{name} has verified a field", verified, table.keys() - {"verified", "source"})
    short = {at for at in (table["source"], *verified.values()) if not re.search(r"[ :/]", at)}
    _known(f"{name} names a source", short, sources)
    lists = {one: tuple(table[one]) for one in LISTS if one in table}
    made = {
        "anchors": tuple(_anchor(name, one) for one in table.get("anchors", ())),
        "source": sources.get(table["source"], table["source"]),
        "verified": MappingProxyType({one: sources.get(at, at) for one, at in verified.items()}),
    }
    return Dataset(name, **{**table, **lists, **made})


def _typed(name: str, one: str, value: Any) -> None:
    """Refuse a value of the wrong type, or a word that is not in the vocabulary of its field."""
    if one == "anchors":
        right, words = isinstance(value, list), []
    elif one == "verified":
        right, words = isinstance(value, dict), [*value.values()] if isinstance(value, dict) else []
    else:
        right, words = (
            isinstance(value, list) == (one in LISTS),
            value if isinstance(value, list) else [value],
        )
    if not right or not all(isinstance(word, str) and word for word in words):
        raise SettingError(
            f"{one} of {name} is {value!r}; expected {TYPES.get(one, 'one string')}."
        )
    if one in WORDS:
        _known(f"{one} of {name} has a word", words, WORDS[one])


def _anchor(name: str, table: Any) -> Anchor:
    needed = {one.name for one in fields(Anchor)}
    if (
        not isinstance(table, dict)
        or set(table) != needed
        or not isinstance(table["value"], int | float)
    ):
        raise SettingError(
            f"An anchor of {name} is {table!r}; expected {', '.join(sorted(needed))}, the value a "
            "number."
        )
    return Anchor(**{**table, "value": float(table["value"])})


def _known(what: str, words: Iterable[str], known: Iterable[str]) -> None:
    """Refuse the first word that is not known, with the nearest known one."""
    names = set(known)
    for word in words:
        if word not in names:
            raise SettingError(f"{what} {word!r} that is unknown. {nearest(word, names)}")


def key(name: str) -> str:
    """A name as it is compared: letters, digits, & and + alone, small."""
    return re.sub(r"[^a-z0-9&+]", "", name.lower())


def known(name: str) -> Dataset | None:
    """Return the entry of that name or alias, whatever its capitals, blanks and hyphens, or
    None.
    """
    return _names().get(key(name))


def get(name: str) -> Dataset:
    """Return the entry of that name or alias as `known` does, or refuse with the nearest name."""
    if entry := known(name):
        return entry
    close = difflib.get_close_matches(key(name), _names(), n=1)
    hint = f"Did you mean {_names()[close[0]].name!r}? " if close else ""
    raise SettingError(
        f"The catalog has no data set {name!r}. {hint}veridical datasets search WORDS looks in all "
        "fields; "
        f"veridical datasets list shows all {len(load())}."
    )


@cache
def _names() -> Mapping[str, Dataset]:
    return {key(word): entry for entry in load().values() for word in (entry.name, *entry.aliases)}


def select(**wanted: str | None) -> list[Dataset]:
    """Return the entries whose fields hold the words wanted.

    Args: wanted: modality, anatomy, task, access, layout or licence -> word; None leaves that field
        free.

    Raises:
        SettingError: a word that no entry can have, with the nearest.
    """
    found = list(load().values())
    for one, word in wanted.items():
        if word is None:
            continue
        name = "tasks" if one == "task" else one
        known = set(WORDS.get(name, ())) or {
            value for entry in load().values() if (value := getattr(entry, name))
        }
        match = {key(value): value for value in known} | (
            {key(job): job for job in JOBS.values()} if one == "task" else {}
        )
        expected = match.get(key(SYNONYMS.get(word.lower(), word)))
        if expected is None:
            raise SettingError(f"--{one} is {word!r}. {nearest(word, match.values())}")
        found = [
            entry
            for entry in found
            if expected in _values(entry, name) or (one == "task" and expected in entry.jobs)
        ]
    return found


def search(words: str) -> list[Dataset]:
    """Return the entries that hold most of the words, the best first; a match in the name counts
    most.

    Raises:
        SettingError: no entry holds any of them; the nearest words that entries do hold are named.
    """
    asked = [word for word in re.split(r"[\s,;]+", words.lower()) if word and word not in FILLERS]
    scored = []
    for entry in load().values():
        points = [_points(entry, word) for word in asked]
        scored.append((sum(point > 0 for point in points), sum(points), entry))
    most = max((hits for hits, _, _ in scored), default=0)
    if not most:
        spoken = {
            name
            for entry in load().values()
            for name in (entry.name, *entry.aliases, *entry.modality, *entry.anatomy)
        }
        close = difflib.get_close_matches(words.lower(), {name.lower() for name in spoken}, n=1)
        hint = (
            f"Did you mean {close[0]!r}? "
            if close
            else "Try a modality, an organ, a task or part of a name. "
        )
        raise SettingError(
            f"No data set holds {words!r}. {hint}veridical datasets list shows all {len(scored)}."
        )
    best = [(points, entry) for hits, points, entry in scored if hits == most]
    return [entry for _, entry in sorted(best, key=lambda one: (-one[0], one[1].name.lower()))]


def _points(entry: Dataset, word: str) -> int:
    """What one word of a search counts for an entry: the weights of the fields that hold it, double
    for a whole word.
    """
    words = {word, *SYNONYMS.get(word, "").split()}
    return sum(
        max(_match(text, one) for one in words) * WEIGHTS.get(name, 1)
        for name, text in _texts(entry.name).items()
    )


def _match(text: str, word: str) -> int:
    """2 for a whole word of the text, 1 for a part of one that has three letters or more, else
    0.
    """
    if word not in text:
        return 0
    whole = re.search(rf"(?<![a-z0-9]){re.escape(word)}(?![a-z0-9])", text)
    return 2 if whole else int(len(word) > 2)


@cache
def _texts(name: str) -> Mapping[str, str]:
    """Field -> its words in small letters, of the entry of that name."""
    entry = load()[name]
    texts = {
        one.name: " ".join(_values(entry, one.name)).lower()
        for one in fields(entry)
        if one.name != "verified"
    }
    return {**texts, "tasks": " ".join((*entry.tasks, *entry.jobs))}


def _values(entry: Dataset, name: str) -> tuple[str, ...]:
    value = getattr(entry, name)
    if name == "anchors":
        return tuple(f"{anchor.metric} {anchor.what}" for anchor in value)
    return value if isinstance(value, tuple) else (value,) if value else ()
