"""Points of the dose-volume histogram (ICRU Report 83, J ICRU 2010;10(1)): D95, D2cc, Dmean, V20Gy
and the like.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from veridical.errors import InputError, SettingError
from veridical.metrics.about import Facts, region
from veridical.metrics.surfaces import check_spacing
from veridical.types import Array

ABOUT = Facts(
    "DVH difference",
    "Gy (D) or % (V)",
    "lower",
    "task",
    cites="ICRU Report 83: Prescribing, recording, and reporting photon-beam intensity-modulated "
    "radiation therapy. "
    "J ICRU 2010;10(1).",
)

POINT = re.compile(
    r"(?:D(?P<named>min|mean|max)|D(?P<amount>\d+(?:\.\d+)?)(?P<unit>%|cc)?|V(?P<dose>\d+(?:\.\d+)?)Gy)"
)


def dose_volume(
    candidate_dose: Array,
    reference_dose: Array,
    spacing: Sequence[float],
    *,
    mask: Array,
    point: str = "D95",
) -> float:
    """Return the absolute difference of one point of the two dose-volume histograms of a structure.

    Args:
        candidate_dose, reference_dose: `(x, y, z)` in Gy.
        spacing: voxel size in mm.
        mask: bool `(x, y, z)`, the structure.
        point: as in `dvh_point`.

    Returns:
        Gy for D points, percentage points of the structure's volume for V points.

    Raises: GeometryError: shapes differ. InputError: NaN or infinity, an empty structure, or one
        that is smaller than the volume asked for. UnitsError: spacing is not three numbers above 0.
        SettingError: an unknown point.
    """
    region(mask, candidate_dose, reference_dose)
    return abs(
        dvh_point(candidate_dose, spacing, mask=mask, point=point)
        - dvh_point(reference_dose, spacing, mask=mask, point=point)
    )


def dvh_point(dose: Array, spacing: Sequence[float], *, mask: Array, point: str) -> float:
    """Return one point of the dose-volume histogram of a structure.

    Args: dose: `(x, y, z)` in Gy. spacing: voxel size in mm. mask: bool `(x, y, z)`, the structure.
        point: `D95` (or `D95%`), the dose that the hottest 95 % of the volume reach; `D2cc`, the
        same for 2 cm3; `Dmin`, `Dmean`, `Dmax`; `V20Gy`, the share of the volume that gets 20 Gy or
        more.

    Returns:
        Gy for D points, % of the structure's volume for V points.

    Raises:
        GeometryError, InputError, UnitsError, SettingError: as `dose_volume`.
    """
    found = POINT.fullmatch(point)
    if not found or (float(found["amount"] or 0) > 100 and found["unit"] != "cc"):
        raise SettingError(
            f"No point of a dose-volume histogram is called {point!r}. Known: D95 or D95% (any "
            "percent to 100), D2cc, Dmin, "
            "Dmean, Dmax, V20Gy (any dose)."
        )
    check_spacing(spacing)
    region(None, dose)
    doses = np.asarray(dose, dtype=np.float64)[region(mask, dose)]
    if found["named"]:
        return float(getattr(doses, found["named"])())
    if found["dose"]:
        return 100.0 * float(np.mean(doses >= float(found["dose"])))
    percent = float(found["amount"])
    if found["unit"] == "cc":
        volume = doses.size * float(np.prod(spacing)) / 1000
        if percent > volume:
            raise InputError(
                f"{point} asks for {percent:g} cm3 of a structure of {volume:g} cm3. Ask for less, "
                "or for Dmin."
            )
        percent *= 100 / volume
    return float(np.percentile(doses, 100 - percent))
