"""What explanations and robustness checks say of the shipped weights.

python benchmarks/explanations.py [--patients 2]

Explanations: FLAIR completed from T1w and T2w of digital patients (4 mm voxels, multiple-sclerosis
lesions marked), and a 4x undersampled scan reconstructed by the denoiser. Robustness: the same
scan, learned against classical.
"""

from __future__ import annotations

import argparse

from patients import table

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=2)
    given = parser.parse_args()
    scans = []
    for scene in phantoms(given.patients, Sampling("uniform", 4.0, 8), seed=1):
        data = (scene.problem.data * scene.problem.scale).numpy()
        mask = scene.problem.operator.mask.numpy() > 0
        study = Study.of(measurement(data, mask, "T2w"))
        scans.append((scene.patient, study, Reconstruct(draws=1)(study)))
    columns = ("patient", "random", "worst", "classical random", "classical worst", "other", "")
    print("## Robustness: relative change of the image over that of the data\n", flush=True)
    print(table(columns, [moved(*scan) for scan in scans]), flush=True)
    columns = ("patient", "named", "change of the region", "p", "with random weights", "verdict")
    rows = []
    for index in range(given.patients):
        patient = CohortB(17).patient(index, 4.0, "ms")
        visit = patient.visits[0.0]
        study = Study(patient.id, {0.0: {name: visit[name] for name in ("T1w", "T2w", "lesions")}})
        rows.append(explained(f"completed {index}", study, Complete(to="FLAIR", draws=1)(study)))
    rows += [explained(*scan) for scan in scans]
    print("\n## Explanations\n", flush=True)
    print(table(columns, rows), flush=True)


if __name__ == "__main__":
    main()
