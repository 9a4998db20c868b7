"""Hashes tell apart what differs and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from veridical import provenance
from veridical.physics.cartesian_mri import CartesianScan
from veridical.types import Geometry, Measurement, Noise, Study


def test_a_digest_sees_values_shape_and_type_but_not_the_memory_layout() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert provenance.digest(array) == provenance.digest(np.asfortranarray(array))
    assert provenance.digest(array) != provenance.digest(array.reshape(4, 3))
    assert provenance.digest(array) != provenance.digest(array.view(np.int32))
    assert provenance.digest(array) != provenance.digest(array + 1)


def test_a_digest_is_the_sha256_of_type_shape_and_bytes() -> None:
    """By coreutils: printf '<f4(1,)\\x00\\x00\\x80\\x3f' | sha256sum."""
    assert (
        provenance.digest(np.ones(1, np.float32))
        == "9a9a354e642635852b0a9c66a47583ca0a7d05c97c4aebb8204f785ea4130905"
    )


@pytest.mark.parametrize("change", ["data", "mask"])
def test_the_inputs_of_a_measurement_are_its_numbers_and_its_operator(change: str) -> None:
    data, mask = np.zeros((1, 2, 4, 4), np.complex64), np.ones((1, 4, 4), bool)
    before = provenance.inputs(Study.of(measurement(data, mask)))
    if change == "data":
        data = data + 1
    else:
        mask = mask.copy()
        mask[0, 0, 0] = False
    after = provenance.inputs(Study.of(measurement(data, mask)))
    of = {"data": {"raw"}, "mask": {"raw, operator sampled", "raw, operator mask"}}
    assert {key for key in before if before[key] != after[key]} == of[change]


def measurement(data: np.ndarray, mask: np.ndarray) -> Measurement:
    return Measurement(data, CartesianScan(mask), Noise("gaussian", 0.1), Geometry.index((4, 4, 1)))


def test_versions_hold_what_a_result_may_depend_on() -> None:
    assert {"python", "machine", "threads", "veridical", "torch", "numpy", "scipy"} <= set(
        provenance.versions()
    )
