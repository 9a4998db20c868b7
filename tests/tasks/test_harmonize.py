"""Harmonize: the look asked for reaches the model, and what is checked is the content, not the look."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

import veridical
from priors import Known4Sure, volume, weights
from veridical.errors import InputError, SettingError
from veridical.models.brain_prior import BrainPrior
from veridical.models.known import RELOOK, Known
from veridical.tasks.harmonize import Harmonize, curved, look_of_slices
from veridical.tasks.view import view
from veridical.types import Array, Image, Result

LOOK = (0.2, 0.35, 0.5, 0.6, 0.7)
seen: list[Known] = []


@dataclass(frozen=True)
class Brighter(Known4Sure):
    """Shows the anchor under another rising curve, with `change` made to what is darker than the rest of the body."""

    change: str = ""

    def complete(self, known: Known, draws: int, seed: int, noise: Tensor | None = None) -> Tensor:
        seen.append(known)
        image = known.anchor.clone()
        if self.change == "gone":
            image[(image > 0.1) & (image < 0.4)] = 0.8
        return (0.5 * image.clamp_min(0) ** 2)[:, None].repeat_interleave(draws, 1)


def patient(contrast: float = 40.0) -> Image:
    """A body with a dark part of 5 % that is marked as a lesion."""
    plain = volume(("T1w",), (32, 36, 8))
    x, y, _ = np.meshgrid(*[np.linspace(-1, 1, n) for n in plain.data.shape[1:]], indexing="ij")
    lesion: Array = (x - 0.2) ** 2 + y**2 < 0.06
    data = np.where(lesion & (plain.data[0] > 0), contrast, plain.data[0])
    data = np.where((x + 0.3) ** 2 + y**2 < 0.1, np.minimum(data, 70.0), data)
    mask = (lesion & (data > 0)).astype(np.float32)
    return replace(plain, data=np.stack([data, mask]).astype(np.float32), channels=("T1w", "lesions"), header={})


@pytest.fixture
def harmonized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    path = weights(BrainPrior, tmp_path, looks={"here": {"T1w": list(LOOK)}})

    def go(subject: Image, change: str = "", **settings: object) -> Result:
        from veridical.tasks import imagewise

        seen.clear()
        monkeypatch.setattr(imagewise, "image_model", lambda *_, **__: Brighter(weights=path, change=change))
        plain = replace(subject, data=subject.data[:1], channels=("T1w",))
        asked = settings if "look" in settings or "site" in settings else {"look": veridical.look([plain])} | settings
        return Harmonize(**{"weights": path, "draws": 2} | asked)(subject)  # type: ignore[arg-type]

    return go


def verdicts(derived: Result) -> dict[str, str]:
    assert len({finding.check for finding in derived.findings}) == len(derived.findings)
    return {finding.check: finding.verdict for finding in derived.findings}


def test_another_look_of_the_same_patient_passes_though_contrast_in_numbers_is_another(harmonized: object) -> None:
    derived = harmonized(patient())  # type: ignore[operator]
    assert verdicts(derived)["biology"] == "pass"
    assert verdicts(derived)["pathology"] == "pass"
    said = next(f for f in derived.findings if f.check == "pathology")
    assert abs(said.evidence["worst_change"]) < 0.05
    before, after = patient()["T1w"], derived.image.data[0]
    lesion, body = patient()["lesions"] > 0, before > 75
    ratio = (after[body].mean() - after[lesion].mean()) / (before[body].mean() - before[lesion].mean())
    assert abs(ratio - 1) > 0.2


def test_a_lesion_that_is_removed_fails_both_checks(harmonized: object) -> None:
    found = verdicts(harmonized(patient(), "gone"))  # type: ignore[operator]
    assert found["biology"] == "fail"
    assert found["pathology"] == "fail"


def test_without_marked_lesions_the_finding_of_imagined_regions_stays(harmonized: object) -> None:
    subject = patient()
    plain = replace(subject, data=subject.data[:1], channels=("T1w",))
    derived = harmonized(plain)  # type: ignore[operator]
    assert "imagined" in next(f for f in derived.findings if f.check == "pathology").reason


@pytest.mark.parametrize("settings", [{"look": ()}, {"site": "here"}, {"look": LOOK}])
def test_the_model_is_told_the_look_and_that_the_channel_has_another(harmonized: object, settings: dict[str, object]) -> None:
    harmonized(patient(), **settings)  # type: ignore[operator]
    assert seen[0].status[0, 0] == RELOOK
    assert seen[0].look_known[0, 0] == 1
    np.testing.assert_allclose(seen[0].look[0, 0], LOOK, rtol=1e-6)


def test_the_model_begins_at_the_look_asked_for_and_its_result_is_in_the_units_of_the_image(harmonized: object) -> None:
    derived = harmonized(patient(), look=LOOK)  # type: ignore[operator]
    shown = np.concatenate([known.anchor[:, 0].numpy() for known in seen])
    np.testing.assert_allclose(look_of_slices(shown, "T1w")[2:], LOOK[2:], atol=0.05)
    top = np.percentile(patient()["T1w"][patient()["T1w"] > 10], 99)
    assert derived.image.data.max() == pytest.approx(0.5 * top * shown.max() ** 2, rel=0.02)


def test_a_curve_takes_a_look_to_another_and_leaves_order_zero_and_its_own_look_alone() -> None:
    slices = view(volume(("T1w",), (32, 36, 8))).images["T1w"] ** 2
    bent = curved(slices, "T1w", np.array(LOOK))
    np.testing.assert_allclose(look_of_slices(bent, "T1w")[1:], LOOK[1:], atol=0.05)
    order = np.argsort(slices, axis=None)
    assert (np.diff(bent.ravel()[order]) >= 0).all()
    assert (bent[slices == 0] == 0).all()
    np.testing.assert_allclose(curved(slices, "T1w", look_of_slices(slices, "T1w")), slices, atol=1e-3)


def test_looks_that_do_not_exist_or_contradict_are_refused(harmonized: object) -> None:
    with pytest.raises(SettingError, match="here"):
        harmonized(patient(), site="heer")  # type: ignore[operator]
    with pytest.raises(SettingError, match="do not fall"):
        Harmonize(look=(0.5, 0.4, 0.3, 0.2, 0.1))
    with pytest.raises(SettingError, match="one of them"):
        Harmonize(look=LOOK, site="here")


def test_the_look_of_images_is_free_of_their_units_and_follows_their_curve() -> None:
    image = volume(("T1w",))
    scaled = replace(image, data=7 * image.data)
    assert veridical.look([scaled]) == pytest.approx(veridical.look([image]), abs=2e-4)
    darker = replace(image, data=image.data**3)
    assert np.all(np.array(veridical.look([darker]))[1:4] < np.array(veridical.look([image]))[1:4])
    with pytest.raises(InputError, match="one or more images"):
        veridical.look([])
