"""Time and memory of a full report on paired 3D cases of 182 x 218 x 182 voxels, for 10, 20 and 40
cases.

The cases are two real patients (T1 and T2, skull-stripped, 1 mm) with another gain, shading and
noise each time; the candidates are smoothed copies. They stand for size only.

Usage: python benchmarks/report_speed.py [WORK]
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

from veridical import Image, read, write

DATA = Path(os.environ.get("VERIDICAL_DATA", "../shared/data")) / "openms" / "cross_sectional_MNI"
COUNTS = (10, 20, 40)


def sources() -> list[Image]:
    """T1 and T2 of both patients."""
    paths = [
        path for path in sorted(DATA.rglob("*.nii.gz")) if path.name.startswith(("T1_", "T2_"))
    ]
    found = [read(path, contrast="T1w") for path in paths]
    return [image for image in found if isinstance(image, Image)]


def make(work: Path) -> None:
    images = sources()
    for part in ("real", "generated"):
        (work / part).mkdir(parents=True, exist_ok=True)
    for number in range(max(COUNTS)):
        if (work / "generated" / f"case{number:02d}.nii.gz").exists():
            continue
        rng = np.random.default_rng(number)
        image = images[number % len(images)]
        inside = image.data > 0
        shading = ndimage.zoom(
            rng.normal(1, 0.05, (4, 4, 4)),
            np.array(image.data.shape[1:]) / 4,
            order=1,
            grid_mode=True,
            mode="nearest",
        )
        real = image.data * shading[None] * rng.uniform(0.8, 1.2) + inside * rng.normal(
            0, 0.01 * image.data.max(), image.data.shape
        )
        made = ndimage.gaussian_filter(real, (0, 0.7, 0.7, 0.7)) * inside
        for part, data in (("real", real), ("generated", made)):
            one = Image(
                np.clip(data, 0, None).astype(np.float32),
                image.geometry,
                image.units,
                image.channels,
            )
            write(one, work / part / f"case{number:02d}.nii.gz")


def main() -> None:
    work = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/report_speed")
    make(work)
    print(
        "| cases | seconds | seconds a case | peak memory of the process, GiB |\n|---|---|---|---|"
    )
    for count in COUNTS:
        chosen = {part: work / f"{part}-{count}" for part in ("real", "generated")}
        for part, folder in chosen.items():
            folder.mkdir(exist_ok=True)
            for number in range(count):
                link = folder / f"case{number:02d}.nii.gz"
                link.unlink(missing_ok=True)
                os.link(work / part / link.name, link)
        words = [
            "evaluate",
            chosen["generated"],
            "--reference",
            chosen["real"],
            "--out",
            work / f"report-{count}",
            "--overwrite",
        ]
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "veridical.apps.cli", *map(str, words)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        print(f"| {count} | {seconds:.0f} | {seconds / count:.1f} | {peak:.2f} |", flush=True)


if __name__ == "__main__":
    main()
