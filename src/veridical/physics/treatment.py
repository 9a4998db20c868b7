"""What is done to a tumour and when: surgery, fractions of radiotherapy, days of chemotherapy."""

from __future__ import annotations

from dataclasses import dataclass, replace

from veridical.errors import SettingError

WEEK = 7
WORKDAYS = 5
LATE = 3.0
"""Gray: ratio alpha/beta of late effects in the brain, the convention of radiotherapy."""


@dataclass(frozen=True)
class Treatment:
    """A schedule; days count from the first visit.

    Args:
        fractions: `(day, Gy)` of radiotherapy.
        drug: `(first day, day after the last, concentration)`, spans in which a drug is at work;
            concentration 1 is that of 150 mg/m2 of temozolomide a day.
        surgery: day of the resection, or None.
        extent: share of the enhancing tumour that the resection takes.
        name: of the schedule.
    """

    fractions: tuple[tuple[float, float], ...] = ()
    drug: tuple[tuple[float, float, float], ...] = ()
    surgery: float | None = None
    extent: float = 0.95
    name: str = "none"

    def __post_init__(self) -> None:
        if any(dose < 0 for _, dose in self.fractions):
            raise SettingError("A fraction has a negative dose; expected 0 Gy or more.")
        if any(end <= start or level < 0 for start, end, level in self.drug):
            raise SettingError(
                "A span of a drug ends before it starts, or has a negative concentration; expected "
                "(first day, day after the last, concentration)."
            )
        if not 0 <= self.extent <= 1:
            raise SettingError(f"extent = {self.extent:g} was given; expected 0 to 1.")

    @property
    def total(self) -> float:
        """Total dose, Gy."""
        return sum(dose for _, dose in self.fractions)

    @property
    def late_effect(self) -> float:
        """Biologically effective dose to the normal brain, Gy: `n d (1 + d / 3)`; 60 Gy in
        fractions of 2 Gy have 100 (Fowler, Br J Radiol 1989, 10.1259/0007-1285-62-740-679).
        """
        return sum(dose * (1 + dose / LATE) for _, dose in self.fractions)

    def concentration(self, day: float) -> float:
        """Return the concentration of the drug on a day."""
        return sum(level for start, end, level in self.drug if start <= day < end)

    def until(self, day: float) -> Treatment:
        """Return what was done before a day."""
        return replace(
            self,
            fractions=tuple(one for one in self.fractions if one[0] < day),
            drug=tuple((s, min(e, day), c) for s, e, c in self.drug if s < day),
            surgery=self.surgery if self.surgery is not None and self.surgery < day else None,
        )

    def then(self, other: Treatment) -> Treatment:
        """Return this treatment followed by another; the other's surgery counts, if it has one."""
        operated = self if other.surgery is None else other
        return Treatment(
            tuple(sorted((*self.fractions, *other.fractions))),
            tuple(sorted((*self.drug, *other.drug))),
            operated.surgery,
            operated.extent,
            other.name,
        )

    def scaled(self, share: float) -> Treatment:
        """Return the schedule with every fraction times `share`."""
        doses = tuple((day, dose * share) for day, dose in self.fractions)
        return replace(self, fractions=doses)


def weekdays(start: float, count: int, a_week: int = WORKDAYS) -> tuple[float, ...]:
    """Return the days of `count` fractions, `a_week` of them a week with the weekend off."""
    return tuple(start + WEEK * (n // a_week) + n % a_week for n in range(count))


def radiotherapy(
    start: float, count: int, dose: float, a_week: int = WORKDAYS, name: str = ""
) -> Treatment:
    """Return `count` fractions of `dose` Gy from a day on."""
    days = weekdays(start, count, a_week)
    return Treatment(tuple((day, dose) for day in days), name=name or f"{count} x {dose:g} Gy")


def temozolomide(start: float, cycles: int = 6, concurrent: float = 0.0) -> Treatment:
    """Return temozolomide: `concurrent` days at 75 mg/m2 beside radiotherapy, four weeks of pause,
    then cycles of 5 days in 28 at 150 mg/m2 (Stupp et al., N Engl J Med 2005,
    10.1056/NEJMoa043330).
    """
    spans = [(start, start + concurrent, 0.5)] if concurrent else []
    first = start + concurrent + (28.0 if concurrent else 0.0)
    spans += [(first + 28.0 * n, first + 28.0 * n + 5.0, 1.0) for n in range(cycles)]
    return Treatment(drug=tuple(spans), name="temozolomide")


def standard(start: float, cycles: int = 6) -> Treatment:
    """Return the standard after Stupp: 30 x 2 Gy on weekdays with temozolomide, then cycles."""
    both = radiotherapy(start, 30, 2.0).then(temozolomide(start, cycles, 42.0))
    return replace(both, name="standard")


def equal_doses(start: float, cycles: int = 6) -> tuple[Treatment, ...]:
    """Return schedules of 60 Gy, none with more late effect on the brain than the standard, all
    with the same temozolomide. The standard is the first.
    """
    drug = temozolomide(start, cycles, 42.0)
    halves = radiotherapy(start, 15, 2.0), radiotherapy(start + 91, 15, 2.0)
    boost = radiotherapy(start, 20, 2.0), radiotherapy(start + 84, 10, 2.0, 1)
    kinds = {
        "30 x 2 Gy, three a week": radiotherapy(start, 30, 2.0, 3),
        "30 x 2 Gy, weekly": radiotherapy(start, 30, 2.0, 1),
        "50 x 1.2 Gy": radiotherapy(start, 50, 1.2),
        "two halves, 13 weeks apart": halves[0].then(halves[1]),
        "40 Gy, then 10 weekly fractions": boost[0].then(boost[1]),
    }
    named = [replace(one.then(drug), name=name) for name, one in kinds.items()]
    return (standard(start, cycles), *named)
