"""Letters drawn into an image are found, whichever way; anatomy, noise and edges are none."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from veridical.audit.audited_study import known
from veridical.audit.burned_in import burned_in, letters
from veridical.phantoms.cohort import Cohort
from veridical.phantoms.rendering import render
from veridical.testing import check_audit
from veridical.types import Array, Geometry, Image, Result, Study


def plain(seed: int) -> Array:
    """A T1w slice of a head, `(y, x)`, 0 to 255."""
    data = render(Cohort(5).slice(seed, (192, 160), 1.3, "axial"), "T1w")
    noise = np.random.default_rng(seed).normal(0, 3, data.shape)
    return np.abs(data / data.max() * 220 + noise).astype(np.float32)


def written(data: Array, text: str, place: tuple[int, int], size: int, value: int) -> Array:
    """Return the image with a text drawn over it."""
    picture = Pillow.fromarray(data)
    font = ImageFont.load_default(size)
    ImageDraw.Draw(picture).text(place, text, fill=float(value), font=font)
    return np.asarray(picture)


@pytest.mark.parametrize("size", [12, 16])
@pytest.mark.parametrize("place", [(4, 4), (60, 90)])
def test_a_name_is_found_in_a_corner_and_over_the_head(size: int, place: tuple[int, int]) -> None:
    found = [
        letters(written(plain(seed), "OKONKWO 1962", place, size, 255)) >= 4 for seed in range(4)
    ]
    assert np.mean(found) >= 0.75


def test_turned_and_dark_text_is_found() -> None:
    turned = np.rot90(written(np.rot90(plain(1)).copy(), "OKONKWO 1962", (5, 5), 14, 255), 3)
    assert letters(turned) >= 4
    bright = 255 - np.zeros((128, 128), np.float32)
    assert letters(written(bright, "OKONKWO 1962", (20, 50), 14, 0)) >= 4


def test_heads_noise_and_edges_hold_no_letters() -> None:
    assert sum(letters(plain(100 + seed)) > 0 for seed in range(12)) == 0
    rng = np.random.default_rng(0)
    assert letters(rng.normal(size=(128, 128))) == 0
    assert letters(np.kron(np.indices((8, 8)).sum(0) % 2, np.ones((16, 16)))) == 0
    assert letters(np.zeros((64, 64))) == 0


def test_images_of_other_generators_are_looked_at_and_tasks_are_not() -> None:
    data = written(plain(2), "OKONKWO 1962", (4, 4), 14, 255)
    grid = Geometry((192, 160, 1), np.diag([1.3, 1.3, 5.0, 1.0]))
    image = Image(data[None, :, :, None], grid, "a.u.", ("T1w",))
    absent = dict.fromkeys(("draws", "interval", "evidence"), "another generator made it")
    made = Result(image, "image", absent=absent)
    found = check_audit(burned_in, known(Study("", {0.0: {}})), made)
    assert found is not None
    assert found.verdict == "warn"
    assert burned_in(Study("", {0.0: {}}), made) is None
