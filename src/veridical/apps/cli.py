"""The command line: one command a task, made from its settings, and the commands around them.

Exit codes: 0 done; 1 an error of ours (how to report it is said); 2 refused, with one clear message
and nothing written; 3 the same, because a policy blocks it; 130 interrupted.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import os
import re
import shutil
import sys
import textwrap
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import veridical
from veridical import registry
from veridical.errors import PolicyError, SettingError, VeridicalError

if TYPE_CHECKING:
    from cyclopts import App

ABOUT = "Generative medical imaging that says what was measured and what was imagined."
BLOCKED = 3
"""Exit code of what a policy blocks."""
DEBUG = "Add --debug to any command to see where an unexpected error came from."
PLACES: dict[str, dict[str, tuple[str, ...]]] = {
    "Judging": {
        "apps.judge": ("evaluate", "audit", "protocol", "compare", "verify"),
        "apps.league": ("league",),
        "apps.inject": ("inject",),
    },
    "Simulating": {"apps.twin": ("twin",)},
    "Training over sites": {"apps.federate": ("federate",)},
    "Governing": {"apps.ledger": ("ledger",), "apps.governance": ("policy", "card", "claims")},
    "Connecting": {
        "apps.web.command": ("web",),
        "apps.clinical": ("dicom", "redact"),
        "apps.node.commands": ("node",),
        "apps.fhir": ("fhir",),
        "apps.mcp": ("mcp",),
    },
    "Utilities": {
        "apps.commands": (),
        "apps.adapt": ("adapt",),
        "apps.retrieve": ("retrieve",),
        "workflow.phantom": (),
        "apps.datasets": ("datasets",),
    },
}
"""Group -> module -> its commands; all its public functions where none are named. The tasks make
the first group.
"""


@dataclass(frozen=True)
class Command:
    """A command as far as it is known without importing it. `target` is `module:attribute`."""

    name: str
    group: str
    summary: str
    target: str


def commands() -> Iterator[Command]:
    """Yield all commands in the order of the help; read from the syntax tree, so that nothing is
    imported.
    """
    for entry in registry.entries("task").values():
        yield Command(entry.name, "Tasks", entry.summary, f"veridical.apps.run:{entry.name}")
    for group, modules in PLACES.items():
        for module, names in modules.items():
            functions, about = read(f"veridical.{module}")
            for name in names or [
                name for name, (attribute, _) in functions.items() if not attribute.startswith("_")
            ]:
                attribute, summary = functions.get(name, ("app", about))
                yield Command(name, group, summary, f"veridical.{module}:{attribute.lstrip('_')}")


def read(module: str) -> tuple[dict[str, tuple[str, str]], str]:
    """Return what a module documents: its functions by command name, each with its summary, and its
    own summary.
    """
    found = importlib.util.find_spec(module)
    tree = registry.syntax_tree(Path(str(found and found.origin)).read_text(encoding="utf-8"))
    functions = {
        node.name.strip("_").replace("_", "-"): (node.name, paragraph(node))
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }
    return functions, paragraph(tree)


def paragraph(node: ast.Module | ast.FunctionDef) -> str:
    """Return the first paragraph of a docstring."""
    return (ast.get_docstring(node) or "").partition("\n\n")[0].replace("\n", " ")


def overview() -> str:
    """Return the help of all commands."""
    every = list(commands())
    width = max(len(command.name) for command in every) + 4
    columns = max(60, min(120, shutil.get_terminal_size().columns))
    lines = ["Usage: veridical COMMAND", "", *textwrap.wrap(ABOUT, columns)]
    for group in dict.fromkeys(command.group for command in every):
        lines += ["", f"{group}:"]
        for command in every:
            if command.group == group:
                start = f"  {command.name}".ljust(width)
                lines += textwrap.wrap(
                    command.summary, columns, initial_indent=start, subsequent_indent=" " * width
                )
    more = "veridical COMMAND --help explains a command; veridical --version prints the version."
    return "\n".join([*lines, "", *textwrap.wrap(f"{more} {DEBUG}", columns)])


def build() -> App:
    """Return the application. A command's module is loaded only when it is called or its help is
    asked for.
    """
    from cyclopts import App, Group

    app = App(
        name="veridical",
        help=ABOUT,
        help_epilogue=DEBUG,
        help_format="plaintext",
        version=veridical.__version__,
        suppress_keyboard_interrupt=False,
        print_error=False,
        exit_on_error=False,
        result_action="print_non_none_return_zero",
    )
    groups = {name: Group(name, sort_key=place) for place, name in enumerate(("Tasks", *PLACES))}
    for command in commands():
        app.command(command.target, name=command.name, group=groups[command.group])
    return app


def main(tokens: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        tokens: the words of the command line; those of the process when None.
    """
    words = list(sys.argv[1:] if tokens is None else tokens)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        if words in ([], ["--help"], ["-h"]):
            print(overview())
        else:
            run(words)
        sys.stdout.flush()
    except VeridicalError as error:
        if debug:
            traceback.print_exc()
        refused = refuse(as_flags(str(error), words))
        return BLOCKED if isinstance(error, PolicyError) else refused
    except KeyboardInterrupt:
        print("veridical: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, `head` for instance, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if debug:
            traceback.print_exc()
        return refuse(
            f"{error.strerror or error}: {error.filename or 'no file named'}. Check path, "
            "permission and free space."
        )
    except Exception as error:
        return unexpected(error, debug)
    return 0


def run(words: Sequence[str]) -> None:
    """Run one command.

    Raises:
        SettingError: the words are none that it knows.
    """
    from cyclopts import CycloptsError

    try:
        build()(words)
    except CycloptsError as error:
        raise SettingError(f"{error} See veridical --help.") from error


def as_flags(message: str, words: Sequence[str]) -> str:
    """Return a message about the settings of a task, `job = 'denoise'`, in the words of the command
    line: `--job denoise`.
    """
    if not words or words[0] not in registry.entries("task"):
        return message
    names = {field.name for field in dataclasses.fields(registry.get("task", words[0]))}

    def flag(found: re.Match[str]) -> str:
        name, value = found[1], found[2].strip("'") or "''"
        return f"--{name.replace('_', '-')} {value}" if name in names else found[0]

    return re.sub(r"(?<!-)\b([a-z_]+) ?= ?('[^']*'|[^\s,;]*[^\s,;.])", flag, message)


def refuse(message: str) -> int:
    """Print why nothing was done and return the exit code for that."""
    print(f"veridical: {message}", file=sys.stderr)
    return 2


def unexpected(error: Exception, debug: bool) -> int:
    """Say where an error of ours happened and how to report it; its text may hold patient data and
    is shown with --debug.
    """
    if debug:
        traceback.print_exception(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}"
    print(
        f"veridical: unexpected {where}. This is an error of Veridical {veridical.__version__}, "
        "not yours. Please report it "
        "with the command you ran; --debug shows the whole trace (remove names of patients from it "
        "first).",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
