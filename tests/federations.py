"""Toy federations: folders of ellipsoids, three sites, a network of a few hundred weights."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from veridical.io.files import write
from veridical.training.federation import Federation
from veridical.types import Geometry, Image

SITES = ("east", "north", "west")
RECIPE = """
[model]
name = "denoiser"
backbone = "unet"
widths = [4, 4]
reach = 1
[data]
sources = { photographs = 1.0 }
batch = 4
patch = 16
[training]
learning_rate = 2e-3
warmup = 2
validate = 1
workers = 0
device = "cpu"
"""


@cache
def folders() -> Path:
    """Write five patients for each of three sites, of one small volume each."""
    out = Path(mkdtemp())
    y, x = np.meshgrid(*[np.linspace(-1, 1, 24)] * 2, indexing="ij")
    for number, site in enumerate(SITES):
        for patient in range(5):
            rng = np.random.default_rng([number, patient])
            body = (y**2 + x**2 < 0.9) * (1 + 0.3 * np.sin((4 + number) * x + patient))
            shown = (100 * body + rng.standard_normal(body.shape)).clip(0).astype(np.float32)
            name = f"sub-{site}{patient}"
            path = out / site / name / "anat" / f"{name}_T1w.nii.gz"
            path.parent.mkdir(parents=True)
            grid = Geometry((24, 24, 1), np.diag([2.0, 2.0, 5.0, 1.0]), "scanner")
            write(Image(shown[None, :, :, None], grid, "a.u.", ("T1w",)), path)
    return out


def written(folder: Path, federation: str = "", more: str = "") -> Path:
    """Write the file of a federation of two rounds of two steps, and its recipe.

    Args:
        folder: where.
        federation: further lines of its table.
        more: further tables.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "toy.toml").write_text(RECIPE, encoding="utf-8")
    lines = ["[federation]", 'recipe = "toy.toml"', "rounds = 2", "local_steps = 2", federation]
    for site in SITES:
        lines += [f"[sites.{site}]", f"folder = {json.dumps(str(folders() / site))}"]
        lines += [f'held_out = ["sub-{site}4", "{site}4"]']
    path = folder / "fed.toml"
    path.write_text("\n".join([*lines, more]) + "\n", encoding="utf-8")
    return path


def federation(folder: Path, federation: str = "", more: str = "") -> Federation:
    """Return a federation as `written` writes it."""
    return Federation.read(written(folder, federation, more))
