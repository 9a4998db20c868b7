from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from veridical.evaluation import regions
from veridical.evaluation.regions import Region
from veridical.report import numbers, words
from veridical.report.words import Lesion
from veridical.types import Array, Evidence, Finding, Geometry, Image, Interval, Result

GRID = Geometry.index((40, 40, 1))
WHOLE = Region("brain", np.ones(GRID.shape, dtype=bool))


def image(data: Array) -> Image:
    return Image(np.broadcast_to(data, (1, *GRID.shape)), GRID, "a.u.", ("T1w",))


def with_evidence(known: Array, data: Array | float = 1.0) -> Result:
    return Result(
        image(np.asarray(data)),
        "posterior mean",
        evidence=Evidence(np.reshape(known, (1, *GRID.shape))),
    )


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.0, "0%"), (1.0, "100%"), (0.824, "82%"), (0.034, "3.4%"), (0.03, "3%"), (0.0996, "10%"), (0.996, "99.6%"),  # noqa: E501
        (0.9996, "more than 99.9%"), (0.0004, "less than 0.1%"), (1.3, "130%"), (0.992, "99.2%"), (0.988, "99%"),  # noqa: E501
    ],
)  # fmt: skip
def test_a_share_never_rounds_to_all_or_nothing(share: float, said: str) -> None:
    assert words.percent(share) == said


def test_the_worst_check_that_was_run_makes_the_headline() -> None:
    def said(*verdicts: str) -> tuple[str, str]:
        found = [Finding(f"check{i}", verdict, "why") for i, verdict in enumerate(verdicts)]  # type: ignore[arg-type]
        head = words.headline(found)
        return head.title, head.text

    assert said("pass", "warn", "fail") == (
        "Do not rely on this image as it stands.", "Check2 fails; check1 warns; check0 passes.",
    )  # fmt: skip
    assert said("pass", "warn", "warn") == (
        "Read this image with care.",
        "Check1 and check2 warn; check0 passes.",
    )
    assert said("pass", "not_run") == (
        "No check objects to this image.",
        "Check0 passes; check1 was not run.",
    )
    assert said("not_run", "not_run") == (
        "No check was run on this image.",
        "Check0 and check1 were not run.",
    )
    assert said() == ("No check was run on this image.", "It has no findings.")


def test_the_headline_gives_the_reasons_of_the_worst() -> None:
    head = words.headline(
        [
            Finding("out-of-distribution", "warn", "It is unusual."),
            Finding("consistency", "pass", "Fits."),
        ]
    )
    assert head.reasons == ("Out-of-distribution: It is unusual.",)
    assert words.headline([Finding("consistency", "pass", "Fits.")]).reasons == ()


def test_shares_of_evidence_are_counted_inside_the_region() -> None:
    known = np.full(GRID.shape, 0.95)
    known[:8] = 0.7
    known[:2] = 0.2
    said = words.measured(with_evidence(known), WHOLE)[0]
    assert said == (
        "80% of the brain is measured (evidence 0.9 or more), 15% is owed to scan and prior "
        "together, "
        "5% is imagined (evidence below 0.5)."
    )
    half = Region("left half", np.arange(40)[:, None, None] >= np.full(GRID.shape, 20))
    assert words.measured(with_evidence(known), half)[0].startswith(
        "100% of the left half is measured"
    )


def test_least_evidence_on_an_edge_is_found_on_the_edge() -> None:
    data = np.where(np.arange(40) < 20, 0.0, 1.0)[:, None, None] * np.ones(GRID.shape)
    known = np.full(GRID.shape, 0.95)
    known[19:21] = 0.1
    place = numbers.place(with_evidence(known, data).evidence.map, image(data), WHOLE.mask)  # type: ignore[union-attr]
    assert place is not None
    assert place.bound == pytest.approx(0.1)
    assert place.edges == 1.0
    assert (
        "lie on edges (100% of them on the sharpest fifth of the image)"
        in words.measured(with_evidence(known, data), WHOLE)[1]
    )


def test_least_evidence_at_the_rim_is_found_at_the_rim_and_in_the_depth_in_the_depth() -> None:
    known = np.full(GRID.shape, 0.95)
    known[:2] = 0.1
    assert (
        "near the rim (100% in the outer half of the brain)"
        in words.measured(with_evidence(known), WHOLE)[1]
    )
    known = np.full(GRID.shape, 0.95)
    known[16:24, 16:24] = 0.1
    assert (
        "in the depth (0% in the outer half of the brain)"
        in words.measured(with_evidence(known), WHOLE)[1]
    )


def test_even_evidence_has_no_least_place() -> None:
    assert len(words.measured(with_evidence(np.full(GRID.shape, 0.7)), WHOLE)) == 1


def test_the_exact_split_is_told_in_energy() -> None:
    found = with_evidence(np.ones(GRID.shape))
    part = np.zeros((1, *GRID.shape))
    part[0, :10] = 2.0
    rest = np.zeros_like(part)
    rest[0, 10:] = 1.0
    found = replace(found, evidence=Evidence(np.ones_like(part), part, rest))
    assert numbers.prior_energy(found) == pytest.approx(30 / (4 * 10 + 30))
    assert (
        "57% of the image's energy is fixed by the measurement; 43% lies"
        in words.measured(found, WHOLE)[-1]
    )


def test_a_method_without_evidence_still_tells_the_exact_split() -> None:
    part = np.full((1, *GRID.shape), 3.0)
    found = Result(
        image(part),
        "point estimate",
        evidence=Evidence(None, part, part / 3),
        absent={"evidence": "no draws."},
    )
    assert words.measured(found, WHOLE) == [
        "How much of each voxel was measured and how much imagined is not known: no draws.",
        "By the exact split, 90% of the image's energy is fixed by the measurement; 10% lies where "
        "the scan is blind and was "
        "filled in.",
    ]


def test_the_interval_is_told_in_units_and_in_signal_and_checked_where_the_truth_is_known() -> None:
    center = np.full((1, *GRID.shape), 2.0)
    derived = Result(
        image(center),
        "posterior mean",
        interval=Interval(center - 0.1, center + 0.1, 0.9, 20, "", ""),
    )
    truth = np.where(np.arange(40) < 4, 3.0, 2.05)[:, None, None]
    assert words.interval(derived, WHOLE, image(truth)) == [
        "The 90% interval is ± 0.1 a.u. in the median voxel, 5% of the median signal.",
        "It holds the truth in 90% of the brain.",
    ]
    hounsfield = replace(derived, image=replace(derived.image, units="HU"))
    assert words.interval(hounsfield, WHOLE) == [
        "The 90% interval is ± 0.1 HU in the median voxel."
    ]


def test_errors_are_compared_between_imagined_and_measured() -> None:
    known = np.where(np.arange(40) < 10, 0.2, 0.95)[:, None, None] * np.ones(GRID.shape)
    truth = np.where(np.arange(40) < 10, 1.6, 1.2)[:, None, None]
    said = words.against_truth(with_evidence(known), WHOLE, image(truth))
    assert said == ["Where it was imagined its mean error is 3.0 times that where it was measured."]


def lesion_case() -> tuple[Image, dict[str, Result], Lesion]:
    mask = np.zeros(GRID.shape, dtype=bool)
    mask[18:22, 18:22] = True

    def shown(contrast: float) -> Array:
        return 1 + contrast * mask[None]

    draws = np.stack([shown(0.5), shown(0.45), shown(0.1), shown(0.3)])
    known = np.where(mask[None], 0.6, 0.95)
    known[0, 18, 18] = 0.4
    band = Interval(shown(0.4) - 0.2, shown(0.4) + 0.2, 0.9, 20, "", "")
    results = {
        "a": Result(image(shown(0.05)), "point estimate"),
        "b": Result(image(shown(0.3)), "point estimate"),
        "c": Result(image(shown(0.5)), "posterior mean", draws, band, Evidence(known)),
        "d": Result(image(shown(0.7)), "point estimate"),
    }
    return image(shown(0.5)), results, Lesion(mask)


def test_what_became_of_a_lesion_is_told_by_method() -> None:
    truth, results, found = lesion_case()
    assert words.lesion(results, "c", WHOLE, found, truth) == [
        "Contrast of the lesion: a loses it (10%), b weakens it (60%), c keeps it (100%) and d "
        "exaggerates it (140%).",
        "3 of 4 draws of c show it with at least half of its true contrast.",
        "Inside it the evidence is 0.59 on average and 0.40 at the least: it is owed to scan and "
        "prior together.",
        "The interval holds the truth in 100% of it.",
    ]


def test_a_lesion_without_contrast_in_the_truth_cannot_be_kept_or_lost() -> None:
    _, results, found = lesion_case()
    said = words.lesion(results, "c", WHOLE, found, image(np.ones(GRID.shape)))
    assert (
        said[0]
        == "In the truth the lesion does not stand out from its surroundings in this contrast."
    )
    assert not any("draws" in sentence for sentence in said)


def test_without_a_truth_only_the_evidence_speaks_of_the_lesion() -> None:
    _, results, found = lesion_case()
    assert [s[:10] for s in words.lesion(results, "c", WHOLE, found)] == ["Inside it "]


def test_the_ring_lies_around_the_lesion_inside_the_region() -> None:
    mask = np.zeros(GRID.shape, dtype=bool)
    mask[20, 20] = True
    region = np.arange(40)[:, None, None] >= np.full(GRID.shape, 18)
    ring = numbers.surroundings(mask, region, GRID)
    distance = np.hypot(*[axis - 20 for axis in np.nonzero(ring)[:2]])
    assert distance.min() > 1
    assert distance.max() == 5
    assert np.nonzero(ring)[0].min() == 18


def test_the_summary_says_verdict_shares_interval_absence_and_the_rule_of_the_foreground() -> None:
    data = np.where(np.arange(40) < 20, 0.0, 1.0)[:, None, None] * np.ones(GRID.shape)
    derived = replace(
        with_evidence(np.full(GRID.shape, 0.95), data),
        findings=(Finding("consistency", "pass", "Fits."),),
        absent={"interval": "fewer patients than 90% needs."},
    )
    assert words.summary(derived).split("\n") == [
        "No check objects to this image. Consistency passes.",
        "100% of the foreground is measured (evidence 0.9 or more), 0% is owed to scan and prior "
        "together, 0% is imagined "
        "(evidence below 0.5).",
        "There is no interval: fewer patients than 90% needs.",
        "Foreground: voxels above a tenth of the way from the 1st to the 99th percentile of the "
        "image.",
    ]
    assert "of the brain is measured" in words.summary(derived, WHOLE)
    assert "Foreground:" not in words.summary(derived, WHOLE)
    assert regions.foreground(derived.image).mask.sum() == 800


def test_an_image_without_contrast_counts_as_a_whole_and_says_so() -> None:
    said = words.summary(with_evidence(np.ones(GRID.shape), 1.0))
    assert "100% of the image is measured" in said
    assert "Image: all voxels, since none stands out." in said


def test_the_summary_of_a_method_without_draws_gives_each_reason_once() -> None:
    derived = Result(
        image(np.ones(GRID.shape)),
        "point estimate",
        absent=dict.fromkeys(("interval", "evidence", "draws"), "one."),
    )
    assert words.summary(derived).split("\n") == [
        "No check was run on this image. It has no findings.",
        "How much of each voxel was measured and how much imagined is not known: one.",
        "There is no interval: one.",
        "No draws: one.",
    ]
