"""Files made to do harm, through the readers in a process with a memory limit: each is read or
refused in our own words, within its budget, and nothing is written.
"""

from __future__ import annotations

import gzip
import os
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence

from veridical.io.files import read_image
from veridical.types import Finding, Result

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).parent))
import fuzz
import rawfiles

PIXELS = np.arange(120, dtype=np.int16).reshape(12, 10)
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fuzz.Worker]:
    found = fuzz.Worker(tmp_path_factory.mktemp("hostile") / "run")
    yield found
    found.close()


def slice_of(**changed: Any) -> Any:
    with pydicom.config.disable_value_validation():
        return rawfiles.ct_slice("2.25.5", 1, PIXELS, (0, 0, 0), **changed)


def saved(path: Path, one: Any) -> Path:
    with pydicom.config.disable_value_validation():
        pydicom.dcmwrite(path, one, enforce_file_format=True)
    return path


def zeros(mebibytes: int, container: int) -> bytes:
    """A stream that inflates to zeros: one block of 16 MiB, again and again. `container` is that of
    zlib: -15 raw, 31 gzip.
    """
    squeeze = zlib.compressobj(9, zlib.DEFLATED, container)
    start = squeeze.compress(b"") + squeeze.flush(zlib.Z_FULL_FLUSH)
    block = squeeze.compress(bytes(2**24)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    return start + block * (mebibytes // 16)


def codestream(rows: int, columns: int) -> bytes:
    """The head of a JPEG 2000 stream that claims a size (ISO 15444-1, A.5.1), and no data."""
    sizes = struct.pack(">8I", columns, rows, 0, 0, columns, rows, 0, 0)
    siz = struct.pack(">HH", 41, 0) + sizes + struct.pack(">H3B", 1, 15, 1, 1)
    return b"\xff\x4f\xff\x51" + siz + b"\xff\xd9"


def jpeg2000(path: Path, stated: tuple[int, int], claimed: tuple[int, int]) -> Path:
    one = slice_of(Rows=stated[0], Columns=stated[1])
    one.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
    one.PixelData = encapsulate([codestream(*claimed)])
    one["PixelData"].is_undefined_length = True
    return saved(path, one)


def deflated(path: Path) -> Path:
    """A header of a few hundred bytes, then 2 GiB of zeros deflated into 2 MB."""
    one = slice_of()
    one.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    content = saved(path, one).read_bytes()
    meta = pydicom.filereader.read_file_meta_info(path)
    end = 132 + 12 + meta.FileMetaInformationGroupLength
    path.write_bytes(content[:end] + zeros(2048, -15))
    return path


def nested(path: Path, depth: int) -> Path:
    """Sequences in sequences, of undefined length: 20 bytes a level."""
    content = saved(path, slice_of()).read_bytes()
    head = b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    tag = content.index(b"\x08\x00\x60\x00CS")
    path.write_bytes(content[:tag] + head * depth + content[tag:])
    return path


def long_claim(path: Path) -> Path:
    """An entry of 4 GiB in a file of 4 kB."""
    content = saved(path, slice_of(StudyComments="x" * 8)).read_bytes()
    place = content.index(b"\x08\x00\x60\x00CS")
    path.write_bytes(content[:place] + b"\x08\x00\x61\x00OB\0\0\xfe\xff\xff\xff" + content[place:])
    return path


def nifti(path: Path, shape: tuple[int, ...], rest: bytes, *, inflated: bool) -> Path:
    """A gzip file with a header for `shape`, and what comes after it."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape(shape)
    header["magic"], header["vox_offset"] = b"n+1", 352
    start = gzip.compress(header.binaryblock + bytes(4), mtime=0)
    path.write_bytes(start + (zeros(2048, 31) if inflated else rest))
    return path


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def zip_bomb(path: Path) -> Path:
    return zipped(path, {f"{k}.dcm": bytes(128) + b"DICM" + bytes(2**25) for k in range(3)})


def hdf5(path: Path, make: Callable[[Any], None]) -> Path:
    with h5py.File(path, "w") as file:
        make(file)
    return path


def claims(name: str, shape: tuple[int, ...], chunks: tuple[int, ...], kind: Any) -> Any:
    """A data set that claims a size and stores nothing."""

    def make(file: Any) -> None:
        if name != "kspace":
            file.create_dataset("kspace", data=rawfiles.kspace((1, 2, 12, 10)))
        more = {"chunks": chunks, "maxshape": (None,) * len(shape), "compression": "gzip"}
        file.create_dataset(name, shape, kind, **more)

    return make


def chunk_bomb(file: Any) -> None:
    """One chunk of 2 GiB, stored as 2 MB."""
    wide = 2**28
    found = file.create_dataset(
        "kspace", (1, 1, 1, wide), "c8", chunks=(1, 1, 1, wide), compression=1
    )
    found.id.write_direct_chunk((0, 0, 0, 0), b"\x78\x01" + zeros(2048, -15))


def outside(path: Path) -> Path:
    """A sound file elsewhere, which no link may lead to."""
    target = path.parent.parent / "elsewhere.h5"
    if not target.exists():
        rawfiles.write_fastmri(target, rawfiles.kspace((1, 2, 12, 10)))
    return target


def linked(path: Path, name: str, target: str) -> Path:
    there = outside(path)

    def make(file: Any) -> None:
        file[name] = h5py.ExternalLink(str(there), target)

    return hdf5(path, make)


def external_group(path: Path) -> Path:
    """The group, not the data set, lies in another file: its members look like its own."""
    target = path.parent.parent / "elsewhere.mrd"
    if not target.exists():
        header = rawfiles.xml((10, 12, 1), (10, 12, 1), (200.0, 200.0, 5.0))
        full = rawfiles.kspace((1, 2, 12, 10))
        rows = rawfiles.cartesian_rows(full, list(range(12)))
        rawfiles.write_mrd(target, rows, header)

    def make(file: Any) -> None:
        file["dataset"] = h5py.ExternalLink(str(target), "/dataset")

    return hdf5(path, make)


def loop(file: Any) -> None:
    file["a"], file["kspace"] = h5py.SoftLink("/kspace"), h5py.SoftLink("/a")


def ring(file: Any) -> None:
    """A group that is its own member, and a data set named through it."""
    group = file.create_group("dataset")
    group["dataset"] = group
    file["dataset/data"] = h5py.SoftLink("/dataset/dataset/dataset/data")


def stored_elsewhere(path: Path) -> Path:
    target = path.parent.parent / "raw.bin"
    target.write_bytes(bytes(8 * 240))

    def make(file: Any) -> None:
        part = [(str(target), 0, 8 * 240)]
        file.create_dataset("kspace", (1, 2, 12, 10), "c8", external=part)

    return hdf5(path, make)


def virtual(path: Path) -> Path:
    there = outside(path)

    def make(file: Any) -> None:
        layout = h5py.VirtualLayout((1, 2, 12, 10), "c8")
        layout[...] = h5py.VirtualSource(str(there), "kspace", (1, 2, 12, 10))
        file.create_virtual_dataset("kspace", layout)

    return hdf5(path, make)


def pipe(path: Path) -> Path:
    """A link to a named pipe, which nobody writes to: whoever opens it waits for ever."""
    os.mkfifo(path.parent.parent / "pipe")

    def make(file: Any) -> None:
        file["kspace"] = h5py.ExternalLink(str(path.parent.parent / "pipe"), "kspace")

    return hdf5(path, make)


def runs_on(path: Path) -> Path:
    """RLE runs that go on after the last pixel, on which a decoder in Rust panics."""
    one = slice_of(Rows=12, Columns=10)
    one.file_meta.TransferSyntaxUID = pydicom.uid.RLELossless
    runs = struct.pack("<16I", 2, 64, 100, *[0] * 13) + b"\x90a" * 40
    one.PixelData = encapsulate([runs])
    one["PixelData"].is_undefined_length = True
    return saved(path, one)


def heap_without_end(path: Path) -> Path:
    """A heap whose free space says that it has no size, behind the text of an attribute."""
    with h5py.File(path, "w") as file:
        file.create_dataset("kspace", data=rawfiles.kspace((1, 2, 12, 10)))
        file.attrs["acquisition"] = "AXFLAIR"
    content = bytearray(path.read_bytes())
    place = content.index(b"GCOL") + 16
    while int.from_bytes(content[place : place + 2], "little"):
        place += 16 + -(-int.from_bytes(content[place + 8 : place + 16], "little") // 8) * 8
    content[place + 8 : place + 16] = bytes(8)
    path.write_bytes(content)
    return path


def empty_chunk(path: Path) -> Path:
    """A chunk of no bytes, which the HDF5 library would unpack."""

    def make(file: Any) -> None:
        found = file.create_dataset(
            "kspace", (1, 1, 4, 4), "c8", chunks=(1, 1, 4, 4), compression=1
        )
        found.id.write_direct_chunk((0, 0, 0, 0), zlib.compress(bytes(128)).ljust(251, b"\0"))

    content = hdf5(path, make).read_bytes()
    assert content.count(struct.pack("<II", 251, 0)) == 1
    path.write_bytes(content.replace(struct.pack("<II", 251, 0), bytes(8)))
    return path


REFUSED: dict[str, tuple[str, Callable[[Path], Path], str]] = {
    "J2K: a stream of gigapixels in a small image": (
        ".dcm",
        lambda p: jpeg2000(p, (12, 10), (60000, 60000)),
        "claims (60000, 60000, 1)",
    ),
    "J2K: gigapixels, stated and claimed": (
        ".dcm",
        lambda p: jpeg2000(p, (65535, 65535), (65535, 65535)),
        "the budget is",
    ),
    "deflate: 2 GiB in 2 MB": (".dcm", deflated, "deflated, which hides its size"),
    "RLE: runs behind the last pixel": (".dcm", runs_on, "the pixel data are damaged"),
    "sequences 20,000 deep": (".dcm", lambda p: nested(p, 20_000), "damaged"),
    "an entry of 4 GiB": (".dcm", long_claim, "truncated"),
    "gzip: 2 GiB in 2 MB, and the header says so": (
        ".nii.gz",
        lambda p: nifti(p, (1024, 1024, 512), b"", inflated=True),
        "the budget is",
    ),
    "gzip: 2 GiB behind an image": (
        ".nii.gz",
        lambda p: nifti(p, (4, 4, 4), b"", inflated=True),
        "holds more data than the 64 voxels of its header",
    ),
    "gzip: nothing behind the header": (
        ".nii.gz",
        lambda p: nifti(p, (64, 64, 16), b"", inflated=False),
        "",
    ),
    "zip: more than the budget": (".zip", zip_bomb, "the budget is"),
    "hdf5: a terabyte claimed": (
        ".h5",
        lambda p: hdf5(p, claims("kspace", (10**4, 10**2, 10**3, 10**3), (1, 1, 10, 10), "c8")),
        "the budget is",
    ),
    "hdf5: a mask of a terabyte": (
        ".h5",
        lambda p: hdf5(p, claims("mask", (10**12,), (10**6,), "f8")),
        "",
    ),
    "hdf5: a header of a terabyte": (
        ".h5",
        lambda p: hdf5(p, claims("ismrmrd_header", (10**11,), (10**6,), "S10")),
        "",
    ),
    "hdf5: one chunk of 2 GiB": (".h5", lambda p: hdf5(p, chunk_bomb), "the budget is"),
    "hdf5: a small array in a chunk of 2 GiB": (
        ".h5",
        lambda p: hdf5(p, claims("mask", (10,), (2**28,), "f8")),
        "",
    ),
    "hdf5: a heap without end": (".h5", heap_without_end, "a heap in it has no end"),
    "hdf5: a chunk of no bytes": (".h5", empty_chunk, "parts of '/kspace' are empty"),
    "hdf5: a link to another file": (".h5", lambda p: linked(p, "kspace", "kspace"), ""),
    "hdf5: a group in another file": (".h5", external_group, ""),
    "hdf5: links in a circle": (".h5", lambda p: hdf5(p, loop), ""),
    "hdf5: a group in itself": (".h5", lambda p: hdf5(p, ring), ""),
    "hdf5: numbers in another file": (".h5", stored_elsewhere, "not an array stored in this file"),
    "hdf5: numbers of another file, virtually": (".h5", virtual, "not an array stored in this"),
    "hdf5: a link to a pipe": (".h5", pipe, ""),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bomb_is_refused_within_the_budget(name: str, worker: fuzz.Worker) -> None:
    suffix, make, words = REFUSED[name]
    said = worker.outcome(make(worker.folder / f"bomb{suffix}"))
    assert said["outcome"] == "refused", said
    assert words in said["words"]


READ: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "UIDs that lead upwards": (
        ".dcm",
        lambda p: saved(
            p, slice_of(SeriesInstanceUID="../../etc", FrameOfReferenceUID="../../../root")
        ),
    ),
    "a preamble that is a program": (
        ".dcm",
        lambda p: saved(p, polyglot(slice_of())),
    ),
    "zip: names that lead upwards": (
        ".zip",
        lambda p: zipped(
            p,
            {
                "../../../evil.dcm": saved(p.with_suffix(".tmp"), slice_of()).read_bytes(),
                "/etc/evil.txt": b"x",
            },
        ),
    ),
}


def polyglot(one: Any) -> Any:
    one.preamble = (b"\x7fELF" + b"MZ" + SCRIPT.encode()).ljust(128, b"\x90")
    return one


@pytest.mark.parametrize("name", READ)
def test_what_only_looks_harmful_is_read_and_nothing_is_written(
    name: str, worker: fuzz.Worker
) -> None:
    suffix, make = READ[name]
    path = make(worker.folder / f"odd{suffix}")
    path.with_suffix(".tmp").unlink(missing_ok=True)
    said = worker.outcome(path)
    assert said["outcome"] == "read", said


def test_mutated_files_are_read_or_refused_in_our_own_words(worker: fuzz.Worker) -> None:
    """Some hundreds; benchmarks/fuzz.py does 20,000."""
    wrong = [
        f"{what}: {said}"
        for what, said, _ in fuzz.fuzz(300, 7, worker)
        if said["outcome"] not in fuzz.RIGHT
    ]
    assert not wrong


def hostile_series(folder: Path) -> Path:
    folder.mkdir()
    for k in range(3):
        one = slice_of(
            PatientName=SCRIPT,
            PatientID=SCRIPT,
            StudyInstanceUID="1.2.3",
            SeriesDescription=SCRIPT,
            ProtocolName=SCRIPT,
            InstanceNumber=k,
            ImagePositionPatient=[0, 0, 3 * k],
        )
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{k}"
        one.ReferencedStudySequence = Sequence([Dataset()])
        saved(folder / f"{k}.dcm", polyglot(one))
    return folder


def test_what_is_written_of_a_polyglot_has_an_empty_preamble(tmp_path: Path) -> None:
    from veridical.workflow.dicom_results import write

    source = hostile_series(tmp_path / "series")
    made = Result(read_image(source), "point estimate")
    files = write(made, source, tmp_path / "out")
    assert files
    assert all(path.read_bytes()[:128] == bytes(128) for path in files)
    assert all(path.is_relative_to(tmp_path / "out") for path in files)


def test_markup_in_names_stays_text_in_pages(tmp_path: Path) -> None:
    image = read_image(hostile_series(tmp_path / "series"), contrast=f"other:{SCRIPT}")
    finding = Finding(f"check {SCRIPT}", "fail", f"Because of {SCRIPT}.")
    made = Result(image, f"estimate {SCRIPT}", findings=(finding,), absent={"draws": SCRIPT})
    made.save(tmp_path / "out", "sub-1")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert SCRIPT not in page
    assert "&lt;script&gt;" in page
    assert SCRIPT not in made._repr_html_()
    assert SCRIPT not in image._repr_html_()
