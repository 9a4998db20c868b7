"""The tools and resources of the MCP server.

Every job is a command of ours in a process of its own: the same readers, checks, policy and words
as on the command line, and a crash or a full memory ends the job and not the server.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal

import anyio
from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ToolError
from mcp_types import ToolAnnotations

import veridical
from veridical import registry
from veridical.apps import mcp_facts
from veridical.apps.fence import Fence
from veridical.apps.work import command
from veridical.errors import SettingError, VeridicalError, nearest

INSTRUCTIONS = """Veridical reconstructs, enhances, completes, translates, segments and synthesizes
medical images and says for every voxel what was measured and what was imagined. Research only, not
for diagnosis. Start with list_installed("task") and describe(task); run() writes a result into a
folder; findings() says whether to believe it: tell the user of every warning and failure, and that
a synthesized contrast was not acquired. Paths start with the name of a named folder: files() lists
them. A job that the policy blocks stays blocked: ask a person."""
READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
WRITES = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)
NEVER = {"tasks"}
"""Settings that name code to run; no agent gives them."""


def server(fence: Fence) -> MCPServer:
    """Return the server of named folders."""
    made: MCPServer = MCPServer(
        "veridical", instructions=INSTRUCTIONS, version=veridical.__version__, log_level="WARNING"
    )
    tools = Tools(fence)
    looking = (tools.list_installed, tools.describe, tools.files, tools.findings, tools.picture)
    making = (tools.run, tools.audit, tools.evaluate, tools.export)
    for group, hints in ((looking, READS), (making, WRITES)):
        for tool in group:
            made.add_tool(refused(tool, ToolError, fence), annotations=hints)
    for name, kind, read in (
        ("findings", "application/json", tools.findings),
        ("provenance", "application/json", tools.provenance),
        ("picture", "image/png", tools.png),
    ):
        about = (inspect.getdoc(read) or "").partition("\n\n")[0]
        address = f"veridical://{name}/{{+result}}"
        made.resource(address, name=name, description=about, mime_type=kind)(
            refused(read, ResourceError, fence)
        )
    return made


def refused(call: Callable[..., Any], kind: type[Exception], fence: Fence) -> Callable[..., Any]:
    """Return a coroutine function whose refusals are errors of the protocol, in our own words, with
    paths as the agent names them.
    """

    @functools.wraps(call)
    async def run(*args: Any, **given: Any) -> Any:
        try:
            if inspect.iscoroutinefunction(call):
                return await call(*args, **given)
            return await anyio.to_thread.run_sync(functools.partial(call, *args, **given))
        except (VeridicalError, OSError) as error:
            said = str(error) if isinstance(error, VeridicalError) else str(error.strerror)
            raise kind(f"{type(error).__name__}: {fence.named(said)}") from error

    return run


class Tools:
    """What an agent can do; each public method is a tool or a resource.

    Args:
        fence: the named folders.
    """

    def __init__(self, fence: Fence) -> None:
        self._fence = fence
        self._turn = anyio.Semaphore(1)

    def list_installed(self, kind: str = "task") -> dict[str, str]:
        """List what is installed: name and summary of every entry of a kind.

        Args:
            kind: task, model, metric, audit, operator, degradation, reader, layout, extractor, ...
        """
        return {name: entry.summary for name, entry in registry.entries(kind).items()}

    def describe(self, name: str) -> dict[str, Any]:
        """Describe a task, `audit` or `evaluate`: what it does, what it takes, and all settings as
        JSON Schema; and the options that say how to read its input.

        Args:
            name: of the task.
        """
        return mcp_facts.described(name)

    def files(self, folder: str = "") -> dict[str, Any]:
        """List files and folders of a named folder; without one, the named folders.

        Args:
            folder: path that starts with the name of a named folder.
        """
        return mcp_facts.listed(self._fence, folder)

    def findings(self, result: str) -> dict[str, Any]:
        """Read a result: what it is, its findings, its interval and what that promises, what is
        absent and why, and what the policy decided.

        Args:
            result: folder of the result.
        """
        return mcp_facts.read_findings(self._fence, result)

    def provenance(self, result: str) -> str:
        """The provenance of a result: steps, settings, models, weights, versions, seeds, hashes."""
        return mcp_facts.read_provenance(self._fence, result)

    def png(self, result: str) -> bytes:
        """A result as a PNG: three planes of estimate, interval width and evidence."""
        return mcp_facts.drawn(self._fence, result)

    def picture(self, result: str) -> Image:
        """Look at a result: three planes of estimate, width of the interval and evidence, as a PNG.

        Args:
            result: folder of the result.
        """
        return Image(data=mcp_facts.drawn(self._fence, result), format="png")

    async def run(
        self,
        ctx: Context,
        task: str,
        output: str,
        input: str = "",
        settings: dict[str, Any] | None = None,
        reading: dict[str, Any] | None = None,
        seed: int = 0,
        overwrite: bool = False,
    ) -> dict[str, Any]:
        """Run a task on a file, a DICOM series or a folder of patients, and write the result with
        its findings.

        Args:
            task: its name: reconstruct, enhance, complete, translate, segment, synthesize, ...
            output: folder for the result; made when missing.
            input: file or folder to read; synthesize takes none.
            settings: of the task, as describe() lists them.
            reading: what the file does not say itself, as describe() lists it: axes, contrast,
                units, ...; of synthesize how many: n.
            seed: of everything random.
            overwrite: replace an earlier result in the folder.
        """
        registry.get("task", task)
        words = [task, *([str(self._fence.existing(input))] if input else [])]
        words += [str(self._fence.path(output)), f"--seed={seed}"]
        words += self._flags(settings or {}, mcp_facts.defaults(task), task)
        words += self._flags(reading or {}, mcp_facts.reading_defaults(task), "reading")
        return await self._do(words, ctx, overwrite)

    async def audit(
        self,
        ctx: Context,
        subject: str,
        output: str,
        settings: dict[str, Any] | None = None,
        overwrite: bool = False,
    ) -> dict[str, Any]:
        """Audit a result, an image or a set of images from any generator: what may be believed.

        Args:
            subject: folder of a result, an image file, or a folder of images.
            output: folder for the report.
            settings: against (raw data or input), reference (the truth), training, held_out, model,
                table, checks; describe("audit") explains them.
            overwrite: replace an earlier report.
        """
        place = self._fence.existing(subject)
        if "against" not in (settings or {}):
            mcp_facts.inputs_inside(self._fence, place)
        words = ["audit", str(place), f"--out={self._fence.path(output)}"]
        words += self._flags(settings or {}, mcp_facts.defaults("audit"), "audit")
        return await self._do(words, ctx, overwrite)

    async def evaluate(
        self,
        ctx: Context,
        candidate: str,
        reference: str,
        output: str,
        settings: dict[str, Any] | None = None,
        overwrite: bool = False,
    ) -> dict[str, Any]:
        """Judge generated images against real ones: pixels, features, task, trust.

        Args:
            candidate: folder or file of the generated images.
            reference: folder or file of the real ones.
            output: folder for the report.
            settings: as describe("evaluate") lists them.
            overwrite: replace an earlier report.
        """
        words = ["evaluate", str(self._fence.existing(candidate))]
        words += [f"--reference={self._fence.existing(reference)}"]
        words += [f"--out={self._fence.path(output)}"]
        words += self._flags(settings or {}, mcp_facts.defaults("evaluate"), "evaluate")
        return await self._do(words, ctx, overwrite)

    async def export(
        self,
        ctx: Context,
        result: str,
        source: str,
        output: str,
        form: Literal["dicom", "fhir"] = "dicom",
        mark: bool = False,
        overwrite: bool = False,
    ) -> dict[str, Any]:
        """Write a stored result as files for a hospital: DICOM objects beside its source series
        (images, maps of interval width and evidence, a report), or a FHIR transaction.

        Args:
            result: folder of the result.
            source: folder or file of the DICOM series that it was made from.
            output: folder for the files; made when missing.
            form: dicom or fhir.
            mark: burn RESEARCH ONLY into a corner of DICOM images, and SYNTHETIC where they are.
            overwrite: replace the objects of another result there.
        """
        made, series = (str(self._fence.existing(one)) for one in (result, source))
        place = str(self._fence.path(output))
        if form == "fhir":
            if mark or overwrite:
                raise SettingError("mark and overwrite are of DICOM; a FHIR file replaces itself.")
            return await self._do(["fhir", made, f"--source={series}", f"--to={place}"], ctx)
        words = ["dicom", made, place, f"--source={series}", *["--mark"] * mark]
        return await self._do(words, ctx, overwrite)

    async def _do(self, words: list[str], ctx: Context, overwrite: bool = False) -> dict[str, Any]:
        """Run a command when it is its turn; jobs take all of memory, so one runs at a time."""

        async def report(what: str, done: int, total: int) -> None:
            await ctx.report_progress(done, total, what)

        async with self._turn:
            words += ["--json", *["--overwrite"] * overwrite]
            said = await command(words, self._fence.home, report)
        return mcp_facts.with_names(said, self._fence)

    def _flags(self, given: Mapping[str, Any], known: Mapping[str, Any], what: str) -> list[str]:
        """Return settings as flags; a text that is a path must stay inside.

        Args:
            given: by the agent.
            known: settings with their defaults, which need no flag.
            what: they are of.

        Raises:
            SettingError: an unknown setting, or a value that is no text, number or list of these.
        """
        words: list[str] = []
        for key, value in given.items():
            if key not in known or key in NEVER:
                hint = nearest(key, set(known) - NEVER)
                raise SettingError(f"{what} has no setting {key!r}. {hint}")
            flag = key.replace("_", "-")
            if value is None or value == known[key]:
                continue
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, bool):
                    words.append(f"--{flag}" if one else f"--no-{flag}")
                elif isinstance(one, str | int | float):
                    words.append(f"--{flag}={self._inside(one)}")
                else:
                    raise SettingError(f"{what}: {key} is {one!r}; expected text or numbers.")
        return words

    def _inside(self, value: str | int | float) -> str:
        """Return a value as text; one that could be a path as a path inside."""
        text = str(value)
        if "/" in text or "\\" in text or text.startswith(("~", ".")) or self._is_there(text):
            return str(self._fence.existing(text))
        return text

    def _is_there(self, text: str) -> bool:
        try:
            place = self._fence.home / text
            return bool(text) and (place.is_symlink() or place.exists())
        except (OSError, ValueError):
            return True
