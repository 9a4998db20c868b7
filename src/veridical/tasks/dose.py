"""Dose: what conformal photon fields give a target and its surroundings, from CT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from veridical.errors import InputError, SettingError
from veridical.task import Progress, Task
from veridical.types import Array, Image, Interval, Result, Study

if TYPE_CHECKING:
    from veridical.models.dose_input import DoseInput
    from veridical.models.treatment_scan import TreatmentScan
    from veridical.physics.photon_dose import PhotonField

LEVEL = 0.9
ENGINE = "collapsed cones, 6 MV"
AGAINST = "against"
NO_EVIDENCE = "A dose is computed from the CT. What of that CT was imagined, its own evidence says."
NO_SAMPLES = (
    "The CT is taken as it is. For a synthetic CT give the folder of its result, whose draws then "
    "carry their spread into the dose: --samples FOLDER."
)
PROMISES = (
    "It carries the spread of the CT's draws into the dose, for one plan. It was not calibrated on "
    "patients, and knows no error of the dose engine or of the patient's position."
)


@dataclass(frozen=True)
class Dose(Task):
    """Compute the dose in Gy of 6 MV photon fields around a target, by collapsed cones.

    The plan is a standard one: fields of one weight, shaped after the target, scaled so that the
    target's mean dose is the prescribed one. Give a CT in HU and a mask of the target, or the DICOM
    folder of a CT with its RT Structure Set. With --against the same fields are computed on a
    second CT, which tells what the errors of a synthetic CT do to the dose. Research only: no
    machine was measured for this engine, and no patient may be treated by it.
    """

    takes: ClassVar[Literal["image", "visit", "raw", "study"]] = "visit"
    objects: ClassVar[bool] = True

    target: str = ""
    """Name of the target among the structures of the input, or a file with a mask of it; empty: the
    only structure that is there.
    """
    prescription: float = 60.0
    """Mean dose of the target, Gy."""
    angles: tuple[float, ...] = (0.0, 72.0, 144.0, 216.0, 288.0)
    """Gantry angles of the fields, degrees: 0 comes from the front, 90 from the patient's left."""
    margin: float = 8.0
    """mm between the target and the edge of a field, at the isocentre."""
    voxel: float = 3.0
    """mm of the voxels that the dose is computed on."""
    against: str = ""
    """File or DICOM series with another CT of the same patient, in the same frame: the same fields
    are computed on it and compared.
    """
    samples: str = ""
    """Folder of the result that made the CT: the dose of each of its draws gives the interval."""

    def __post_init__(self) -> None:
        if self.prescription <= 0 or not 1 <= self.voxel <= 10 or self.margin < 0:
            raise SettingError(
                f"prescription={self.prescription} Gy, voxel={self.voxel} mm, margin="
                f"{self.margin} mm were given; expected more than 0 Gy, 1 to 10 mm, 0 mm or more."
            )
        if not self.angles:
            raise SettingError("No gantry angle was given; expected at least one: --angles 0.")

    def apply(self, study: Study, seed: int, progress: Progress) -> Result:
        from veridical.models.dose_input import gathered
        from veridical.models.treatment_scan import TreatmentScan
        from veridical.tasks import dose_findings

        given = gathered(study, self.target, self.against, self.samples)
        scans = [given.ct, *given.draws, *([] if given.other is None else [given.other])]
        scan = TreatmentScan.of(scans, given.target, given.geometry, self.voxel)
        fields, doses = self.planned(scan, scans, given.target, progress)
        dose, samples = doses[0], doses[1 : 1 + len(given.draws)]
        band = _band(dose, samples)
        table = dose_findings.table(given, dose, samples)
        said = [*dose_findings.findings(given, scan, fields, dose, self.prescription)]
        also: dict[str, Result] = {}
        if given.other is not None:
            said += dose_findings.compared(given, dose, doses[-1])
            also[AGAINST] = self._other(given, doses[-1], dose_findings.table(given, doses[-1], []))
        absent = {"evidence": NO_EVIDENCE}
        if band is None:
            absent |= dict.fromkeys(("draws", "interval"), NO_SAMPLES)
        header = {"dvh": table, "fields": dose_findings.field_rows(fields)}
        return Result(
            Image(dose[None], given.geometry, "Gy", ("dose",), header),
            "point estimate",
            draws=None if band is None else np.stack(samples)[:, None],
            interval=band,
            findings=tuple(said),
            absent=absent,
            facts={"dvh": table, "fields": header["fields"], "target": given.name},
            also=also,
        )

    def planned(
        self, scan: TreatmentScan, scans: Sequence[Array], target: Array, progress: Progress
    ) -> tuple[list[PhotonField], list[Array]]:
        """Return the fields, whose units give the prescribed dose on the first scan, and the dose
        of each scan.
        """
        fields, doses, scale = scan.fields(self.angles, self.margin), list[Array](), np.float32(1)
        for number, ct in enumerate(scans):
            progress("dose", number, len(scans))
            doses.append(scan.dose(ct, fields) * scale)
            if number == 0:
                reached = float(doses[0][target].mean())
                if reached <= 0:
                    raise InputError("No field reaches the target; expected it inside of the body.")
                scale = np.float32(self.prescription / reached)
                doses[0] = doses[0] * scale
        progress("dose", len(scans), len(scans))
        return [replace(field, units=field.units * float(scale)) for field in fields], doses

    def _other(self, given: DoseInput, dose: Array, table: Mapping[str, Any]) -> Result:
        image = Image(dose[None], given.geometry, "Gy", ("dose",), {"dvh": table})
        absent = {"evidence": NO_EVIDENCE}
        absent |= dict.fromkeys(("draws", "interval"), "It is the dose on the CT compared with.")
        return Result(image, "point estimate", absent=absent)

    def of_visit(self, names: tuple[str, ...]) -> tuple[Task, tuple[str, ...], tuple[str, ...]]:
        return self, names, ("dose",)

    def model_and_weights(self) -> tuple[str, str]:
        return ENGINE, "none"


def spread_of(values: Array) -> tuple[Array, float]:
    """Return the standard deviation over the first axis, and by which factor of it a new value
    stays within at `LEVEL`: Student's t, as there are few.
    """
    from scipy.stats import t

    count = len(values)
    factor = float(t.ppf(0.5 + LEVEL / 2, count - 1)) * np.sqrt(1 + 1 / count)
    return np.asarray(values.std(0, ddof=1)), float(factor)


def _band(dose: Array, samples: Sequence[Array]) -> Interval | None:
    """Return the interval around a dose that the spread of its samples gives; None of fewer than
    two.
    """
    if len(samples) < 2:
        return None
    deviation, factor = spread_of(np.stack(samples))
    lower, upper = np.maximum(dose - factor * deviation, 0), dose + factor * deviation
    how = f"spread of the dose over {len(samples)} draws of the CT"
    return Interval(lower[None], upper[None], LEVEL, 0, how, PROMISES)
