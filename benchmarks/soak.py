"""Kill the node at random moments while images stream in, tasks run and results go out.

    python benchmarks/soak.py --kills 200

Series stream into a node, which runs a small task on each and sends the result to Orthanc. The node
is killed with SIGKILL, whole or one of its processes, and so is Orthanc now and then. At the end:
every acknowledged object is there with its bytes, the PACS holds exactly one result of each series,
and no file is without a row. Exit code 1, and what is wrong, where one of these does not hold.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import pydicom

from pacs import Node, Orthanc, orthanc, until, write_toml
from veridical.apps.node import network
from veridical.apps.node.landing import Land, digest
from veridical.apps.node.phantom_series import CLASSES, phantom_series

SLICES = 12
TASK = '''
from dataclasses import dataclass, replace

import veridical.task
from veridical.types import Result

veridical.task.audited = lambda study, result: ()  # audits load torch, and kills come too often


@dataclass(frozen=True)
class Twice(veridical.task.Task):
    """Twice the image."""

    def apply(self, study, seed, progress):
        image = study.image()
        absent = dict.fromkeys(("draws", "interval", "evidence"), "It has none.")
        return Result(replace(image, data=image.data * 2), "point estimate", absent=absent)

    def model_and_weights(self):
        return "none", "none"
'''


def plug_in(folder: Path) -> None:
    """Install the task for processes that have the folder in their path."""
    about = folder / "soak-1.dist-info"
    about.mkdir(parents=True)
    (folder / "soak_task.py").write_text(TASK)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: soak\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[veridical.task]\ntwice = soak_task:Twice\n")
    given = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), given]))
    sys.path.insert(0, str(folder))


def stream(folder: Path, port: int, acknowledged: dict[str, Path], stop: threading.Event) -> None:
    """Send series after series; each object until it is acknowledged."""
    from pynetdicom import AE

    entity = AE(ae_title="SCANNER")
    entity.add_requested_context(CLASSES["MR"])
    entity.dimse_timeout = entity.acse_timeout = entity.network_timeout = 5
    number = 0
    while not stop.is_set():
        number += 1
        left = phantom_series(folder / f"{number:05}", shape=(48, 48, SLICES), seed=number)
        while left:
            link = entity.associate("127.0.0.1", port, ae_title="VERIDICAL")
            while left and link.is_established:
                try:
                    status = link.send_c_store(left[0]).get("Status")
                except (RuntimeError, ValueError):
                    break
                if status == 0:
                    file = left.pop(0)
                    acknowledged[str(pydicom.dcmread(file).SOPInstanceUID)] = file
            if link.is_established:
                link.release()
            else:
                time.sleep(0.1)
        time.sleep(0.5)


def kill(ours: Node, pacs: Orthanc, chance: random.Random) -> str:
    """Kill something, and start it again where nobody else does; say what it was."""
    what = chance.choices(("node", "child", "PACS"), (80, 12, 8))[0]
    if what == "PACS":
        pacs.kill()
        time.sleep(chance.uniform(0, 2))
        pacs.start()
    elif what == "child":
        children = Path(f"/proc/{ours.process.pid}/task/{ours.process.pid}/children")
        some = [int(one) for one in children.read_text().split()]
        if some:
            os.kill(chance.choice(some), signal.SIGKILL)
    else:
        ours.kill()
        ours.start()
    return what


def settled(ours: Node) -> bool:
    """Say whether nothing is left to do."""
    store = ours.store()
    counts = store.counts()
    store.close()
    busy = [name for name in counts if name.endswith((" ready", " unread")) or "waiting" in name]
    return not busy


def wrong(ours: Node, pacs: Orthanc, acknowledged: dict[str, Path]) -> list[str]:
    """Return what does not hold."""
    store, land = ours.store(), Land(ours.file.parent / "node")
    said = []
    with store.transaction(writes=False) as query:
        rows = {
            sop: (path, sha) for sop, path, sha in query("SELECT sop, path, sha256 FROM objects")
        }
    for sop, file in acknowledged.items():
        if sop not in rows:
            said.append(f"acknowledged, and there is no row: {sop}")
            continue
        kept = land.folder / rows[sop][0]
        if not kept.exists() or digest(kept) != rows[sop][1]:
            said.append(f"acknowledged, and its file is not whole: {sop}")
        elif pydicom.dcmread(kept).PixelData != pydicom.dcmread(file).PixelData:
            said.append(f"acknowledged, and its pixels differ: {sop}")
    files = {land.relative(file) for file in land.objects.glob("*/*")}
    if files != store.paths():
        said.append(f"{len(files ^ store.paths())} files without rows or rows without files")
    for folder in (land.arriving, land.work):
        if left := list(folder.iterdir()):
            said.append(f"{len(left)} left in {folder.name}")
    results = {one.name for one in land.results.iterdir()}
    keys = {job.key[:40] for job in store.jobs(lane="run")}
    if results != keys:
        said.append(f"{len(results ^ keys)} results without jobs or jobs without results")
    if troubles := store.jobs(("dead", "held")):
        said.append(f"{len(troubles)} dead letters, for instance: {troubles[0].reason}")
    return said + wrong_in_pacs(pacs, acknowledged)


def wrong_in_pacs(pacs: Orthanc, acknowledged: dict[str, Path]) -> list[str]:
    """Return what the PACS has too much or too little of."""
    said, sources = (
        [],
        {str(pydicom.dcmread(one).StudyInstanceUID) for one in acknowledged.values()},
    )
    found: dict[str, Any] = {}
    for one in pacs.rest("studies?expand"):
        series = [pacs.rest(f"series/{name}") for name in one["Series"]]
        kinds = [(each["MainDicomTags"]["Modality"], len(each["Instances"])) for each in series]
        found[one["MainDicomTags"]["StudyInstanceUID"]] = Counter(kinds)
    if set(found) != sources:
        said.append(f"{len(sources - set(found))} studies have no result in the PACS")
    expected = Counter({("MR", SLICES): 1})
    for kinds in found.values():
        images = Counter({kind: count for kind, count in kinds.items() if kind[0] == "MR"})
        if images != expected:
            said.append(f"a study has {dict(kinds)} in the PACS; expected one result")
    return said


def main() -> int:
    """Run the soak and return the exit code."""
    words = argparse.ArgumentParser()
    words.add_argument("--kills", type=int, default=200, help="of the whole node; others on top")
    words.add_argument("--minutes", type=float, default=1e4, help="after which no more are killed")
    words.add_argument("--shortest", type=float, default=0.5)
    words.add_argument("--longest", type=float, default=8.0)
    words.add_argument("--quiet", type=float, default=4.0, help="seconds until a series is whole")
    words.add_argument("--seed", type=int, default=0)
    asked = words.parse_args()
    network.quiet()
    chance, stop, acknowledged = random.Random(asked.seed), threading.Event(), dict[str, Path]()
    start, killed = time.monotonic(), Counter[str]()
    with tempfile.TemporaryDirectory() as scratch, orthanc(Path(scratch) / "pacs") as pacs:
        plug_in(Path(scratch) / "plugin")
        route = '[[route]]\nname = "r"\ntask = "twice"\nsend = ["pacs"]\n'
        text = f"[peer.pacs]\n{pacs.peer()}{route}"
        ours = write_toml(Path(scratch) / "node", text, series_quiet=asked.quiet, retry=["999x1s"])
        ours.start()
        arguments = (Path(scratch) / "in", ours.port, acknowledged, stop)
        sender = threading.Thread(target=stream, args=arguments)
        sender.start()
        try:
            end = start + asked.minutes * 60
            while killed["node"] < asked.kills and time.monotonic() < end:
                time.sleep(chance.uniform(asked.shortest, asked.longest))
                killed[kill(ours, pacs, chance)] += 1
                if killed.total() % 10 == 0:
                    minutes = (time.monotonic() - start) / 60
                    said = f"{dict(killed)}, {len(acknowledged)} acknowledged"
                    print(f"{minutes:.1f} minutes: {said}", flush=True)
        finally:
            stop.set()
            sender.join()
        until(lambda: settled(ours), 1800, 1)
        time.sleep(3)  # the last worker clears its desk
        troubles = wrong(ours, pacs, acknowledged)
        ours.kill()
    minutes = (time.monotonic() - start) / 60
    print(f"kills: {dict(killed)}; {len(acknowledged)} objects acknowledged; {minutes:.1f} minutes")
    print("\n".join(troubles) or "nothing lost, every series processed once, no orphan file")
    return 1 if troubles else 0


if __name__ == "__main__":
    sys.exit(main())
