"""The file of a federation is read strictly; a site trains on its own images only."""

from __future__ import annotations

from pathlib import Path

import pytest

import federations
from veridical.errors import FormatError, InputError, SettingError
from veridical.training.federation import Federation


def test_a_site_trains_on_its_folder_with_random_numbers_of_its_own(tmp_path: Path) -> None:
    plan = federations.federation(tmp_path)
    north, west = plan.of_site("north"), plan.of_site("west")
    assert list(north.data.sources) == [str(federations.folders() / "north")]
    assert north.training.steps == plan.steps == 4
    assert north.training.seed != west.training.seed


def test_the_central_recipe_has_the_images_of_all_sites_and_holds_out_the_same_patients(
    tmp_path: Path,
) -> None:
    plan = federations.federation(tmp_path)
    whole = plan.central()
    assert set(whole.data.sources) == {str(federations.folders() / s) for s in federations.SITES}
    assert set(whole.data.held_out) == {
        name for site in federations.SITES for name in plan.sites[site].held_out
    }


def test_a_copy_of_the_file_that_names_other_folders_is_the_same_federation(
    tmp_path: Path,
) -> None:
    plan = federations.federation(tmp_path / "a")
    path = federations.written(tmp_path / "b")
    path.write_text(path.read_text().replace(str(federations.folders()), "elsewhere"))
    assert Federation.read(path).fingerprint() == plan.fingerprint()


@pytest.mark.parametrize("line", ["proximal = 0.5", 'strategy = "fedprox"'])
def test_other_settings_are_another_federation(tmp_path: Path, line: str) -> None:
    plan = federations.federation(tmp_path / "a")
    assert federations.federation(tmp_path / "b", line).fingerprint() != plan.fingerprint()


@pytest.mark.parametrize(
    ("line", "more", "said"),
    [
        ('strategy = "fedavgg"', "", "fedavg"),
        ("locl_steps = 3", "", "local_steps"),
        ("fewest = 4", "", "3 sites are named"),
        ("timeout = 0", "", "expected at least 1"),
        ("secure_aggregation = true", "", "screen = false"),
        ("", "[privcy]\nepsilon = 1.0", "privacy"),
        ("", "[privacy]\nepsilon = -1.0", "expected 0 or more"),
        ("", '[privacy]\naccountant = "rpd"', "rdp"),
        ("", "[defence]\nlongest = 0.5", "1 or more"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(
    tmp_path: Path, line: str, more: str, said: str
) -> None:
    with pytest.raises(SettingError, match=said):
        federations.federation(tmp_path, line, more)


def test_unknown_sites_and_missing_folders_are_named(tmp_path: Path) -> None:
    plan = federations.federation(tmp_path)
    with pytest.raises(SettingError, match="north"):
        plan.of_site("nrth")
    path = federations.written(tmp_path)
    path.write_text(path.read_text().replace(str(federations.folders() / "north"), "gone"))
    with pytest.raises(InputError, match="is not there"):
        Federation.read(path).of_site("north")
    with pytest.raises(FormatError, match="cannot be read"):
        Federation.read(tmp_path / "none.toml")


def test_models_that_fit_something_to_patients_first_are_refused(tmp_path: Path) -> None:
    path = federations.written(tmp_path)
    path.write_text(path.read_text().replace("toy.toml", "brain"))
    with pytest.raises(SettingError, match="only denoisers"):
        Federation.read(path)
