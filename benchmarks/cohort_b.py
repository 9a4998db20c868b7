"""Reconstructions of digital patients of the second simulator: accuracy, coverage, hidden lesions,
distribution shifts.

python benchmarks/cohort_b.py [patients]
"""

from __future__ import annotations

import sys

from veridical.evaluation import simulation_study as study


def main() -> None:
    patients = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    print(f"## cohort-b, {patients} test patients, one axial slice each\n")
    print(study.summary(study.trial(patients)))
    print("\n## Evidence where a small lesion would hide\n")
    for name, value in study.hidden_detail(min(12, patients)).items():
        print(f"- {name}: {value:.3f}")
    print("\n## Shifts, denoiser\n")
    for outcomes in study.shifts(min(12, patients)).values():
        print(study.summary(outcomes), "\n")


if __name__ == "__main__":
    main()
