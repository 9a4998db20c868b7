"""Biology of gliomas in the cohort: spread over patients, and what genes are assumed to do to it.

The centre is that of growth seen before treatment: doubling in 63 days, diameter + 51.6 mm a year
(Fan et al. 2020, n = 109), which is `D rho` = 1.25e-3 mm2/d2. Radiosensitivity lies between 0.001
and 0.1 /Gy, the range of TumorTwin, with its example of 0.025 near the middle.

Effects of genes are assumptions. Directions follow the literature, sizes do not: no study measured
them. MGMT methylation: benefit from temozolomide (Hegi et al., N Engl J Med 2005,
10.1056/NEJMoa043331). IDH mutation: slower growth. The genes called `null` do nothing; a method
that finds an effect of theirs is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veridical.physics.tumour import Biology

NAMES = ("diffusion", "proliferation", "alpha", "kill")
"""Parameters, in the order of every vector of their logarithms."""
CENTRE = np.log([0.06, 0.02, 0.03, 0.012])
SPREAD = np.array([0.45, 0.35, 0.40, 0.50])
"""Mean and standard deviation of the logarithms, without effects of genes. The kill of the drug is
assumed: at 0.012 /d six cycles of five days take 30 per cent of the cells.
"""


@dataclass(frozen=True)
class Gene:
    """A gene with two states.

    Args:
        share: of patients in whom it is altered.
        altered, usual: what the states are called.
        effect: parameter -> factor where it is altered (assumed).
    """

    share: float
    altered: str
    usual: str
    effect: Mapping[str, float]


GENES: Mapping[str, Gene] = {
    "MGMT": Gene(0.42, "methylated", "unmethylated", {"kill": 3.0}),
    "IDH": Gene(0.10, "mutant", "wild type", {"proliferation": 0.5, "alpha": 1.2}),
    "EGFR": Gene(0.40, "amplified", "not amplified", {"diffusion": 1.4}),
    "TERT": Gene(0.66, "mutant", "wild type", {"proliferation": 1.1}),
    "null-1": Gene(0.50, "altered", "usual", {}),
    "null-2": Gene(0.20, "altered", "usual", {}),
}
"""Shares: MGMT 38 to 45 %, IDH wild type in 90 %, TERT 66 % of glioblastomas; EGFR about 40 %."""
FRONTAL = 10.0
"""mm before the middle of the brain where a tumour with an IDH mutation begins at least (assumed;
frontal after Tejada Neyra et al., Neuro Oncol 2018, 10.1093/neuonc/noy134).
"""
ENHANCING: Mapping[str, float] = {"2 or 3": 0.35, "4": 0.95}
"""Grade -> share of tumours with a necrotic core and a rim that takes up contrast agent, in still
images. The direction is that of the definition (necrosis and new vessels make a glioblastoma), the
sizes are assumed, so that 0.6 of all do where 42 % have grade 4.
"""
FORWARD = 0.5
"""Share of IDH-mutant tumours that lie there for that reason, in still images (assumed). The
growing phantom places all of them there; 110 patients with lower-grade gliomas show no difference
(docs/measurements/genes.md).
"""


def drawn_genes(rng: np.random.Generator) -> dict[str, str]:
    """Draw the state of every gene."""
    return {
        name: gene.altered if rng.random() < gene.share else gene.usual
        for name, gene in GENES.items()
    }


def shift(genes: Mapping[str, str]) -> NDArray[np.float64]:
    """Return what genes add to the logarithms of the parameters, `(4,)`."""
    total = np.zeros(len(NAMES))
    for name, state in genes.items():
        if name in GENES and state == GENES[name].altered:
            for what, factor in GENES[name].effect.items():
                total[NAMES.index(what)] += np.log(factor)
    return total


def population(genes: Mapping[str, str] | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of the logarithms over patients with these genes. Genes
    that are not known are averaged over, with the shares of `GENES`, and widen the spread.
    """
    known = genes or {}
    mean, variance = CENTRE + shift(known), SPREAD**2
    for name, gene in GENES.items():
        if name in known:
            continue
        for what, factor in gene.effect.items():
            place = NAMES.index(what)
            mean[place] += gene.share * np.log(factor)
            variance[place] += gene.share * (1 - gene.share) * np.log(factor) ** 2
    return mean, np.sqrt(variance)


def biology(logarithms: NDArray[np.float64]) -> Biology:
    """Return the biology of a vector of logarithms, `(4,)`."""
    diffusion, proliferation, alpha, kill = (float(value) for value in np.exp(logarithms))
    return Biology(diffusion, proliferation, alpha, kill)
