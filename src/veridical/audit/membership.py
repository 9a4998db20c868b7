"""Membership: can one tell from a generated set which real images its generator learned from?

The attacker knows a real image and asks how much nearer it is to a generated image than to those of
other real patients; of several images of a patient the highest score counts. What is asked is how
many training patients are found while hardly any other is called one: the true positive rate at a
false positive rate of 1 % (Carlini et al. 2022, 10.1109/SP46214.2022.9833649). The test is exact:
among the highest scores of all real patients, those who trained are no more frequent than by
chance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from veridical.audit.audited_study import AuditedStudy
from veridical.audit.copies import compared
from veridical.audit.resemblance import Pictures, joined, nearest, patients_of
from veridical.types import Finding, Result, Study

NAME = "membership"
SUBJECT = "set"
LEVEL = 0.05
RATE = 0.01
"""False positive rate at which training images are sought."""
LEAST = 20
"""Training and held-out patients without whom nothing can be said."""
FEWEST = 5
"""Least number of highest scores that are looked at."""
Scores = NDArray[np.float64]


def membership(study: Study, result: Result) -> Finding | None:
    """Attack a set; None without training images or images that were kept from training."""
    if not isinstance(study, AuditedStudy) or not study.generated:
        return None
    if not study.training or not study.held_out:
        return None
    counts = [int(patients_of([*one]).max()) + 1 for one in (study.training, study.held_out)]
    if min(counts) < LEAST:
        reason = (
            f"Images of {counts[0]} training and {counts[1]} held-out patients were given; {LEAST} "
            "of each are needed to tell an attack from chance."
        )
        return Finding(NAME, "not_run", reason)
    sets = compared(study)
    assert sets.held_out is not None
    real = joined(sets.training, sets.held_out)
    found = np.full(sum(counts), -np.inf)
    np.maximum.at(found, real.patients, scores(real, sets.generated))
    return judged(found[: counts[0]], found[counts[0] :])


def scores(real: Pictures, generated: Pictures) -> Scores:
    """Return the log of each real image's distance to the nearest of another real patient over that
    to the nearest generated one.
    """
    among = nearest(real, real, same=True).distance[:, 0]
    return np.log(among.astype(np.float64) / nearest(real, generated).distance[:, 0])


def judged(members: Scores, others: Scores) -> Finding:
    """Judge the scores of training images and of others."""
    rate, interval, reached = true_positives(members, others)
    p, top, found = chance(members, others)
    area = float(stats.mannwhitneyu(members, others).statistic / len(members) / len(others))
    said = (
        f"{rate:.1%} of {len(members)} training patients are told at a false positive rate of "
        f"{reached:.1%} (95 % interval {interval[0]:.1%} to {interval[1]:.1%}; chance: "
        f"{reached:.1%}), AUC {area:.2f}; {found} of the {top} highest scores are of training "
        f"patients, p = {p:.2g}"
    )
    evidence = {
        "true_positive_rate": rate,
        "interval": list(interval),
        "false_positive_rate": reached,
        "auc": area,
        "p": p,
    }
    if p <= LEVEL:
        reason = f"Training patients can be told: {said}. Do not share the set; look at the copies."
        return Finding(NAME, "fail", reason, evidence)
    few = (
        ""
        if len(others) >= 1 / RATE
        else f" {round(1 / RATE)} held-out patients are needed for a rate of {RATE:.0%}."
    )
    reason = f"This attack tells no training patients: {said}. A stronger one may.{few}"
    return Finding(NAME, "pass", reason, evidence)


def true_positives(members: Scores, others: Scores) -> tuple[float, tuple[float, float], float]:
    """Return the share of members above the threshold that at most 1 % of the others pass, its
    Clopper-Pearson interval, and the false positive rate that the threshold stands for:
    `(passed + 1) / (others + 1)`.
    """
    allowed = max(0, int(RATE * (len(others) + 1)) - 1)
    threshold = np.sort(others)[::-1][allowed]
    found = int(np.sum(members > threshold))
    low, high = stats.binomtest(found, len(members)).proportion_ci(0.95)
    return found / len(members), (float(low), float(high)), (allowed + 1) / (len(others) + 1)


def chance(members: Scores, others: Scores) -> tuple[float, int, int]:
    """Return the p-value of as many members among the highest scores, how many scores these are,
    and how many of them are members'; hypergeometric, exact.
    """
    pooled = np.concatenate([members, others])
    top = max(FEWEST, round(RATE * len(pooled)))
    highest = np.argsort(-pooled, kind="stable")[:top]
    found = int(np.sum(highest < len(members)))
    p = float(stats.hypergeom.sf(found - 1, len(pooled), len(members), top))
    return p, top, found
