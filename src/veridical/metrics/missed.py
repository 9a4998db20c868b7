"""Missed structures: the reference has one, and the candidate holds not a voxel of it."""

from __future__ import annotations

from collections.abc import Sequence

from veridical.metrics import surfaces
from veridical.metrics.about import Facts
from veridical.types import Array

ABOUT = Facts(
    "missed", "1", "lower", "task", target="0; the mean over cases is the miss rate", worst=1.0,
    cites="Maier-Hein et al., Nature Methods 2024 (Metrics Reloaded)",
)  # fmt: skip


def missed(
    candidate_structure: Array, reference_structure: Array, spacing: Sequence[float]
) -> float:
    """Return 1 where the reference has the structure and the candidate does not touch it, else 0.

    Args:
        candidate_structure, reference_structure: bool `(x, y, z)`, of one shape.
        spacing: voxel size in mm; only checked.

    Raises:
        GeometryError, InputError, UnitsError: as `surfaces.check_structures`.
    """
    surfaces.check_structures(candidate_structure, reference_structure, spacing)
    return float(
        reference_structure.any() and not (candidate_structure & reference_structure).any()
    )
