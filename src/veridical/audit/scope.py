"""Scope: is this scan one of the kind that the model was trained on?

Descriptors of the scan are compared with those of training scans in two ways: by a Mahalanobis distance with shrunk
covariance, which sees broken relations, and by the largest single deviation, which many descriptors do not dilute. Both
are ranked among held-out training scans, and the more unusual rank gives a conformal p-value: one in twenty training-like
scans warns and one in a hundred fails, whatever the distribution of the descriptors. What it cannot see is a change that
moves none of the descriptors, or one into a gap between training kinds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from veridical.errors import CalibrationError, InputError, SettingError, nearest
from veridical.types import Array, Finding, Verdict

WARN, FAIL = 0.05, 0.01
LEAST = 99
STANDS_OUT = 3.0


@dataclass(frozen=True)
class Scope:
    """What training scans look like.

    Args:
        names: of the d descriptors.
        center: their medians.
        scale: their robust standard deviations: the larger of 1.4826 median absolute deviations and the 99th percentile of
            the absolute deviation over 2.576, so that descriptors of heavy tails do not drown the others.
        precision: `(d, d)`, the inverse of the shrunk covariance of the standardized descriptors.
        held_out: `(scan, 2)`, Mahalanobis distance and largest deviation of each held-out scan.
        fitted_on: what the scans were, in words.
    """

    names: tuple[str, ...]
    center: tuple[float, ...]
    scale: tuple[float, ...]
    precision: tuple[tuple[float, ...], ...]
    held_out: tuple[tuple[float, ...], ...]
    fitted_on: str

    @classmethod
    def fit(cls, descriptors: Array, names: tuple[str, ...], fitted_on: str, seed: int = 0) -> Scope:
        """Learn from half of the scans and calibrate on the other half.

        Args:
            descriptors: `(n, d)`, one row a patient: slices of one patient are not exchangeable with those of others.
            names: d of them.
            fitted_on: what the scans are, in words.
            seed: of the split into halves.

        Raises:
            InputError: shapes do not fit, or values are not finite.
            CalibrationError: fewer than 198 scans; a p-value of 0.01 needs 99 in the held-out half.
        """
        rows = np.asarray(descriptors, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != len(names) or not np.isfinite(rows).all():
            raise InputError(
                f"Descriptors of shape {rows.shape} with {len(names)} names; expected (scans, descriptors), all finite."
            )
        if len(rows) < 2 * LEAST:
            raise CalibrationError(f"{len(rows)} scans were given; scope needs {2 * LEAST} to say p <= {FAIL}. Simulate more.")
        rows = rows[np.random.default_rng(seed).permutation(len(rows))]
        learn, hold = rows[: len(rows) // 2], rows[len(rows) // 2 :]
        center = np.median(learn, axis=0)
        deviation = np.abs(learn - center)
        scale = np.maximum(1.4826 * np.median(deviation, axis=0), np.quantile(deviation, 0.99, axis=0) / 2.576)
        scale = np.maximum(scale, 1e-6 * np.maximum(1.0, np.abs(center)))
        precision = np.linalg.inv(shrunk_covariance((learn - center) / scale))
        held_out = _unusual((hold - center) / scale, precision)
        return cls(tuple(names), tuple(center.tolist()), tuple(scale.tolist()), _rows(precision), _rows(held_out), fitted_on)

    def __call__(self, descriptors: Mapping[str, float]) -> Finding:
        """Judge one scan.

        Returns:
            A finding: pass for p > 0.05, warn for p <= 0.05, fail for p <= 0.01; the reason names the descriptors beyond 3
            robust standard deviations. Evidence: `p`, `distance`, `held_out` (number of scans), `z` (every descriptor).

        Raises:
            InputError: a descriptor is missing, unknown or not finite.
        """
        if set(descriptors) != set(self.names):
            wrong = sorted(set(descriptors) ^ set(self.names))
            raise InputError(f"Descriptors {', '.join(wrong)} are missing or unknown. {nearest(wrong[0], self.names)}")
        values = np.array([descriptors[name] for name in self.names], dtype=np.float64)
        if not np.isfinite(values).all():
            raise InputError(f"A descriptor is not finite: {dict(descriptors)}. Check the scan for NaN or empty data.")
        z = (values - self.center) / self.scale
        found = _unusual(z[None], np.array(self.precision))
        together = np.concatenate([found, np.array(self.held_out)])
        ranks = np.stack([np.searchsorted(np.sort(column), column) for column in together.T]).max(0)
        further, scans = int(np.sum(ranks[1:] >= ranks[0])), len(self.held_out)
        p = (1 + further) / (1 + scans)
        verdict: Verdict = "fail" if p <= FAIL else "warn" if p <= WARN else "pass"
        order = np.argsort(-np.abs(z))
        out = [f"{self.names[i]} ({z[i]:+.1f} robust standard deviations)" for i in order if abs(z[i]) > STANDS_OUT][:4]
        reason = f"{further} of {scans} held-out training scans ({self.fitted_on}) are as unusual, p = {p:.2g}."
        if verdict != "pass":
            reason += (
                f" What stands out: {', '.join(out)}." if out else " No descriptor stands out alone: their combination does."
            )
        evidence = {
            "p": p,
            "distance": float(found[0, 0]),
            "held_out": scans,
            "z": dict(zip(self.names, z.tolist(), strict=True)),
        }
        return Finding("scope", verdict, reason, evidence)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values, for `from_dict`."""
        return {
            "names": list(self.names),
            "center": list(self.center),
            "scale": list(self.scale),
            "precision": [list(row) for row in self.precision],
            "held_out": [list(row) for row in self.held_out],
            "fitted_on": self.fitted_on,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Scope:
        """Read what `to_dict` wrote.

        Raises:
            SettingError: keys are unknown or missing.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        if set(values) != set(known):
            wrong = sorted(set(values) ^ set(known))
            raise SettingError(f"Scope entries {', '.join(wrong)} are missing or unknown. {nearest(wrong[0], known)}")
        center, scale = tuple(values["center"]), tuple(values["scale"])
        precision, held_out = _rows(values["precision"]), _rows(values["held_out"])
        return cls(tuple(values["names"]), center, scale, precision, held_out, values["fitted_on"])


def shrunk_covariance(rows: Array) -> Array:
    """Return the covariance about zero, shrunk towards a multiple of the identity.

    Ledoit and Wolf, Journal of Multivariate Analysis 2004 (10.1016/S0047-259X(03)00096-4).

    Args:
        rows: `(n, d)`, centred.

    Returns:
        `(d, d)`, positive definite.
    """
    n, d = rows.shape
    sample = rows.T @ rows / n
    mean = np.trace(sample) / d
    spread = float(((sample - mean * np.eye(d)) ** 2).sum())
    noise = float((np.einsum("ni,ni->n", rows, rows) ** 2).sum() / n - (sample**2).sum()) / n
    share = min(1.0, max(1e-6, noise / spread)) if spread > 0 else 1.0
    return np.asarray((1 - share) * sample + share * mean * np.eye(d))


def _unusual(z: Array, precision: Array) -> Array:
    """Return `(n, 2)`: Mahalanobis distance and largest deviation of standardized descriptors `(n, d)`."""
    return np.stack([np.sqrt(np.einsum("ni,ij,nj->n", z, precision, z)), np.abs(z).max(1)], axis=1)


def _rows(matrix: Array | Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(value) for value in row) for row in matrix)
