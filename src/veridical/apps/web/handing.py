"""Handing in: files that are dropped on the page, and folders named at the start."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi import Path as InPath
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from veridical.apps.web.bench import Bench, WebWork
from veridical.apps.web.uploads import MOST_BYTES, MOST_FILES, inside
from veridical.errors import BudgetError, InputError

router = APIRouter()
Id = Annotated[str, InPath(pattern=r"^[0-9a-f]{12}$")]
Name = Annotated[str, Field(min_length=1, max_length=800)]
SPARE = 2**30
"""Bytes of the disk that uploads leave free."""


class NewCase(BaseModel):
    """A case whose files follow."""

    name: Annotated[str, Field(max_length=200)] = ""


class Options(BaseModel):
    """How to read the files; each only where they do not say it themselves."""

    axes: Annotated[str, Field(max_length=100)] | None = None
    contrast: Annotated[str, Field(max_length=200)] | None = None
    units: Annotated[str, Field(max_length=100)] | None = None
    spacing: Annotated[str, Field(max_length=100)] | None = None
    series: Annotated[str, Field(max_length=100)] | None = None
    stack: Annotated[int, Field(ge=1, le=100_000)] | None = None
    select: Annotated[str, Field(max_length=200)] | None = None
    register_: Annotated[bool, Field(alias="register")] = False
    same_space: bool = False


@router.post("/cases")
async def new(order: NewCase, request: Request) -> dict[str, Any]:
    """Begin a case; its files are sent one by one, then it is opened."""
    bench: Bench = request.app.state.bench
    title = " ".join(order.name.split()) or "case"
    work = bench.add("case", title, {"do": "inspect", "paths": [], "options": {}, "folder": ""})
    (bench.folder(work.id) / "files").mkdir(mode=0o700)
    return {"id": work.id}


@router.put("/cases/{case}/file")
async def send(case: Id, name: Annotated[str, Name], request: Request) -> dict[str, Any]:
    """Store one file of a case; the body is its bytes."""
    bench: Bench = request.app.state.bench
    work = bench.get(case, "case")
    folder = bench.folder(case) / "files"
    if work.state != "waiting" or not folder.is_dir():
        raise InputError("This case is open already. Begin a new one.")
    target = inside(folder, name)
    counted = work.order.setdefault("counted", [0, 0])
    counted[0] += 1
    if counted[0] > MOST_FILES:
        raise BudgetError(f"More than {MOST_FILES} files; expected one patient. Send fewer.")
    if shutil.disk_usage(folder).free < SPARE:
        raise BudgetError("The disk is nearly full. Free some space and send the files again.")
    part = folder.parent / f"{counted[0]}.part"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("xb") as file:
            async for block in request.stream():
                counted[1] += len(block)
                if counted[1] > MOST_BYTES:
                    raise BudgetError(
                        f"The files hold more than {MOST_BYTES / 2**30:.0f} GiB. Send fewer "
                        "series, or name the folder: veridical web FOLDER."
                    )
                await run_in_threadpool(file.write, block)
        if target.exists():
            raise FileExistsError(target.name)
        part.rename(target)
    except (IsADirectoryError, NotADirectoryError, FileExistsError) as error:
        raise InputError("Two files of this case have one name. Rename one of them.") from error
    finally:
        part.unlink(missing_ok=True)
    return {"files": counted[0], "bytes": counted[1]}


@router.post("/cases/{case}/open")
async def read(case: Id, options: Options, request: Request) -> dict[str, Any]:
    """Say what the files of a case are; again with other options where they did not say enough."""
    bench: Bench = request.app.state.bench
    work = bench.get(case, "case")
    if work.state == "running":
        raise InputError("This case is being read. Wait for it, or close it.")
    said = options.model_dump(by_alias=True)
    given = {key: value for key, value in said.items() if value not in (None, "", False)}
    files = bench.folder(case) / "files"
    if files.is_dir():
        work.order["paths"] = [str(one) for one in sorted(files.iterdir())]
    if not work.order["paths"]:
        raise InputError("No file has arrived. Drop a file, a folder or a zip archive.")
    _order(bench, work, given)
    return work.shown()


@router.post("/works/{name}/use")
async def use(name: Id, request: Request) -> dict[str, Any]:
    """Open the estimate of a result as a case, so that another job can take it."""
    bench: Bench = request.app.state.bench
    owner = bench.get(name, "job")
    files = owner.found.get("summary", {}).get("files", {})
    entry = files.get("estimate") or files.get("estimate_magnitude")
    if not entry:
        raise InputError("This job has no result to go on with.")
    path = Path(owner.found["folder"]) / Path(entry["path"]).name
    order = {"do": "inspect", "paths": [str(path)], "options": {}, "folder": ""}
    work = bench.add("case", f"{owner.title} of {_origin(bench, owner)}", order)
    _order(bench, work, {"contrast": ",".join(owner.found["summary"]["channels"])})
    return work.shown()


@router.delete("/works/{name}")
async def close(name: Id, request: Request) -> dict[str, Any]:
    """Close a case with its jobs, or a job, and delete what was stored for it."""
    bench: Bench = request.app.state.bench
    bench.remove(bench.get(name))
    return {"gone": name}


@router.post("/works/{name}/cancel")
async def cancel(name: Id, request: Request) -> dict[str, Any]:
    """Stop a job; nothing of its result is left."""
    bench: Bench = request.app.state.bench
    work = bench.get(name)
    bench.cancel(work)
    return work.shown()


def open_path(bench: Bench, path: Path) -> None:
    """Open a file or folder that was named when the program started, where it lies."""
    order = {"do": "inspect", "paths": [str(path.resolve())], "options": {}, "folder": ""}
    work = bench.add("case", path.name or str(path), order)
    _order(bench, work, {})


def _origin(bench: Bench, work: WebWork) -> str:
    case = bench.works.get(work.case)
    return case.title if case else "nothing measured"


def _order(bench: Bench, work: WebWork, options: dict[str, Any]) -> None:
    work.order |= {"options": options, "folder": str(bench.folder(work.id))}
    work.order.pop("counted", None)
    bench.start(work)
