"""The demo case: the scan of a digital patient that `veridical demo` makes, so that it need not be
scanned first. `python -m veridical.apps.web.demo` makes the file again.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

FILE = "demo_scan.npz"
OPTIONS = {"axes": "coil,y,x", "contrast": "FLAIR", "spacing": "1,1,5"}
"""What the bare array does not say: how it is read."""
NAME = "Demo: FLAIR scan, 4x faster"


def scan(folder: Path) -> dict[str, Any]:
    """Write the scan into a folder as `scan.npy` and return how to take it in."""
    import numpy as np

    with resources.files("veridical.apps.web").joinpath(FILE).open("rb") as file:
        stored = np.load(file, allow_pickle=False)
        mask, samples = stored["mask"], stored["samples"]
    raw = np.zeros((len(samples), *mask.shape), np.complex64)
    raw[:, mask] = samples
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "scan.npy", raw)
    return {
        "paths": [str(folder / "scan.npy")],
        "options": OPTIONS,
        "patient": None,
        "parts": [{"day": 0.0, "name": "FLAIR", "kind": "raw"}],
        "notes": [],
        "name": "demo",
    }


def write(path: Path) -> None:
    """Scan the patient and store the samples that were taken."""
    import numpy as np

    from veridical.phantoms.cohort import Cohort
    from veridical.phantoms.simulated_scan import examine
    from veridical.workflow.demo import COHORT_SEED, PATIENT

    exam = examine(
        Cohort(COHORT_SEED), PATIENT, "FLAIR", 4, "uniform", plane="axial", pathology="ms"
    )
    scan = exam.measurement.data[0]
    mask = np.abs(scan).any(axis=0)
    np.savez_compressed(path, mask=mask, samples=scan[:, mask])


if __name__ == "__main__":
    write(Path(str(resources.files("veridical.apps.web").joinpath(FILE))))
