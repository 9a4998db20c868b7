"""A command of ours run for another program: in a process of its own, with its progress, its one
JSON object, or its one sentence of refusal.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import anyio

from veridical.apps.show import PROGRESS
from veridical.errors import InputError, PolicyError, VeridicalError

REFUSED, BLOCKED = 2, 3
"""Exit codes of the command line."""
PATIENCE = 5.0
"""Seconds that a process gets to end by itself when it is cancelled."""
OURS = "veridical: "
"""How the command line starts the one line that says why."""
Report = Callable[[str, int, int], Awaitable[None]]


async def command(words: Sequence[str], folder: Path, report: Report) -> dict[str, Any]:
    """Run a command and return what it prints.

    Args:
        words: of the command line, `--json` among them.
        folder: in which it runs.
        report: called with what is being done, steps done, steps in all.

    Raises:
        PolicyError: a policy blocks it.
        InputError: it refused, in its own words.
        VeridicalError: it ended in another way.
    """
    environment = {**os.environ, PROGRESS: "lines"}
    line = [sys.executable, "-m", "veridical.apps.cli", *words]
    said: list[str] = []
    async with await anyio.open_process(
        line, stdin=None, cwd=folder, env=environment, start_new_session=True
    ) as process:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_listen, process, said, report)
                printed = await _all(process)
            code = await process.wait()
        except BaseException:
            await _end(process)
            raise
    if code:
        raise _refusal(code, said)
    try:
        found: dict[str, Any] = json.loads(printed)
    except ValueError as error:
        raise VeridicalError("The command printed something else than one JSON object.") from error
    return found


async def _all(process: Any) -> bytes:
    return b"".join([part async for part in process.stdout])


async def _listen(process: Any, said: list[str], report: Report) -> None:
    """Read standard error line by line: progress is passed on, our own lines are kept."""
    rest = b""
    async for part in process.stderr:
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            await _heard(line.decode("utf-8", "replace"), said, report)
    await _heard(rest.decode("utf-8", "replace"), said, report)


async def _heard(line: str, said: list[str], report: Report) -> None:
    if line.startswith('{"progress"'):
        step = json.loads(line)
        await report(str(step["progress"]), int(step["done"]), int(step["total"]))
    elif line.startswith(OURS):
        said.append(line.removeprefix(OURS))


def _refusal(code: int, said: Sequence[str]) -> VeridicalError:
    if code == BLOCKED and said:
        return PolicyError(said[-1])
    if code == REFUSED and said:
        return InputError(said[-1])
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    why = said[-1] if said else "Was there enough memory?"
    return VeridicalError(f"The command {how}. {why}")


async def _end(process: Any) -> None:
    """End a process that nobody waits for any more."""
    with anyio.CancelScope(shield=True):
        if process.returncode is None:
            process.terminate()
            with anyio.move_on_after(PATIENCE):
                await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
