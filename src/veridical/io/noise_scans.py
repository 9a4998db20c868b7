"""Noise-only acquisitions of an MR scan, and the noise level and covariance that they give the
data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from veridical.errors import FormatError
from veridical.types import Array, Noise

if TYPE_CHECKING:
    from veridical.physics.coils import Coils


@dataclass(frozen=True, eq=False)
class NoiseScan:
    """Samples taken without excitation.

    Args: samples: `(coil, sample)` complex. dwell: time of one sample in microseconds; None when
        not known. bandwidth: share of the nominal receiver bandwidth that noise passes
        (`relativeReceiverNoiseBandwidth`).
    """

    samples: Array
    dwell: float | None = None
    bandwidth: float = 1.0

    @classmethod
    def of_rows(cls, rows: Array, coils: int, bandwidth: float, path: Path) -> NoiseScan | None:
        """Return the ISMRMRD acquisitions that have these coils as one scan; None when there are
        too few samples.

        Raises:
            FormatError: NaN or infinite samples.
        """
        fitting = [
            row
            for row in rows
            if int(row["head"]["active_channels"]) == coils and len(row["data"]) >= 2 * coils
        ]
        fitting = [row for row in fitting if len(row["data"]) % (2 * coils) == 0]
        if not fitting:
            return None
        samples = np.concatenate(
            [
                row["data"].astype(np.float32).view(np.complex64).reshape(coils, -1)
                for row in fitting
            ],
            1,
        )
        if not np.isfinite(samples).all():
            raise FormatError(
                f"{path}: its noise acquisitions hold NaN or infinite samples; expected finite "
                "numbers."
            )
        dwell = float(fitting[0]["head"]["sample_time_us"])
        enough = samples.shape[1] >= 2 * coils and samples.any()
        return (
            cls(samples, dwell if dwell > 0 else None, bandwidth if bandwidth > 0 else 1.0)
            if enough
            else None
        )


def noise_of(
    scan: NoiseScan | None, header: Mapping[str, Any], coils: Coils
) -> tuple[Noise, Coils, list[str]]:
    """Return the noise of data, the coils with its covariance, and what is to be said of it.

    Noise power is inverse to the dwell time and to the number of averages. A receiver that passes
    less than its nominal bandwidth lets through less noise than the middle of its band has, where
    the image is.

    Args:
        scan: noise only; None when there is none, and the level is estimated later.
        header: of the data: `sample_time_us`, `averages`.
        coils: of the data.
    """
    from veridical.physics.coils import noise_covariance

    if scan is None:
        return Noise("gaussian"), coils, []
    here, averages = float(header.get("sample_time_us", 0.0)), float(header.get("averages", 1.0))
    known = bool(scan.dwell) and here > 0
    ratio = scan.dwell / here if scan.dwell and here > 0 else 1.0
    covariance = noise_covariance(scan.samples).numpy() * (ratio / scan.bandwidth / averages)
    level = float(np.sqrt(np.diagonal(covariance).real.mean() / 2))
    scaled = "scaled to the dwell time and averages of the data" if known else (
        "which was assumed to have the dwell time of the data, since the files do not say both"
    )  # fmt: skip
    said = (
        f"Noise level and covariance of the coils come from {scan.samples.shape[1]} noise samples "
        f"a coil, {scaled}."
    )
    return Noise("gaussian", level), replace(coils, covariance=covariance), [said]
