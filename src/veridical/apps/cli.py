"""The command line: one command a task, made from its settings, and the commands around them.

Exit codes: 0 done; 1 an error of ours (how to report it is said); 2 refused, with one clear message and nothing written;
130 interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from cyclopts import App, CycloptsError, Group

import veridical
from veridical import registry
from veridical.apps import commands, datasets
from veridical.errors import VeridicalError

TASKS = Group("Tasks", sort_key=0)
JUDGES = Group("Judging", sort_key=1)
COMMANDS = Group("Utilities", sort_key=2)
JUDGING = {
    "evaluate": "Judge generated images against real ones at three levels and on trust; write one report.",
    "protocol": "Write or check a protocol: primary endpoints, limits and rules, decided before results are seen.",
    "compare": "Rank several generators on the same real images, with the uncertainty of the ranks.",
    "verify": "Check that a report, its page and its inputs are as they were signed.",
}
"""Commands of `apps/judge.py`, loaded when called."""


def build() -> App:
    """Return the application. A task's module is loaded only when its command is called or its help is asked for."""
    app = App(
        name="veridical",
        help="Generative medical imaging that says what was measured and what was imagined.",
        help_epilogue="Add --debug to any command to see where an unexpected error came from.",
        help_format="plaintext",
        version=veridical.__version__,
        group_commands=COMMANDS,
        suppress_keyboard_interrupt=False,
        print_error=False,
        exit_on_error=False,
        result_action="print_non_none_return_zero",
    )
    for entry in registry.entries("task").values():
        app.command(f"veridical.apps.run:{entry.name}", name=entry.name, help=entry.summary, group=TASKS)
    for command in commands.ALL:
        app.command(command, name=command.__name__.rstrip("_").replace("_", "-"))
    for name, summary in JUDGING.items():
        app.command(f"veridical.apps.judge:{name}", name=name, help=summary, group=JUDGES)
    app.command("veridical.workflow.phantom:phantom", name="phantom", help="Scan a digital patient, to have a scan to try.")
    app.command(datasets.app)
    return app


def main(tokens: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        tokens: the words of the command line; those of the process when None.
    """
    words = list(sys.argv[1:] if tokens is None else tokens)
    debug = "--debug" in words
    try:
        build()([word for word in words if word != "--debug"])
        sys.stdout.flush()
    except CycloptsError as error:
        return refuse(f"{error} See veridical --help.")
    except VeridicalError as error:
        if debug:
            traceback.print_exc()
        return refuse(str(error))
    except KeyboardInterrupt:
        print("veridical: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, `head` for instance, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if debug:
            traceback.print_exc()
        return refuse(f"{error.strerror or error}: {error.filename or 'no file named'}. Check path, permission and free space.")
    except Exception as error:
        return unexpected(error, debug)
    return 0


def refuse(message: str) -> int:
    """Print why nothing was done and return the exit code for that."""
    print(f"veridical: {message}", file=sys.stderr)
    return 2


def unexpected(error: Exception, debug: bool) -> int:
    """Say where an error of ours happened and how to report it; its text may hold patient data and is shown with --debug."""
    if debug:
        traceback.print_exception(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}"
    print(
        f"veridical: unexpected {where}. This is an error of Veridical {veridical.__version__}, not yours. Please report it "
        "with the command you ran; --debug shows the whole trace (remove names of patients from it first).",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
