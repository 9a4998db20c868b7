"""One door for all files: the content finds the reader, and whatever cannot be read is refused with
nothing written.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rawfiles import cartesian_rows, kspace, write_bart, write_fastmri, write_mrd, write_series, xml

import veridical
from veridical.errors import FormatError, InputError, SettingError, VeridicalError
from veridical.types import Geometry, Image, Measurement

DATA = kspace((2, 3, 10, 8))


def every_kind(folder: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    """One small file of every kind, with what must be said to read it."""
    picture = Image(
        np.ones((1, 4, 3, 2), np.float32), Geometry((4, 3, 2), np.eye(4)), "HU", ("CT",)
    )
    np.save(folder / "k.npy", DATA)
    header = xml((8, 10, 1), (8, 10, 1), (200, 250, 5), (200, 250, 5))
    write_series(folder / "series", [(0, 0, 3.0 * k) for k in range(3)])
    return {
        "nifti": (veridical.write(picture, folder / "x.nii.gz"), {}),
        "dicom": (folder / "series", {}),
        "npy": (folder / "k.npy", {"axes": "slice,coil,y,x"}),
        "bart": (
            write_bart(folder / "pair", DATA.transpose(3, 2, 0, 1)).with_name("pair.cfl"),
            {"axes": "x,y,slice,coil"},
        ),
        "fastmri": (write_fastmri(folder / "f.h5", DATA), {}),
        "ismrmrd": (write_mrd(folder / "m.h5", cartesian_rows(DATA, list(range(10))), header), {}),
    }


def test_every_kind_is_found_by_its_content(tmp_path: Path) -> None:
    for name, (path, options) in every_kind(tmp_path).items():
        subject = veridical.read(path, **options)
        assert isinstance(subject, Image if name in ("nifti", "dicom") else Measurement), name
        if isinstance(subject, Measurement):
            np.testing.assert_array_equal(subject.data, DATA)


def test_a_file_under_another_name_is_read_all_the_same(tmp_path: Path) -> None:
    for name, (path, options) in every_kind(tmp_path).items():
        if name not in ("bart", "dicom"):
            veridical.read(path.rename(tmp_path / f"scan-{name}"), **options)


def test_the_source_says_how_to_read_it_again(tmp_path: Path) -> None:
    path, options = every_kind(tmp_path)["npy"]
    np.save(tmp_path / "mask.npy", np.ones((10, 8)))
    subject = veridical.read(path, mask=tmp_path / "mask.npy", contrast="T1w", **options)
    again = dict(subject.header["source"])
    assert again["path"] == str(path)
    repeated = veridical.read(again.pop("path"), **again)
    np.testing.assert_array_equal(repeated.data, subject.data)
    assert repeated.header == subject.header
    assert "source" not in veridical.read(path, mask=np.ones((10, 8)), **options).header


def test_an_option_that_the_reader_does_not_have_is_refused(tmp_path: Path) -> None:
    path = every_kind(tmp_path)["nifti"][0]
    with pytest.raises(
        SettingError, match=r"'nifti', which has no --axes.*Known: --contrast, --spacing, --units"
    ):
        veridical.read(path, axes="coil,y,x")


@pytest.mark.parametrize(
    "content", [b"", b"plain words", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", bytes(4096)]
)
@pytest.mark.parametrize(
    "name", ["scan", "x.nii.gz", "x.nii", "k.npy", "k.npz", "k.cfl", "f.h5", "a.dcm", "x.png"]
)
def test_nonsense_under_any_name_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        veridical.read(tmp_path / name, budget=2**20)
    assert Path(name).stem in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_hdf5_with_nothing_known_in_it_names_the_readers(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["volume"] = np.ones(3)
    with pytest.raises(
        FormatError, match="Readers: analyze, bart, dicom, fastmri, ismrmrd, metaimage, nifti, npy"
    ):
        veridical.read(tmp_path / "f.h5")


def test_a_missing_path_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        veridical.read(tmp_path / "none")
    with pytest.raises(InputError, match="holds no DICOM series"):
        veridical.read(tmp_path)


@pytest.mark.parametrize("budget", [0, 100])
def test_every_reader_keeps_to_the_budget(tmp_path: Path, budget: int) -> None:
    for path, options in every_kind(tmp_path).values():
        with pytest.raises(
            veridical.errors.BudgetError, match=f"budget is {budget / 2**20:.3g} MiB"
        ):
            veridical.read(path, budget=budget, **options)


def test_flipped_bytes_never_give_anything_but_a_result_or_a_refusal(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for path, options in every_kind(tmp_path).values():
        file = sorted(path.iterdir())[0] if path.is_dir() else path
        whole = file.read_bytes()
        for _ in range(25):
            damaged = bytearray(whole)
            for place in rng.integers(0, min(len(damaged), 4000), 3):
                damaged[place] = int(rng.integers(0, 256))
            file.write_bytes(damaged)
            with contextlib.suppress(VeridicalError):
                veridical.read(path, budget=2**26, **options)
        file.write_bytes(whole)


def test_write_is_atomic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Image(
        np.ones((1, 4, 3, 2), np.float32), Geometry((4, 3, 2), np.eye(4)), "HU", ("CT",)
    )
    target = veridical.write(picture, tmp_path / "x.nii.gz")
    before = target.read_bytes()

    def fail(*_: Path) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    monkeypatch.setattr("shutil.copyfile", fail)
    with pytest.raises(OSError, match="no space"):
        veridical.write(picture, target)
    assert target.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["x.nii.gz"]
