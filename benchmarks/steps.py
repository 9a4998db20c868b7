"""Error and spread of brain-prior at 1, 2, 4, 8 and 16 sampler steps on test patients of the second simulator.

python benchmarks/steps.py [patients]
"""

from __future__ import annotations

import sys

import numpy as np

from veridical.datasets.cohort_b import CohortB
from veridical.metrics.psnr import psnr
from veridical.tasks.reconstruct import Reconstruct
from veridical.workflow.calibrate import draw_exam
from veridical.workflow.trial import TEST_SEED


def main() -> None:
    patients = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    print("| steps | PSNR of the mean of 8 draws, dB | PSNR of one draw, dB | spread / error of the mean |\n|---|---|---|---|")
    for steps in (1, 2, 4, 8, 16):
        task, rows = Reconstruct(steps=steps), []
        for index in range(patients):
            exam = draw_exam(CohortB(TEST_SEED), index)
            derived = task(exam.measurement, seed=index)
            truth, brain = exam.truth.data[0][exam.brain], exam.brain
            peak = float(truth.max())
            draws = derived.draws[:, 0][:, brain]
            mean = derived.image.data[0][brain]
            error = float(np.sqrt(np.mean((mean - truth) ** 2)))
            one = [10 * np.log10(peak**2 / np.mean((draw - truth) ** 2)) for draw in draws]
            spread = float(np.sqrt(draws.var(0, ddof=1).mean()))
            rows.append((psnr(derived.image.data, exam.truth.data, data_range=peak, mask=brain), np.mean(one), spread / error))
        mean, sd = np.mean(rows, 0), np.std(rows, 0)
        print(f"| {steps} | " + " | ".join(f"{m:.2f} ± {s:.2f}" for m, s in zip(mean, sd, strict=True)) + " |")


if __name__ == "__main__":
    main()
