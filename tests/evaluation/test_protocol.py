from __future__ import annotations

from pathlib import Path

import pytest

from veridical.errors import FormatError, InputError, SettingError
from veridical.evaluation.protocol import CONVENTION, Primary, Protocol, dump, load


def test_a_protocol_survives_its_file(tmp_path: Path) -> None:
    told = Protocol(
        name='a "quoted" one',
        data_range=2000.0,
        window=(-1000.0, 1000.0),
        primary=(Primary("task/dice/lesion", 0.7, "value"),),
    )
    path = tmp_path / "p.toml"
    path.write_text(dump(told))
    assert load(path) == told


def test_the_default_file_is_the_default_and_explains_every_entry(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(dump(Protocol()))
    assert load(path) == Protocol()
    assert path.read_text().count("#") >= 8


def test_any_change_changes_the_hash() -> None:
    assert Protocol().sha256() == Protocol().sha256()
    assert (
        len(
            {
                Protocol().sha256(),
                Protocol(seed=1).sha256(),
                Protocol(primary=CONVENTION[:2]).sha256(),
            }
        )
        == 3
    )


def test_a_star_declares_every_region_of_a_metric() -> None:
    protocol = Protocol()
    assert protocol.limit("feature/mmd/radiomics") == Primary("feature/mmd/*", 0.8)
    assert protocol.limit("pixel/ssim/image") is None


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("resample = 3", SettingError),
        ("resamples = 3", SettingError),
        ("[[primary]]\nendpoint = 'ssim'\nlimit = 1", SettingError),
        ("[[primary]]\nendpoint = 'pixel/ssim/image'", SettingError),
        ("[[primary]]\nendpoint = 'pixel/ssim/image'\nlimit = 1\nof = 'other'", SettingError),
        ("name = ", FormatError),
        ("level = 2.0", SettingError),
    ],
)
def test_a_wrong_file_is_refused_with_what_is_wrong(
    text: str, error: type[Exception], tmp_path: Path
) -> None:
    path = tmp_path / "p.toml"
    path.write_text(text)
    with pytest.raises(error):
        load(path)


def test_a_missing_file_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="veridical protocol"):
        load(tmp_path / "none.toml")
