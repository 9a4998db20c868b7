"""Writers of a ledger in processes of their own."""

from __future__ import annotations

import os
import random
import signal
import sys
import time

from veridical.governance.ledger import Ledger


def killed(path: str, kills: int, seed: int) -> None:
    """Let one writer after the other append without end, kill each at a random moment, and print
    every line that one of them was told is written.

    The moment of every second writer counts from its first line on, so that on a slow machine too
    there is something to lose.
    """
    rng = random.Random(seed)
    Ledger(path)
    for writer in range(kills):
        ends = os.pipe()
        child = os.fork()
        if child == 0:
            append(path, writer, 1_000_000, ends[1])
            os._exit(0)
        os.close(ends[1])
        with os.fdopen(ends[0]) as told:
            first = told.readline() if writer % 2 else ""
            time.sleep(rng.uniform(0.0, 0.04))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            print(first + told.read(), end="")


def append(path: str, writer: int, count: int, told: int) -> None:
    """Append lines and tell each when it is written."""
    for number in range(count):
        line = Ledger(path).append("result", {"writer": writer, "number": number})
        os.write(told, f"{line.number} {line.sha256}\n".encode())


if __name__ == "__main__":
    mode, file, *numbers = sys.argv[1:]
    if mode == "killed":
        killed(file, int(numbers[0]), int(numbers[1]))
    else:
        append(file, int(numbers[0]), int(numbers[1]), sys.stdout.fileno())
