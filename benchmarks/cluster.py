"""Folders over several processes: speed against the plain loop, and outputs when processes are
killed.

python benchmarks/cluster.py [--volumes 200] [--kills 20] [--side 48]

Speed: `veridical enhance FOLDER OUT --model MODEL` over volumes of side x side x 24 voxels with
noise, in one process, with one Ray worker and with two; the first case, which loads what is needed,
and the start of Ray are counted in. Kills: the same with two workers, in which at random moments a
worker or the command itself is killed with SIGKILL (the command is started again); afterwards every
output is compared with that of the plain loop, byte for byte.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from veridical.io.files import write
from veridical.types import Geometry, Image

ENVIRONMENT = os.environ | {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": uuid.uuid4().hex,
}


def folder(root: Path, count: int, side: int) -> Path:
    """Write volumes of a ball with noise as a BIDS data set."""
    z, y, x = np.meshgrid(
        *[np.linspace(-1, 1, n) for n in (24, side, side)], indexing="ij", sparse=True
    )
    ball = np.where(x**2 + y**2 + z**2 < 0.8, 100.0 + 40 * (x > 0), 0.0).T
    grid = Geometry(ball.shape, np.diag([4.0, 4, 4, 1]))
    for number in range(count):
        noise = np.random.default_rng(number).normal(0, 6, (2, *ball.shape))
        noisy = np.abs(ball + noise[0] + 1j * noise[1]).astype(np.float32)
        name = f"sub-{number:03d}"
        place = root / name / "anat" / f"{name}_T1w.nii.gz"
        place.parent.mkdir(parents=True)
        write(Image(noisy[None], grid, "a.u.", ("T1w",)), place)
    (root / "dataset_description.json").write_text('{"Name": "balls", "BIDSVersion": "1.9.0"}')
    return root


def command(root: Path, out: Path, model: str, *more: str) -> list[str]:
    words = [sys.executable, "-m", "veridical.apps.cli", "enhance", str(root), str(out)]
    return [*words, "--model", model, "--draws", "2", "--quiet", *more]


def hashes(out: Path) -> dict[str, str]:
    """Return the hash of every image of a folder of results."""
    return {
        file.relative_to(out).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(out.rglob("*.nii.gz"))
    }


@contextmanager
def cluster(workers: int) -> Iterator[str]:
    """Start a Ray cluster of its own, as on a head node, and yield its address."""
    ray = str(Path(sys.executable).parent / "ray")
    start = ["start", "--head", "--port=6390", "--include-dashboard=false"]
    subprocess.run([ray, *start, f"--num-cpus={workers}"], check=True, env=ENVIRONMENT,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        yield "127.0.0.1:6390"
    finally:
        subprocess.run([ray, "stop", "--force"], check=True, stdout=subprocess.DEVNULL)


def timed(words: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(words, check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def workers_of(pid: int) -> list[int]:
    """Return the processes that work on cases, of the Ray that a command started."""
    found, parents = [], {pid}
    rows = subprocess.run(
        ["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True
    )
    lines = [line.split(None, 2) for line in rows.stdout.splitlines()[1:]]
    for _ in range(4):  # command, raylet, worker
        parents |= {int(a) for a, b, _ in lines if int(b) in parents}
    for own, _, args in lines:
        if int(own) in parents and args.startswith("ray::"):
            found.append(int(own))
    return found


def killed(words: list[str], kills: int, seed: int) -> dict[str, int]:
    """Run a command to its end while it and its workers are killed; return who was, how often."""
    rng, count = np.random.default_rng(seed), {"worker": 0, "command": 0}
    while True:
        running = subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
        while running.poll() is None and sum(count.values()) < kills:
            time.sleep(float(rng.uniform(2, 12)))
            at_work = workers_of(running.pid)
            if rng.random() < 0.3:
                running.send_signal(signal.SIGKILL)
                running.wait()
                count["command"] += 1
                time.sleep(3)
            elif at_work:
                os.kill(at_work[int(rng.integers(len(at_work)))], signal.SIGKILL)
                count["worker"] += 1
        if running.wait() == 0:
            return count
        if running.returncode != -signal.SIGKILL:
            raise SystemExit(f"the command ended with {running.returncode}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--volumes", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--side", type=int, default=48)
    parser.add_argument("--model", default="denoiser")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        root = folder(base / "in", given.volumes, given.side)
        plain = timed(command(root, base / "plain", given.model))
        print(f"plain loop: {plain:.0f} s, {60 * given.volumes / plain:.0f} a minute", flush=True)
        with cluster(1) as address:
            one = timed(command(root, base / "one", given.model, "--cluster", address))
        two = timed(command(root, base / "two", given.model, "--workers", "2"))
        for count, took in ((1, one), (2, two)):
            print(f"{count} worker(s): {took:.0f} s, {plain / took:.2f} of the plain loop's speed",
                  flush=True)  # fmt: skip
        count = killed(
            command(root, base / "killed", given.model, "--workers", "2"), given.kills, 0
        )
        wanted, got = hashes(base / "plain"), hashes(base / "killed")
        left = [*(base / "killed").rglob("*.part")]
        differ = sum(got.get(name) != value for name, value in wanted.items())
        print(f"killed: {count}; {len(got)} of {len(wanted)} images, {differ} differ, "
              f"{len(set(got) - set(wanted))} too many, {len(left)} half-written")  # fmt: skip


if __name__ == "__main__":
    main()
