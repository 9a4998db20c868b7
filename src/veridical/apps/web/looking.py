"""Looking: volumes of a scene, the voxel under the cross, reports, and files to take home."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath
from fastapi.responses import FileResponse, Response
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool

from veridical.apps.web.bench import Bench
from veridical.apps.web.guard import REPORT_POLICY
from veridical.apps.web.handing import Id
from veridical.errors import InputError
from veridical.terms import Terms

router = APIRouter()
HTML = "text/html; charset=utf-8"
View = Annotated[str, InPath(pattern=r"^view[A-Za-z0-9-]{0,120}$")]
LayerName = Annotated[str, InPath(pattern=r"^[0-9]{2,3}-[a-z-]{1,20}$")]
Place = Annotated[float, Query(ge=-1e6, le=1e6, allow_inf_nan=False)]


@router.get("/scenes/{name}/{view}")
async def scene(name: Id, view: View, request: Request) -> dict[str, Any]:
    """Return what a scene holds."""
    from veridical.report import scene as scenes

    return await run_in_threadpool(scenes.read, _folder(request, name) / view)


@router.get("/scenes/{name}/{view}/layers/{layer}")
async def layer(name: Id, view: View, layer: LayerName, request: Request) -> Response:
    """Return a layer as NIfTI, no finer than is drawn."""
    file = _folder(request, name) / view / f"{layer}.nii"
    if not file.is_file():
        raise InputError("There is no such layer. Reload the page.")
    return FileResponse(file, media_type="application/octet-stream")


@router.get("/scenes/{name}/{view}/voxel")
async def voxel(
    name: Id, view: View, x: Place, y: Place, z: Place, request: Request
) -> dict[str, Any]:
    """Say in words what is known of the voxel at a place in mm."""
    from veridical.report import scene as scenes

    return await run_in_threadpool(scenes.probe, _folder(request, name) / view, (x, y, z))


@router.get("/works/{name}/report")
async def report(name: Id, request: Request, save: bool = False) -> Response:
    """Return the report of a result, an audit or an evaluation."""
    work = request.app.state.bench.get(name, "job")
    file = Path(work.found.get("report") or Path(work.found.get("folder", "")) / "report.html")
    if not work.found or not file.is_file():
        raise InputError("This job has no report.")
    if work.found.get("folder"):
        await run_in_threadpool(_admit, work.found["folder"], request.app.state.terms)
    headers = {"content-security-policy": REPORT_POLICY}
    saved = f"veridical-{name}.html" if save else None
    return FileResponse(file, media_type=HTML, headers=headers, filename=saved)


@router.get("/works/{name}/nifti")
async def nifti(name: Id, request: Request) -> Response:
    """Return a result as one archive: NIfTI volumes, provenance and report."""
    bench: Bench = request.app.state.bench
    folder = bench.get(name, "job").found.get("folder", "")
    if not folder:
        raise InputError("This job has no result.")
    await run_in_threadpool(_admit, folder, request.app.state.terms)
    archive = bench.folder(name) / "nifti.zip.part"
    await run_in_threadpool(_pack, Path(folder), archive)
    done = BackgroundTask(archive.unlink, missing_ok=True)
    return FileResponse(
        archive, media_type="application/zip", filename=f"veridical-{name}.zip", background=done
    )


@router.get("/works/{name}/dicom")
async def dicom(name: Id, request: Request) -> Response:
    """Return the DICOM objects that a job wrote, as one archive."""
    work = request.app.state.bench.get(name, "job")
    archive = Path(work.found.get("archive", ""))
    if not work.found.get("archive") or not archive.is_file():
        raise InputError("This job wrote no DICOM objects.")
    return FileResponse(
        archive, media_type="application/zip", filename=f"veridical-{name}-dicom.zip"
    )


def _folder(request: Request, name: str) -> Path:
    bench: Bench = request.app.state.bench
    return bench.folder(bench.get(name).id)


def _admit(folder: str, terms: Terms) -> None:
    """Ask the policy of today whether a stored result may leave, as the command line does.

    Raises:
        PolicyError: it may not.
    """
    from veridical.governance.stored import standing
    from veridical.io.bids import load_provenance

    standing(load_provenance(folder), terms)


def _pack(folder: Path, archive: Path) -> None:
    """Write the files of a folder into an archive; volumes are packed already."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as target:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                target.write(file, file.relative_to(folder))
