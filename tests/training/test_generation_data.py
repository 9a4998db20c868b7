"""Laws of what a generator learns from: the step decides the batch, patients stay apart, maps
fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import folders
import painted
import toys
from veridical.conditioning.request import LEAST_LEVEL, Request
from veridical.errors import InputError, SettingError
from veridical.generative.family import Given
from veridical.models.generator import Generator
from veridical.models.intensity_map import fit
from veridical.preprocessing.preprocessing import Preprocessing
from veridical.training import digital_patients as digital
from veridical.training import generation_data as module
from veridical.training.digital_patients import VALIDATION
from veridical.training.generation_data import (
    YOURS,
    Batch,
    GenerationCourse,
    GenerationData,
)
from veridical.training.prepared_visits import Slab, held_out_of
from veridical.types import Array

NET = {
    "contrasts": ["T1w", "T2w", "FLAIR"],
    "widths": [8, 8],
    "blocks": 1,
    "degradations": ["motion-ghosts"],
}
CPU = torch.device("cpu")


def data(**settings: Any) -> GenerationData:
    given = {"sources": {str(toys.ward()): 1.0}, "batch": 4, "patch": 32} | settings
    return GenerationData(**given)


def course(
    validation: bool = False, seed: int = 0, net: dict[str, Any] = NET, **settings: Any
) -> GenerationCourse:
    made = data(**settings).course(Generator, net, seed, validation)
    made.maps = fit(
        ({"T1w": t, "FLAIR": 0.5 * t} for t in np.random.default_rng(0).uniform(0, 1, (2, 90))),
        net["contrasts"],
    )
    return made


def alike(one: Batch, other: Batch) -> bool:
    same = [
        torch.equal(one.given.conditioning.values[k], v)
        for k, v in other.given.conditioning.values.items()
    ]
    return (
        all(same)
        and torch.equal(one.truth, other.truth)
        and torch.equal(one.given.initial, other.given.initial)
    )


def samples(
    count: int, made: GenerationCourse | None = None, **settings: Any
) -> Iterator[tuple[Request, Array]]:
    chosen, rng = made or course(**settings), np.random.default_rng(0)
    for _ in range(count):
        yield chosen.sample(rng)[:2]


def test_the_step_decides_the_batch_whoever_prepares_it() -> None:
    first, again = course(), course()
    assert alike(first[5], again[5])
    assert not alike(first[5], first[6])
    assert not alike(first[5], course(seed=1)[5])
    loaded = list(first.loader([5, 6], workers=1))
    assert alike(loaded[0], again[5])
    assert alike(loaded[1], again[6])


def test_a_batch_has_the_size_asked_for() -> None:
    batch = course(batch=5, patch=24)[0]
    assert batch.truth.shape == batch.given.initial.shape == (5, 1, 24, 24)
    assert set(batch.given.conditioning.values) == {
        "contrast", "available", "images", "initial-estimate", "degradation-kind", "attributes"
    }  # fmt: skip


def test_held_out_patients_are_never_drawn_and_are_all_that_is_validated_on() -> None:
    seen, unseen = (course(validation, validate_on=1) for validation in (False, True))
    drawn = [
        {visit.patient for pool in made.pools.values() for visit, _ in pool}
        for made in (seen, unseen)
    ]
    assert drawn[1] == set(held_out_of(toys.ward(), (), 1))
    assert len(drawn[0]) == 3
    assert not drawn[0] & drawn[1]
    assert (seen.patients(), unseen.patients()) == ({str(toys.ward()): 3}, {str(toys.ward()): 1})
    named = course(True, held_out=("sub-02",))
    assert {visit.patient for pool in named.pools.values() for visit, _ in pool} == {"sub-02"}


def test_with_nobody_held_out_there_is_nothing_to_validate_on() -> None:
    assert course(True).validate(nn.Identity(), 3, CPU) == {}


def test_sets_are_mixed_by_their_weight(tmp_path: Path) -> None:
    other = folders.bids(tmp_path / "other", 2, ("T2w",))
    made = course(sources={str(toys.ward()): 1.0, str(other): 3.0})
    names = [made.pick(made.generator(number)) for number in range(80)]
    assert np.mean([name == str(other) for name in names]) == pytest.approx(0.75, abs=0.12)
    assert made.patients() == {str(toys.ward()): 4, str(other): 2}
    assert made.barred() == [str(toys.ward()), str(other)]
    assert made.licences() == dict.fromkeys((str(toys.ward()), str(other)), "yours")


def test_the_maps_are_least_squares_over_the_foreground_of_the_training_patients() -> None:
    made, unseen = (
        data(validate_on=1).course(Generator, NET, 0, validation) for validation in (False, True)
    )
    facts = made.facts()
    assert facts["preprocessing"] == Preprocessing().to_card()
    maps = facts["intensity_maps"]
    assert set(maps) == {"T1w", "FLAIR"}, "nobody has a T2w here"
    assert set(maps["FLAIR"]) == {"", "T1w"}
    voxels = list(made._voxels())
    assert len(voxels) == 3
    assert maps["FLAIR"] == fit(voxels, NET["contrasts"])["FLAIR"]  # type: ignore[arg-type]
    unseen.learned(facts)
    assert unseen.maps == maps
    again = data(validate_on=1).course(Generator, NET, 0, False).facts()
    assert again["intensity_maps"] == maps


def test_a_contrast_is_made_from_others_as_another_scanner_might_have_shown_them() -> None:
    for request, truth in samples(20, jobs={"complete": 1.0}):
        (other,) = request.images
        assert {other, request.contrast} == {"T1w", "FLAIR"}
        assert request.degradation == ""
        assert request.images[other].shape == (3, 32, 32)
        assert truth.shape == request.initial.shape == request.support.shape == (32, 32)
        outside = request.support == 0
        assert (request.initial[outside] == 0).all()


def test_made_of_nothing_no_image_is_shown_and_the_estimate_is_the_mean() -> None:
    for request, _ in samples(10, jobs={"nothing": 1.0}):
        assert dict(request.images) == {}
        assert len(np.unique(np.round(request.initial[request.support > 0.5], 5))) == 1


def test_a_degraded_contrast_begins_at_itself_within_its_expected_error_and_is_not_shown() -> None:
    ratios, beside = [], []
    for request, truth in samples(60, jobs={"restore": 1.0}):
        assert request.degradation == "motion-ghosts"
        assert request.contrast not in request.images
        beside.append(len(request.images))
        error = np.sqrt(np.average((request.initial - truth) ** 2, weights=request.support + 1e-6))
        if error > 2 * LEAST_LEVEL:
            ratios.append(float(np.log(request.level / error)))
    assert len(ratios) > 20
    assert np.mean(ratios) == pytest.approx(0, abs=0.1)
    assert np.std(ratios) == pytest.approx(0.2, abs=0.08), "an error is never known exactly"
    assert np.mean(beside) == pytest.approx(module.BESIDE, abs=0.25)


def test_jobs_are_drawn_by_their_share_as_far_as_a_patient_allows(tmp_path: Path) -> None:
    found = [bool(r.degradation) for r, _ in samples(200, jobs={"complete": 0.25, "restore": 0.75})]
    assert np.mean(found) == pytest.approx(0.75, abs=0.1)
    alone = folders.bids(tmp_path, 1, ("T1w",))
    single = course(sources={str(alone): 1.0}, jobs={"complete": 0.9, "restore": 0.1})
    assert all(request.degradation for request, _ in samples(5, single))
    unable = course(net={**NET, "degradations": []}, sources={str(alone): 1.0})
    assert all(not r.degradation and not r.images for r, _ in samples(5, unable))


def test_ct_and_pet_are_degraded_in_their_units_by_their_own_degradations_alone() -> None:
    net = {"contrasts": ["T1w", "CT"], "degradations": ["sparse-view-streaks"]}
    made = course(net=net, jobs={"restore": 1.0})
    assert made._ways("T1w") == []
    assert [way.name for way in made._ways("CT")] == ["sparse-view-streaks"]
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    body = np.where(x**2 + y**2 < 0.5, 0.04, -1.0)
    slab = Slab(np.stack([[body] * 3]).astype(np.float32), ("CT",), (4.0, 4.0))
    request, truth, weight = made.asked(slab, np.random.default_rng(0))
    assert weight.min() == weight.max() == 1, "no lesion, no pixel that counts more"
    assert request.degradation == "sparse-view-streaks"
    assert 0.001 < np.abs(request.initial - truth).mean() < 0.3, "in thousands of HU, not in HU"


def test_pixels_of_lesions_count_more() -> None:
    image = np.full((2, 3, 32, 32), 0.4, np.float32)
    lesion = np.zeros((32, 32), bool)
    lesion[10:14, 10:14] = True
    slab = Slab(image, ("T1w", "T2w"), masks={"lesions": lesion})
    _, _, weight = course().asked(slab, np.random.default_rng(0))
    np.testing.assert_array_equal(weight > 1, lesion)
    item = course()[0]
    error = torch.zeros_like(item.truth)
    error[:, :, 0, 0] = 1
    at_corner = replace(item.given, weight=1 + 9 * error)
    assert float(at_corner.average(error)[0]) == pytest.approx(10 / (error[0].numel() + 9))
    assert float(item.given.size(error)[0]) == pytest.approx(0.1), "no loss is divided by nothing"


@pytest.fixture
def phantoms(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let digital patients be squares, and few of them be fitted; the numbers of those made."""
    made: list[int] = []

    def square(
        cohort: object,
        index: int,
        names: tuple[str, ...],
        gap: float,
        preprocessing: Preprocessing,
        restyled: str = "",
    ) -> Slab:
        made.append(index)
        rng = np.random.default_rng(index)
        image = np.zeros((len(names), 3, 40, 40), np.float32)
        image[:, :, 8:32, 8:32] = rng.uniform(0.2, 1, (1, 3, 24, 24))
        image[1:] *= 0.5
        return Slab(image, names, (2.0, 2.0), {}, {"field": 1.5})

    monkeypatch.setattr(digital, "phantom_slab", square)
    monkeypatch.setattr(digital, "PATIENTS", {"phantoms": 4, "painted": 4})
    return made


def test_digital_patients_are_each_made_once_and_count_in_the_maps_like_real_ones(
    phantoms: list[int],
) -> None:
    sources = {str(toys.ward()): 1.0, "phantoms": 1.0}
    made = data(sources=sources, fitted=3).course(Generator, NET, 0, False)
    maps = made.facts()["intensity_maps"]
    together = [*made._voxels(), *made.digital["phantoms"].voxels(3)]
    assert maps == fit(together, NET["contrasts"])  # type: ignore[arg-type]
    assert set(maps["T2w"]) == {"", "T1w", "FLAIR", "FLAIR+T1w"}
    assert maps["T2w"]["T1w"]["error"] < 0.01
    for number in range(12):
        assert made[number].truth.shape == (4, 1, 32, 32)
    assert sorted(phantoms) == sorted(set(phantoms)) == [0, 1, 2, 3]
    assert made.barred() == [str(toys.ward())]
    assert made.names == sorted([str(toys.ward()), "phantoms"])


def test_digital_patients_of_the_validation_are_others(
    phantoms: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERIDICAL_DATA", str(painted.data_root()))
    sources = {"phantoms": 1.0, "painted": 1.0}
    seen, unseen = (
        GenerationData(sources=sources, held_out=("head02",)).course(Generator, NET, 3, validation)
        for validation in (False, True)
    )
    for name in sources:
        seeds = [made.digital[name].heads.seed for made in (seen, unseen)]
        assert seeds == [3, 3 + VALIDATION]
    names = [{head.name for head in made.digital["painted"].heads.maps} for made in (seen, unseen)]
    assert names == [{"head01", "head03"}, {"head02"}]
    assert seen.barred() == []
    assert set(seen.licences()) == {"painted"}, "nobody's data made the others"
    assert "Apache-2.0" in seen.licences()["painted"]
    assert seen.patients() == {}


class Halfway(nn.Module):
    """Stands for a network that is not asked."""


def test_validation_scores_missing_and_degraded_images_in_decibels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = course(True, validate_on=1, jobs={"complete": 0.5, "restore": 0.5}, batch=6)
    truth: list[Tensor] = [made[index].truth for index in range(2)]

    def half(_: object, net: nn.Module, given: Given) -> Tensor:
        return given.initial + 0.5 * (truth.pop(0) - given.initial)

    monkeypatch.setattr(type(made.parts.family), "mean", half)
    scores = made.validate(Halfway(), 2, CPU)
    assert set(scores) == {
        f"{kind}_{who}_db" for kind in ("missing", "degraded") for who in ("start", "net")
    }
    for kind in ("missing", "degraded"):
        gain = scores[f"{kind}_net_db"] - scores[f"{kind}_start_db"]
        assert gain == pytest.approx(20 * np.log10(2), abs=2e-3), "half the error is 6 dB"


def test_the_loss_is_that_of_the_family_and_has_a_gradient() -> None:
    made, net = course(), Generator.build(NET)
    (loss,) = made.losses(net, made[0], torch.Generator().manual_seed(0), CPU)
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) > 0
    assert net.get_submodule("backbone.leave").weight.grad.any()


def test_images_that_show_too_little_are_refused(tmp_path: Path) -> None:
    image = np.zeros(folders.SHAPE, np.float32)
    image[18:20, 20:24] = np.random.default_rng(0).uniform(50, 100, (2, 4, 12))
    folders.write(tmp_path / "p1" / "p1_T1w.nii.gz", image)
    with pytest.raises(InputError, match="shows enough"):
        course(sources={str(tmp_path): 1.0})


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"sources": {"phantms": 1.0}}, "'phantoms'"),
        ({"sources": {YOURS: 1.0}}, "--data FOLDER"),
        ({"batch": 0}, "batch = 0"),
        ({"patch": 8}, "patch = 8"),
        ({"validate_on": -1}, "validate_on = -1"),
        ({"jobs": {"complte": 1.0}}, "'complete'"),
        ({"jobs": {"complete": 0.0}}, "share of 0.0"),
    ],
)
def test_data_out_of_range_are_refused(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(SettingError, match=word):
        course(**settings)


@pytest.mark.parametrize("sources", [{"phantoms": 0.0}, {"phantoms": -1.0}, {}])
def test_a_source_that_is_never_drawn_is_refused(sources: dict[str, float]) -> None:
    with pytest.raises(SettingError, match="at least one source, each with a weight above 0"):
        data(sources=sources)
