"""Translation between modalities: MR in arbitrary units and CT in HU stand in one image, and each
result has its own units.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import veridical
from priors import BODY, volume, weights
from veridical.errors import InputError, SettingError, UnitsError
from veridical.io import bids
from veridical.tasks.translate import Translate


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return weights(tmp_path_factory.mktemp("weights"), BODY, ("translate-PET",))


def translate(path: str, to: str) -> Translate:
    return Translate(to=to, weights=path, draws=2, steps=2, device="cpu")


def test_pet_is_made_in_suv_from_mr_in_arbitrary_units_and_ct_in_hounsfield_units(
    path: str,
) -> None:
    image = volume(("T1w", "CT"))
    assert image.units == "mixed"
    found = translate(path, "PET")(image)
    assert (found.image.units, found.image.channels) == ("SUV", ("PET",))
    assert found.interval is not None


def test_a_shift_of_the_hounsfield_scale_changes_the_result_and_a_scale_of_mr_does_not(
    path: str,
) -> None:
    image = volume(("T1w", "CT"))
    factor, shift = (
        np.array(values, np.float32)[:, None, None, None] for values in ((7.0, 1.0), (0.0, 100.0))
    )
    plain = translate(path, "PET")(image).image.data
    np.testing.assert_allclose(
        translate(path, "PET")(replace(image, data=image.data * factor)).image.data,
        plain,
        atol=1e-3,
    )
    shifted = translate(path, "PET")(replace(image, data=image.data + shift)).image.data
    assert np.abs(shifted - plain).max() > 1e-2


def test_ct_and_pet_made_together_have_units_of_their_own_also_in_the_files(
    path: str, tmp_path: Path
) -> None:
    found = translate(path, "CT,PET")(volume(("T1w",)))
    files = bids.save(found, tmp_path, "sub-1")
    assert bids.load_provenance(tmp_path).image["units"] == {"CT": "HU", "PET": "SUV"}
    for role in ("estimate", "draws"):
        stored = veridical.read(files[role])
        assert stored.units == "mixed"
        assert [stored.units_of(name) for name in stored.channels][:2] == ["HU", "SUV"]
    np.testing.assert_array_equal(veridical.read(files["estimate"]).data, found.image.data)


def test_units_that_are_mixed_are_named_for_every_channel() -> None:
    with pytest.raises(UnitsError, match="every channel"):
        replace(volume(("T1w", "CT")), header={"units": {"T1w": "a.u."}})


def test_ct_is_the_usual_target_and_unknown_ones_are_refused(path: str) -> None:
    assert Translate().wanted(("T1w",), BODY) == ("CT",)
    with pytest.raises(SettingError, match="Did you mean 'PET'"):
        translate(path, "PT")(volume(("T1w",)))


@pytest.mark.parametrize(("channel", "units"), [("CT", "a.u."), ("PET", "Bq/ml")])
def test_ct_and_pet_in_other_units_are_refused(path: str, channel: str, units: str) -> None:
    image = volume(("T1w", channel))
    wrong = replace(image, header={"units": {**image.header["units"], channel: units}})
    with pytest.raises(UnitsError, match=f"{channel} is in '{units}'"):
        translate(path, "CT" if channel == "PET" else "PET")(wrong)


def test_what_was_measured_is_not_made(path: str) -> None:
    with pytest.raises(InputError, match="measured already"):
        translate(path, "CT")(volume(("T1w", "CT")))
