"""Laws of label maps: every rank is one structure, skin lies above fat, and other maps are
refused.
"""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import painted
from veridical.errors import FormatError, InputError
from veridical.phantoms.label_maps import (
    BRAIN,
    DEVIATION,
    NAMES,
    RANKS,
    SKIN,
    STRUCTURES,
    label_map,
    label_maps,
    read,
    structure,
)
from veridical.types import Array


def test_every_rank_belongs_to_exactly_one_structure() -> None:
    members = [rank for _, ranks in STRUCTURES.values() for rank in ranks]
    assert sorted(members) == list(range(RANKS))
    assert structure("background") == 0
    assert [structure(name) for name in NAMES] == list(range(len(NAMES)))
    assert set(DEVIATION) | BRAIN <= set(NAMES)


def test_ranks_become_structures_and_the_outer_layer_of_fat_is_skin() -> None:
    ranks = painted.ranks()
    found = painted.maps()[0].structures
    for name, (_, members) in STRUCTURES.items():
        if name not in ("fat", "skin"):
            np.testing.assert_array_equal(found == structure(name), np.isin(ranks, members))
    skin, fat = (found == structure(name) for name in ("skin", "fat"))
    np.testing.assert_array_equal(skin | fat, ranks == 48)
    middle = painted.SIDE // 2
    line = found[:, middle, middle]
    outside = np.flatnonzero(line)[0]
    assert (line[outside : outside + SKIN] == structure("skin")).all()
    assert (line[outside + SKIN : outside + SKIN + 2] == structure("fat")).all()


def test_air_inside_of_the_head_has_no_skin() -> None:
    hollow = painted.ranks()
    hollow[30:34, 2:8, 30:34] = 0
    found = label_map(hollow, "hollow").structures
    assert found[32, 8, 32] != structure("skin")


def test_places_for_lesions_are_white_matter_in_mm_from_the_middle_of_the_brain() -> None:
    head = painted.maps()[0]
    np.testing.assert_allclose(head.centre, (painted.SIDE - 1) / 2, atol=0.5)
    for places in (head.white, head.periventricular):
        assert len(places) > 5
        at = np.round(places + head.centre).astype(int)
        assert (head.structures[tuple(at.T)] == structure("white matter")).all()
    far = [np.abs(places - (0, 2, 4)).max() for places in (head.periventricular, head.white)]
    assert far[0] <= far[1], "those close to a ventricle are among all"


def test_maps_of_a_folder_are_read_in_order_whatever_way_they_lie(tmp_path: Path) -> None:
    painted.write(tmp_path / "head02.nii.gz", painted.ranks(2))
    turned = nib.Nifti1Image(painted.ranks(1)[::-1], np.diag([-1.0, 1.0, 1.0, 1.0]))
    nib.save(turned, tmp_path / "head01.nii.gz")
    first, second = label_maps(str(tmp_path))
    assert (first.name, second.name) == ("head01", "head02")
    np.testing.assert_array_equal(first.structures, painted.maps()[0].structures)
    np.testing.assert_array_equal(second.structures, painted.maps()[1].structures)


def test_a_folder_without_maps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no label maps.*head01\.nii\.gz"):
        label_maps(str(tmp_path))


@pytest.mark.parametrize(
    ("values", "spacing", "word"),
    [
        (np.full((9, 9, 9), RANKS, np.uint8), (1.0, 1.0, 1.0), "values 54 to 54"),
        (np.full((9, 9, 9), -1, np.int16), (1.0, 1.0, 1.0), "values -1 to -1"),
        (np.full((9, 9, 9), 1.5, np.float32), (1.0, 1.0, 1.0), r"values 1\.5 to 1\.5"),
        (np.ones((9, 9, 9), np.uint8), (1.0, 1.0, 2.0), r"spacing \(1\.0, 1\.0, 2\.0\) mm"),
        (np.ones((9, 9, 9, 2), np.uint8), (1.0, 1.0, 1.0), r"shape \(9, 9, 9, 2\)"),
    ],
)
def test_a_map_of_other_values_or_spacing_is_refused(
    tmp_path: Path, values: Array, spacing: tuple[float, float, float], word: str
) -> None:
    painted.write(tmp_path / "head01.nii.gz", values, spacing)
    with pytest.raises(FormatError, match=rf"head01\.nii\.gz: .*{word}.*ranks 0 to 53 at 1 mm"):
        read(tmp_path / "head01.nii.gz")
