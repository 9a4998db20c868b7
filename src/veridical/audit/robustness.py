"""Robustness: how much a result moves for how much its data moved, and how much a classical one
does.

Random changes are white noise on what was measured. The worst case is looked for without gradients,
so that any pipeline can be asked: responses to a few orthonormal changes give the worst of their
combinations to first order (the leading singular vector of the Jacobian on their span), from which
a random search goes on (as in SPSA, Spall 1992, 10.1109/9.119632, accepting what is better). What
is found is a lower bound of the worst case. Learned reconstructions have been called unstable
(Antun et al., PNAS 2020, 10.1073/pnas.1907377117); classical ones are too, so both are asked the
same.

It makes the result about 30 times again. So it runs only when it is asked for by name:
`veridical audit RESULT --checks robustness`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from veridical.audit.audited_study import Again, AuditedStudy
from veridical.audit.changed_input import data_of, norm, sampled, unrepeatable, with_data, with_scan
from veridical.audit.inputs import scan
from veridical.errors import VeridicalError
from veridical.physics.cartesian_mri import CartesianScan
from veridical.types import Array, Finding, Result, Study, Verdict

NAME = "robustness"
SHARE = 0.01
"""Norm of a change over that of the data."""
RANDOM, SMOOTH, STEPS = 3, 3, 3
"""White changes, changes that follow the data, and steps of the search for the worst."""
LIMITS = (2.0, 5.0)
"""Worst gain over that of the classical method: up to the first it passes, above the second it
fails.
"""
GAINS = (3.0, 10.0)
"""The same for the gain itself, where there is no classical method."""
DROPPED, NOISE, MAPS = 0.1, 0.02, 0.05
"""Share of the lines left out; noise over the norm of the data; error of the coil maps."""

Data = Mapping[str, Array]


@dataclass(frozen=True)
class Sensitivity:
    """How much one method moves.

    Args:
        random: relative change of the image over that of the data, mean over white changes.
        worst: the same, the largest that was found.
        scenarios: what was assumed otherwise -> relative change of the image.
    """

    random: float
    worst: float
    scenarios: Mapping[str, float]


def robustness(study: Study, result: Result) -> Finding | None:
    """Compare how a result and a classical one move; None unless it is asked for by name."""
    if not isinstance(study, AuditedStudy) or NAME not in study.asked or study.generated:
        return None
    lacking = unrepeatable(NAME, study, result)
    if lacking is not None or study.alone is None:
        return lacking
    data = data_of(study, result)
    own = sensitivity(study.alone, study, data)
    try:
        plain = None if study.classical is None else sensitivity(study.classical, study, data)
    except VeridicalError:  # the classical method is not for this job
        plain = None
    return _finding(own, plain)


def sensitivity(make: Again, study: Study, data: Data, seed: int = 0) -> Sensitivity:
    """Return how much the results of a method move.

    Args:
        make: the method.
        study: what it is applied to.
        data: of the study, by name.
        seed: of the changes and of the method.
    """
    rng = np.random.default_rng(seed)
    plain = make(study, seed).image.data.astype(np.float64)
    scale, size = norm(data), float(np.linalg.norm(plain))

    def response(direction: Array) -> Array:
        moved = _unpacked(direction * SHARE * scale, data)
        changed = with_data(study, {name: data[name] + moved[name] for name in data})
        return np.asarray(make(changed, seed).image.data - plain)

    def gain(answer: Array) -> float:
        return float(np.linalg.norm(answer)) / size / SHARE

    directions = _orthonormal(
        [_packed(_white(data, rng), data) for _ in range(RANDOM)]
        + [_packed(_following(data, rng), data) for _ in range(SMOOTH)]
    )
    answers = [response(one) for one in directions]
    random = float(np.mean([gain(answer) for answer in answers[:RANDOM]]))
    worst = _worst(directions, answers, response, gain, rng)
    scenarios = {
        name: float(np.linalg.norm(make(other, seed).image.data - plain)) / size
        for name, other in assumptions(study, data, rng).items()
    }
    return Sensitivity(random, worst, scenarios)


def _worst(
    directions: Sequence[Array],
    answers: Sequence[Array],
    response: Callable[[Array], Array],
    gain: Callable[[Array], float],
    rng: np.random.Generator,
) -> float:
    """Return the largest gain of the span of some directions, and of a search around it."""
    flat = np.stack([answer.ravel() for answer in answers])
    weights = np.linalg.eigh(flat @ flat.T)[1][:, -1]
    best = np.tensordot(weights, np.stack(directions), 1)
    most = max([gain(response(best)), *(gain(answer) for answer in answers)])
    for _ in range(STEPS):
        aside = np.tensordot(rng.standard_normal(len(directions)), np.stack(directions), 1)
        for sign in (1, -1):
            tried = best + sign * 0.5 * aside / np.linalg.norm(aside)
            tried /= np.linalg.norm(tried)
            reached = gain(response(tried))
            if reached > most:
                best, most = tried, reached
    return most


def assumptions(study: Study, data: Data, rng: np.random.Generator) -> dict[str, Study]:
    """Return the study under other assumptions than were made, by what is other."""
    level = NOISE * norm(data)
    noise = _white(data, rng)
    factor = level / norm(noise)
    found = {
        f"noise of {NOISE:.0%}": with_data(
            study, {name: data[name] + factor * noise[name] for name in data}
        )
    }
    raw = scan(study)
    if raw is None:
        found["shading of 10 %"] = with_data(
            study, {name: array * _shading(array.shape) for name, array in data.items()}
        )
        return found
    if isinstance(raw.operator, CartesianScan):
        columns = np.asarray(raw.operator.mask.any(axis=(0, 1)))
        dense = columns & np.roll(columns, 1) & np.roll(columns, -1)
        outer = np.flatnonzero(columns & ~dense)
        if not len(outer):
            outer = np.flatnonzero(columns)[:: max(1, len(columns) // 16)]
        gone = rng.choice(outer, max(1, round(DROPPED * len(outer))), replace=False)
        mask = raw.operator.mask.copy()
        mask[..., gone] = False
        other = replace(
            raw, data=raw.data * mask[:, None], operator=replace(raw.operator, mask=mask)
        )
        found[f"{DROPPED:.0%} of the outer lines missing"] = with_scan(study, other)
        maps = raw.operator.coils.maps
        if maps is not None:
            shape = (1, 1, maps.shape[2], 1, 1)
            wrong = rng.normal(1, MAPS, shape) * np.exp(1j * rng.normal(0, MAPS, shape))
            coils = replace(raw.operator.coils, maps=(maps * wrong).astype(np.complex64))
            other = replace(raw, operator=replace(raw.operator, coils=coils))
            found[f"coil maps wrong by {MAPS:.0%}"] = with_scan(study, other)
    return found


def _finding(own: Sensitivity, plain: Sensitivity | None) -> Finding:
    """Return the verdict in words."""
    value, limits = own.worst, GAINS
    if plain is not None:
        value, limits = own.worst / max(plain.worst, 1e-12), LIMITS
    verdict: Verdict = "pass" if value <= limits[0] else "warn" if value <= limits[1] else "fail"
    reason = (
        f"Where the data change by {SHARE:.0%} at random, the image changes by "
        f"{own.random * SHARE:.2%}; by the worst change that was found {own.worst * SHARE:.2%}."
    )
    evidence: dict[str, Any] = {"gain_random": own.random, "gain_worst": own.worst}
    if plain is None:
        reason += " There is no classical method of this job to compare with."
    else:
        reason += (
            f" The classical method: {plain.random * SHARE:.2%} and {plain.worst * SHARE:.2%}, so "
            f"the worst is {value:.1f} times as much (up to {limits[0]:g} passes)."
        )
        evidence |= {"classical_random": plain.random, "classical_worst": plain.worst}
        evidence["classical_scenarios"] = dict(plain.scenarios)
    told = "; ".join(
        f"{name}: {moved:.1%}"
        + ("" if plain is None else f" (classical {plain.scenarios[name]:.1%})")
        for name, moved in own.scenarios.items()
    )
    evidence["scenarios"] = dict(own.scenarios)
    return Finding(
        NAME, verdict, f"{reason} {told}. Worse changes may exist that were not tried.", evidence
    )


def _white(data: Data, rng: np.random.Generator) -> dict[str, Array]:
    """Return white noise where something was measured."""
    found = {}
    for name, array in data.items():
        noise = rng.standard_normal(array.shape)
        if np.iscomplexobj(array):
            noise = noise + 1j * rng.standard_normal(array.shape)
        found[name] = noise * sampled(array)
    return found


def _following(data: Data, rng: np.random.Generator) -> dict[str, Array]:
    """Return noise as strong as the data are, so that it hits what carries the image."""
    return {name: noise * np.abs(data[name]) for name, noise in _white(data, rng).items()}


def _shading(shape: Sequence[int]) -> Array:
    """Return a factor that rises by 10 % from one side to the other, over `(channel, x, y, z)`."""
    return np.asarray(np.linspace(0.95, 1.05, shape[1])[None, :, None, None])


def _packed(arrays: Data, like: Data) -> Array:
    """Return all numbers as one real vector of norm 1."""
    parts = []
    for name in like:
        array = arrays[name].ravel()
        parts += [array.real, array.imag] if np.iscomplexobj(like[name]) else [array.real]
    vector = np.concatenate(parts)
    return np.asarray(vector / np.linalg.norm(vector))


def _unpacked(vector: Array, like: Data) -> dict[str, Array]:
    """Return a real vector as arrays."""
    found, at = {}, 0
    for name, array in like.items():
        part = vector[at : at + array.size]
        at += array.size
        if np.iscomplexobj(array):
            part = part + 1j * vector[at : at + array.size]
            at += array.size
        found[name] = part.reshape(array.shape)
    return found


def _orthonormal(vectors: Sequence[Array]) -> list[Array]:
    """Return orthonormal vectors of the same span (Gram-Schmidt)."""
    found: list[Array] = []
    for vector in vectors:
        rest = vector - sum((float(vector @ other) * other for other in found), np.zeros(()))
        found.append(rest / np.linalg.norm(rest))
    return found
