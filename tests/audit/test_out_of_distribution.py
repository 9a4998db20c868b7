"""The check knows heads from limbs, keeps its promise on held-out patients, and does not pass what
it could not test.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from studies import study

from veridical.audit.descriptors import describe
from veridical.audit.out_of_distribution import distances, out_of_distribution, training_data
from veridical.errors import InputError
from veridical.types import Finding, Geometry, Image, Result, Study

DATA = Path(os.environ.get("VERIDICAL_DATA", "../shared/data"))
real = pytest.mark.skipif(not (DATA / "sts_mr_ct_pet").exists(), reason="needs the real data sets")


def grid(millimetres: float, shape: tuple[int, int, int] = (64, 64, 8)) -> Geometry:
    return Geometry(shape, np.diag([millimetres, millimetres, 5.0, 1.0]))


def layered(seed: int, shells: Mapping[float, float], ratio: float) -> Image:
    """An ellipse of shells: relative radius from outside -> intensity; sizes, shells and noise vary
    from patient to patient.
    """
    rng = np.random.default_rng(seed)
    x, y, _ = np.meshgrid(*[np.linspace(-1, 1, n) for n in (64, 64, 8)], indexing="ij")
    radius = np.hypot(
        x / (0.75 * rng.uniform(0.95, 1.05)), y / (0.75 * ratio * rng.uniform(0.95, 1.05))
    )
    data = np.zeros(radius.shape)
    for edge, value in shells.items():
        data[radius < edge * rng.uniform(0.98, 1.02)] = value * rng.uniform(0.95, 1.05)
    data = ndimage.gaussian_filter(data, 0.7) + rng.normal(0, 0.02, data.shape)
    return Image(np.abs(1000 * data)[None].astype(np.float32), grid(3.0), "a.u.", ("T1w",))


@cache
def head(seed: int) -> Image:
    """Bright scalp, dark skull, grey and white matter, dark fluid."""
    return layered(seed, {1.0: 0.9, 0.93: 0.1, 0.84: 0.5, 0.75: 0.8, 0.25: 0.2}, 1.2)


@cache
def limb(seed: int) -> Image:
    """Bright fat, muscle, dark cortical bone, bright marrow."""
    return layered(1000 + seed, {1.0: 1.0, 0.7: 0.35, 0.25: 0.05, 0.18: 0.9}, 1.0)


@cache
def heads() -> dict[str, Any]:
    return training_data([(f"h{n}", head(n)) for n in range(30)], "30 heads")


@cache
def both() -> dict[str, Any]:
    limbs = [(f"l{n}", limb(n)) for n in range(30)]
    return training_data(
        [*((f"h{n}", head(n)) for n in range(30)), *limbs], "30 heads and 30 limbs"
    )


def made(image: Image, card: Mapping[str, Any]) -> Result:
    return Result(image, "posterior mean", facts={"card": card})


def judged(image: Image, stored: Mapping[str, Any] | None) -> Finding:
    card = {"model": "x"} | ({"training_data": stored} if stored else {})
    found = out_of_distribution(Study.of(image), made(image, card))
    assert found is not None
    assert found.check == "out-of-distribution"
    return found


def test_a_limb_given_to_a_model_of_heads_fails_and_to_one_of_both_passes() -> None:
    assert judged(limb(99), heads()).verdict == "fail"
    assert judged(limb(99), both()).verdict == "pass"
    assert judged(head(99), heads()).verdict == "pass"


def test_held_out_patients_warn_as_often_as_promised() -> None:
    unusual = [judged(head(100 + n), heads()).verdict != "pass" for n in range(60)]
    assert np.mean(unusual) < 0.15


def test_units_voxel_size_and_orientation_do_not_matter_but_size_does() -> None:
    one = head(7)
    (data,) = one.data
    turned = data[::-1, :, ::-1].copy()
    affine = np.diag([-3.0, 3.0, -5.0, 1.0])
    plain = describe(data, one.geometry)
    other = describe(17 * turned, Geometry(data.shape, affine))
    assert other == pytest.approx(plain, abs=0.02)
    fine = describe(np.repeat(np.repeat(data, 2, 0), 2, 1), grid(1.5, (128, 128, 8)))
    assert fine == pytest.approx(plain, abs=0.12)
    small = describe(data, grid(1.5))
    assert plain["size"] - small["size"] == pytest.approx(np.log10(2), abs=0.01)
    assert "size" not in describe(data, Geometry.index(data.shape))


def test_p_values_are_uniform_whatever_the_distribution() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_t(3, (40, 41, 4)) @ rng.standard_normal((4, 4))
    p = []
    for some in rows:
        named = [dict(zip("abcd", row, strict=True)) for row in some]
        own, others, _ = distances(named[-1], {str(n): row for n, row in enumerate(named[:-1])})
        p.append((1 + np.sum(others >= own)) / 41)
    assert np.mean(np.array(p) <= 0.5) == pytest.approx(0.5, abs=0.2)
    assert np.mean(np.array(p) <= 0.1) < 0.25


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (Image(head(1).data, grid(9.0), "a.u.", ("T1w",)), "voxels have sides of 5 to 9 mm"),
        (Image(head(1).data, grid(3.0), "ms", ("T1w",)), "units are ms, in the training data a.u."),
    ],
)
def test_what_can_be_named_is_named(image: Image, said: str) -> None:
    found = judged(image, heads())
    assert found.verdict in ("warn", "fail")
    assert said in found.reason


def test_hounsfield_units_on_another_scale_are_outside() -> None:
    def ct(seed: int, offset: float = 0.0) -> Image:
        return Image(head(seed).data - np.float32(1000 - offset), grid(3.0), "HU", ("CT",))

    stored = training_data([(str(n), ct(n)) for n in range(20)], "20 heads")
    assert judged(ct(50), stored).verdict == "pass"
    assert "percentiles are" in judged(ct(50, 1000.0), stored).reason
    assert "no MR image was in the training data" in judged(head(50), stored).reason


def test_an_image_of_another_generator_is_held_against_the_card_that_is_named() -> None:
    for image, verdict in ((head(99), "pass"), (limb(99), "fail")):
        made = Result(image, "image", facts={"card": {"training_data": heads()}})
        found = out_of_distribution(Study("", {0.0: {}}), made)
        assert found is not None
        assert found.verdict == verdict


@pytest.mark.parametrize("factor", [10.0, 0.001])
def test_millimetres_that_are_wrong_by_a_factor_fail(factor: float) -> None:
    found = judged(Image(head(1).data, grid(3.0 * factor), "a.u.", ("T1w",)), heads())
    assert found.verdict == "fail"
    assert "Check the header" in found.reason


def test_units_that_the_training_data_lacks_fail() -> None:
    found = judged(Image(head(1).data, grid(3.0), "ms", ("T1w",)), heads())
    assert found.verdict == "fail"
    assert "Convert it" in found.reason


@pytest.mark.parametrize("factor", [10.0, 0.1, 1000.0])
def test_hounsfield_units_that_are_wrong_by_a_factor_fail(factor: float) -> None:
    def ct(seed: int) -> Image:
        return Image(head(seed).data - np.float32(1000), grid(3.0), "HU", ("CT",))

    stored = training_data([(str(n), ct(n)) for n in range(20)], "20 heads")
    one = ct(50)
    assert judged(one, stored).verdict == "pass"
    wrong = Image(one.data * np.float32(factor), one.geometry, "HU", ("CT",))
    assert judged(wrong, stored).verdict == "fail"


def test_noise_alone_stands_out_and_the_advice_is_to_denoise() -> None:
    rng = np.random.default_rng(0)
    data = head(99).data + rng.normal(0, 150, head(99).data.shape).astype(np.float32)
    found = judged(Image(np.abs(data), grid(3.0), "a.u.", ("T1w",)), heads())
    assert found.verdict in ("warn", "fail")
    assert "noise" in found.reason
    assert "What to do" in found.reason


def test_one_descriptor_that_no_patient_comes_near_is_strange_among_many_that_are_usual() -> None:
    rng = np.random.default_rng(0)
    names = [f"d{n}" for n in range(30)]
    rows = {str(n): dict(zip(names, rng.normal(size=30), strict=True)) for n in range(40)}
    own = dict(zip(names, rng.normal(size=30), strict=True))
    usual, others, _ = distances(own, rows)
    strange, known, _ = distances(own | {"d3": 9.0}, rows)
    assert (others >= usual).sum() > 2
    assert (known >= strange).sum() == 0


def test_what_was_not_tested_does_not_pass() -> None:
    few = training_data([(str(n), head(n)) for n in range(5)], "5 heads")
    assert judged(head(50), few).verdict == "not_run"
    assert judged(head(50), None).verdict == "not_run"
    empty = Image(np.zeros((1, 64, 64, 8), np.float32), grid(3.0), "a.u.", ("T1w",))
    assert judged(empty, heads()).verdict == "not_run"
    nothing = out_of_distribution(Study("p", {}), made(head(1), {"training_data": heads()}))
    assert nothing is not None
    assert nothing.verdict == "not_run"
    assert out_of_distribution(Study.of(head(1)), made(head(1), {})) is None


def test_a_contrast_of_few_patients_is_judged_among_all_of_its_modality() -> None:
    flair = Image(head(3).data, head(3).geometry, "a.u.", ("FLAIR",))
    assert judged(flair, heads()).verdict == "pass"


def test_the_worst_image_decides() -> None:
    given = study(
        {"T1w": head(99), "T2w": Image(limb(99).data, limb(99).geometry, "a.u.", ("T2w",))}
    )
    found = out_of_distribution(given, made(head(1), {"training_data": heads()}))
    assert found is not None
    assert (found.verdict, found.evidence["channel"]) == ("fail", "T2w")


def test_a_description_survives_json_and_leaves_out_what_shows_nothing() -> None:
    empty = Image(np.zeros((1, 64, 64, 8), np.float32), grid(3.0), "a.u.", ("T1w",))
    stored = training_data([("a", head(0)), ("b", empty)], "one")
    assert json.loads(json.dumps(stored)) == stored
    assert list(stored["channels"]["T1w"]) == ["a"]


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(InputError, match="NaN"):
        describe(np.full((64, 64, 8), np.nan), grid(3.0))


@cache
def scans() -> dict[str, dict[str, Image]]:
    """T1w of real heads and limbs by patient."""
    from veridical import read

    files = {
        "head": {
            p.name.split("_")[0]: p for p in sorted(DATA.glob("ixi_t1_2mm/nifti/**/*.nii.gz"))
        },
        "limb": {
            p.parent.name: p for p in sorted(DATA.glob("sts_mr_ct_pet/nifti/*/MR_T1_image.nii.gz"))
        },
    }
    return {
        kind: {name: read(path, contrast="T1w") for name, path in of.items()}
        for kind, of in files.items()
    }


def without(stored: Mapping[str, Any], patient: str) -> dict[str, Any]:
    rows = {name: row for name, row in stored["channels"]["T1w"].items() if name != patient}
    return {**stored, "channels": {"T1w": rows}}


@real
def test_real_limbs_are_found_and_real_heads_held_out_pass() -> None:
    found: Mapping[str, Mapping[str, Image]] = scans()
    stored = training_data(found["head"].items(), "heads")
    limbs = [judged(image, stored).verdict for image in found["limb"].values()]
    held_out = [
        judged(image, without(stored, name)).verdict for name, image in found["head"].items()
    ]
    assert limbs.count("fail") == len(limbs)
    assert held_out.count("pass") >= len(held_out) - 2


@real
def test_a_real_limb_is_no_surprise_to_a_model_that_knows_limbs() -> None:
    found = scans()
    stored = training_data([*found["head"].items(), *found["limb"].items()], "heads and limbs")
    verdicts = [
        judged(image, without(stored, name)).verdict for name, image in found["limb"].items()
    ]
    assert verdicts.count("pass") >= len(verdicts) - 2
