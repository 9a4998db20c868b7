"""Names and archives that a browser sends."""

from __future__ import annotations

import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veridical.apps.web import uploads
from veridical.apps.web.uploads import inside, unpacked
from veridical.errors import BudgetError, FormatError, InputError

FOLDER = Path("/somewhere/files")


@given(st.text(max_size=60) | st.text(alphabet="./\\a ~", max_size=12))
def test_whatever_a_file_calls_itself_it_lies_in_its_folder_or_is_refused(name: str) -> None:
    try:
        found = inside(FOLDER, name)
    except InputError:
        return
    assert found.resolve().is_relative_to(FOLDER)
    assert found != FOLDER
    assert ".." not in found.parts


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/../../x",
        "/etc/passwd",
        "..",
        ".",
        "",
        "a\\..\\x",
        "C:x",
        "a\0b",
        "x" * 300,
        "a/./b ",
        "a\n",
    ],
)
def test_names_that_lead_out_or_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(InputError):
        inside(FOLDER, name)


def test_what_a_refusal_says_of_a_name_is_no_markup() -> None:
    with pytest.raises(InputError) as caught:
        inside(FOLDER, "<script>alert(1)</script>")
    assert "<" not in str(caught.value)


def packed(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_an_archive_is_unpacked_without_the_noise_of_other_systems(tmp_path: Path) -> None:
    files = {
        "case/a.dcm": b"1",
        "case/b.dcm": b"2",
        "__MACOSX/case/a.dcm": b"x",
        "case/.DS_Store": b"x",
    }
    found = unpacked(packed(tmp_path / "a.zip", files), tmp_path / "out")
    assert found == tmp_path / "out" / "case"
    assert sorted(one.name for one in found.iterdir()) == ["a.dcm", "b.dcm"]


def test_other_files_and_folders_stay_as_they_are(tmp_path: Path) -> None:
    for path in (tmp_path, packed(tmp_path / "array.npz", {"a": b""})):
        assert unpacked(path, tmp_path / "out") == path


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "..\\outside"])
def test_an_archive_writes_nothing_outside(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="stays inside its folder"):
        unpacked(packed(tmp_path / "a.zip", {name: b"x"}), tmp_path / "deep" / "out")
    assert not list(tmp_path.rglob("outside*"))


def test_a_bomb_is_refused_by_what_it_says_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MOST_BYTES", 10_000)
    bomb = packed(tmp_path / "a.zip", {"zeros": bytes(1_000_000)})
    assert bomb.stat().st_size < 2000
    with pytest.raises(BudgetError, match="1 files of"):
        unpacked(bomb, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_archive_of_too_many_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MOST_FILES", 3)
    with pytest.raises(BudgetError, match="4 files"):
        unpacked(packed(tmp_path / "a.zip", {str(k): b"" for k in range(4)}), tmp_path / "out")


def test_a_bomb_that_lies_about_its_size_unfolds_no_further_than_it_says(tmp_path: Path) -> None:
    """The size in its directory is changed from a million bytes to ten."""
    bomb = packed(tmp_path / "a.zip", {"zeros": bytes(1_000_000)})
    content = bomb.read_bytes().replace(struct.pack("<L", 1_000_000), struct.pack("<L", 10))
    bomb.write_bytes(content)
    with pytest.raises(FormatError):
        unpacked(bomb, tmp_path / "out")
    assert sum(one.stat().st_size for one in tmp_path.rglob("zeros")) <= 10


def test_links_in_an_archive_are_refused(tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(FormatError, match="symbolic links"):
        unpacked(tmp_path / "a.zip", tmp_path / "out")


def test_a_damaged_or_empty_archive_is_refused(tmp_path: Path) -> None:
    whole = packed(tmp_path / "a.zip", {"a": bytes(range(256)) * 40})
    content = bytearray(whole.read_bytes())
    content[60:90] = bytes(30)
    whole.write_bytes(content)
    with pytest.raises(FormatError, match="cannot be unpacked"):
        unpacked(whole, tmp_path / "out")
    with pytest.raises(FormatError, match="holds no file"):
        unpacked(packed(tmp_path / "b.zip", {}), tmp_path / "other")
