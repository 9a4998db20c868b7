"""The process of a job: one order as a line of JSON on standard input, what comes of it as lines on
standard output.

It ends when its order is done, and when standard input closes, since nobody waits for it then. What
libraries print goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from veridical.errors import VeridicalError

SHARE = 0.75
"""Of the memory of the machine that a job may take."""


def main() -> None:
    """Get ready, wait for an order, do it, say what came of it."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(**said: Any) -> None:
        out.write(json.dumps(said, allow_nan=False) + "\n")
        out.flush()

    limited()
    warmed("long" in sys.argv)
    say(ready=True)
    line = sys.stdin.readline()
    if not line.strip():
        return
    threading.Thread(target=_until_closed, args=(sys.stdin,), daemon=True).start()
    order = json.loads(line)
    say(**attempted(order, lambda what, done, total: say(progress=[what, done, total])))


def attempted(order: dict[str, Any], progress: Callable[[str, int, int], None]) -> dict[str, Any]:
    """Do an order: `done` with what came of it, or `refused` with the reason."""
    from veridical.apps.show import plain
    from veridical.apps.web import work

    try:
        return {"done": plain(getattr(work, order.pop("do"))(progress=progress, **order))}
    except VeridicalError as error:
        return {"refused": str(error), "kind": type(error).__name__}
    except MemoryError:
        return {
            "refused": "The job needs more memory than this machine has for it. Take fewer slices "
            "or a coarser grid, or close other programs.",
            "kind": "BudgetError",
        }
    except OSError as error:
        return {
            "refused": f"{error.strerror or type(error).__name__}. Check permission and space.",
            "kind": "OSError",
        }
    except Exception as error:
        traceback.print_exception(error, file=sys.stderr)
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}"
        return {
            "refused": f"Unexpected {where}. This is an error of Veridical, not yours. Please "
            "report it.",
            "kind": "unexpected",
        }


def limited() -> None:
    """Take no more memory than the machine can give: a file that unfolds into more is refused, and
    the machine goes on."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        resource.setrlimit(resource.RLIMIT_DATA, (int(SHARE * whole),) * 2)


def warmed(whole: bool) -> None:
    """Load what nearly every order needs, so that none waits for it; for long orders also torch."""
    from veridical.apps.web import work

    work.loaded()
    if whole:
        from veridical.tasks import measured

        assert measured


def _until_closed(stream: IO[str]) -> None:
    with suppress(OSError, ValueError):
        while stream.read(4096):
            pass
    os._exit(0)


if __name__ == "__main__":
    main()
