"""Laws of the packed cache: what is cut out is what was put in, made once, and refused when
damaged.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import toys
from veridical.errors import FormatError
from veridical.training import packed_cache as module
from veridical.training.clean_volumes import clean_volumes
from veridical.training.packed_cache import CENTRES, PackedCache, foreground_voxels, pack


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> PackedCache:
    with toys.clean_set():
        return pack(["toy"], tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def volumes() -> list[np.ndarray]:
    with toys.clean_set():
        return [volume.image for volume in clean_volumes("toy")]


def test_every_volume_is_there_in_half_precision(
    cache: PackedCache, volumes: list[np.ndarray]
) -> None:
    assert [entry.patient for entry in cache.entries] == ["toy-0", "toy-1", "toy-2"]
    for number, image in enumerate(volumes):
        np.testing.assert_array_equal(cache.volume(number), image.astype(np.float16))


def test_it_is_made_once_and_then_only_opened(
    cache: PackedCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(source: str) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(module, "clean_volumes", never)
    again = pack(["toy"], cache.folder.parent)
    assert again.entries == cache.entries
    assert np.array_equal(again.centres, cache.centres)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("centre", [(6, 20, 18), (0, 0, 0), (11, 39, 35)])
def test_a_stack_is_cut_out_of_the_volume_about_its_centre(
    cache: PackedCache, volumes: list[np.ndarray], axis: int, centre: tuple[int, int, int]
) -> None:
    depth, side = 3, 8
    found = cache.stack(1, centre, axis, depth, side)
    moved = np.moveaxis(volumes[1].astype(np.float16), axis, 0)
    place = list(centre)
    first = place.pop(axis)
    corner = [
        min(max(0, p - side // 2), n - side) for p, n in zip(place, moved.shape[1:], strict=True)
    ]
    for layer in range(depth):
        index = first + layer - 1
        expected = np.zeros((side, side))
        if 0 <= index < len(moved):
            expected = moved[index, corner[0] : corner[0] + side, corner[1] : corner[1] + side]
        np.testing.assert_array_equal(found[layer], expected)


def test_a_patch_larger_than_the_volume_is_filled_with_zeros(cache: PackedCache) -> None:
    found = cache.stack(0, (6, 20, 18), 0, 1, 48)
    assert found.shape == (1, 48, 48)
    assert found[0, :40, :36].any()
    assert not found[0, 40:].any()
    assert not found[0, :, 36:].any()


def test_centres_are_foreground_voxels_the_same_for_the_same_seed(
    cache: PackedCache, volumes: list[np.ndarray]
) -> None:
    for image, centres in zip(volumes, cache.centres, strict=True):
        assert centres.shape == (CENTRES, 3)
        assert (image[tuple(centres.T)] > module.FOREGROUND).all()
    first, again, other = (foreground_voxels(volumes[0], seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("file", ["index.json", "volumes.f16", "centres.npy"])
def test_a_damaged_cache_is_refused_and_what_to_do_is_said(tmp_path: Path, file: str) -> None:
    with toys.clean_set(2):
        folder = pack(["toy"], tmp_path).folder
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(FormatError, match="Remove it; it will be made anew"):
        PackedCache(folder)


def test_an_index_of_other_keys_is_refused(tmp_path: Path) -> None:
    with toys.clean_set(1):
        folder = pack(["toy"], tmp_path).folder
    (folder / "index.json").write_text(json.dumps({"entries": [{"place": 3}]}), encoding="utf-8")
    with pytest.raises(FormatError, match="not a whole packed cache"):
        PackedCache(folder)


def test_a_packing_that_was_interrupted_leaves_nothing_that_looks_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def halfway(source: str) -> object:
        with toys.clean_set(2):
            yield from clean_volumes(source)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "clean_volumes", halfway)
    with pytest.raises(KeyboardInterrupt):
        pack(["toy"], tmp_path)
    monkeypatch.undo()
    with toys.clean_set(3):
        assert len(pack(["toy"], tmp_path).entries) == 3
