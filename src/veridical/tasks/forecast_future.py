"""The future of a patient whose visits were brought together: images, samples, volumes, lesions and
tumour at any later time, each with its spread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from veridical.errors import InputError
from veridical.models import lesion_course, tumour_course
from veridical.models.atrophy_rates import NAMES, RegionalRates, acceleration, population
from veridical.models.carried_image import Carried, fused, sampled
from veridical.models.lesion_course import LesionCourse
from veridical.models.shrunk_rates import DRIFT, RateCourse, shrunk, unshrunk
from veridical.models.tumour_course import CLASSES, TumourCourse, extent_of
from veridical.models.world import WorldModel
from veridical.phantoms.head_labels import LABELS
from veridical.tasks.forecast_conditions import YEAR, Conditions
from veridical.tasks.forecast_visits import Visits, lesions_of, on_grid
from veridical.types import Array, Geometry, Image

Floats = NDArray[np.float32]
Reals = NDArray[np.float64]
Images = dict[str, Floats]
Method = Literal["personal", "population", "linear", "last"]

MEMBERS = 32
"""Of the ensemble of a tumour."""
MANY = 2000
"""Draws from which intervals of volumes and counts are told."""
LEVEL = 0.9
BRAIN = "brain"
"""All regions but the ventricle."""


@dataclass(frozen=True, eq=False)
class Future:
    """What is believed of a patient from the last visit on.

    Args:
        visits: brought together.
        first, last: days of the first and the last visit.
        who: conditions.
        method: by which rates are found.
        widening: `(region,)` factor of the spread of volumes, from calibration patients.
        seed: of everything random.
    """

    visits: Visits
    first: float
    last: float
    who: Conditions
    method: Method
    widening: Reals
    seed: int

    @cached_property
    def target(self) -> Geometry:
        """The grid of the result: that of the first image of the last visit."""
        return next(iter(self.visits.last.images.values())).geometry

    @cached_property
    def course(self) -> RateCourse | None:
        """Rates of the regions; None where no head is seen.

        Raises:
            InputError: `linear` without a second visit that could be compared.
        """
        flow = self.visits.flow
        if flow is None:
            return None
        who, volumes = self.who, flow.volumes
        prior = population(who.age, who.sex, who.group, volumes)
        faster = acceleration(who.group, volumes)
        years, changes = self.visits.changes
        if self.method == "linear" and not changes:
            raise InputError(
                "A linear forecast needs two visits that share a contrast; there is one. Add an "
                "earlier visit, or leave --method out."
            )
        found = {
            "personal": lambda: shrunk(prior, faster, years, changes),
            "population": lambda: prior,
            "linear": lambda: unshrunk(0 * faster, years, changes),
            "last": lambda: RegionalRates(
                0 * prior.mean, prior.covariance + np.outer(prior.mean, prior.mean)
            ),
        }[self.method]()
        drift = DRIFT * np.sqrt(prior.mean**2 + np.diag(prior.covariance))
        bent = self.method in ("personal", "population")
        return RateCourse(found, faster if bent else 0 * faster, drift, self.widening)

    @cached_property
    def carried(self) -> Mapping[str, Carried]:
        """Every contrast on the day of the last visit, in its anatomy, on the result's grid."""
        found = {}
        names = dict.fromkeys(
            name for visit in reversed(self.visits.every) for name in visit.images
        )
        for name in names:
            having = [one for one in reversed(self.visits.every) if name in one.images]
            if self.method != "personal":
                having = having[:1]
            values = []
            for one in having:
                if one is not having[0] and one.displacement is None:
                    continue
                data = sampled(
                    one.images[name], self.target, one.matrix, one.displacement, self.visits.grid
                )
                if one.change is not None and name in one.change.shading:
                    shade = Image(
                        one.change.shading[name][None], self.visits.grid, "1", ("shading",)
                    )
                    data = data * on_grid(shade, self.target)
                values.append(data)
            found[name] = fused(values, [one.years for one in having[: len(values)]])
        return found

    @cached_property
    def lesions(self) -> LesionCourse | None:
        """New lesions; None where nobody marked any, or the patient has no multiple sclerosis."""
        if self.who.group != "multiple sclerosis":
            return None
        marked = [(one, lesions_of(one)) for one in self.visits.every]
        masks = [
            (
                self.last + one.years * YEAR,
                sampled_mask(mask, self.target, one.matrix),
            )
            for one, mask in marked
            if mask is not None
        ]
        if not masks or masks[-1][0] != self.last:
            return None
        return lesion_course.course(masks, self.target.spacing, self.who.prevented)

    @cached_property
    def tumour(self) -> TumourCourse | None:
        """The tumour; None where no label map shows one."""
        flow, scans = self.visits.flow, {}
        for one in self.visits.every:
            if one.labels is not None and flow is not None:
                day = self.last + one.years * YEAR - self.first
                scans[day] = extent_of(np.asarray(one.labels.data[0]), LABELS, one.labels.geometry)
        if flow is None or not any(one.enhancing >= tumour_course.TOLD for one in scans.values()):
            return None
        return tumour_course.course(
            scans, flow, self.visits.grid, self.who.treatment, self.who.genes.known,
            WorldModel(MEMBERS, seed=self.seed),
        )  # fmt: skip

    def images(
        self, days: float, count: int
    ) -> tuple[dict[str, Floats], dict[str, Floats], Floats]:
        """Return estimate and spread of each contrast `(x, y, z)`, and samples
        `(draw, contrast, x, y, z)`.

        Args:
            days: after the last visit.
            count: samples, 2 or more.
        """
        years, flow, grid = days / YEAR, self.visits.flow, self.visits.grid
        rng = np.random.default_rng((self.seed, 1))
        course, nothing = self.course, np.zeros(len(NAMES))
        mean = nothing if course is None or days == 0 else course.change(years)
        drawn = (
            np.zeros((count, len(NAMES)))
            if course is None or days == 0
            else course.drawn(years, rng, count)
        )
        shown = [
            None if flow is None or not change.any() else flow.displacement(change, -1.0)
            for change in (mean, *drawn)
        ]
        estimate: dict[str, Floats] = {}
        samples = np.empty((count, len(self.carried), *self.target.shape), np.float32)
        for place, (name, one) in enumerate(self.carried.items()):
            image = Image(one.data[None], self.target, "a.u.", (name,))
            made = [sampled(image, self.target, None, back, grid) for back in shown]
            estimate[name] = made[0]
            samples[:, place] = made[1:]
        if days > 0:
            self._paint_tumour(days, estimate, samples)
            self._paint_lesions(years, samples, rng)
        spread = {
            name: self.carried[name].spread(years, np.var(samples[:, place], axis=0, ddof=1))
            for place, name in enumerate(self.carried)
        }
        return estimate, spread, samples

    def volumes(self, days: float) -> dict[str, dict[str, float]]:
        """Return quantity -> what it is now, its forecast with interval, and its rate a year."""
        flow, course = self.visits.flow, self.course
        if flow is None or course is None:
            return {}
        years, now = days / YEAR, flow.volumes
        rng = np.random.default_rng((self.seed, 2))
        change = np.zeros((MANY, len(NAMES))) if days == 0 else course.drawn(years, rng, MANY)
        then = now * np.exp(change)
        tissue = [place for place, name in enumerate(NAMES) if name != "lateral ventricle"]
        middle = now * np.exp(course.change(years))
        table = {}
        for name, places in [(BRAIN, tissue), *((n, [p]) for p, n in enumerate(NAMES))]:
            start, values = float(now[places].sum()), then[:, places].sum(1)
            if start <= 0:
                continue
            low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
            end = float(middle[places].sum())
            table[name] = {
                "now_ml": start,
                "then_ml": end,
                "lower_ml": float(low),
                "upper_ml": float(high),
                **({"percent_a_year": 100 * np.log(end / start) / years} if years else {}),
            }
        return table

    def counts(self, days: float) -> dict[str, dict[str, float]]:
        """Return new lesions until then and the lesions' volume, with intervals."""
        one = self.lesions
        if one is None:
            return {}
        rng = np.random.default_rng((self.seed, 3))
        until = lesion_course.worth(self.last, self.last + days, self.who.prevented)
        new = one.drawn(until, rng, MANY)
        tail = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
        amount = one.volume + one.each * new
        found = {}
        for name, now, values in (("new lesions", 0.0, new), ("lesions_ml", one.volume, amount)):
            low, high = np.quantile(values, tail)
            found[name] = {
                "now": now, "then": float(values.mean()), "lower": float(low), "upper": float(high)
            }  # fmt: skip
        return found

    def extents(self, days: float) -> dict[str, dict[str, float]]:
        """Return ml of enhancing and of visible tumour, with intervals."""
        one = self.tumour
        if one is None:
            return {}
        today = self.last - self.first
        fan = one.fan([today, today + days] if days else [today])
        found = {}
        for name in ("enhancing", "visible"):
            low, high = fan.interval(LEVEL, name)
            middle = fan.median(name)
            found[name] = {
                "now_ml": float(middle[0]), "then_ml": float(middle[-1]),
                "lower_ml": float(low[-1]), "upper_ml": float(high[-1]),
            }  # fmt: skip
        return found

    def _paint_tumour(self, days: float, estimate: dict[str, Floats], samples: Floats) -> None:
        """Paint tissue that becomes tumour, another part of it, or is freed from it."""
        one = self.tumour
        if one is None:
            return
        grid, today = self.visits.grid, self.last - self.first
        now, then = (one.classes(day, grid.shape, MEMBERS) for day in (today, today + days))
        values = self._brightness()
        for part in range(len(CLASSES) + 1):
            turned = (then == part) & (now != part)
            share = on_grid(Image(turned.mean(0)[None], grid, "1", ("share",)), self.target)
            for place, name in enumerate(estimate):
                level = values[name][part]
                if not np.isfinite(level) or not share.any():
                    continue
                estimate[name] = estimate[name] * (1 - share) + share * np.float32(level)
                for draw, sample in enumerate(samples[:, place]):
                    mask = turned[draw % MEMBERS].astype(np.float32)[None]
                    where = on_grid(Image(mask, grid, "1", ("mask",)), self.target)
                    sample[:] = sample * (1 - where) + where * np.float32(level)

    def _brightness(self) -> dict[str, list[float]]:
        """Return contrast -> brightness of healthy white matter and of each part of a tumour at the
        last visit that shows it; NaN where none does.
        """
        found: dict[str, list[float]] = {}
        parts = ("white matter", *CLASSES)
        for name in self.carried:
            levels = [float("nan")] * len(parts)
            for visit in self.visits.every:
                if visit.labels is None or name not in visit.images:
                    continue
                data = on_grid(visit.images[name], visit.labels.geometry)
                labels = np.asarray(visit.labels.data[0])
                for place, part in enumerate(parts):
                    where = labels == LABELS.index(part)
                    if where.sum() > 3:
                        levels[place] = float(np.median(data[where]))
            found[name] = levels
        return found

    def _paint_lesions(self, years: float, samples: Floats, rng: np.random.Generator) -> None:
        """Add the new lesions of each sample: balls in white matter as bright as those of today."""
        one, flow = self.lesions, self.visits.flow
        mask = lesions_of(self.visits.last)
        if one is None or flow is None or mask is None or not one.now:
            return
        until = lesion_course.worth(self.last, self.last + years * YEAR, self.who.prevented)
        white = Image(flow.shares["white matter"][None], self.visits.grid, "1", ("white",))
        places = np.argwhere(on_grid(white, self.target) > 0.8)
        today = sampled_mask(mask, self.target, None)
        if not len(places) or not today.any():
            return
        levels = [float(np.median(one.data[today])) for one in self.carried.values()]
        radius = np.cbrt(3000 * one.each / (4 * np.pi))
        size = np.array(self.target.spacing)
        reach = np.ceil(radius / size).astype(int)
        offsets = np.stack(np.meshgrid(*[np.arange(-r, r + 1) for r in reach], indexing="ij"), -1)
        ball = offsets[np.linalg.norm(offsets * size, axis=-1) <= radius]
        for sample, number in zip(samples, one.drawn(until, rng, len(samples)), strict=True):
            for middle in places[rng.integers(len(places), size=number)]:
                at = middle + ball
                at = at[((at >= 0) & (at < self.target.shape)).all(1)]
                for channel, level in zip(sample, levels, strict=True):
                    channel[tuple(at.T)] = level


def sampled_mask(mask: Image, target: Geometry, matrix: Array | None) -> NDArray[np.bool_]:
    """Return a mask on another grid."""
    if mask.geometry.matches(target) and (matrix is None or np.allclose(matrix, np.eye(4))):
        return np.asarray(mask.data[0]) > 0.5
    return on_grid(mask, target, matrix) > 0.5


def crossing(future: Future, name: str, share: float, longest: float) -> tuple[float, float, float]:
    """Return years until a region has changed by a share, as lower end, median and upper end of an
    interval; infinite where that does not come within `longest` years.

    Args:
        future: of the patient, with a course.
        name: of the region, or `brain`.
        share: -0.1 for a loss of 10 per cent.
        longest: years.
    """
    flow, course = future.visits.flow, future.course
    if flow is None or course is None:
        return (float("inf"),) * 3
    years = np.linspace(0, longest, 121)[1:]
    names = [n for n in NAMES if n != "lateral ventricle"] if name == BRAIN else [name]
    places = [NAMES.index(one) for one in names]
    weights = flow.volumes[places] / max(float(flow.volumes[places].sum()), 1e-9)
    noise = np.random.default_rng((future.seed, 4)).standard_normal((MANY, len(NAMES)))
    first = np.full(MANY, np.inf)
    for year in years[::-1]:
        root = np.linalg.cholesky(course.covariance(year) + 1e-14 * np.eye(len(NAMES)))
        change = course.change(year) + noise @ root.T
        total = np.exp(change[:, places]) @ weights - 1
        reached = total <= share if share < 0 else total >= share
        first[reached] = year
    ends = np.sort(first)[[round(q * (MANY - 1)) for q in ((1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2)]]
    return float(ends[0]), float(ends[1]), float(ends[2])
