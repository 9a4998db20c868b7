"""Working: jobs from the registry, audits, evaluations, DICOM, each begun here and followed by the
events of the page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from veridical import registry
from veridical.apps.web import demo, forms
from veridical.apps.web.bench import Bench, WebWork
from veridical.errors import InputError, SettingError, nearest
from veridical.terms import Terms

router = APIRouter()
IdText = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
Ref = Annotated[str, Field(max_length=300)]
Text = Annotated[str, Field(max_length=2000)]
Setting = bool | int | float | Text | list[bool | int | float | Text] | None
Settings = Annotated[dict[Annotated[str, Field(max_length=100)], Setting], Field(max_length=60)]
CHOSEN_CASE = ("against", "reference", "training", "held_out")


class TaskOrder(BaseModel):
    """A job of the registry."""

    task: Annotated[str, Field(max_length=100)]
    settings: Settings = {}
    case: IdText | None = None
    patient: Annotated[int, Field(ge=0, le=10_000)] = 0
    chosen: Annotated[list[tuple[float, Text]], Field(max_length=100)] = []
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    override: Annotated[str, Field(max_length=1000)] = ""


class ViewOrder(BaseModel):
    """A part of a case to draw."""

    case: IdText
    patient: Annotated[int, Field(ge=0, le=10_000)] = 0
    day: Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)] = 0.0
    name: Annotated[str, Field(max_length=200)]


class AboutOrder(BaseModel):
    """An audit or evaluation: of what, and its settings. Subjects are ids of results or cases."""

    subject: IdText
    reference: IdText | None = None
    settings: Settings = {}


@router.get("/forms/{name}")
async def form(name: str) -> dict[str, Any]:
    """Return the settings of a task, `audit` or `evaluate`, as JSON Schema."""
    from veridical.apps.run import Reading
    from veridical.task import form as of_task

    if name == "reading":
        return forms.schema(Reading, forms.LEFT_OUT)
    if name == "audit":
        from veridical.workflow.audit import Audit

        return forms.schema(Audit, ("training", "held_out", "table"))
    if name == "evaluate":
        from veridical.workflow.evaluate import Evaluate

        return forms.schema(Evaluate, tuple(FOLDERS))
    known = registry.entries("task")
    if name not in known:
        raise SettingError(f"No task is called {name[:80]!r}. {nearest(name[:80], known)}")
    return of_task(registry.get("task", name))


FOLDERS = {
    "candidate_labels", "draws", "lower", "upper", "retest", "baseline", "dose", "candidate_dose",
    "training", "training_labels", "second", "table", "protocol", "tasks",
}  # fmt: skip
"""Settings of an evaluation that are folders or tables: for the command line."""


@router.post("/jobs")
async def task(order: TaskOrder, request: Request) -> dict[str, Any]:
    """Run a task."""
    bench, terms = _of(request)
    kind = registry.get("task", order.task)
    forms.build(kind, order.settings)
    patient, before = None, []
    if kind.takes != "nothing" or order.case:
        patient = _patient(bench, order.case or "", order.patient)
        before = _raw_views(bench.folder(order.case or ""), patient, order)
    work = bench.add("job", order.task, {"do": "task"}, order.case or "")
    work.patient = order.patient
    work.order |= {
        "task": order.task,
        "settings": order.settings,
        "patient": patient,
        "chosen": order.chosen,
        "seed": order.seed,
        "out": str(bench.folder(work.id)),
        "before": before,
        "terms": _plain(terms, order.override),
    }
    bench.start(work)
    return work.shown()


@router.post("/views")
async def view(order: ViewOrder, request: Request) -> dict[str, Any]:
    """Draw a part of a case."""
    from veridical.apps.web.work import view_name

    bench, _ = _of(request)
    patient = _patient(bench, order.case, order.patient)
    name = view_name(order.day, order.name, order.patient)
    if (bench.folder(order.case) / name / "scene.json").is_file():
        return {"view": name, "ready": True}
    work = bench.add("job", f"view of {order.name}", {"do": "view"}, order.case)
    work.order |= {
        "patient": patient,
        "day": order.day,
        "name": order.name,
        "folder": str(bench.folder(order.case) / name),
    }
    bench.start(work)
    return {"view": name, "ready": False, "job": work.id}


@router.post("/results/{case}/{number}")
async def stored(case: str, number: int, request: Request) -> dict[str, Any]:
    """Open a stored result that lies in a folder which was handed in."""
    bench, _ = _of(request)
    found = bench.get(case, "case").found.get("results", [])
    if not 0 <= number < len(found):
        raise InputError("There is no such result. Reload the page.")
    work = bench.add("job", Path(found[number]).name, {"do": "open_result"}, case)
    work.order |= {"folder": found[number], "view": str(bench.folder(work.id) / "view")}
    bench.start(work)
    return work.shown()


@router.post("/audits")
async def audit(order: AboutOrder, request: Request) -> dict[str, Any]:
    """Audit a result or an image."""
    from veridical.workflow.audit import Audit

    bench, terms = _of(request)
    settings = _with_files(bench, order.settings, CHOSEN_CASE)
    forms.build(Audit, settings)
    owner = bench.get(order.subject)
    work = bench.add("job", f"audit of {owner.title}", {"do": "audit"}, owner.case or owner.id)
    work.order |= {
        "subject": _path(bench, order.subject, folder=True),
        "settings": settings,
        "out": str(bench.folder(work.id) / "report"),
        "terms": _plain(terms),
    }
    bench.start(work)
    return work.shown()


@router.post("/evaluations")
async def evaluate(order: AboutOrder, request: Request) -> dict[str, Any]:
    """Judge a result or image against the true one."""
    from veridical.workflow.evaluate import Evaluate

    bench, _ = _of(request)
    if order.reference is None:
        raise InputError("An evaluation needs the true image. Open it, and choose it as reference.")
    settings = _with_files(bench, order.settings, ("masks", "labels"))
    forms.build(Evaluate, settings)
    owner = bench.get(order.subject)
    work = bench.add(
        "job", f"evaluation of {owner.title}", {"do": "evaluate"}, owner.case or owner.id
    )
    work.order |= {
        "candidate": _path(bench, order.subject),
        "reference": _path(bench, order.reference),
        "settings": settings,
        "out": str(bench.folder(work.id) / "report"),
    }
    bench.start(work)
    return work.shown()


@router.post("/dicom/{name}")
async def dicom(name: str, request: Request) -> dict[str, Any]:
    """Write a result as DICOM beside the series it was made from."""
    bench, terms = _of(request)
    owner = bench.get(name, "job")
    if not owner.found.get("folder"):
        raise InputError("This job has no result to write.")
    source = bench.get(owner.case, "case").found.get("patients") if owner.case else None
    paths = [path for one in source or [] for path in one["paths"]]
    if not paths:
        raise InputError(
            "DICOM objects stand beside the DICOM series that a result was made from; this one was "
            "made from none. Download NIfTI."
        )
    work = bench.add("job", f"DICOM of {owner.title}", {"do": "dicom"}, owner.case)
    work.order |= {
        "result": owner.found["folder"],
        "source": paths,
        "out": str(bench.folder(work.id)),
        "terms": _plain(terms),
    }
    bench.start(work)
    return work.shown()


def start_demo(bench: Bench, terms: Terms) -> None:
    """Open the demo case and begin its job, unless they are there from an earlier start."""
    from veridical.apps.web.work import view_name

    if any(work.title == demo.NAME for work in bench.works.values()):
        return
    case = bench.add("case", demo.NAME, {"do": "inspect"})
    folder = bench.folder(case.id)
    patient = demo.scan(folder / "files")
    read = {"paths": patient["paths"], "options": patient["options"], "folder": str(folder)}
    case.order |= read
    part = patient["parts"][0]
    work = bench.add("job", "reconstruct", {"do": "task"}, case.id)
    work.order |= {
        "task": "reconstruct",
        "settings": {},
        "patient": patient,
        "chosen": [(part["day"], part["name"])],
        "seed": 0,
        "out": str(bench.folder(work.id)),
        "before": [str(folder / view_name(part["day"], part["name"]))],
        "terms": _plain(terms),
    }
    bench.start(case)
    bench.start(work)


def _of(request: Request) -> tuple[Bench, Terms]:
    return request.app.state.bench, request.app.state.terms


def _plain(terms: Terms, override: str = "") -> dict[str, str]:
    paths = {"policy": terms.policy_file(), "ledger": terms.ledger_file()}
    said = {key: str(path.resolve()) for key, path in paths.items() if path}
    return {**said, "override": override or terms.override}


def _patient(bench: Bench, case: str, number: int) -> dict[str, Any]:
    """Return what is known of a patient of a case."""
    if not case:
        raise InputError("This job needs an image or raw data. Open a file first.")
    work = bench.get(case, "case")
    found = work.found.get("patients", [])
    if work.state != "done" or not 0 <= number < len(found):
        raise InputError("This case was not read, or has no such patient. Open it first.")
    return dict(found[number])


def _raw_views(folder: Path, patient: dict[str, Any], order: TaskOrder) -> list[str]:
    """Return where the raw data that a job uses are drawn."""
    from veridical.apps.web.work import view_name

    raw = [(one["day"], one["name"]) for one in patient["parts"] if one["kind"] == "raw"]
    used = [one for one in raw if not order.chosen or one in order.chosen]
    return [str(folder / view_name(day, name, order.patient)) for day, name in used]


def _with_files(bench: Bench, settings: dict[str, Any], files: tuple[str, ...]) -> dict[str, Any]:
    """Return settings with the files that ids stand for; a page names no paths."""
    given = {key: value for key, value in settings.items() if value not in (None, "", [])}
    for key in files:
        if key in given:
            given[key] = _path(bench, str(given[key]))
    return given


def _path(bench: Bench, name: str, folder: bool = False) -> str:
    """Return the file of a result's estimate or of a case; the folder of a result where asked."""
    work: WebWork = bench.get(name)
    if found := work.found.get("result", work.found).get("folder"):
        files = work.found.get("result", work.found)["summary"]["files"]
        role = "estimate" if "estimate" in files else "estimate_magnitude"
        return found if folder else str(Path(found) / Path(files[role]["path"]).name)
    paths = [path for one in work.found.get("patients", []) for path in one["paths"]]
    if work.state != "done" or len(set(paths)) != 1:
        raise InputError(f"{work.title!r} is not one file. Choose a result, or a case of one file.")
    return str(paths[0])
