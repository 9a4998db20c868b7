"""Routes: which series is processed by which task, where its result goes, and what stops it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from veridical import registry
from veridical.errors import SettingError, nearest
from veridical.settings import from_table
from veridical.task import Task, explained

if TYPE_CHECKING:
    from veridical.types import Finding

REFUSALS = ("hold", "forward-original")
GROUPS = ("series", "study")
ANY = "*"
Facts = Mapping[str, Any]
"""What the header of a series says: names of the fields of `When` -> text, texts or number."""


@explained
@dataclass(frozen=True)
class When:
    """A route's `when`: every condition that is given must hold. Texts are compared without regard
    to case; `*` and `?` stand for any letters and any letter; of several, one must fit.
    """

    modality: tuple[str, ...] = ()
    """Modality: MR, CT, PT."""
    body_part: tuple[str, ...] = ()
    """Body Part Examined."""
    description: tuple[str, ...] = ()
    """Series Description."""
    study_description: tuple[str, ...] = ()
    """Study Description."""
    protocol: tuple[str, ...] = ()
    """Protocol Name."""
    image_type: tuple[str, ...] = ()
    """A value of Image Type: PRIMARY, AXIAL."""
    manufacturer: tuple[str, ...] = ()
    """Manufacturer."""
    scanner: tuple[str, ...] = ()
    """Manufacturer's Model Name."""
    station: tuple[str, ...] = ()
    """Station Name."""
    caller: tuple[str, ...] = ()
    """AE title that sent it."""
    thickness: tuple[float, ...] = ()
    """Least and largest Slice Thickness, mm."""
    field_strength: tuple[float, ...] = ()
    """Least and largest Magnetic Field Strength, tesla."""
    images: tuple[float, ...] = ()
    """Least and largest number of images in the series."""

    def __post_init__(self) -> None:
        for name in RANGES:
            limits = getattr(self, name)
            numbers = all(type(value) in (int, float) for value in limits)
            if limits and not (numbers and len(limits) == 2 and limits[0] <= limits[1]):
                raise SettingError(
                    f"when: {name} = {list(limits)}; expected two numbers, least and largest."
                )

    def fits(self, facts: Facts) -> bool:
        """Say whether a series fits. What its header does not say fits no condition."""
        return all(
            _within(facts.get(f.name), getattr(self, f.name))
            if f.name in RANGES
            else _alike(facts.get(f.name), getattr(self, f.name))
            for f in fields(self)
            if getattr(self, f.name)
        )


RANGES = ("thickness", "field_strength", "images")


def _within(value: Any, limits: Sequence[float]) -> bool:
    return isinstance(value, int | float) and limits[0] <= value <= limits[1]


def _alike(value: Any, patterns: Sequence[str]) -> bool:
    words = [value] if isinstance(value, str) else list(value or ())
    return any(fnmatchcase(w.casefold(), p.casefold()) for w in words if w for p in patterns)


@explained
@dataclass(frozen=True)
class Route:
    """A `[[route]]` table."""

    name: str = ""
    """By which log and messages call it."""
    task: str = ""
    """Task to run: enhance, translate, ...; empty: the originals are sent on as they are."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the task, as its flags."""
    when: dict[str, Any] = field(default_factory=dict)
    """Which series it takes, see `When`; empty: all."""
    group: str = "series"
    """series: each series by itself; study: all fitting series of a study together."""
    send: tuple[str, ...] = ()
    """Names of the peers that get the result."""
    send_original: tuple[str, ...] = ()
    """Names of the peers that get the originals beside the result."""
    tell: tuple[str, ...] = ()
    """Names of the FHIR servers that are told of the result."""
    refuse_when: dict[str, Any] = field(default_factory=dict)
    """Check -> verdict (warn or fail) from which on a finding stops the result; `*` is any check.
    """
    on_refusal: str = "hold"
    """What happens to a result that is stopped, or that a policy blocks. hold: it stays here until
    a person sends it. forward-original: the originals are sent on in its place.
    """
    seed: int = 0
    """Seed of everything random."""
    mark: bool = False
    """Put a visible mark into a corner of the derived images."""
    contrast: str = ""
    """Contrast of the images, where headers do not tell it."""
    stack: int = 0
    """Which volume of series that hold several, counted from 1; 0: they must hold one."""

    @classmethod
    def of(cls, table: Any, peers: Mapping[str, Any]) -> Route:
        """Return the route of a table, checked against the peers by name.

        Raises:
            SettingError: an unknown key, task, setting, peer or check.
        """
        if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
            raise SettingError(f"A route without a name: {table}. Give it one: name = 'mr'.")
        where = f"Route {table['name']!r}"
        route = from_table(where, cls, table)
        if not route.task and not route.send_original:
            raise SettingError(f"{where} says neither task nor send_original, so does nothing.")
        if route.task:
            route.job()
        route.conditions()
        for wanted, kinds in (("send", STORES), ("send_original", STORES), ("tell", ("fhir",))):
            able = {name for name, peer in peers.items() if peer.kind in kinds}
            for name in getattr(route, wanted):
                if name not in able:
                    raise SettingError(f"{where}: {wanted} names {name!r}. {nearest(name, able)}")
        if route.on_refusal == "forward-original" and not (route.send or route.send_original):
            raise SettingError(f"{where} forwards originals, but to no peer. Name one: send.")
        for key, choices in (("on_refusal", REFUSALS), ("group", GROUPS)):
            if (said := getattr(route, key)) not in choices:
                raise SettingError(f"{where}: {key} = {said!r}. {nearest(said, choices)}")
        _checked_refusals(where, route.refuse_when)
        return route

    def conditions(self) -> When:
        """Return what a series must fit."""
        lists = {key: [v] if isinstance(v, str) else v for key, v in self.when.items()}
        return from_table(f"Route {self.name!r}: when", When, lists)

    def job(self) -> Task:
        """Return the task with its settings."""
        lists = {key: tuple(v) if isinstance(v, list) else v for key, v in self.settings.items()}
        made = registry.get("task", self.task).from_settings(lists)
        assert isinstance(made, Task)
        return made

    def stopped_by(self, findings: Iterable[Finding]) -> list[str]:
        """Return what of the findings stops a result, one sentence each."""
        from veridical.governance.policy import plain
        from veridical.types import SEVERITY

        limits = {plain(check): verdict for check, verdict in self.refuse_when.items()}
        return [
            f"{finding.check} ({finding.verdict}): {finding.reason}"
            for finding in findings
            if (limit := limits.get(plain(finding.check), limits.get(ANY))) is not None
            and SEVERITY.index(finding.verdict) >= SEVERITY.index(limit)
        ]


STORES = ("dicom", "dicomweb")


def _checked_refusals(where: str, refusals: Mapping[str, Any]) -> None:
    from veridical.governance.policy import OF_TASKS, OWN, plain

    checks = {plain(one) for one in (*registry.entries("audit"), *OF_TASKS, ANY)}
    for check, verdict in refusals.items():
        if not check.startswith(OWN) and plain(check) not in checks:
            raise SettingError(
                f"{where}: refuse_when has no check {check!r}. {nearest(plain(check), checks)}"
            )
        if verdict not in ("warn", "fail"):
            raise SettingError(
                f"{where}: refuse_when says {check} = {verdict!r}; expected warn or fail."
            )


def first_fitting(routes: Iterable[Route], facts: Facts) -> Route | None:
    """Return the first route that takes a series; None where none does, and for what this node or
    another one made, so that results never go in circles.
    """
    if facts.get("ours"):
        return None
    return next((route for route in routes if route.conditions().fits(facts)), None)
