"""Relaxation tables against their published anchors, and signal equations against their laws."""

from __future__ import annotations

import numpy as np
import pytest

from veridical.errors import SettingError
from veridical.physics.tissue import (
    RELAXATION,
    Sequence,
    TissueClass,
    flair,
    mprage,
    null_inversion_time,
    relaxation,
    spin_echo,
    spoiled_gradient_echo,
)

ANCHORS = [
    (1.5, TissueClass.CSF, 2569, 329, 1.0),
    (1.5, TissueClass.GREY, 833, 83, 0.86),
    (1.5, TissueClass.WHITE, 500, 70, 0.77),
    (3.0, TissueClass.CSF, 3000, 350, 1.0),
    (3.0, TissueClass.GREY, 1331, 110, 0.86),
    (3.0, TissueClass.WHITE, 832, 79.6, 0.77),
]


@pytest.mark.parametrize(("field", "tissue", "t1", "t2", "pd"), ANCHORS)
def test_the_table_holds_the_published_values(
    field: float, tissue: TissueClass, t1: float, t2: float, pd: float
) -> None:
    table = relaxation(field)
    assert (table.t1[tissue], table.t2[tissue], table.pd[tissue]) == pytest.approx((t1, t2, pd))


def test_rooney_exponents_give_1081_and_652_ms_at_3_tesla() -> None:
    table = relaxation(3.0, "rooney")
    assert table.t1[TissueClass.GREY] == pytest.approx(1081, abs=1)
    assert table.t1[TissueClass.WHITE] == pytest.approx(652, abs=1)
    assert table.t1[TissueClass.CSF] == pytest.approx(2569)


@pytest.mark.parametrize("field", [0.5, 1.5, 3.0, 7.0])
def test_t2star_never_exceeds_t2_and_t2_never_exceeds_t1(field: float) -> None:
    table = relaxation(field)
    assert (table.t2star <= table.t2 * (1 + 1e-9)).all()
    assert (table.t2 <= table.t1 * (1 + 1e-9)).all()


def test_t2star_at_1_5_tesla_is_the_table() -> None:
    table = relaxation(1.5)
    expected = [min(RELAXATION[tissue].t2star, RELAXATION[tissue].t2[0]) for tissue in TissueClass]
    np.testing.assert_allclose(table.t2star, expected)


def test_every_row_names_its_source() -> None:
    assert set(RELAXATION) == set(TissueClass)
    assert all(len(row.source) > 10 for row in RELAXATION.values())


def test_an_unknown_law_and_a_field_out_of_range_are_refused() -> None:
    with pytest.raises(SettingError, match="rooney"):
        relaxation(3.0, "roony")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="from"):
        relaxation(30.0)


def test_flair_nulls_csf_at_1704_ms() -> None:
    ti = null_inversion_time(2569.0, 9000.0)
    assert ti == pytest.approx(1704, abs=1)
    one = np.ones(1)
    assert flair(one, 2569.0 * one, 329.0 * one, 9000.0, 100.0, ti)[0] == pytest.approx(
        0.0, abs=1e-12
    )


def test_a_gradient_echo_at_90_degrees_is_a_saturation_recovery() -> None:
    one = np.ones(1)
    t1, t2 = 800.0 * one, 60.0 * one
    assert spoiled_gradient_echo(one, t1, t2, 500.0, 10.0, 90.0) == pytest.approx(
        spin_echo(one, t1, t2, 500.0, 10.0)
    )


def test_the_gradient_echo_is_largest_at_the_ernst_angle() -> None:
    one = np.ones(1)
    ernst = np.rad2deg(np.arccos(np.exp(-20.0 / 800.0)))
    signal = [
        float(spoiled_gradient_echo(one, 800.0 * one, 50.0 * one, 20.0, 3.0, ernst + d)[0])
        for d in (-2, 0, 2)
    ]
    assert signal[1] > max(signal[0], signal[2])


def test_mprage_with_small_flips_is_inversion_recovery() -> None:
    t1 = np.array([500.0, 833.0, 2569.0])
    signal = mprage(np.ones(3), t1, np.full(3, 1e9), 2200.0, 2.5, 950.0, 0.01, train=160) / np.sin(
        np.deg2rad(0.01)
    )
    longitudinal = np.abs(1 - 2 * np.exp(-950 / t1) / (1 + np.exp(-2200 / t1)))
    np.testing.assert_allclose(signal, longitudinal, atol=1e-4)


def test_mprage_follows_a_simulated_pulse_train() -> None:
    tr, te, ti, flip, train, t1 = 2000.0, 2.5, 900.0, 9.0, 120, 800.0
    spacing, cosine = 2 * te + 2, np.cos(np.deg2rad(flip))
    magnetization, seen = 1.0, 0.0
    for _ in range(40):
        magnetization = 1 - (1 + magnetization) * np.exp(-(ti - train // 2 * spacing) / t1)
        for pulse in range(train):
            if pulse == train // 2:
                seen = abs(magnetization) * np.sin(np.deg2rad(flip)) * np.exp(-te / 50.0)
            magnetization = 1 - (1 - magnetization * cosine) * np.exp(-spacing / t1)
        magnetization = 1 - (1 - magnetization) * np.exp(-(tr - ti - train // 2 * spacing) / t1)
    one = np.ones(1)
    assert mprage(one, t1 * one, 50.0 * one, tr, te, ti, flip, train)[0] == pytest.approx(
        seen, rel=1e-9
    )


def test_a_train_that_does_not_fit_is_refused() -> None:
    one = np.ones(1)
    with pytest.raises(SettingError, match="does not fit"):
        mprage(one, one, one, 1000.0, 5.0, 900.0, 9.0, train=300)


def test_the_contrast_agent_brightens_the_enhancing_rim_most_among_brain_tissues() -> None:
    table = relaxation(3.0)
    sequence = Sequence("spgr", 20.0, 4.0, flip=25.0)
    ratio = sequence.signal(table.with_agent()) / np.maximum(sequence.signal(table), 1e-12)
    brain = [
        TissueClass.CSF,
        TissueClass.GREY,
        TissueClass.WHITE,
        TissueClass.OEDEMA,
        TissueClass.NECROSIS,
    ]
    assert ratio[TissueClass.ENHANCING] > 1.3
    assert ratio[TissueClass.ENHANCING] > ratio[brain].max()
    assert ratio[TissueClass.WHITE] > 1.0


def test_contrasts_order_the_tissues_as_a_reader_expects() -> None:
    table = relaxation(1.5)
    csf, grey, white, fat = TissueClass.CSF, TissueClass.GREY, TissueClass.WHITE, TissueClass.FAT
    t1w = Sequence("se", 500.0, 12.0).signal(table)
    t2w = Sequence("se", 4500.0, 100.0).signal(table)
    fluid = Sequence("flair", 9000.0, 110.0, null_inversion_time(2569.0, 9000.0)).signal(table)
    assert t1w[fat] > t1w[white] > t1w[grey] > t1w[csf]
    assert t2w[csf] > t2w[grey] > t2w[white]
    assert fluid[TissueClass.MS_LESION] > fluid[grey] > fluid[csf]
