"""OpenKBP patients as files: where the patient's right is, both forms alike, and damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import plans
from veridical.errors import FormatError
from veridical.io.files import read_image
from veridical.io.openkbp import SIDE, openkbp, recognises
from veridical.layouts import discovery
from veridical.models.dose_anatomy import turned
from veridical.physics.prescriptions import ALLOWED, STRUCTURES
from veridical.types import Image


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plans.archive(tmp_path_factory.mktemp("openkbp") / "pt_7.npz", plans.patient())


@pytest.fixture(scope="module")
def folder(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same patient as the tables of the challenge."""
    place = tmp_path_factory.mktemp("tables") / "pt_7"
    place.mkdir()
    stored = np.load(file)
    corner, shape = stored["corner"].astype(int), stored["shape"].astype(int)
    at = np.indices(shape) + corner[:, None, None, None]
    index = np.ravel_multi_index(at, (SIDE, SIDE, SIDE))

    def table(name: str, where: np.ndarray, values: np.ndarray | None = None) -> None:
        kept = [""] * int(where.sum()) if values is None else values[where].tolist()
        rows = [f"{voxel},{value}" for voxel, value in zip(index[where], kept, strict=True)]
        (place / f"{name}.csv").write_text("\n".join([",data", *rows]) + "\n")

    table("ct", stored["ct"] > 0, stored["ct"] * 16.0)
    table("dose", stored["dose"] > 0, stored["dose"] / 10)
    allowed = np.unpackbits(stored["possible"])[: shape.prod()].reshape(shape)
    table("possible_dose_mask", allowed > 0)
    for bit, name in enumerate(STRUCTURES):
        if (stored["structures"] >> bit & 1).any():
            table(name, (stored["structures"] >> bit & 1) > 0)
    np.savetxt(place / "voxel_dimensions.csv", stored["voxel_mm"])
    return place


def middle(image: Image, name: str) -> np.ndarray:
    """Middle of a structure, mm, RAS."""
    index = np.argwhere(image[name] > 0).mean(0)
    return image.geometry.affine[:3, :3] @ index + image.geometry.affine[:3, 3]


def test_right_is_right_front_is_front_and_the_head_is_up(file: Path) -> None:
    image = read_image(file)
    assert middle(image, "RightParotid")[0] > middle(image, "LeftParotid")[0] + 50
    assert middle(image, "Mandible")[1] > middle(image, "SpinalCord")[1] + 50
    assert middle(image, "Brainstem")[2] > middle(image, "Esophagus")[2] + 50


def test_numbers_come_back_as_they_were(file: Path) -> None:
    image, truth = openkbp(file), plans.patient()
    assert image.units_of("CT") == "HU"
    assert image.units_of("dose") == "Gy"
    assert image.units_of("PTV70") == image.units_of(ALLOWED) == "label"
    assert sorted(image.geometry.spacing) == pytest.approx(sorted(truth.geometry.spacing))
    assert "PTV63" not in image.channels, "it is not outlined"
    ct = turned(image["CT"], image.geometry)
    assert np.abs(ct - truth["CT"].clip(-1024, 3056)).max() <= 16
    assert np.array_equal(turned(image["PTV70"], image.geometry), truth["PTV70"])
    assert np.unique(image["dose"]) == pytest.approx(12.3)


def test_tables_and_archive_are_one_patient(file: Path, folder: Path) -> None:
    one, other = openkbp(file), openkbp(folder)
    assert set(one.channels) == set(other.channels)
    assert other.geometry.shape == (SIDE, SIDE, SIDE)
    for name in one.channels:
        assert np.argwhere(other[name] > 0).shape == np.argwhere(one[name] > 0).shape, name
        assert middle(one, name) == pytest.approx(middle(other, name), abs=1e-3), name


def test_both_are_found_as_patients_with_their_splits(file: Path, folder: Path) -> None:
    for place in (file.parent, folder.parent, folder):
        (study,) = discovery.studies(place)
        assert study.id == "pt_7"
        assert "PTV70" in study.visit()["plan"].channels  # type: ignore[union-attr]
    train = file.parent / "train"
    train.mkdir(exist_ok=True)
    (train / "pt_8.npz").write_bytes(file.read_bytes())
    splits = {s.id: s.covariates.get("split") for s in discovery.studies(file.parent)}
    assert splits["pt_8"] == "train"


def test_other_archives_are_left_to_others(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", ct=np.zeros(3))
    (tmp_path / "broken.npz").write_bytes(b"PK no archive")
    assert not recognises(tmp_path / "other.npz")
    assert not recognises(tmp_path / "broken.npz")
    assert not recognises(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"shape": np.array([3, 4, 5], np.int16)},
        {"voxel_mm": np.array([4, 0, 3], np.float32)},
        {"possible": np.zeros(2, np.uint8)},
        {"shape": np.array([-1, 4, 5], np.int16)},
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    file: Path, tmp_path: Path, change: dict[str, np.ndarray]
) -> None:
    stored = np.load(file)
    np.savez(tmp_path / "pt_1.npz", **{**dict(stored), **change})
    with pytest.raises(FormatError, match="not a whole OpenKBP patient"):
        openkbp(tmp_path / "pt_1.npz")
