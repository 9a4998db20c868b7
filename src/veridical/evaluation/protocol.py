"""The protocol: what is decided before anything is computed, in a file that can be registered,
shared and signed.

Which endpoints are primary and what they must clear, which numbers count as the range of the
signal, how intervals and p-values are made. Whoever changes it after seeing the results has another
protocol, with another hash.
"""

from __future__ import annotations

import dataclasses
import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, cast

from veridical.errors import FormatError, InputError, SettingError, nearest
from veridical.task import setting_docs
from veridical.types import Level

LEVELS: tuple[Level, ...] = ("pixel", "feature", "task", "trust")


@dataclass(frozen=True)
class Primary:
    """One endpoint that decides.

    Args: endpoint: `level/metric/region`; `*` stands for any region, structure or extractor. limit:
        what the 95 % interval must clear. of: `score`: the limit is on the normalized scale, 0 a
        simple baseline, 1 real against real. `value`: it is in the metric's units; for a metric
        with an ideal value it is the largest distance from it.
    """

    endpoint: str
    limit: float
    of: Literal["score", "value"] = "score"

    def __post_init__(self) -> None:
        if self.of not in ("score", "value"):
            raise SettingError(
                f"The limit of {self.endpoint} is of {self.of!r}; expected 'score' or 'value'."
            )
        level = self.endpoint.split("/")[0]
        if level not in LEVELS or self.endpoint.count("/") != 2:
            raise SettingError(
                f"{self.endpoint!r} is no endpoint; expected level/metric/region, e.g. "
                "pixel/ssim/foreground, with a level of "
                f"{', '.join(LEVELS)}."
            )


CONVENTION = (
    Primary("pixel/ssim/foreground", 0.8),
    Primary("pixel/mae/foreground", 0.8),
    Primary("feature/mmd/*", 0.8),
    Primary("task/dice/*", 0.8),
    Primary("trust/coverage/foreground", 0.03, "value"),
)
"""A convention, no clinical threshold: four fifths of the way from a simple baseline to real
against real.

MMD with its bounded kernel and not KID: KID's cubic kernel grows with the sixth power of the
distance, so that on its scale half the blur of the baseline is nearly real."""


@dataclass(frozen=True)
class Protocol:
    """Rules that hold for all cases and all candidates that are compared."""

    name: str = "default"
    """Name of the protocol, as printed in the report."""
    data_range: float = 0.0
    """Peak to peak of the signal in the images' units. 0: the mean over reference images of their
    0.5th to 99.5th percentile.
    """
    window: tuple[float, float] = (0.0, 0.0)
    """Lowest and highest intensity that feature extractors see. 0, 0: the same percentiles of the
    reference images.
    """
    level: float = 0.9
    """Nominal share of voxels inside the candidate's intervals, where they come as lower and upper
    images.
    """
    resamples: int = 2000
    """Bootstrap resamples of patients behind every interval."""
    permutations: int = 1000
    """Permutations of patients behind every p-value of a two-sample test."""
    blur: float = 2.0
    """Feature level's simple baseline: the reference smoothed by a Gaussian of this many voxels
    standard deviation.
    """
    seed: int = 0
    """Seed of everything random."""
    primary: tuple[Primary, ...] = field(default=CONVENTION)
    """The endpoints that decide, with their limits; Holm's correction runs over those that the data
    allow.
    """

    def __post_init__(self) -> None:
        if self.resamples < 200 or self.permutations < 100:
            raise SettingError(
                f"{self.resamples} resamples and {self.permutations} permutations; expected at "
                "least 200 and 100 (2000 to "
                "publish)."
            )
        if (
            not 0 < self.level < 1
            or self.data_range < 0
            or self.blur <= 0
            or self.window[0] > self.window[1]
        ):
            raise SettingError(
                "The level must lie inside (0, 1), data_range be 0 or more, blur above 0, window "
                "low to high."
            )
        names = [p.endpoint for p in self.primary]
        if len(set(names)) < len(names):
            raise SettingError(
                f"A primary endpoint comes twice: {', '.join(names)}. Name each once."
            )

    def limit(self, key: str) -> Primary | None:
        """Return what was declared for the endpoint `key`, or None when it is exploratory."""
        return next((p for p in self.primary if fnmatchcase(key, p.endpoint)), None)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return dataclasses.asdict(self)

    def sha256(self) -> str:
        """Return the hash of all that it says; what one registers before the evaluation."""
        return hashlib.sha256(dump(self).encode()).hexdigest()


def load(path: str | Path) -> Protocol:
    """Read a protocol file.

    Raises:
        InputError: it is not there.
        FormatError: it is not TOML.
        SettingError: an unknown key, or a value out of its range.
    """
    file = Path(path)
    try:
        said = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{file} cannot be read ({error.strerror}). Write one with: veridical protocol {file}"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(
            f"{file} is not a protocol: {error}. Write a fresh one with: veridical protocol FILE"
        ) from error
    known = {f.name for f in dataclasses.fields(Protocol)}
    for key in said:
        if key not in known:
            raise SettingError(f"A protocol has no entry {key!r}. {nearest(key, known)}")
    given = dict(said)
    if "window" in given:
        low, high = given["window"]
        given["window"] = (float(low), float(high))
    if "primary" in given:
        given["primary"] = tuple(_primary(entry, file) for entry in given["primary"])
    try:
        return Protocol(**given)
    except TypeError as error:
        raise SettingError(f"{file} holds a value of the wrong kind: {error}.") from error


def dump(protocol: Protocol) -> str:
    """Return the text of a protocol file, each entry with its explanation; `load` reads it back."""
    docs = setting_docs(Protocol)
    lines = [
        "# Decide it before looking at results, then: veridical evaluate ... --protocol THIS_FILE",
        "",
    ]
    for key, value in protocol.to_dict().items():
        lines += [f"# {line}" for line in docs[key].splitlines()]
        if key != "primary":
            lines += [f"{key} = {_toml(value)}", ""]
    for entry in protocol.primary:
        lines += [
            "[[primary]]",
            f"endpoint = {_toml(entry.endpoint)}",
            f"limit = {entry.limit}",
            f"of = {_toml(entry.of)}",
            "",
        ]
    return "\n".join(lines)


def _primary(entry: Any, file: Path) -> Primary:
    known = {f.name for f in dataclasses.fields(Primary)}
    if not isinstance(entry, Mapping) or not {"endpoint", "limit"} <= set(entry) <= known:
        raise SettingError(
            f"A [[primary]] of {file} is {entry}; expected endpoint and limit, and perhaps of."
        )
    return Primary(**cast("dict[str, Any]", entry))


def _toml(value: Any) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return str(value)
