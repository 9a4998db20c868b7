from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from veridical.errors import InputError
from veridical.evaluation import segmenter
from veridical.evaluation.sources import Source
from veridical.task import silent
from veridical.types import Geometry, Image

SHAPE = (48, 40, 4)


def patient(seed: int) -> tuple[Image, Image]:
    """A disc with a brighter spot in it, and the spot's mask."""
    rng = np.random.default_rng(seed)
    x, y, z = np.indices(SHAPE)
    head = (x - 24) ** 2 + (y - 20) ** 2 < 17**2
    cx, cy = rng.integers(16, 32), rng.integers(12, 28)
    spot = ((x - cx) ** 2 + (y - cy) ** 2 < 25) & (z > 0) & head
    image = 100 * head + 80 * spot + rng.normal(0, 5, SHAPE)
    grid = Geometry.index(SHAPE)
    return Image(image[None].astype(np.float32), grid, "a.u.", ("FLAIR",)), Image(
        spot[None].astype(np.uint8), grid, "label", ("label",)
    )


def sources(seeds: range) -> tuple[dict[str, Source], dict[str, Source]]:
    made = {f"p{seed}": patient(seed) for seed in seeds}
    images = {name: Source(name, None, image=pair[0]) for name, pair in made.items()}
    return images, {name: Source(name, None, image=pair[1]) for name, pair in made.items()}


@pytest.fixture(scope="module")
def trained() -> segmenter.Segmenter:
    return segmenter.train(*sources(range(6)), steps=60, seed=0, progress=silent)


def test_it_finds_in_new_patients_what_it_was_shown(trained: segmenter.Segmenter) -> None:
    image, truth = patient(100)
    found, real = trained(image) == 1, truth.data[0] == 1
    assert 2 * (found & real).sum() / (found.sum() + real.sum()) > 0.7


def test_its_answer_does_not_depend_on_the_unit_of_the_image(trained: segmenter.Segmenter) -> None:
    image, _ = patient(100)
    other = Image(image.data * 7, image.geometry, "a.u.", ("FLAIR",))
    assert (trained(image) == trained(other)).mean() > 0.999


def test_it_survives_its_file(trained: segmenter.Segmenter, tmp_path: Path) -> None:
    segmenter.save(trained, tmp_path / "s.safetensors")
    again = segmenter.load(tmp_path / "s.safetensors")
    assert again.sha256() == trained.sha256()
    assert (again(patient(100)[0]) == trained(patient(100)[0])).all()


def test_cases_without_labels_are_refused() -> None:
    images, labels = sources(range(2))
    with pytest.raises(InputError, match="two training cases"):
        segmenter.train(images, {"other": labels["p0"]}, 1, 0, silent)
    empty = {
        name: Source(
            name,
            None,
            image=Image(
                np.zeros((1, *SHAPE), np.uint8), Geometry.index(SHAPE), "label", ("label",)
            ),
        )
        for name in images
    }
    with pytest.raises(InputError, match="no structure"):
        segmenter.train(images, empty, 1, 0, silent)
