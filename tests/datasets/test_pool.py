"""The pool of real training slices: only sets that may train, no held-out patient, scaled slices that show a head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from veridical.datasets import pool
from veridical.errors import InputError, SettingError

ROOTS = {"openms": "openms-", "ixi": "IXI", "sarcoma": "STS_"}


def test_an_unknown_set_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(SettingError, match="'openms'"):
        pool.load("openmss")


@pytest.mark.parametrize("source", ["ct_head_ge", "lgg_tcga", "kspace_brain_8ch", "cohort-b"])
def test_sets_that_may_not_train_are_refused(source: str) -> None:
    with pytest.raises(SettingError, match="No training set"):
        pool.load(source)


def test_a_folder_without_the_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERIDICAL_DATA", str(tmp_path))
    with pytest.raises(InputError, match="VERIDICAL_DATA"):
        pool.load("ixi")
    assert pool.load("ixi", validation=True) == []


@pytest.mark.real
@pytest.mark.parametrize("source", list(ROOTS))
def test_held_out_patients_never_enter_and_are_all_that_is_validated_on(
    source: str, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERIDICAL_DATA", str(real_data))
    opened: list[str] = []

    def note(path: Path, contrast: str, patient: str, views: tuple[int, ...]) -> list[pool.PoolSlice]:
        opened.append(patient)
        return [pool.PoolSlice(np.ones((4, 4), np.float16), contrast, patient)]

    monkeypatch.setattr(pool, "_slices", note)
    patients = {slice_.patient for slice_ in pool.load(source)}
    assert len(patients) >= 2
    assert all(name.startswith(ROOTS[source]) for name in patients)
    one = min(patients)
    opened.clear()
    assert {slice_.patient for slice_ in pool.load(source, (one,))} == patients - {one}
    assert one not in opened, "not even read"
    assert {slice_.patient for slice_ in pool.load(source, (one,), validation=True)} == {one}


@pytest.mark.real
def test_slices_are_scaled_show_something_and_stand_upright(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERIDICAL_DATA", str(real_data))
    path, contrast, patient, views = pool._ixi(real_data)[0]
    slices = pool._slices(path, contrast, patient, views)
    assert len(slices) > 20
    assert {slice_.contrast for slice_ in slices} == {"T1w"}
    for slice_ in slices:
        assert slice_.image.dtype == np.float16
        assert 0 <= slice_.image.min() <= slice_.image.max() <= 1.5
        assert (slice_.image > 0.1).mean() > 0.12
