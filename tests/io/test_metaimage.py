"""MetaImage: numbers, axes and units as ITK has them, and nothing malformed passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from metafiles import KINDS, write_mha

import veridical
from veridical.errors import BudgetError, FormatError, GeometryError, InputError
from veridical.io.metaimage import grid_of, metaimage

QUICK = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def numbers(kind: str = "int16", shape: tuple[int, ...] = (5, 4, 3), seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random(shape) * 100).astype(kind)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_type_packed_or_not_is_read_with_its_numbers(
    tmp_path: Path, kind: str, packed: bool, order: str
) -> None:
    data = numbers(kind).astype(np.dtype(kind).newbyteorder(order))
    image = metaimage(write_mha(tmp_path / "x.mha", data, packed))
    np.testing.assert_array_equal(image.data[0], data)
    wide = kind in ("int32", "uint32", "float64")
    assert image.data.dtype == (np.float64 if wide else np.float32)
    assert metaimage(tmp_path / "x.mha", units="label").data.dtype == (
        kind if "int" in kind else image.data.dtype
    )


def test_the_axes_of_itk_are_turned_to_ras(tmp_path: Path) -> None:
    """A row of TransformMatrix is the direction of one axis; checked against SimpleITK's
    TransformIndexToPhysicalPoint.
    """
    turned = "0 1 0 -1 0 0 0 0 1"
    image = metaimage(write_mha(tmp_path / "x.mha", numbers(), TransformMatrix=turned))
    first, second = (image.geometry.affine @ [*index, 1] for index in ((0, 0, 0), (1, 1, 1)))
    np.testing.assert_allclose(first[:3], [-4, -5, 6])
    np.testing.assert_allclose((second - first)[:3], [2, -1, 3])
    assert image.geometry.spacing == (1.0, 2.0, 3.0)


def test_voxels_beside_the_header_channels_and_two_dimensions_are_read(tmp_path: Path) -> None:
    data = numbers()
    beside = metaimage(write_mha(tmp_path / "x.mhd", data, True, ElementDataFile="x.zraw"))
    np.testing.assert_array_equal(beside.data[0], data)
    flat = {
        "DimSize": "5 4",
        "ElementSpacing": "1 1",
        "Offset": "0 0",
        "TransformMatrix": "1 0 0 1",
    }
    coloured = metaimage(
        write_mha(tmp_path / "c.mha", numbers(shape=(3, 5, 4)), ElementNumberOfChannels=3, **flat)
    )
    assert coloured.data.shape == (3, 5, 4, 1)
    np.testing.assert_array_equal(coloured.data[..., 0], numbers(shape=(3, 5, 4)))


def test_the_name_says_contrast_and_units_and_the_caller_more(tmp_path: Path) -> None:
    file = write_mha(tmp_path / "a_ct.mha", numbers())
    assert (metaimage(file).units, metaimage(file).channels) == ("HU", ("CT",))
    other = veridical.read(file, contrast="T1w")
    assert (other.units, other.channels) == ("a.u.", ("T1w",))  # type: ignore[union-attr]


def test_a_voxel_size_that_is_not_stated_is_said_and_can_be_given(tmp_path: Path) -> None:
    file = write_mha(tmp_path / "x.mha", numbers(), ElementSpacing=None)
    silent = veridical.read(file)
    assert silent.geometry.frame == "index"
    assert "--spacing" in " ".join(silent.header["notes"])
    assert veridical.read(file, spacing="2,1,3").geometry.spacing == (2.0, 1.0, 3.0)


@QUICK
@given(cut=st.integers(1, 400))
def test_a_file_that_ends_early_is_refused_wherever_it_ends(tmp_path: Path, cut: int) -> None:
    for packed in (False, True):
        file = write_mha(tmp_path / "x.mha", numbers(), packed)
        content = file.read_bytes()
        file.write_bytes(content[: max(1, len(content) - cut)])
        with pytest.raises(InputError):
            metaimage(file)


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"DimSize": "5 4 4"}, FormatError, "promises 160 bytes"), ({"DimSize": "5 4 2"}, FormatError, "holds more"),  # noqa: E501
        ({"DimSize": "5 4 3 2"}, FormatError, "two or three"), ({"DimSize": "5 -4 3"}, FormatError, "positive"),  # noqa: E501
        ({"DimSize": "five"}, GeometryError, "DimSize"), ({"ElementType": "MET_STRING"}, FormatError, "MET_STRING"),  # noqa: E501
        ({"BinaryData": False}, FormatError, "binary"), ({"ElementSpacing": "1 0 1"}, GeometryError, "affine"),  # noqa: E501
        ({"ElementSpacing": "1 nan 1"}, GeometryError, "Spacing"),
        ({"Offset": "1 2"}, GeometryError, "Offset"), ({"TransformMatrix": "0 0 0 0 0 0 0 0 0"}, GeometryError, "affine"),  # noqa: E501
        ({"ElementDataFile": "../secret.raw"}, FormatError, "one file beside it"),
        ({"ElementDataFile": "slice%03d.raw"}, FormatError, "LOCAL"), ({"ElementDataFile": "LIST"}, FormatError, "LOCAL"),  # noqa: E501
        ({"ElementDataFile": ""}, FormatError, "LOCAL"), ({"ElementNumberOfChannels": 0}, FormatError, "channels"),  # noqa: E501
    ],
)  # fmt: skip
def test_a_header_that_cannot_be_is_refused(
    tmp_path: Path, changed: dict[str, Any], error: type[Exception], words: str
) -> None:
    file = write_mha(tmp_path / "x.mha", numbers(), **changed)
    with pytest.raises(error, match=words):
        metaimage(file)


def test_a_small_file_that_unfolds_into_a_large_one_is_not_unfolded(tmp_path: Path) -> None:
    file = write_mha(tmp_path / "x.mha", np.zeros((200, 200, 50), np.int16), True, DimSize="2 2 2")
    with pytest.raises(FormatError, match="holds more"):
        metaimage(file, budget=10_000)
    huge = write_mha(tmp_path / "y.mha", numbers(), DimSize="100000 100000 100000")
    with pytest.raises(BudgetError):
        metaimage(huge)


def test_nan_and_endless_headers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="NaN"):
        metaimage(write_mha(tmp_path / "x.mha", np.full((5, 4, 3), np.nan, np.float32)))
    (tmp_path / "y.mha").write_bytes(b"ObjectType = Image\n" + b"A = 1\n" * 1000)
    with pytest.raises(FormatError, match="no MetaImage"):
        metaimage(tmp_path / "y.mha")


@pytest.mark.parametrize("packed", [False, True])
def test_the_header_alone_gives_the_grid_and_tells_of_truncation(
    tmp_path: Path, packed: bool
) -> None:
    file = write_mha(tmp_path / "x.mha", numbers(), packed)
    geometry, channels = grid_of(file)
    assert (geometry, channels) == (metaimage(file).geometry, 1)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(FormatError, match="truncated"):
        grid_of(file)
