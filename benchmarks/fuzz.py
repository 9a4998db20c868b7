"""Damaged files through the readers: mutated DICOM, NIfTI and HDF5 files, one by one, in
worker processes with a memory limit.

Every mutation follows from a seed and a number, and can be made again. Interrupted (Ctrl-C), it
says what it has counted.
Counted are: read; refused by an error of ours; any other error; death of the worker; too slow; too
much memory; a file written. Only the first two are right.

Usage: python benchmarks/fuzz.py [--count 20000] [--first 0] [--seed 1] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import queue
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

TESTS = Path(__file__).parents[1] / "tests" / "io"
BUDGET = 64 * 2**20
"""Bytes that a read may take; the files are far smaller."""
SLACK = 64 * 2**20
"""Bytes above the budget that count as too much: buffers of libraries, the arrays on the way."""
LIMIT = 2 * 2**30
"""Bytes of memory beyond its start that a worker may ask the system for."""
PATIENCE = 10.0
"""Seconds of processor time for one file; reads take milliseconds."""
STUCK = 600.0
"""Seconds without any end, for a worker that waits rather than works."""
SUFFIX = {"dicom": ".dcm", "nifti": ".nii", "hdf5": ".h5"}
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
RIGHT = ("read", "refused")


@dataclass(frozen=True)
class Seed:
    """A sound file that is mutated: its kind, name, suffix and bytes."""

    kind: str
    name: str
    suffix: str
    content: bytes


def seeds(folder: Path) -> list[Seed]:
    """Return sound files of every kind, made small; the same ones every time."""
    sys.path.insert(0, str(TESTS))
    import dicomfiles
    import rawfiles

    for module in (dicomfiles, rawfiles):
        module.generate_uid = lambda: "1.2.3.4"
    made = [*_dicom(folder), *_nifti(folder), *_hdf5(folder)]
    return sorted(made, key=lambda one: (one.kind, one.name))


def _dicom(folder: Path) -> Iterator[Seed]:
    import dicomfiles
    import pydicom
    import rawfiles

    def seed(name: str, path: Path) -> Seed:
        return Seed("dicom", name, ".dcm", path.read_bytes())

    pixels = np.random.default_rng(0).integers(0, 900, (40, 36), dtype=np.int16)
    one = rawfiles.ct_slice("2.25.5", 1, pixels, (1, 2, 3), StudyInstanceUID="1.2.3")
    for name, syntax in (
        ("explicit", pydicom.uid.ExplicitVRLittleEndian),
        ("implicit", pydicom.uid.ImplicitVRLittleEndian),
        ("deflated", pydicom.uid.DeflatedExplicitVRLittleEndian),
        ("rle", pydicom.uid.RLELossless),
        ("jpeg2000", pydicom.uid.JPEG2000Lossless),
    ):
        path = folder / f"{name}.dcm"
        made = pydicom.dcmread(_saved(one, folder))
        if syntax.is_encapsulated:
            made.compress(syntax, generate_instance_uid=False)
        else:
            made.file_meta.TransferSyntaxUID = syntax
        made.save_as(path, enforce_file_format=True)
        yield seed(name, path)
    path = folder / "enhanced.dcm"
    frames = [{"position": (0, 0, 3 * k)} for k in range(3)]
    dicomfiles.write_enhanced(path, np.stack([pixels] * 3), frames)
    yield seed("enhanced", path)
    path = folder / "mosaic.dcm"
    pydicom.dcmwrite(path, dicomfiles.mosaic(np.stack([pixels] * 4), 2, (0, 0, 0)))
    yield seed("mosaic", path)
    yield from (seed(name, path) for name, path in _derived(folder, one))


def _saved(one: Any, folder: Path) -> Path:
    import pydicom

    pydicom.dcmwrite(folder / "plain.dcm", one, enforce_file_format=True)
    return folder / "plain.dcm"


def _derived(folder: Path, one: Any) -> Iterator[tuple[str, Path]]:
    """Yield what Veridical writes itself: a parametric map, a segmentation, a report."""
    from veridical.io.files import read_image
    from veridical.types import Evidence, Finding, Image, Result
    from veridical.workflow.dicom_results import write

    source = folder / "source"
    source.mkdir()
    for k in range(2):
        one.ImagePositionPatient, one.InstanceNumber = [1, 2, 3 + 3 * k], k + 1
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{k}"
        shutil.copy(_saved(one, folder), source / f"{k}.dcm")
    image = read_image(source)
    share = np.full(image.data.shape, 0.5, np.float32)
    finding = Finding("consistency", "pass", "It fits.", {"misfit": 1.0})
    made = Result(image, "point estimate", evidence=Evidence(share), findings=(finding,))
    labels = Image(share > 0.4, image.geometry, "label", ("brain",), {"labels": {1: "brain"}})
    for number, result in enumerate((made, Result(labels, "labels"))):
        for path in write(result, source, folder / f"derived-{number}"):
            if path.name == "0001.dcm":
                yield f"derived {path.parent.name}", path


def _nifti(folder: Path) -> Iterator[Seed]:
    import nibabel

    data = np.random.default_rng(0).uniform(1, 2, (9, 8, 7)).astype(np.float32)
    for name, kind, array in (
        ("float32", nibabel.Nifti1Image, data),
        ("int16", nibabel.Nifti1Image, (data * 100).astype(np.int16)),
        ("nifti2", nibabel.Nifti2Image, data),
    ):
        path = folder / f"{name}.nii"
        kind(array, np.diag([1.0, 2, 3, 1])).to_filename(path)
        yield Seed("nifti", name, ".nii", path.read_bytes())
        yield Seed("nifti", f"{name} gzip", ".nii.gz", gzip.compress(path.read_bytes(), mtime=0))


def _hdf5(folder: Path) -> Iterator[Seed]:
    import rawfiles

    full = rawfiles.kspace((2, 2, 12, 10))
    fast = rawfiles.write_fastmri(folder / "fastmri.h5", full)
    yield Seed("hdf5", "fastmri", ".h5", fast.read_bytes())
    header = rawfiles.xml((10, 12, 1), (10, 12, 1), (200.0, 200.0, 5.0))
    rows = rawfiles.cartesian_rows(full[:1], list(range(12)))
    path = rawfiles.write_mrd(folder / "ismrmrd.h5", rows, header)
    yield Seed("hdf5", "ismrmrd", ".h5", path.read_bytes())
    yield Seed("hdf5", "chunked", ".h5", _chunked(folder / "chunked.h5", full))


def _chunked(path: Path, full: np.ndarray) -> bytes:
    import h5py

    with h5py.File(path, "w") as file:
        kind = {"chunks": (1, 1, 6, 5), "compression": "gzip", "shuffle": True, "fletcher32": True}
        file.create_dataset("kspace", data=full.astype(np.complex64), **kind)
        file.create_dataset("mask", data=np.ones(10, bool))
        file.attrs["acquisition"] = "AXFLAIR"
    return path.read_bytes()


def mutated(seed: Seed, others: list[Seed], number: int, master: int) -> bytes:
    """Return mutation `number` of a file; a gzip file is mutated inside in two of three cases."""
    rng = np.random.default_rng((master, number, *seed.name.encode()))
    inside = seed.suffix.endswith(".gz") and rng.random() < 2 / 3
    content = bytearray(gzip.decompress(seed.content) if inside else seed.content)
    for _ in range(int(rng.integers(1, 6))):
        content = _changed(content, others, rng)
    return gzip.compress(bytes(content), 1, mtime=0) if inside else bytes(content)


def _changed(content: bytearray, others: list[Seed], rng: np.random.Generator) -> bytearray:
    """Return content with one change; half of them in the first kilobyte, where headers are."""
    size = len(content)
    if size < 8:
        return content + bytearray(rng.bytes(16))
    place = int(rng.integers(0, min(size, 1024) if rng.random() < 0.5 else size))
    how, length = int(rng.integers(0, 8)), int(2 ** rng.integers(0, 9))
    part = content[place : place + length]
    if how == 0:  # flipped bits
        for _ in range(int(rng.integers(1, 9))):
            at = min(size - 1, place + int(rng.integers(0, 64)))
            content[at] ^= 1 << int(rng.integers(0, 8))
    elif how == 1:  # numbers at the edge of their range
        wide = int(rng.choice((1, 2, 4, 8)))
        value = int(rng.choice(NUMBERS)) % 256**wide
        order = "little" if rng.random() < 0.8 else "big"
        content[place : place + wide] = value.to_bytes(wide, order)
    elif how == 2:  # noise
        content[place : place + len(part)] = rng.bytes(len(part))
    elif how == 3:  # cut off
        del content[place + int(rng.integers(0, size)) :]
    elif how == 4:  # a part left out
        del content[place : place + length]
    elif how == 5:  # a part repeated
        content[place:place] = part * int(rng.integers(1, 5))
    elif how == 6:  # zeros or ones
        content[place : place + len(part)] = bytes([int(rng.choice((0, 255)))]) * len(part)
    else:  # a part of another file
        other = others[int(rng.integers(0, len(others)))].content
        start = int(rng.integers(0, len(other)))
        content[place : place + length] = other[start : start + length]
    return content


class Worker:
    """A process that reads files and says what came of each; replaced when it dies.

    Args:
        folder: in which it runs, made here; files to read lie in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "tmp").mkdir(parents=True)
        self.process: subprocess.Popen[str] | None = None

    def outcome(self, path: Path) -> dict[str, Any]:
        """Read one file or folder, remove it, and say what came of it."""
        said = self._read(path)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        left = [one for one in self.folder.rglob("*") if one.name != "tmp"]
        for one in sorted(left, reverse=True):
            shutil.rmtree(one) if one.is_dir() else one.unlink()
        return {"outcome": "wrote", "why": f"left behind: {left[:3]}"} if left else said

    def _read(self, path: Path) -> dict[str, Any]:
        process = self._running()
        assert process.stdin is not None
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        line = self._line(process)
        if line is None:
            self.close()
            return {"outcome": "slow", "why": f"more than {PATIENCE:.0f} s of processor time"}
        if not line:
            code = process.wait()
            self.close()
            return {"outcome": "died", "why": f"exit code {code}"}
        return dict(json.loads(line))

    def _line(self, process: subprocess.Popen[str]) -> str | None:
        """Return the next line of a process; None where it works or waits for too long."""
        worked, begun = _seconds(process.pid), time.monotonic()
        while time.monotonic() - begun < STUCK:
            try:
                return self.lines.get(timeout=1)
            except queue.Empty:
                if process.poll() is None and _seconds(process.pid) - worked > PATIENCE:
                    return None
        return None

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.listener.join()
            for stream in (self.process.stdin, self.process.stdout):
                with suppress(BrokenPipeError):
                    stream.close()
            self.process = None

    def _running(self) -> subprocess.Popen[str]:
        if self.process is None:
            words = [sys.executable, str(Path(__file__).resolve()), "--worker"]
            environment = {**os.environ, "TMPDIR": str(self.folder / "tmp")}
            self.process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=self.folder,
                env=environment,
                text=True,
            )
            self.lines: queue.Queue[str] = queue.Queue()
            self.listener = threading.Thread(target=_pump, args=(self.process, self.lines))
            self.listener.start()
            assert self.lines.get(timeout=300) == "ready\n"
        return self.process


def _pump(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put("")


def _seconds(pid: int) -> float:
    """Return the processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def work() -> None:
    """Read files whose paths come on standard input; the worker's side."""
    import warnings

    import h5py  # noqa: F401
    import highdicom  # noqa: F401
    import pydicom.pixels  # noqa: F401
    import torch  # noqa: F401

    import veridical
    from veridical.physics import cartesian_mri, noncartesian_mri  # noqa: F401

    warnings.simplefilter("ignore")
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    written: list[str] = []
    sys.addaudithook(lambda event, args: _watch(event, args, written))
    start = _status("VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (start + LIMIT, start + LIMIT))
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        path = Path(line.strip())
        written.clear()
        Path("/proc/self/clear_refs").write_text("5")
        written.clear()
        before, said = _status("VmRSS"), {}
        try:
            veridical.read(path, budget=BUDGET)
            said = {"outcome": "read"}
        except veridical.VeridicalError as error:
            said = {"outcome": "refused", "why": type(error).__name__, "words": str(error)}
        except Exception as error:
            said = {"outcome": "other", "why": _where(error)}
        peak = _status("VmHWM") - before
        if peak > BUDGET + SLACK:
            said = {"outcome": "memory", "why": f"{peak / 2**20:.0f} MiB; {said}"}
        if written:
            said = {"outcome": "wrote", "why": f"{written[:3]}; {said}"}
        print(json.dumps(said | {"peak": peak}), file=out, flush=True)


def _watch(event: str, args: Any, written: list[str]) -> None:
    """Note every file outside of the temporary folder that is opened for writing, made, renamed or
    removed.
    """
    changes = event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.link")
    if event == "open" and isinstance(args[0], str | bytes | os.PathLike) and args[0] != os.devnull:
        changes = isinstance(args[2], int) and bool(
            args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )
    if event in ("os.remove", "os.rmdir") and args[1] >= 0:  # named from an open folder
        args = (f"{os.readlink(f'/proc/self/fd/{args[1]}')}/{args[0]}",)
    if changes and not str(args[0]).startswith(f"{os.environ['TMPDIR']}/"):
        written.append(f"{event} {args[0]!r}")


def _status(name: str) -> int:
    """Return an entry of this process's status in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def _where(error: BaseException) -> str:
    """Return an error with the last line of ours that it came through."""
    place, frame = "", error.__traceback__
    while frame is not None:
        file = Path(frame.tb_frame.f_code.co_filename)
        if "veridical" in file.parts:
            place = f"{file.name}:{frame.tb_lineno}"
        frame = frame.tb_next
    return f"{type(error).__name__} at {place}: {str(error)[:120]}"


def fuzz(
    count: int, master: int, worker: Worker, kinds: tuple[str, ...] = tuple(SUFFIX), first: int = 0
) -> Iterator[tuple[str, dict[str, Any], bytes]]:
    """Read `count` mutated files and yield what each is, what came of it, and its bytes.

    Args:
        count: files, the same share of every kind.
        master: seed.
        worker: that reads them; nothing may be in its folder afterwards.
        kinds: of files.
        first: number of the first one.
    """
    with tempfile.TemporaryDirectory() as name:
        found = seeds(Path(name))
    for number in range(first, first + count):
        kind = kinds[number % len(kinds)]
        own = [one for one in found if one.kind == kind]
        seed = own[number // len(kinds) % len(own)]
        content = mutated(seed, own, number, master)
        path = worker.folder / f"input{seed.suffix}"
        path.write_bytes(content)
        yield f"{kind} {number} ({seed.name})", worker.outcome(path), content


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for inputs that came out wrong")
    parser.add_argument("--kinds", default=",".join(SUFFIX))
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        return work()
    begun, kinds = time.perf_counter(), tuple(given.kinds.split(","))
    counts: Counter[tuple[str, str]] = Counter()
    errors: Counter[str] = Counter()
    wrong: dict[str, list[str]] = {}
    peak = 0
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also in the background of a shell
    with (
        tempfile.TemporaryDirectory() as name,
        closing(Worker(Path(name))) as worker,
        suppress(KeyboardInterrupt),
    ):
        for what, said, content in fuzz(given.count, given.seed, worker, kinds, given.first):
            outcome = said["outcome"]
            counts[what.split()[0], outcome] += 1
            peak = max(peak, said.get("peak", 0))
            if outcome == "refused":
                errors[said["why"]] += 1
            if outcome not in RIGHT:
                same = wrong.setdefault(f"{outcome}: {said['why']}", [])
                same.append(what)
                print(f"{what}: {outcome}: {said['why']}", file=sys.stderr, flush=True)
                if given.keep and len(same) <= 3:
                    given.keep.mkdir(parents=True, exist_ok=True)
                    (given.keep / what.replace(" ", "_")).write_bytes(content)
    for kind in kinds:
        each = ", ".join(f"{n} {what}" for (of, what), n in sorted(counts.items()) if of == kind)
        print(f"{kind}: {each}")
    print(f"refused as: {', '.join(f'{n} {what}' for what, n in errors.most_common())}")
    print(f"most memory of one read: {peak / 2**20:.0f} MiB (budget {BUDGET / 2**20:.0f} MiB)")
    done = f"{sum(counts.values())} files from number {given.first} on"
    print(f"seed {given.seed}, {done}, {time.perf_counter() - begun:.0f} s")
    for why, which in sorted(wrong.items(), key=lambda one: -len(one[1])):
        print(f"{len(which)} x {why}, for instance {which[0]}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
