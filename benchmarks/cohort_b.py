"""Print what `docs/measurements.md` shows of the second simulator: accuracy, coverage, hidden detail, shifts.

python benchmarks/cohort_b.py [patients]
"""

from __future__ import annotations

import sys

from veridical.evaluation import simulation_study as trial


def main() -> None:
    patients = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    print(f"## cohort-b, {patients} test patients, one axial slice each\n")
    print(trial.summary(trial.trial(patients)))
    print("\n## Evidence where a small lesion would hide\n")
    for name, value in trial.hidden_detail(min(12, patients)).items():
        print(f"- {name}: {value:.3f}")
    print("\n## Shifts, denoiser\n")
    for outcomes in trial.shifts(min(12, patients)).values():
        print(trial.summary(outcomes), "\n")


if __name__ == "__main__":
    main()
