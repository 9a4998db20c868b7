"""Sequences on disk: what is written is read back, and what does not fit is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cines
from veridical.errors import FormatError, GeometryError, InputError
from veridical.io.cine import read_sequence, write_measurements
from veridical.io.files import write
from veridical.provenance import inputs
from veridical.types import Image, Measurement, Study


def written(folder: Path, study: Study) -> tuple[Path, Path]:
    reference, scan = (study.visit()[name] for name in ("reference", "frames"))
    assert isinstance(reference, Image)
    assert isinstance(scan, Measurement)
    return write(reference, folder / "reference.nii.gz"), write_measurements(
        scan, reference, folder / "frames.npz"
    )


@pytest.mark.parametrize("means", ["spokes", "projections", "surrogate"])
def test_what_is_written_is_read_back(means: str, tmp_path: Path) -> None:
    study = cines.study(means, 1)
    found = read_sequence(*written(tmp_path, study))
    for name in ("reference", "frames"):
        one, other = study.visit()[name], found.visit()[name]
        assert np.array_equal(one.data, other.data)
        assert one.header["times"] == pytest.approx(other.header["times"])
    assert {k: v for k, v in inputs(found).items() if "angles" not in k} == {
        k: v for k, v in inputs(study).items() if "angles" not in k
    }


def test_archives_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    reference, file = written(tmp_path, cines.study("spokes", 1))
    arrays = dict(np.load(file))

    def refused(error: type[Exception], match: str, **changed: object) -> None:
        kept = {k: v for k, v in (arrays | changed).items() if v is not None}
        np.savez(file, **kept)
        with pytest.raises(error, match=match):
            read_sequence(reference, file)

    refused(FormatError, "exactly one", kspace=None)
    refused(FormatError, "no trajectory", trajectory=None)
    refused(FormatError, "rising", times=arrays["times"][::-1])
    refused(FormatError, "one time in s each", reference_times=arrays["times"][:3])
    refused(GeometryError, "expected \\(frame, coil, sample\\)", kspace=arrays["kspace"][..., :9])
    refused(FormatError, "NaN", kspace=arrays["kspace"] * np.nan)
    refused(FormatError, "damaged", kspace=np.array([{}]))
    file.write_bytes(b"nothing")
    with pytest.raises(FormatError, match=r"no \.npz archive"):
        read_sequence(reference, file)
    with pytest.raises(InputError, match="does not exist"):
        read_sequence(reference, tmp_path / "gone.npz")
