"""Growth of a glioma: reaction and diffusion on a patient's own white and grey matter, under
surgery, radiotherapy and chemotherapy.

`dc/dt = div(D grad c) + rho c (1 - c) - k C(t) c`, no flux through skull and fluid; each fraction
of `d` Gy leaves `exp(-alpha d - beta d^2)` of the cells. Swanson et al., Cell Prolif 2000,
10.1046/j.1365-2184.2000.00177.x; Rockne et al., Phys Med Biol 2010, 10.1088/0031-9155/55/12/001. D
is the diagonal of a tensor on the axes of the grid: finite volumes with it conserve cells exactly
and never go below 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from veridical.compiled import njit
from veridical.errors import GeometryError, SettingError
from veridical.physics.treatment import Treatment

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

ALPHA_BETA = 10.0
"""Gray: ratio alpha/beta of the tumour."""
LONGEST = 15.0
"""Days of a step where nothing grows."""
SAFE = 0.9
"""Share of the longest stable step that is taken."""
FIBRES, FIBRE_WIDTH = 0.6, 3.0
"""Fall of diffusion across the border of white matter, where fibres are taken to run along it, and
the mm over which the border is felt (assumed: there is no diffusion tensor of the patient).
"""
SEED_WIDTH = 2.5
"""Standard deviation in mm of the cells a tumour starts with."""


@dataclass(frozen=True)
class Biology:
    """What a tumour does, and how it answers to treatment.

    Args:
        diffusion: in white matter, mm2/d.
        proliferation: 1/d.
        alpha: radiosensitivity, 1/Gy; beta is a tenth of it.
        kill: of the drug at concentration 1, 1/d.
        ratio: diffusion in white over that in grey matter.
        resistance: of each clone, the factor of its alpha and kill; one clone of 1 by default.
        clearance: days in which dead cells fall to 1/e; 0: they are gone at once.
    """

    diffusion: float
    proliferation: float
    alpha: float = 0.0
    kill: float = 0.0
    ratio: float = 10.0
    resistance: tuple[float, ...] = (1.0,)
    clearance: float = 0.0

    def __post_init__(self) -> None:
        said = (self.diffusion, self.proliferation, self.alpha, self.kill, self.clearance)
        if min(said) < 0 or self.ratio <= 0 or not self.resistance:
            raise SettingError(f"{self} has a negative rate; expected rates of 0 or more.")

    @property
    def speed(self) -> float:
        """Speed of the front in white matter, mm/d: `2 sqrt(D rho)`."""
        return float(2 * np.sqrt(self.diffusion * self.proliferation))

    def surviving(self, dose: float, clone: int = 0) -> float:
        """Return the share of cells that survives a fraction, linear-quadratic."""
        effect = self.alpha * (dose + dose**2 / ALPHA_BETA)
        return float(np.exp(-self.resistance[clone] * effect))


@dataclass(frozen=True)
class Steps:
    """How fine steps in time are.

    Args:
        growth: share by which a small tumour grows in a step at most; the error is of second order.
            The step is shorter where diffusion asks for it.
        fractions: days over which fractions are given together, at their end; 0: each on its day.
    """

    growth: float = 0.12
    fractions: float = 0.0

    def marks(self, treatment: Treatment, after: float, until: float) -> list[float]:
        """Return the days in `(after, until]` at which a span ends: all on which something happens
        or changes, and the last.
        """
        exact = {end for span in treatment.drug for end in span[:2]}
        exact |= {treatment.surgery} if treatment.surgery is not None else set()
        doses = {day for day, _ in treatment.fractions}
        if self.fractions:
            doses = {float(np.ceil(day / self.fractions) * self.fractions) for day in doses}
        return sorted({mark for mark in exact | doses if after < mark < until} | {until})[
            0 if until > after else 1 :
        ]


EXACT = Steps()


@dataclass(frozen=True, eq=False)
class Medium:
    """Where cells may go.

    Args:
        white, grey: `(3, x, y, z)` share of white and of grey matter at the face between a voxel
            and the next along each axis, 0 where no cell passes.
        inside: `(x, y, z)` bool, white or grey matter.
        spacing: voxel size, mm.
    """

    white: Floats
    grey: Floats
    inside: Mask
    spacing: float

    def faces(self, biology: Biology) -> Floats:
        """Return the diffusion through each face, `(3, x, y, z)` mm2/d."""
        white, grey = biology.diffusion, biology.diffusion / biology.ratio
        return np.asarray(self.white * np.float32(white) + self.grey * np.float32(grey))

    def without(self, cavity: Mask) -> Medium:
        """Return what is left once a cavity is cut out."""
        inside = self.inside & ~cavity
        open_ = _both(inside)
        return Medium(self.white * open_, self.grey * open_, inside, self.spacing)


def medium(white: Floats, grey: Floats, spacing: float, fibres: float = FIBRES) -> Medium:
    """Return the medium of a brain.

    Args:
        white, grey: `(x, y, z)` shares of each voxel, 0 to 1; what is less than half brain is
            skull, fluid or cavity.
        spacing: isotropic voxel size, mm.
        fibres: how much diffusion in white matter falls across its border (and rises along it);
            0 to below 1.

    Raises:
        GeometryError: shapes differ, or a side has fewer than three voxels.
    """
    if white.shape != grey.shape or white.ndim != 3 or min(white.shape) < 3:
        raise GeometryError(
            f"White matter {white.shape} and grey matter {grey.shape}; expected two volumes of one "
            "shape with three voxels or more a side."
        )
    total = white + grey
    inside = total > 0.5
    for axis in range(3):  # the outermost layer is a wall: loops need no bounds
        edge = np.moveaxis(inside, axis, 0)
        edge[0] = edge[-1] = False
    share = np.where(inside, white / np.maximum(total, 1e-6), 0).astype(np.float32)
    along = _along(white, spacing, fibres)
    open_ = _both(inside)
    faces = [np.stack([_faced(one, axis) for axis in range(3)]) for one in (share, 1 - share)]
    return Medium(faces[0] * along * open_, faces[1] * open_, inside, spacing)


def _along(white: Floats, spacing: float, fibres: float) -> Floats:
    """Return the factor `(3, x, y, z)` of diffusion along each axis; its sum over axes is 3."""
    if not fibres:
        return np.ones((3, *white.shape), np.float32)
    smooth = ndimage.gaussian_filter(white.astype(np.float32), FIBRE_WIDTH / spacing)
    slope = np.stack(np.gradient(smooth, spacing))
    steepest = 1 / (FIBRE_WIDTH * np.sqrt(2 * np.pi))
    normal = slope / np.float32(steepest)
    length = np.sqrt((normal**2).sum(0))
    normal /= np.maximum(length, 1.0)
    square = normal**2
    return np.asarray(1 + fibres * (square.sum(0) - 3 * square) / 2, np.float32)


def _faced(values: Floats, axis: int) -> Floats:
    """Return the mean of each voxel and the next along an axis; 0 at the end."""
    out = np.zeros_like(values)
    here, there, into = (np.moveaxis(one, axis, 0) for one in (values, values, out))
    into[:-1] = (here[:-1] + there[1:]) / 2
    return out


def _both(inside: Mask) -> Floats:
    """Return `(3, x, y, z)` 1 where a voxel and the next along an axis are inside."""
    out = np.zeros((3, *inside.shape), np.float32)
    for axis in range(3):
        here, into = np.moveaxis(inside, axis, 0), np.moveaxis(out[axis], axis, 0)
        into[:-1] = here[:-1] & here[1:]
    return out


@dataclass(frozen=True, eq=False)
class TumourState:
    """A tumour on a day.

    Args:
        day: since the first visit.
        cells: `(clone, x, y, z)` density, 1 is the most that tissue holds.
        dead: `(x, y, z)` dead cells that are still there.
        medium: where cells may go; a resection takes its cavity out.
        cavity: `(x, y, z)` bool, what was cut out.
    """

    day: float
    cells: Floats
    dead: Floats
    medium: Medium
    cavity: Mask

    @property
    def total(self) -> Floats:
        """Density of living cells of all clones, `(x, y, z)`."""
        return np.asarray(self.cells.sum(0))

    @property
    def seen(self) -> Floats:
        """Density that images show: living and dead cells."""
        return self.total + self.dead


def start(
    where: Medium, centre: Sequence[float] | Floats, day: float, shares: Sequence[float] = (1.0,)
) -> TumourState:
    """Return a tumour of a few cells.

    Args:
        where: the brain.
        centre: `(3,)` voxels, fractions allowed.
        day: on which it starts.
        shares: of the clones.
    """
    grids = np.ogrid[tuple(slice(n) for n in where.inside.shape)]
    square = sum((g - c) ** 2 for g, c in zip(grids, centre, strict=True)) * where.spacing**2
    density = np.exp(-square / (2 * SEED_WIDTH**2)) * where.inside * 0.5
    cells = np.stack([density * share for share in shares]).astype(np.float32)
    empty = np.zeros(where.inside.shape, bool)
    return TumourState(day, cells, np.zeros(empty.shape, np.float32), where, empty)


def grown(
    state: TumourState,
    biology: Biology,
    treatment: Treatment,
    days: Sequence[float],
    field: Floats | None = None,
    steps: Steps = EXACT,
) -> Iterator[TumourState]:
    """Yield the tumour at each of some days. What is done on a day is done before the tumour is
    seen on it; what was done on the day of `state` is over.

    Args:
        state: to start from.
        biology: of the tumour; as many clones as the state has.
        treatment: what happens.
        days: in order, none before the state's day.
        field: `(x, y, z)` dose relative to that prescribed; None: 1 everywhere.
        steps: how fine the steps in time are.

    Raises:
        SettingError: the days are not in order, or the clones do not fit.
    """
    if list(days) != sorted(days) or (len(days) and days[0] < state.day):
        raise SettingError(f"Days {list(days)} from day {state.day:g} on; expected them in order.")
    if len(biology.resistance) != len(state.cells):
        raise SettingError(
            f"The tumour has {len(state.cells)} clones, its biology {len(biology.resistance)}; "
            "expected as many."
        )
    faces = state.medium.faces(biology)
    longest = longest_step(biology, faces, state.medium.spacing, steps.growth)
    for day in days:
        for mark in steps.marks(treatment, state.day, day):
            before = state.day
            state = _untreated(state, biology, treatment, mark, faces, longest)
            if treatment.surgery is not None and before < treatment.surgery <= mark:
                state = resected(state, treatment.extent)
                faces = state.medium.faces(biology)
            doses = [dose for when, dose in treatment.fractions if before < when <= mark]
            state = _irradiated(state, biology, doses, field)
        yield state


def longest_step(biology: Biology, faces: Floats, spacing: float, growth: float) -> float:
    """Return the longest step in days that is stable, and in which a small tumour grows by the
    share `growth` at most.
    """
    fastest = 2 * float(faces.max(axis=(1, 2, 3)).sum())
    return min(
        LONGEST,
        growth / max(biology.proliferation, growth / LONGEST),
        SAFE * spacing**2 / max(fastest, 1e-9),
    )


def resected(state: TumourState, extent: float, threshold: float = 0.5) -> TumourState:
    """Return the tumour after a resection of `extent` of what lies above a density, from its
    deepest point outward; the cavity fills with fluid.
    """
    seen = state.seen
    target = (seen > threshold) & state.medium.inside
    count = round(extent * int(target.sum()))
    cavity = np.zeros(seen.shape, bool)
    if count:
        depth = np.where(target, ndimage.distance_transform_edt(target), 0).ravel()
        cavity.ravel()[np.argsort(-depth, kind="stable")[:count]] = True
    return replace(
        state,
        cells=np.where(cavity, np.float32(0), state.cells),
        dead=np.where(cavity, np.float32(0), state.dead),
        medium=state.medium.without(cavity),
        cavity=state.cavity | cavity,
    )


def _irradiated(
    state: TumourState, biology: Biology, doses: Sequence[float], field: Floats | None
) -> TumourState:
    """Return the tumour after fractions, Gy each; their linear-quadratic effects add up."""
    if not doses:
        return state
    linear, square = sum(doses), sum(dose**2 for dose in doses) / ALPHA_BETA
    effect = linear + square if field is None else linear * field + square * np.square(field)
    left = [
        one * np.exp(-r * biology.alpha * effect)
        for one, r in zip(state.cells, biology.resistance, strict=True)
    ]
    cells = np.asarray(left, np.float32)
    dead = state.dead + (state.cells - cells).sum(0) if biology.clearance else state.dead
    return replace(state, cells=cells, dead=dead)


def _untreated(
    state: TumourState,
    biology: Biology,
    treatment: Treatment,
    until: float,
    faces: Floats,
    longest: float,
) -> TumourState:
    """Return the tumour at the end of a span in which the drug's concentration does not change, in
    steps of `longest` days at most.
    """
    span = until - state.day
    if span <= 0:
        return state
    steps = int(np.ceil(span / longest))
    step = span / steps
    rate = biology.kill * treatment.concentration(state.day)
    rates = np.array([rate * r for r in biology.resistance])
    cells = state.cells.copy()
    _run(
        cells, faces, np.float32(step / state.medium.spacing**2), steps,
        np.float32(biology.proliferation * step), (rates * step).astype(np.float32),
    )  # fmt: skip
    dead = state.dead
    if biology.clearance:
        killed = sum(
            one * np.float32(1 - np.exp(-r * span))
            for one, r in zip(state.cells, rates, strict=True)
        )
        dead = (dead * np.float32(np.exp(-span / biology.clearance)) + killed).astype(np.float32)
    return replace(state, day=until, cells=cells, dead=dead)


@njit(nogil=True, error_model="numpy", fastmath=True)
def _react(cells, low, high, growth, kills):  # type: ignore[no-untyped-def]
    """Let cells divide (the exact logistic flow) and die, in a box."""
    more = np.exp(growth)
    less, left, one = more - np.float32(1.0), np.exp(-kills), np.float32(1.0)
    row = np.empty(cells.shape[3], np.float32)
    for i in range(low[0], high[0]):
        for j in range(low[1], high[1]):
            row[:] = 0
            for n in range(cells.shape[0]):
                for k in range(low[2], high[2]):
                    row[k] += cells[n, i, j, k]
            for k in range(low[2], high[2]):
                row[k] = more / (one + row[k] * less)
            for n in range(cells.shape[0]):
                for k in range(low[2], high[2]):
                    cells[n, i, j, k] *= row[k] * left[n]


@njit(nogil=True, error_model="numpy", fastmath=True)
def _diffuse(now, out, faces, scale, low, high):  # type: ignore[no-untyped-def]
    for i in range(low[0], high[0]):
        for j in range(low[1], high[1]):
            for k in range(low[2], high[2]):
                c = now[i, j, k]
                out[i, j, k] = c + scale * (
                    faces[0, i, j, k] * (now[i + 1, j, k] - c)
                    + faces[0, i - 1, j, k] * (now[i - 1, j, k] - c)
                    + faces[1, i, j, k] * (now[i, j + 1, k] - c)
                    + faces[1, i, j - 1, k] * (now[i, j - 1, k] - c)
                    + faces[2, i, j, k] * (now[i, j, k + 1] - c)
                    + faces[2, i, j, k - 1] * (now[i, j, k - 1] - c)
                )


@njit(nogil=True, error_model="numpy")
def _empty(plane):  # type: ignore[no-untyped-def]
    for n in range(plane.shape[0]):
        for i in range(plane.shape[1]):
            for j in range(plane.shape[2]):
                if plane[n, i, j] > np.float32(1e-8):
                    return False
    return True


@njit(nogil=True, error_model="numpy")
def _occupied(cells, low, high, margin):  # type: ignore[no-untyped-def]
    """Draw a box in about all cells, and let it grow by `margin` voxels."""
    while low[0] < high[0] and _empty(cells[:, low[0], low[1] : high[1], low[2] : high[2]]):
        low[0] += 1
    while low[0] < high[0] and _empty(cells[:, high[0] - 1, low[1] : high[1], low[2] : high[2]]):
        high[0] -= 1
    while low[1] < high[1] and _empty(cells[:, low[0] : high[0], low[1], low[2] : high[2]]):
        low[1] += 1
    while low[1] < high[1] and _empty(cells[:, low[0] : high[0], high[1] - 1, low[2] : high[2]]):
        high[1] -= 1
    while low[2] < high[2] and _empty(cells[:, low[0] : high[0], low[1] : high[1], low[2]]):
        low[2] += 1
    while low[2] < high[2] and _empty(cells[:, low[0] : high[0], low[1] : high[1], high[2] - 1]):
        high[2] -= 1
    for d in range(3):
        low[d] = max(1, low[d] - margin)
        high[d] = min(cells.shape[d + 1] - 1, high[d] + margin)


@njit(nogil=True, error_model="numpy")
def _run(cells, faces, scale, steps, growth, kills):  # type: ignore[no-untyped-def]
    """Let cells react for half a step, diffuse, and react for half a step, `steps` times."""
    margin = 4
    low = np.ones(3, np.int64)
    high = np.array([cells.shape[1] - 1, cells.shape[2] - 1, cells.shape[3] - 1])
    half = np.float32(0.5)
    other = cells.copy()
    now = cells
    for step in range(steps):
        if step % margin == 0:
            _occupied(now, low, high, margin)
        if step == 0:
            _react(now, low, high, half * growth, half * kills)
        for n in range(now.shape[0]):
            _diffuse(now[n], other[n], faces, scale, low, high)
        now, other = other, now
        part = half if step == steps - 1 else np.float32(1.0)
        _react(now, low, high, part * growth, part * kills)
    if steps % 2:
        cells[:] = now
