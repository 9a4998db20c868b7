"""Numbers of label maps: FreeSurfer's and ours mean the same structures; what is unknown is refused
by name.
"""

from __future__ import annotations

import numpy as np
import pytest

from veridical.errors import InputError
from veridical.phantoms.head_labels import (
    FREESURFER,
    LABELS,
    LESIONS,
    TISSUE,
    from_numbers,
    listed,
)
from veridical.phantoms.label_maps import NAMES
from veridical.physics.tissue import TissueClass


def test_left_and_right_of_freesurfer_are_one_structure_of_ours() -> None:
    labels = np.array([0, 2, 41, 3, 42, 10, 49, 17, 53, 515])
    names = [LABELS[n] for n in from_numbers(labels, "freesurfer")]
    assert names[1:5] == ["white matter", "white matter", "cortex", "cortex"]
    assert names[5:] == ["thalamus"] * 2 + ["hippocampus and amygdala"] * 2 + ["compact bone"]


def test_no_number_of_freesurfer_means_two_structures() -> None:
    numbers = [number for members in FREESURFER.values() for number in members]
    assert len(numbers) == len(set(numbers))
    assert set(FREESURFER) <= set(NAMES)


def test_our_own_numbers_stay_as_they_are() -> None:
    every = np.arange(len(LABELS), dtype=np.uint8).reshape(4, 7)
    np.testing.assert_array_equal(from_numbers(every, "veridical"), every)


def test_the_parts_of_a_tumour_are_lesions_of_their_own_tissue() -> None:
    tissues = {LABELS[n]: TissueClass(int(TISSUE[n])) for n in LESIONS}
    assert tissues["lesion"] is TissueClass.MS_LESION
    assert tissues["enhancing tumour"] is TissueClass.ENHANCING


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([0, 2, 666, 777], "666, 777, which freesurfer does not name"),
        ([0, 1, 6, 22], "--numbering veridical"),
        ([0.0, 2.5], "not whole"),
        ([0.0, np.nan], "NaN"),
        ([0, 0], "background"),
    ],
)
def test_what_no_numbering_knows_is_refused(labels: list[float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        from_numbers(np.array(labels), "freesurfer")


def test_the_known_numbers_are_told_in_spans() -> None:
    assert listed("veridical") == "0 to 27"
    assert listed("freesurfer").startswith("0, 2 to 5, 7 to 18")
