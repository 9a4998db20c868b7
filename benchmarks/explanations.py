"""What explanations and robustness checks say of the shipped weights.

python benchmarks/explanations.py [--patients 3] [--only robustness|explain]

Explanations: FLAIR completed from T1w and T2w of digital patients (4 mm voxels, multiple-sclerosis
lesions marked), and 4x undersampled scans reconstructed by the denoiser. Robustness: these scans
and two real ones, learned against classical.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
from injection import raw

from veridical.audit.audited_study import known
from veridical.audit.explain import explain
from veridical.audit.robustness import robustness
from veridical.evaluation.bench import measurement
from veridical.evaluation.scenes import Sampling, phantoms
from veridical.phantoms.cohort_b import CohortB
from veridical.tasks.complete import Complete
from veridical.tasks.reconstruct import Reconstruct
from veridical.types import Finding, Result, Study
from veridical.workflow.made_again import made_again

CHECKS = {"explain": explain, "robustness": robustness}


def asked(check: str, study: Study, result: Result) -> Finding:
    known_of = known(study, asked=(check,), **made_again(result))
    found = CHECKS[check](known_of, result)
    assert found is not None
    return found


def explained(name: str, study: Study, result: Result) -> list[str]:
    found = asked("explain", study, result)
    said = found.evidence
    return [
        name,
        f"{said['named']['source']}, {said['named']['where']}",
        f"{said['change']:+.1%}",
        f"{said['p_value']:.3f}",
        f"{said['correlation_random_weights']:.2f}",
        found.verdict,
    ]


def moved(name: str, study: Study, result: Result) -> list[str]:
    found = asked("robustness", study, result)
    said = found.evidence
    cells = [f"{said[k]:.2f}" for k in ("gain_random", "gain_worst")]
    cells += [f"{said[k]:.2f}" for k in ("classical_random", "classical_worst")]
    scenarios = "; ".join(
        f"{k} {v:.1%} (classical {said['classical_scenarios'][k]:.1%})"
        for k, v in said["scenarios"].items()
    )
    return [name, *cells, scenarios, found.verdict]


def scans(patients: int) -> Iterator[tuple[str, Study]]:
    """Yield scans of test phantoms."""
    for scene in phantoms(patients, Sampling("uniform", 4.0, 8), seed=1):
        data = (scene.problem.data * scene.problem.scale).numpy()
        mask = scene.problem.operator.mask.numpy() > 0
        yield f"phantom {scene.patient}", Study.of(measurement(data, mask, "T2w"))


def heads(patients: int) -> Iterator[tuple[str, Study]]:
    """Yield T1w and T2w of digital patients with marked lesions."""
    for index in range(patients):
        patient = CohortB(17).patient(index, 4.0, "ms")
        visit = patient.visits[0.0]
        given = {name: visit[name] for name in ("T1w", "T2w", "lesions")}
        yield f"completed {index}", Study(patient.id, {0.0: given})


def line(cells: Sequence[str]) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


def spread(rows: Sequence[Sequence[str]], columns: Sequence[int]) -> None:
    """Print mean and standard deviation of columns."""
    for column in columns:
        values = np.array([float(row[column].rstrip("%")) for row in rows])
        print(f"column {column}: {values.mean():.2f} +- {values.std(ddof=1):.2f}, n = {len(rows)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=3)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    if given.only in ("", "robustness"):
        print("## Robustness: relative change of the image over that of the data\n", flush=True)
        line(["scan", "random", "worst", "classical random", "classical worst", "other", "verdict"])
        line(["---"] * 7)
        rows = []
        real = ((name, Study.of(scan)) for name, scan in raw().items())
        for name, study in chain(scans(given.patients), real):
            rows.append(moved(name, study, Reconstruct(draws=1)(study)))
            line(rows[-1])
        spread(rows, (1, 2, 3, 4))
    if given.only in ("", "explain"):
        print("\n## Explanations\n", flush=True)
        line(["result", "named", "change of the region", "p", "with random weights", "verdict"])
        line(["---"] * 6)
        made = [(Complete(to="FLAIR", draws=1), heads), (Reconstruct(draws=1), scans)]
        for task, source in made:
            rows = []
            for name, study in source(given.patients):
                rows.append(explained(name, study, task(study)))
                line(rows[-1])
            spread(rows, (3, 4))


if __name__ == "__main__":
    main()
