"""Laws of images: units and ranges of each modality, order of tissues, noise, shading, slices."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from label_balls import ball
from veridical.errors import SettingError
from veridical.phantoms.head_scan import INNER, MODALITIES, Scan, scan, site_of
from veridical.phantoms.label_maps import structure
from veridical.phantoms.rendering import PhantomVolume
from veridical.phantoms.scanners import SITES

CLEAN = replace(SITES[0], noise=(0.0, 0.0), bias=0.0, shift=(0.0, 0.0), fat_saturation=0.0)


@cache
def painted() -> tuple[PhantomVolume, np.ndarray]:
    return ball().painted(1, "none", CLEAN, np.random.default_rng(0), (0, 1))


def imaged(modality: str, slices: str = "3d", **site: object) -> Scan:
    head, labels = painted()
    head = replace(head, site=replace(CLEAN, **site))
    way = "site" if slices == "site" else "3d"
    return scan(head, labels, modality, np.random.default_rng(4), False, way)


def mean(image: np.ndarray, name: str) -> float:
    return float(image[painted()[1] == structure(name)].mean())


def test_ct_has_hounsfield_units_of_its_tissues() -> None:
    image = imaged("CT")
    assert image.units == "HU"
    assert -1024 <= image.data.min() < mean(image.data, "background") < -990
    assert 900 < mean(image.data, "compact bone") < 1300
    assert 20 < mean(image.data, "white matter") < mean(image.data, "cortex") < 50
    assert -110 < mean(image.data, "fat") < -60


def test_pet_is_hot_in_grey_matter_and_never_negative() -> None:
    image = imaged("PET")
    assert image.units == "SUV"
    assert image.data.min() >= 0
    assert mean(image.data, "cortex") > 1.1 * mean(image.data, "white matter")
    assert mean(image.data, "lateral ventricle") < mean(image.data, "white matter")


@pytest.mark.parametrize(
    ("contrast", "order"),
    [
        ("T1w", ("lateral ventricle", "cortex", "white matter")),
        ("T2w", ("white matter", "cortex", "lateral ventricle")),
        ("FLAIR", ("lateral ventricle", "white matter", "cortex")),
    ],
)
def test_each_contrast_has_its_order_of_tissues(contrast: str, order: tuple[str, ...]) -> None:
    image = imaged(contrast).data
    found = [mean(image, name) for name in order]
    assert found == sorted(found)


def test_brain_tissue_of_mr_images_has_the_median_100() -> None:
    for contrast in ("T1w", "T2w"):
        labels = painted()[1]
        brain = np.isin(labels, [structure("white matter"), structure("cortex")])
        assert np.median(imaged(contrast).data[brain]) == pytest.approx(INNER, rel=1e-3)


def test_noise_in_air_is_rayleigh_of_the_size_that_the_sidecar_says() -> None:
    image = imaged("T1w", noise=(0.05, 0.05))
    air = image.data[painted()[1] == 0]
    size = image.settings["NoiseOfComponents"]
    assert air.mean() == pytest.approx(size * np.sqrt(np.pi / 2), rel=0.02)


def test_shading_has_the_strength_of_the_site() -> None:
    inside = painted()[1] == structure("white matter")
    shaded, even = (imaged("T1w", bias=strength).data[inside] for strength in (0.2, 0.0))
    assert 0.02 < np.log(shaded / even).std() < 0.2


def test_thick_slices_blur_along_the_last_axis_only() -> None:
    thin = imaged("T2w", thickness=(8.0, 8.0)).data
    thick = imaged("T2w", "site", thickness=(8.0, 8.0)).data
    assert imaged("T2w", "site", thickness=(8.0, 8.0)).settings["SliceThickness"] == 8.0
    for axis, less in ((2, True), (0, False)):
        before, after = (np.abs(np.diff(i, axis=axis)).mean() for i in (thin, thick))
        assert (after < 0.6 * before) == less


def test_the_field_of_a_site_can_be_replaced() -> None:
    rng = np.random.default_rng(0)
    assert site_of("brent", 0.0, rng).field == 1.5
    assert site_of("brent", 3.0, rng).field == 3.0
    assert site_of("", 0.0, rng).name == "any"


def test_unknown_sites_and_contrasts_are_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(SettingError, match="'avon'"):
        site_of("avom", 0.0, np.random.default_rng(0))
    head, labels = painted()
    with pytest.raises(SettingError, match="FLAIR"):
        scan(head, labels, "FLAR", np.random.default_rng(0), False)
    assert MODALITIES[-2:] == ("CT", "PET")
