"""Retrieval: what is asked for again is found first, what was not understood is said, and so is
that nothing is alike.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import described
import folders
from veridical.apps.cli import main
from veridical.errors import GeometryError, InputError, SettingError
from veridical.models.joint_embedding import CONTRASTS, JointEmbedding, channels, variables_vector
from veridical.preprocessing.coarse_head import SHAPE, SPACING, coarse_head, middle_of
from veridical.types import Geometry, Image
from veridical.workflow.retrieve import Library, Retrieve

TEXT = "left frontal 2 cm enhancing tumour"


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders.bids(tmp_path_factory.mktemp("ward") / "ward", 3)


@pytest.fixture(scope="module")
def library(ward: Path) -> Library:
    return Retrieve(weights=described.weights()).images_of(ward)


def image(spacing: float = 4.0, shift: float = 0.0) -> Image:
    """A head of 176 x 208 x 176 mm whose right side is brighter."""
    shape = tuple(round(n / spacing) for n in (192, 224, 192))
    grid = np.indices(shape, dtype=float) * spacing + spacing / 2
    x, y, z = (axis - middle for axis, middle in zip(grid, (96, 112, 96), strict=True))
    inside = (x / 88) ** 2 + (y / 104) ** 2 + (z / 88) ** 2 < 1
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = shift
    data = np.where(inside, np.where(x > 0, 120.0, 100.0), 0.0).astype(np.float32)
    return Image(data[None], Geometry(data.shape, affine), "a.u.", ("T1w",))


def test_a_visit_that_lies_in_the_folder_is_found_first_with_similarity_one(
    ward: Path, library: Library
) -> None:
    files = [ward / f"sub-02/anat/sub-02_{name}.nii.gz" for name in ("T1w", "FLAIR")]
    from veridical.io.assemble import read_together

    together = read_together(files)
    visit = {name: together.channel(name) for name in together.channels}
    found = Retrieve(weights=described.weights()).by_images(visit, library)
    assert found.hits[0].name == "sub-02"
    assert found.hits[0].similarity == pytest.approx(1.0, abs=1e-3)
    assert found.among == 3


def test_nothing_alike_is_said_where_unrelated_ones_are_as_similar(ward: Path) -> None:
    search = Retrieve(weights=described.weights(2.0))
    found = search.by_text(TEXT, search.images_of(ward))
    assert found.alike == ()
    assert any("Nothing alike" in line for line in found.lines())
    search = Retrieve(weights=described.weights(-2.0))
    found = search.by_text(TEXT, search.images_of(ward))
    assert len(found.alike) == 3
    assert not any("Nothing alike" in line for line in found.lines())


def test_the_chance_of_the_best_grows_with_how_many_are_compared() -> None:
    model = JointEmbedding(described.weights())
    one, ten = (model.chance(1.0, "text", among) for among in (1, 10))
    assert one == pytest.approx(1 / 100)
    assert ten == pytest.approx(1 - 0.99**10)
    assert model.chance(-1.0, "text", 3) == 1.0


def test_what_is_understood_of_a_text_is_said_and_so_is_what_is_not(library: Library) -> None:
    search = Retrieve(weights=described.weights(), best=2)
    found = search.by_text(f"{TEXT}. Blurgs of the frontal lobe.", library)
    assert "left frontal enhancing 20 mm tumour" in found.asked
    assert found.unread
    assert len(found.hits) == 2
    with pytest.raises(SettingError, match="names no finding"):
        search.by_text("a nice picture", library)


def test_reports_of_a_file_are_found_for_images_and_not_for_texts(tmp_path: Path) -> None:
    file = tmp_path / "reports.txt"
    file.write_text(f"{TEXT}\n\nhello there\nNo tumour.\n", encoding="utf-8")
    search = Retrieve(weights=described.weights())
    reports = search.reports_of(file)
    assert reports.names == (TEXT, "No tumour.")
    assert "hello there" in reports.left[0]
    found = search.by_images({"T1w": image()}, reports)
    assert {hit.name for hit in found.hits} == {TEXT, "No tumour."}
    with pytest.raises(InputError, match="library of texts"):
        search.by_text(TEXT, reports)
    file.write_text("hello", encoding="utf-8")
    with pytest.raises(InputError, match="one report a line"):
        search.reports_of(file)


def test_clinical_variables_ask_for_images_and_unknown_states_are_refused(library: Library) -> None:
    search = Retrieve(weights=described.weights())
    found = search.by_variables({"IDH": "mutated", "age": 40.0}, library)
    assert found.asked == "IDH mutated, age 40.0"
    with pytest.raises(InputError, match="expected wild type or mutated"):
        search.by_variables({"IDH": "broken"}, library)
    assert not variables_vector({}).any()


def test_a_head_lies_on_the_coarse_grid_alike_however_it_was_stored() -> None:
    fine, coarse = coarse_head(image(2.0, 37.0)), coarse_head(image(4.0, -11.0))
    assert fine.shape == SHAPE
    assert float(np.abs(fine - coarse).mean()) < 0.05
    assert fine[30, 28, 20] > fine[18, 28, 20], "right is at the end of x"
    first, second = middle_of(image(4.0)), middle_of(image(4.0, 10.0))
    assert np.allclose(second - first, 10.0)
    assert SPACING * SHAPE[0] == 192


def test_images_without_a_size_and_without_a_head_are_refused() -> None:
    flat = Image(
        np.zeros((1, 8, 8, 8), np.float32), Geometry((8, 8, 8), np.eye(4)), "a.u.", ("T1w",)
    )
    with pytest.raises(InputError, match="no head"):
        channels({"T1w": flat})
    unknown = Image(image().data, Geometry.index(image().geometry.shape), "a.u.", ("T1w",))
    with pytest.raises(GeometryError, match="how large its voxels are"):
        channels({"T1w": unknown})
    with pytest.raises(InputError, match="no image"):
        channels({})


def test_an_image_of_another_contrast_takes_the_place_without_a_name() -> None:
    known, other = channels({"T1w": image()}), channels({"SWI": image()})
    assert known[len(CONTRASTS)].any() == False  # noqa: E712
    assert np.array_equal(other[len(CONTRASTS)], known[0])


def test_the_command_prints_what_was_found(ward: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["retrieve", str(ward), "--weights", described.weights(), "--quiet"]
    assert main([*words, "--text", TEXT, "--best", "2"]) == 0
    shown = capsys.readouterr().out
    assert "asked: left frontal enhancing 20 mm tumour; compared: 3" in shown
    assert main([*words, "--grade", "4", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["hits"]) == 3
    assert main(words) == 2
    assert "Ask by one of" in capsys.readouterr().err
