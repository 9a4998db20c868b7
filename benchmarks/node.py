"""Receiving 512x512 CT: the node against Debian's Orthanc, both flushing every object to disk; and
the memory of the serving process over many objects.

    python benchmarks/node.py --objects 300 --repeats 3 --memory 5000

Sender is dcmtk's storescu, one association a run. Orthanc has SyncStorageArea on, its default. The
disk alone is measured beside them: writing and flushing the same bytes, one file after the other.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import numpy as np

from pacs import node, orthanc, until
from veridical.apps.node.phantom_series import phantom_series

ASSOCIATIONS = (1, 4)


def series(folder: Path, seed: int, count: int) -> list[Path]:
    """Write a series of 512x512 CT."""
    return phantom_series(folder, "CT", shape=(512, 512, count), seed=seed)


def send(files: list[Path], port: int, called: str, associations: int = 1) -> float:
    """Send files with storescu over so many associations at once, and return objects a second."""
    words = ["storescu", "-aec", called, "127.0.0.1", str(port)]
    start = time.perf_counter()
    senders = [
        subprocess.Popen([*words, *map(str, files[k::associations])], stderr=subprocess.DEVNULL)
        for k in range(associations)
    ]
    assert [sender.wait() for sender in senders] == [0] * associations
    return len(files) / (time.perf_counter() - start)


def disk(files: list[Path], folder: Path) -> float:
    """Write and flush the same bytes, and return files a second."""
    folder.mkdir()
    start = time.perf_counter()
    for file in files:
        handle = os.open(folder / file.name, os.O_CREAT | os.O_WRONLY)
        os.write(handle, file.read_bytes())
        os.fsync(handle)
        os.close(handle)
    return len(files) / (time.perf_counter() - start)


def memory(process: int) -> float:
    """Return the resident memory of a process in MiB."""
    status = Path(f"/proc/{process}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def speed(folder: Path, objects: int, repeats: int) -> None:
    """Print objects a second of both, in turns."""
    rates: dict[str, list[float]] = {}

    def note(name: str, rate: float) -> None:
        rates.setdefault(name, []).append(rate)

    with (
        orthanc(folder / "pacs", SyncStorageArea=True) as pacs,
        node(folder / "node", "", series_quiet=3600, study_quiet=3600) as ours,
    ):
        for repeat in range(repeats):
            for number, associations in enumerate(ASSOCIATIONS):
                place = folder / f"series-{repeat}-{associations}"
                files = series(place / "in", 100 * repeat + number, objects)
                note("disk alone", disk(files, place / "disk"))
                for name, port in (("PACS", pacs.dicom), ("VERIDICAL", ours.port)):
                    rate = send(files, port, name, associations)
                    note(f"{name}, {associations} associations", rate)
                shutil.rmtree(place)
        total = objects * repeats * len(ASSOCIATIONS)
        held = ours.store().counts()
        assert sum(n for name, n in held.items() if name.startswith("objects")) == total
        assert len(pacs.rest("instances")) == total
    for name, each in rates.items():
        spread = ", ".join(f"{rate:.1f}" for rate in each)
        print(f"{name}: median {statistics.median(each):.1f} objects/s ({spread})")
    for associations in ASSOCIATIONS:
        ours_, theirs = (
            rates[f"{name}, {associations} associations"] for name in ("VERIDICAL", "PACS")
        )
        each = [a / b for a, b in zip(ours_, theirs, strict=True)]
        spread = ", ".join(f"{ratio:.1f}" for ratio in each)
        print(
            f"node / Orthanc, {associations} associations: {statistics.median(each):.1f} ({spread})"
        )


def flat(folder: Path, objects: int) -> None:
    """Print the memory of the serving process as it receives many objects."""
    batch, seen = 500, []
    with node(folder / "node", "", series_quiet=3600, study_quiet=3600) as ours:
        for number in range(objects // batch):
            files = series(folder / "batch", 1000 + number, batch)
            send(files, ours.port, "VERIDICAL")
            shutil.rmtree(folder / "batch")
            seen.append(memory(ours.process.pid))
            print(f"after {(number + 1) * batch} objects: {seen[-1]:.1f} MiB", flush=True)
        until(lambda: ours.store().counts().get("objects read") == objects, 600)
    slope = np.polyfit(np.arange(len(seen)) * batch, seen, 1)[0] * 1000
    print(f"slope {slope:.2f} MiB per 1,000 objects of 512 kB")


if __name__ == "__main__":
    words = argparse.ArgumentParser()
    words.add_argument("--objects", type=int, default=300)
    words.add_argument("--repeats", type=int, default=3)
    words.add_argument("--memory", type=int, default=5000)
    asked = words.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", Path.cwd())) as scratch:
        if asked.repeats:
            speed(Path(scratch) / "speed", asked.objects, asked.repeats)
        if asked.memory:
            flat(Path(scratch) / "memory", asked.memory)
