"""Damaged files through the node and through the web app: does either fall over?

    python benchmarks/fuzz_served.py [--node 500] [--web 100] [--seed 2]

The mutations are those of `fuzz.py`. The node gets DICOM objects over a real association, with the
SOP class and UID of the sound file and a mutated data set; counted are its answers, and whether it
still answers C-ECHO at the end, with no job that ended in an error of ours. The web app gets files
of all kinds from a client, each as a case of its own; counted are what is said of them, answers
with status 500, and whether it still serves at the end.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fuzz import Seed, mutated, seeds

from pacs import node, until

SLOW = 60.0
"""Seconds after which a case of the web app is given up."""
OURS, BREACH = "unexpected", "This is an error of Veridical"
"""What a failure of the node, and of the web app, says where the program is at fault."""


def meta_of(seed: Seed) -> Any:
    import pydicom

    return pydicom.dcmread(BytesIO(seed.content), stop_before_pixels=True, force=True).file_meta


def through_node(folder: Path, count: int, master: int) -> Counter[str]:
    """Send mutated objects, and return how often each answer came."""
    from pynetdicom import AE, _config
    from pynetdicom.sop_class import Verification

    sound = {
        one: meta
        for one in seeds(folder)
        if one.kind == "dicom"
        and "FileMetaInformationGroupLength" in (meta := meta_of(one))
        and "MediaStorageSOPInstanceUID" in meta
    }
    _config.STORE_SEND_CHUNKED_DATASET = True  # the bytes as they are
    found: Counter[str] = Counter()
    route = '[[route]]\nname = "all"\ntask = "enhance"\nsettings = {job = "denoise", draws = 2}\n'
    with node(folder / "node", route) as served:
        for number in range(count):
            seed, meta = list(sound.items())[number % len(sound)]
            start = 144 + int(meta.FileMetaInformationGroupLength)
            changed = mutated(seed, list(sound), number, master)
            file = folder / "sent.dcm"
            file.write_bytes(seed.content[:start] + changed[start:])
            client = AE("FUZZ")
            client.add_requested_context(meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID)
            link = client.associate("127.0.0.1", served.port, ae_title="VERIDICAL")
            if not link.is_established:
                found["no association"] += 1
                continue
            try:
                status = link.send_c_store(file).get("Status")
                found["none" if status is None else f"0x{status:04X}"] += 1
            except ValueError:  # a mutated element passes for another transfer syntax
                found["the sender cannot send it"] += 1
            link.release()
        store = served.store()
        until(lambda: not store.counts().get("objects unread"), 900, 1)
        time.sleep(20)
        client = AE("FUZZ")
        client.add_requested_context(Verification)
        link = client.associate("127.0.0.1", served.port, ae_title="VERIDICAL")
        found["echo at the end"] = int(link.is_established and link.send_c_echo().Status == 0)
        found |= {k: n for k, n in store.counts().items() if k.startswith("objects")}
        died = [one for one in store.happened(100_000) if one.what == "process died"]
        found["processes that died"] = len(died)
        jobs = store.jobs(("dead", "held"))
        found["jobs refused"] = sum(OURS not in job.reason for job in jobs)
        found["jobs with an error of ours"] = sum(OURS in job.reason for job in jobs)
        for job in jobs:
            if OURS in job.reason:
                print(job.reason)
    return found


class Client:
    """A page of the web app, without a browser."""

    def __init__(self, port: int, token: str) -> None:
        self.port = port
        opened = self.ask("GET", f"/?token={token}")
        self.cookie = opened[1]["set-cookie"].split(";")[0]

    cookie = ""

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any, bytes]:
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        head = {"host": f"127.0.0.1:{self.port}", "cookie": self.cookie}
        if body is not None:
            head["content-type"] = "application/json"
        link.request(method, path, body, head)
        answer = link.getresponse()
        said = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        link.close()
        return said

    def outcome(self, case: str) -> str:
        """Follow the events until a case is done or refused, and say which."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SLOW)
        head = {"host": f"127.0.0.1:{self.port}", "cookie": self.cookie}
        link.request("GET", "/api/events", headers=head)
        answer, begun = link.getresponse(), time.monotonic()
        try:
            while time.monotonic() - begun < SLOW:
                line = answer.readline()
                if not line.startswith(b"data:"):
                    continue
                said = json.loads(line[5:])
                works = said.get("works") or [said.get("work", {})]
                work = next((one for one in works if one.get("id") == case), None)
                if work and work["state"] not in ("waiting", "running"):
                    text = str(work.get("error") or "")
                    ours = BREACH in text
                    if ours:
                        print(text, file=sys.stderr, flush=True)
                    return f"{work['state']}, an error of ours" if ours else str(work["state"])
        finally:
            link.close()
        return "slow"


def through_web(folder: Path, count: int, master: int) -> Counter[str]:
    """Hand in mutated files, and return how often each thing was said of them."""
    sound, found = seeds(folder), Counter[str]()
    words = [sys.executable, "-m", "veridical.apps.cli", "web", "--no-browser", "--no-demo"]
    server = subprocess.Popen(
        [*words, "--folder", str(folder / "bench")], stdout=subprocess.PIPE, text=True, cwd=folder
    )
    assert server.stdout
    place = re.search(r":(\d+)/\?token=(\S+)", server.stdout.readline())
    assert place
    client = Client(int(place[1]), place[2])
    for number in range(count):
        seed = sound[number % len(sound)]
        found[handed_in(client, f"f{seed.suffix}", mutated(seed, sound, number, master))] += 1
    found["serves at the end"] = int(client.ask("GET", "/api/about")[0] == 200)
    server.send_signal(signal.SIGINT)
    server.wait(60)
    return found


def handed_in(client: Client, name: str, content: bytes) -> str:
    """Make a case of a file and return what became of it."""
    status, _, body = client.ask("POST", "/api/cases", json.dumps({"name": name}).encode())
    case = json.loads(body)["id"] if status == 200 else ""
    steps = (("PUT", f"/api/cases/{case}/file?name={name}", content),
             ("POST", f"/api/cases/{case}/open", b"{}"))  # fmt: skip
    for method, path, sent in steps:
        status, _, body = client.ask(method, path, sent)
        if status >= 500:
            return f"status {status}"
        if status >= 400:
            return "refused at once"
    return client.outcome(case)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--node", type=int, default=500)
    parser.add_argument("--web", type=int, default=100)
    parser.add_argument("--seed", type=int, default=2)
    given = parser.parse_args()
    for name, ask, count in (
        ("node", through_node, given.node),
        ("web", through_web, given.web),
    ):
        with tempfile.TemporaryDirectory() as folder:
            if count:
                print(name, dict(ask(Path(folder), count, given.seed)), flush=True)


if __name__ == "__main__":
    main()
