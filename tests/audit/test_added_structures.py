"""An added or a removed lesion in a set is found; sets that differ everywhere are not marked."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from veridical.audit.added_structures import added_structures
from veridical.audit.audited_study import known
from veridical.testing.audits import check_audit
from veridical.types import Array, Finding, Geometry, Image, Result, Study

SHAPE = (80, 72, 2)
GRID = Geometry(SHAPE, np.diag([1.0, 1.0, 4.0, 1.0]))
IMAGES = 6


def anatomy(seed: int) -> Array:
    rng = np.random.default_rng(seed)
    x, y, _ = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    texture = sum(
        s * ndimage.gaussian_filter(rng.standard_normal(SHAPE), (s, s, 0)) for s in (2.0, 4.0)
    )
    return np.asarray((x**2 + y**2 < 0.8) * (100 + 12 * texture), np.float32)


def lesion(seed: int) -> Array:
    x, y, z = np.indices(SHAPE)
    middle = np.random.default_rng(seed).integers(25, 50, 2)
    blob = np.exp(-0.5 * (np.hypot(x - middle[0], y - middle[1]) / 2.5) ** 2) * (z == 1)
    return np.asarray(40 * blob, np.float32)


def group(arrays: list[Array]) -> dict[str, Image]:
    return {
        f"sub-{n}": Image(a[None].astype(np.float32), GRID, "a.u.", ("FLAIR",))
        for n, a in enumerate(arrays)
    }


def judged(made: list[Array], references: Mapping[str, Image] | None = None) -> Finding | None:
    generated = group(made)
    truth = group([anatomy(n) for n in range(IMAGES)]) if references is None else references
    study = known(Study("", {0.0: {}}), generated=generated, references=truth)
    return added_structures(study, Result(generated["sub-0"], "image"))


def noisy(array: Array, seed: int) -> Array:
    return np.asarray(array + np.random.default_rng(seed).normal(0, 3, SHAPE))


def test_a_set_with_an_added_lesion_in_every_image_fails() -> None:
    found = judged([noisy(anatomy(n) + lesion(n), n) for n in range(IMAGES)])
    assert found is not None
    assert found.verdict == "fail"
    assert len(found.evidence["marked"]) == IMAGES
    assert "too bright" in found.reason


def test_one_image_with_a_lesion_less_is_named() -> None:
    truth = group([anatomy(n) + (lesion(n) if n == 2 else 0) for n in range(IMAGES)])
    found = judged([noisy(anatomy(n), n) for n in range(IMAGES)], truth)
    assert found is not None
    assert list(found.evidence["marked"]) == ["sub-2"]
    assert "too dark" in found.reason


def test_noise_blur_and_another_contrast_pass() -> None:
    for made in (
        [noisy(anatomy(n), n) for n in range(IMAGES)],
        [ndimage.gaussian_filter(anatomy(n), (1.5, 1.5, 0)) for n in range(IMAGES)],
        [100 * (np.maximum(anatomy(n), 0) / 100) ** 0.7 for n in range(IMAGES)],
    ):
        found = judged([np.asarray(one) for one in made])
        assert found is not None
        assert found.verdict == "pass"
        assert found.evidence["marked"] == {}


def test_without_references_it_does_not_apply_and_other_names_are_said() -> None:
    made = [anatomy(0)]
    assert judged(made, {}) is None
    found = judged(made, {"other": group(made)["sub-0"]})
    assert found is not None
    assert found.verdict == "not_run"
    check_audit(added_structures)
