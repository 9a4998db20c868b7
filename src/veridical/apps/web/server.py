"""The application: its pages and what they ask for. All is JSON but volumes, reports, archives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

import veridical
from veridical import registry
from veridical.apps.web import browse, handing, looking, working
from veridical.apps.web.bench import Bench
from veridical.errors import PolicyError, VeridicalError
from veridical.terms import Terms

STATIC = Path(str(resources.files("veridical.apps.web").joinpath("static")))
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


def build(root: Path, terms: Terms, opened: Sequence[Path] = (), demo: bool = False) -> FastAPI:
    """Return the application.

    Args:
        root: folder for everything that is handed in and made.
        terms: policy and ledger, as on the command line.
        opened: files and folders that are open from the start.
        demo: whether the demo case is.
    """
    bench = Bench(root)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        for lane in bench.lanes.values():
            lane.running = asyncio.create_task(lane.run())
        if demo:
            working.start_demo(bench, terms)
        for path in opened:
            handing.open_path(bench, path)
        yield
        await bench.close()

    app = FastAPI(
        title="Veridical",
        version=veridical.__version__,
        lifespan=life,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    app.state.bench, app.state.terms = bench, terms
    _errors(app)
    _pages(app)
    for part in (handing, looking, working, browse):
        app.include_router(part.router, prefix="/api")
    return app


def _errors(app: FastAPI) -> None:
    """Answer what is refused with what, got, expected and next step, as the command line does."""

    @app.exception_handler(VeridicalError)
    async def refused(_: Request, error: VeridicalError) -> JSONResponse:
        status = 403 if isinstance(error, PolicyError) else 422
        return _said(status, str(error), type(error).__name__)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = " ".join(str(part) for part in first["loc"] if part != "body")
        return _said(422, f"{where or 'The request'}: {first['msg']}.", "SettingError")

    @app.exception_handler(HTTPException)
    async def unknown(_: Request, error: HTTPException) -> JSONResponse:
        words = {404: "There is nothing at this address. Reload the page."}
        text = words.get(error.status_code, f"{error.detail}. Reload the page.")
        return _said(error.status_code, text, "InputError")


def _said(status: int, text: str, kind: str) -> JSONResponse:
    return JSONResponse({"error": text, "kind": kind}, status)


def _pages(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return FileResponse(STATIC / "index.html", media_type=TYPES[".html"])

    @app.get("/static/{name}", include_in_schema=False)
    async def static(name: str) -> Response:
        file = next((one for one in STATIC.iterdir() if one.name == name), None)
        if file is None or file.suffix not in TYPES:
            raise HTTPException(404)
        return FileResponse(file, media_type=TYPES[file.suffix])

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        """A report in a tab of its own names no icon; browsers then ask for this address."""
        return FileResponse(STATIC / "icon.svg", media_type=TYPES[".svg"])

    @app.get("/api/about")
    async def about(request: Request) -> dict[str, Any]:
        """Say what is installed and on which terms."""
        terms: Terms = request.app.state.terms
        tasks = registry.entries("task").values()
        return {
            "version": veridical.__version__,
            "tasks": [
                {"name": one.name, "summary": one.summary, "takes": one.load().takes}
                for one in tasks
            ],
            "checks": sorted(registry.entries("audit")),
            "policy": terms.policy_file() is not None,
            "ledger": terms.ledger_file() is not None,
        }

    @app.get("/api/events")
    async def events(request: Request) -> StreamingResponse:
        """Follow all cases and jobs as server-sent events."""
        stream = request.app.state.bench.events()
        return StreamingResponse(stream, media_type="text/event-stream")
