"""The processes beside the serving one: `gather` reads headers, `work` runs tasks, `send` sends.

`python -m veridical.apps.node.child ROLE NODE.TOML OWNER` runs one until its parent ends.
"""

from __future__ import annotations

import ctypes
import os
import random
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from veridical.apps.node import network
from veridical.apps.node.job_store import JobStore, open_store
from veridical.apps.node.landing import GIB, Land
from veridical.apps.node.settings import NodeSettings
from veridical.errors import VeridicalError

READING = 2.0
"""GiB that reading headers may take besides `largest`."""
IDLE = 0.25
"""Seconds between looks into an empty queue, on average."""
PARENT = "VERIDICAL_NODE_PARENT"
"""Environment variable with the process id of the parent."""
DEATH_OF_PARENT = 1
"""PR_SET_PDEATHSIG of Linux."""


def run(role: str, settings: NodeSettings, owner: str) -> None:
    """Work in a role until the parent ends."""
    follow_parent()
    network.quiet()
    os.nice(5)  # what comes in goes first
    land = Land(settings.folder())
    store = open_store(settings.node.database, land.queue)
    if role == "gather":
        from veridical.apps.node.gathering import Gatherer

        limit_memory(READING + settings.node.largest)
        hashed = network.pseudonyms(store.salt())
        turn(Gatherer(settings, store, land, hashed).step)
    elif role == "work":
        from veridical.apps.node.worker import Worker

        limit_memory(settings.node.memory)
        worker = Worker(settings, store, land, owner)
        worker.clear_desk()
        turn(worker.step)
    else:
        limit_memory(settings.node.memory)
        send(settings, store, land, owner)


def send(settings: NodeSettings, store: JobStore, land: Land, owner: str) -> None:
    """Send to all peers, each in a thread of its own with its own connection to the queue."""
    from veridical.apps.node.sender import Sender

    threads = []
    for name in settings.peers:
        own = open_store(settings.node.database, land.queue)
        sender = Sender(settings, own, land, f"{owner}/{name}", name)
        threads.append(threading.Thread(target=turn, args=(sender.step,), daemon=True))
    for thread in threads:
        thread.start()
    while all(thread.is_alive() for thread in threads):
        time.sleep(1)
        stop_without_parent()
    os._exit(1)  # a thread died of the queue; all are started anew


def turn(step: Callable[[], bool]) -> None:
    """Do one thing after the other; wait a little when there is nothing to do."""
    while True:
        stop_without_parent()
        if not step():
            time.sleep(IDLE * random.uniform(0.5, 1.5))


def limit_memory(gigabytes: float) -> None:
    """Let this process have no more memory of its own than that."""
    limit = int(gigabytes * GIB)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def follow_parent() -> None:
    """End with the parent, however it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DEATH_OF_PARENT, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides


def stop_without_parent() -> None:
    """End where the parent is gone already."""
    if os.environ.get(PARENT, str(os.getppid())) != str(os.getppid()):
        os._exit(0)


def main(words: Sequence[str]) -> int:
    """Run a role and return the exit code; of an unexpected error only kind and place are said,
    because its text may hold a name.
    """
    try:
        run(words[0], NodeSettings.read(Path(words[1])), words[2])
    except VeridicalError as error:
        print(f"{words[0]}: {error}", file=sys.stderr)
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).name}, line {frame.lineno}"
        print(f"{words[0]}: unexpected {type(error).__name__} in {place}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
