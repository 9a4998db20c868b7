"""The main job on the embedded data: a digital patient is scanned, reconstructed three ways, and
compared with the truth.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from veridical.evaluation.regions import Region
from veridical.io.guards import write_text
from veridical.metrics.scores import score
from veridical.phantoms.cohort import Cohort
from veridical.phantoms.simulated_scan import examine
from veridical.report.page import Story, write
from veridical.report.words import Lesion
from veridical.task import Progress, silent
from veridical.tasks.reconstruct import Reconstruct
from veridical.types import Result, Score

PATIENT = 2
COHORT_SEED = 424_242
"""A seed that no recipe trains on."""
METHODS = ("zero-filled", "wavelet", "denoiser")


def demo(out: str | Path = "demo", progress: Progress = silent, seed: int = 0) -> Path:
    """Scan a digital patient at 4x with 8 coils and write results and one report.

    Args:
        out: folder; made when missing, earlier results in it are replaced.
        progress: called as work goes on.
        seed: of the draws.

    Returns:
        The path of the HTML report.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    exam = examine(
        Cohort(COHORT_SEED), PATIENT, "FLAIR", 4, "uniform", plane="axial", pathology="ms"
    )
    np.save(folder / "scan.npy", exam.measurement.data[0])
    write_text(
        folder / "README.txt",
        "scan.npy: k-space (coil, y, x). veridical reconstruct scan.npy out --axes coil,y,x\n",
    )
    data_range = float(exam.truth.data[0][exam.brain].max())
    results: dict[str, Result] = {}
    scores: dict[str, list[Score]] = {}
    for number, method in enumerate(METHODS):
        derived = Reconstruct(model=method)(exam.measurement, seed)
        results[method] = derived
        scores[method] = [
            score(
                name,
                derived,
                exam.truth,
                data_range=data_range,
                mask=exam.brain,
                region="brain",
                case=exam.patient,
            )
            for name in ("psnr", "ssim", "nmse")
        ]
        if derived.interval is not None:
            scores[method] += [
                score(name, derived, exam.truth, mask=exam.brain, region="brain", case=exam.patient)
                for name in ("coverage", "rank-correlation")
            ]
        derived.save(folder / method, exam.patient.lower().replace("_", "-"), overwrite=True)
        progress("demo", number + 1, len(METHODS))
    sampled = float(np.asarray(exam.measurement.operator.describe()["sampled"]))
    story = Story(
        lead=(
            "A digital patient with multiple-sclerosis lesions was scanned: one FLAIR slice, 8 "
            "coils, every fourth line and "
            "the 24 central ones. The scan was reconstructed three ways; here the truth is known."
        ),
        facts={
            "patient": exam.patient,
            "contrast": "FLAIR",
            "coils": "8",
            "sampled": f"{sampled:.0%} of k-space (4x uniform, 24 central lines)",
            "field": f"{exam.measurement.header['field']} T",
            "noise": f"{exam.measurement.noise.level:.3g} per real component",
        },
        region=Region("brain", exam.brain),
        lesion=Lesion(exam.lesions, "multiple-sclerosis lesions") if exam.lesions.any() else None,
        main="denoiser",
        rerun="veridical demo",
    )
    return write(
        folder / "report.html",
        "From raw scanner data to an image that says what was measured",
        exam.truth,
        results,
        scores,
        story,
    )
