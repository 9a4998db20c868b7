"""Units of DICOM: SUV against the formula worked out by hand, CT without rescale, and what is
refused by name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicomfiles import PLACES, group, write_enhanced, write_pet
from pydicom.uid import EnhancedPETImageStorage
from rawfiles import write_series

from veridical.errors import UnitsError
from veridical.io.dicom import dicom

HALF_LIFE = 6586.2


@pytest.mark.parametrize(
    ("tracer", "changed", "elapsed"),
    [
        ({}, {}, 3600.0),
        (
            {"RadiopharmaceuticalStartTime": "233000"},
            {"SeriesTime": "003000", "AcquisitionTime": "003000"},
            3600.0,
        ),
        ({"RadiopharmaceuticalStartDateTime": "20191231220000"}, {}, 46800.0),
        ({}, {"SeriesTime": "130000"}, 3600.0),
        ({}, {"DecayCorrection": "ADMIN"}, 0.0),
    ],
    ids=["start", "over midnight", "date of the injection", "series made later", "admin"],
)
def test_activity_becomes_suv_by_weight_and_decayed_dose(
    tmp_path: Path, tracer: dict[str, Any], changed: dict[str, Any], elapsed: float
) -> None:
    values = write_pet(tmp_path, tracer, **changed)
    read = dicom(tmp_path)
    dose = 350e6 * 0.5 ** (elapsed / HALF_LIFE)
    np.testing.assert_allclose(read.data[0], values * 70_000 / dose, rtol=1e-5, atol=1e-7)
    assert (read.units, read.channels, read.header["units_source"]) == (
        "SUV",
        ("PET",),
        "computed from Bq/mL",
    )
    note = " ".join(read.header["notes"])
    assert "weight 70 kg, 350 MBq injected" in note
    assert changed.get("DecayCorrection", "START") in note
    assert "20200101" not in str(read.header)


def test_bq_ml_are_kept_when_asked_for(tmp_path: Path) -> None:
    values = write_pet(tmp_path)
    read = dicom(tmp_path, units="Bq/mL")
    np.testing.assert_allclose(read.data[0], values, rtol=1e-6)
    assert read.units == "Bq/mL"
    with pytest.raises(UnitsError, match=r"states its units, Bq/mL.*--units counts contradicts"):
        dicom(tmp_path, units="counts")


@pytest.mark.parametrize(
    ("tracer", "changed", "why"),
    [
        ({"RadionuclideTotalDose": None}, {}, "RadionuclideTotalDose not stated"),
        ({"RadionuclideHalfLife": 0}, {}, "RadionuclideHalfLife not stated"),
        ({"RadiopharmaceuticalStartTime": None}, {}, "RadiopharmaceuticalStartTime not stated"),
        (
            {"RadiopharmaceuticalStartTime": "120000"},
            {},
            "minutes after the injection, which cannot be",
        ),
        ({}, {"PatientWeight": None}, "PatientWeight not stated"),
        ({}, {"DecayCorrection": "NONE"}, "DecayCorrection is NONE"),
        ({}, {"Units": "CNTS"}, r"counts need the factor \(7053,1000\)"),
        ({}, {"Units": "PROPCPS"}, "not PROPCPS"),
    ],
)
def test_what_cannot_become_suv_stays_in_its_units_and_says_why(
    tmp_path: Path, tracer: dict[str, Any], changed: dict[str, Any], why: str
) -> None:
    write_pet(tmp_path, tracer, **changed)
    read = dicom(tmp_path)
    assert read.units in ("Bq/mL", "counts", "counts/s")
    with pytest.raises(UnitsError, match=why):
        dicom(tmp_path, units="SUV")
    assert "cannot be turned into SUV" in " ".join(read.header["notes"])


def philips(folder: Path, element: int, factor: float) -> None:
    for file in folder.iterdir():
        one = pydicom.dcmread(file)
        one.private_block(0x7053, "Philips PET Private Group", create=True).add_new(
            element, "DS", f"{factor:g}"
        )
        one.save_as(file)


def test_counts_of_philips_become_suv_by_its_factors(tmp_path: Path) -> None:
    values = write_pet(tmp_path / "suv", Units="CNTS")
    philips(tmp_path / "suv", 0x00, 0.0005)
    np.testing.assert_allclose(
        dicom(tmp_path / "suv").data[0], values * 0.0005, rtol=1e-5, atol=1e-7
    )
    values = write_pet(tmp_path / "activity", Units="CNTS", DecayCorrection="ADMIN")
    philips(tmp_path / "activity", 0x09, 2.5)
    read = dicom(tmp_path / "activity")
    np.testing.assert_allclose(read.data[0], values * 2.5 * 70_000 / 350e6, rtol=1e-5, atol=1e-7)
    assert read.units == "SUV"


def test_suv_by_lean_body_mass_are_not_called_suv(tmp_path: Path) -> None:
    write_pet(tmp_path, Units="GML", SUVType="LBM")
    assert dicom(tmp_path).units == "SUV LBM"


def test_enhanced_pet_takes_units_and_rescaling_from_its_real_world_values(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(0, 900, (5, 5, 7)).astype(np.int16)
    write_enhanced(
        tmp_path / "a.dcm",
        stored,
        [{"position": place} for place in PLACES],
        EnhancedPETImageStorage,
    )
    one = pydicom.dcmread(tmp_path / "a.dcm")
    one.Modality, code = "PT", group(CodeValue="g/ml{SUVbw}", CodingSchemeDesignator="UCUM")
    for item in one.PerFrameFunctionalGroupsSequence:
        item.RealWorldValueMappingSequence = group(
            RealWorldValueSlope=0.01, RealWorldValueIntercept=0.0, MeasurementUnitsCodeSequence=code
        )
    one.save_as(tmp_path / "a.dcm")
    read = dicom(tmp_path / "a.dcm")
    np.testing.assert_allclose(read.data[0], 0.01 * stored.transpose(2, 1, 0), rtol=1e-6)
    assert (read.units, read.channels) == ("SUV", ("PET",))


@pytest.mark.parametrize(("tag", "value"), [("RescaleIntercept", None), ("RescaleType", "US")])
def test_a_ct_that_does_not_state_hu_is_in_arbitrary_units_until_the_caller_says_so(
    tmp_path: Path, tag: str, value: str | None
) -> None:
    write_series(tmp_path, PLACES, **{tag: value})
    read = dicom(tmp_path)
    assert read.units == "a.u."
    assert "--units HU" in " ".join(read.header["notes"])
    assert dicom(tmp_path, units="HU").units == "HU"
