"""Laws of clean volumes: their scale, dark air, what painted images show, and sets refused by
name.
"""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

import toys
from veridical.errors import InputError, SettingError
from veridical.preprocessing.preprocessing import Preprocessing
from veridical.preprocessing.tissue_level import tissue_level
from veridical.training import clean_volumes as module
from veridical.training.clean_volumes import (
    AIR_HU,
    BRIGHTEST,
    SOURCES,
    brightened,
    clean_volumes,
    contrast_of_labels,
    ct_of_labels,
    density,
    normalized,
    paint,
)


def labels() -> np.ndarray:
    """Nested boxes: air, then bone, fat, fluid and two tissues."""
    found = np.zeros((24, 32, 28), np.int16)
    for step, value in enumerate((51, 48, 3, 10, 20), 4):
        found[step:-step, step + 1 : -step - 1, step:-step] = value
    return found


def percentile(image: np.ndarray) -> float:
    return float(np.percentile(image[image > 0.1 * np.percentile(image, 99)], 99))


@pytest.mark.parametrize("factor", [1e-3, 1.0, 4000.0])
def test_mr_is_scaled_by_its_inner_tissue_and_all_else_by_what_is_bright(factor: float) -> None:
    image = factor * np.random.default_rng(0).gamma(3.0, 1.0, (8, 30, 30)) - factor
    for scaled in (normalized, brightened):
        found = scaled(image)
        assert found.dtype == np.float32
        assert 0 <= found.min() <= found.max() <= BRIGHTEST
        np.testing.assert_allclose(scaled(7 * image), found, rtol=1e-4, atol=1e-6)
    assert tissue_level(normalized(image)) == pytest.approx(Preprocessing().tissue, rel=1e-3)
    assert percentile(brightened(image)) == pytest.approx(1, abs=1e-3)


def test_the_density_of_ct_is_zero_in_air_and_keeps_the_ratios_of_attenuation() -> None:
    hounsfield = np.full((4, 20, 20), AIR_HU)
    hounsfield[:, 4:16, 4:16], hounsfield[:, 8:10, 8:10] = 0.0, 500.0
    found = density(hounsfield)
    assert not found[:, 0].any()
    assert found[0, 8, 8] / found[0, 5, 5] == pytest.approx(1.5, rel=1e-4)


@pytest.mark.parametrize("values", [contrast_of_labels, ct_of_labels])
@pytest.mark.parametrize("seed", range(3))
def test_a_painted_image_shows_what_was_painted_and_its_air_is_zero(
    values: object, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    means, texture = values(rng)  # type: ignore[operator]
    found = paint(labels(), (means, texture), rng)
    assert found.shape == labels().shape
    assert found.dtype == np.float32
    inside = found[9:-9, 11:-11, 9:-9]
    assert np.median(inside) == pytest.approx(float(means[20]), rel=0.3, abs=0.05)
    assert float(found[0].max()) < 1e-3
    assert float(found[:, 0].max()) < 1e-3


def test_bone_is_bright_in_painted_ct_and_dark_in_painted_mr() -> None:
    shell = labels() == 51
    inside = labels() == 20
    for seed in range(4):
        ct, mr = (
            paint(labels(), values(np.random.default_rng(seed)), np.random.default_rng(seed))
            for values in (ct_of_labels, contrast_of_labels)
        )
        assert ct[shell].mean() > 1.05 * ct[inside].mean()
        assert mr[shell].mean() < ct[shell].mean()


def test_labels_of_one_number_have_one_mean_and_a_texture() -> None:
    rng = np.random.default_rng(1)
    mean, texture = contrast_of_labels(rng)
    texture[:] = 0
    flat = paint(labels(), (mean, texture), np.random.default_rng(0))
    assert flat[11:13, 15:17, 13:15].std() < 1e-5
    texture[20] = 0.05
    assert (
        paint(labels(), (mean, texture), np.random.default_rng(0))[11:13, 15:17, 13:15].std() > 1e-3
    )


def test_real_files_are_found_in_the_folder_of_real_data_and_turned_thick_axis_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = np.random.default_rng(0).gamma(3.0, 1.0, (20, 22, 9)).astype(np.float32)
    path = tmp_path / "data" / "ixi_t1_2mm" / "nifti" / "IXI012-HH-1211-T1.nii.gz"
    path.parent.mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image(data, np.diag([1.0, 1.0, 4.0, 1.0])), path)
    monkeypatch.setenv("VERIDICAL_DATA", str(tmp_path / "data"))
    (volume,) = clean_volumes("ixi")
    assert (volume.patient, volume.source, volume.isotropic, volume.deep) == (
        "IXI012",
        "ixi",
        False,
        True,
    )
    assert volume.image.shape == (9, 22, 20)
    np.testing.assert_allclose(
        volume.image, normalized(np.transpose(data, (2, 1, 0))[:, ::-1]), atol=1e-5
    )


def test_a_set_that_is_not_there_and_one_that_is_none_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERIDICAL_DATA", str(tmp_path / "data"))
    with pytest.raises(InputError, match=r"Nothing of 'ixi'.*VERIDICAL_DATA"):
        list(clean_volumes("ixi"))
    with pytest.raises(SettingError, match="'ixi'"):
        list(clean_volumes("ixy"))


def test_every_set_says_its_licence() -> None:
    assert all(len(source.licence) > 2 for source in SOURCES.values())
    with toys.clean_set(2):
        assert [volume.patient for volume in clean_volumes("toy")] == ["toy-0", "toy-1"]
    assert "toy" not in SOURCES


def test_photographs_have_no_neighbours() -> None:
    first = next(module.clean_volumes("photographs"))
    assert (first.deep, first.isotropic, len(first.image)) == (False, False, 1)
    assert percentile(first.image) == pytest.approx(1, abs=1e-3)
