"""The ledger: what kills at random moments lose, how long a line takes, how fast it is checked.

    python benchmarks/ledger.py [--kills 1000]

Writers are processes that append without end; each is killed with SIGKILL at a moment drawn evenly
from 0 to 40 ms after its start, every second one from its first line on. A line that a writer was
told is written must be there afterwards.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import time
from pathlib import Path

import numpy as np

from veridical.governance.chain import broken, export, imported, verify
from veridical.governance.ledger import Ledger

LONGEST = 0.04
LINE = {"case": "0" * 16, "findings": [["consistency", "pass"]], "record": "0" * 64}


def kill(path: Path, kills: int, seed: int) -> list[tuple[int, str]]:
    """Kill writers one after the other; return what they were told is written."""
    rng, told = random.Random(seed), []
    for writer in range(kills):
        ends = os.pipe()
        child = os.fork()
        if child == 0:
            while True:
                line = Ledger(path).append("result", LINE)
                os.write(ends[1], f"{line.number} {line.sha256}\n".encode())
        os.close(ends[1])
        with os.fdopen(ends[0]) as text:
            first = [text.readline()] if writer % 2 else []
            time.sleep(rng.uniform(0.0, LONGEST))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            told += [(int(row.split()[0]), row.split()[1]) for row in [*first, *text]]
    return told


def writers(path: Path, count: int, lines: int) -> float:
    """Let several processes append at once; return lines a second of all together."""
    begun, children = time.perf_counter(), []
    for _ in range(count):
        child = os.fork()
        if child == 0:
            for _ in range(lines):
                Ledger(path).append("result", LINE)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    return count * lines / (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        Ledger(path)
        told = kill(path, arguments.kills, 0)
        held = {line.number: line.sha256 for line in Ledger(path).lines()}
        lost = sum(held.get(number) != digest for number, digest in told)
        print(
            f"{arguments.kills} kills: {len(told)} lines acknowledged, {len(held)} there, "
            f"{lost} lost; chain {'intact' if not verify(path) else 'broken'}"
        )
        seconds = []
        for _ in range(200):
            begun = time.perf_counter()
            Ledger(path).append("result", LINE)
            seconds.append(time.perf_counter() - begun)
        low, middle, high = (1000 * value for value in np.percentile(seconds, (5, 50, 95)))
        print(f"one line: {middle:.1f} ms ({low:.1f} to {high:.1f}, 5th to 95th percentile)")
        for count in (1, 4):
            print(f"{count} writers at once: {writers(path, count, 50):.0f} lines a second")
        copy = Path(folder) / "copy.jsonl"
        rows = export(Ledger(path).lines()).splitlines()
        copy.write_text("\n".join(rows), encoding="utf-8")
        lines = imported(copy)
        begun = time.perf_counter()
        assert not broken(lines)
        speed = len(lines) / (time.perf_counter() - begun)
        print(f"checking: {speed:.0f} lines a second")
        rng, missed = random.Random(1), 0
        for _ in range(1000):
            place = rng.randrange(len(lines) - 1)
            changed = [list(lines), lines[:place] + lines[place + 1 :]][rng.randrange(2)]
            if len(changed) == len(lines):
                changed[place], changed[place + 1] = changed[place + 1], changed[place]
            missed += not broken(changed)
        print(f"1000 copies with a line dropped or moved: {missed} not found")


if __name__ == "__main__":
    main()
