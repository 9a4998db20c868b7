"""An application over a folder with one case and one result, and a client that asks it."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from fakes import Jitter
from veridical.apps.show import plain
from veridical.apps.web import summary
from veridical.apps.web.bench import Bench, WebWork
from veridical.apps.web.server import build
from veridical.apps.web.work import view_name
from veridical.io.bids import load_provenance
from veridical.io.files import write
from veridical.report import scene
from veridical.terms import Terms
from veridical.types import Geometry, Image
from veridical.workflow.intake import take_in

SCRIPT = "<script>alert(1)</script>"


def small_image() -> Image:
    """An ellipsoid in air, 2 x 2 x 3 mm."""
    grid = Geometry((10, 12, 8), np.diag([2.0, 2.0, 3.0, 1.0]))
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in grid.shape], indexing="ij")
    inside = (x**2 + y**2 + z**2 < 0.8).astype(np.float32)
    return Image((inside * (100 + 20 * x))[None], grid, "a.u.", ("T1w",))


@dataclass
class Site:
    """A running application in this process: no lanes run, orders wait."""

    root: Path
    terms: Terms = field(default_factory=Terms)

    def __post_init__(self) -> None:
        self.app = build(self.root, self.terms)
        self.bench: Bench = self.app.state.bench

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
                return await client.request(method, path, **more)

        return asyncio.run(asked())

    def get(self, path: str, **more: Any) -> Any:
        found = self.ask("GET", path, **more)
        assert found.status_code == 200, found.text
        return found.json()

    def post(self, path: str, body: Any = None) -> Any:
        found = self.ask("POST", path, json=body or {})
        assert found.status_code == 200, found.text
        return found.json()

    def case(self) -> WebWork:
        """A case of one image that was read and drawn, of a patient with a nasty name."""
        made = self.bench.add("case", SCRIPT, {"do": "inspect"})
        folder = self.bench.folder(made.id)
        path = write(small_image(), folder / "files" / "sub-1_T1w.nii.gz")
        (patient,) = take_in([path])
        drawn = view_name(0.0, "T1w")
        scene.write(folder / drawn, small_image().geometry, scene.of_image(small_image()))
        made.found = {"results": [], "patients": [asdict(patient)]}
        made.state = "done"
        self.bench.changed(made)
        return made

    def result(self, case: WebWork) -> WebWork:
        """A result of that image, with every companion."""
        made = self.bench.add("job", "jitter", {"do": "task", "task": "jitter"}, case.id)
        folder = self.bench.folder(made.id)
        derived = Jitter(spread=1.0)(small_image())
        derived.save(folder / "result", "sub-1")
        layers = scene.of_result(derived, [small_image()])
        said = summary.of_result(derived, load_provenance(folder / "result"))
        drawn = scene.write(folder / "view", derived.image.geometry, layers)
        whole = {"folder": str(folder / "result"), "summary": said, "scene": drawn, "more": {}}
        made.found = plain(whole)
        made.state = "done"
        self.bench.changed(made)
        return made
