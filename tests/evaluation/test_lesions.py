from __future__ import annotations

import numpy as np
import pytest

from veridical.evaluation.lesions import SIDE, as_detections, channels, detected, patches
from veridical.metrics.lesion_f1 import froc
from veridical.metrics.observer import detectability
from veridical.types import Geometry, Image

SHAPE = (96, 88, 4)


def case(seed: int, contrast: float) -> tuple[Image, np.ndarray, np.ndarray]:
    """White noise with one faint round lesion, the lesion, and the foreground."""
    rng = np.random.default_rng(seed)
    x, y, z = np.indices(SHAPE)
    cx, cy = rng.integers(20, 60, 2)
    lesion = ((x - cx) ** 2 + (y - cy) ** 2 < 25) & (z == 2)
    data = rng.normal(0, 1, SHAPE) + contrast * lesion
    return (
        Image(data[None].astype(np.float32), Geometry.index(SHAPE), "a.u.", ("T1w",)),
        lesion,
        np.ones(SHAPE, bool),
    )


def test_patches_lie_on_lesions_and_away_from_them_at_the_same_places_in_both_images() -> None:
    image, lesion, counted = case(0, 50.0)
    cut = patches({"candidate": image, "reference": image}, lesion, counted, seed=0)
    assert set(cut) == {
        "candidate-present",
        "candidate-absent",
        "reference-present",
        "reference-absent",
    }
    assert cut["candidate-present"].shape == (1, SIDE, SIDE)
    assert cut["candidate-present"][0, SIDE // 2, SIDE // 2] > 40
    assert cut["candidate-absent"].max() < 40
    assert (cut["candidate-present"] == cut["reference-present"]).all()


def test_an_image_too_small_or_without_a_lesion_gives_no_patch() -> None:
    image, lesion, counted = case(0, 1.0)
    assert patches({"candidate": image}, np.zeros_like(lesion), counted, 0) == {}
    small = Image(image.data[:, :20, :20], Geometry.index((20, 20, 4)), "a.u.", ("T1w",))
    assert (
        patches({"candidate": small}, np.ones((20, 20, 4), bool), np.ones((20, 20, 4), bool), 0)
        == {}
    )


def test_a_fainter_lesion_stands_out_less() -> None:
    index = []
    for contrast in (0.2, 0.6, 1.2):
        cuts = [
            patches({"candidate": i}, m, c, s) for s in range(24) for i, m, c in [case(s, contrast)]
        ]
        present, absent = (
            np.concatenate([cut[f"candidate-{what}"] for cut in cuts])
            for what in ("present", "absent")
        )
        index.append(detectability(present, absent, channels=channels()).index)
    assert index[0] < index[1] < index[2]


def test_a_lesion_found_first_and_no_false_alarm_is_a_perfect_curve() -> None:
    image, lesion, _ = case(0, 1.0)
    kept = {f"candidate-{k}": v for k, v in detected(lesion * 0.9, lesion, image).items()}
    assert froc([as_detections(kept, "candidate")]).mean == pytest.approx(1.0)
