"""Who has a glioma: how grade, age, sex and mutations go together in 839 patients, and what is
probable of those that are not known.

Grade, age, sex and mutations of 20 genes are described by latent classes (`latent_classes`), which
come close to the kinds that are known (IDH-mutant with and without the mutations of
oligodendroglioma, IDH wild type). Intervals are over bootstrap samples of the patients. What the
839 patients do not say is refused: other genes, MGMT, TERT, 1p/19q, and a difference between the
grades 2 and 3, which the table puts into one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veridical.errors import SettingError, nearest
from veridical.models.latent_classes import LatentClasses, fitted, refitted

Reals = NDArray[np.float64]
Known = Mapping[str, str | float]

FILE = Path(__file__).parent / "files" / "glioma_patients.json"
"""Written by benchmarks/genes.py."""
GENES = (
    "IDH1", "TP53", "ATRX", "PTEN", "EGFR", "CIC", "MUC16", "PIK3CA", "NF1", "PIK3R1", "FUBP1",
    "RB1", "NOTCH1", "BCOR", "CSMD3", "SMARCA4", "GRIN2A", "IDH2", "FAT4", "PDGFRA",
)  # fmt: skip
STATES: Mapping[str, tuple[str, str]] = {
    "grade": ("2 or 3", "4"),
    "sex": ("female", "male"),
    **dict.fromkeys(GENES, ("wild type", "mutated")),
}
"""Variable -> its states, the second of which counts as true."""
NAMES = tuple(STATES)
IDH = tuple(NAMES.index(name) for name in ("IDH1", "IDH2"))
"""Either of them mutated is an IDH mutation."""
WORDS = {
    "wildtype": "wild type", "wild-type": "wild type", "wt": "wild type", "0": "wild type",
    "mutant": "mutated", "mut": "mutated", "1": "mutated",
}  # fmt: skip
"""Other words for the states of genes."""
UNMEASURED = ("MGMT", "TERT", "1p/19q", "BRAF", "CDKN2A", "H3F3A", "KRAS")
CLASSES, RESAMPLES = 6, 100
"""Latent classes, by cross-validation, and bootstrap samples."""
ADULT = 18.0
"""Years: no younger patient is drawn."""
RARE = 5.0
"""Patients like the one described, of those learned from, below which a draw is extrapolation."""


@dataclass(frozen=True)
class Chance:
    """A probability.

    Args:
        value: by the fit to all patients.
        low, high: 95 % interval over bootstrap samples of the patients.
        similar: patients like the one described that are expected among those learned from.
    """

    value: float
    low: float
    high: float
    similar: float

    def __str__(self) -> str:
        return f"{self.value:.0%} ({self.low:.0%} to {self.high:.0%})"


@dataclass(frozen=True, eq=False)
class GliomaPatients:
    """The joint distribution.

    Args:
        fits: to all patients, and to bootstrap samples of them.
        patients: how many there were.
        ages: of the youngest and the oldest, years.
    """

    fits: tuple[LatentClasses, ...]
    patients: int
    ages: tuple[float, float]

    @classmethod
    def learned(
        cls,
        values: Reals,
        ages: Reals,
        seed: int = 0,
        classes: int = CLASSES,
        resamples: int = RESAMPLES,
    ) -> GliomaPatients:
        """Return what a table says.

        Args:
            values: `(patient, variable)` 1, 0 or NaN where not known, in the order of `NAMES`.
            ages: `(patient,)` years or NaN.
            seed: of the starts and of the bootstrap.
            classes: latent classes.
            resamples: bootstrap samples.

        Raises:
            InputError: there are too few patients.
        """
        whole = fitted(values, ages, classes, seed)
        rng, fits = np.random.default_rng((seed, 1)), [whole]
        for _ in range(resamples):
            drawn = rng.integers(0, len(values), len(values))
            fits.append(refitted(whole, values[drawn], ages[drawn]))
        old = ages[~np.isnan(ages)]
        return cls(tuple(fits), len(values), (float(old.min()), float(old.max())))

    def chance(self, name: str, state: str, given: Known) -> Chance:
        """Return how probable a state of a variable is.

        Args:
            name: `IDH`, `sex`, `grade` or a gene of the table.
            state: whose probability is wanted.
            given: what is known: name -> state, `age` in years.

        Raises:
            SettingError: a name or a state is not known, or was not measured.
        """
        known = self.checked(given)
        if name in known:
            raise SettingError(f"{name} = {known[name]} is given; ask for what is not known.")
        both = self.checked({**known, name: state})
        before, after = (_likelihood(self.fits, one).sum(1) for one in (known, both))
        shares = after / before
        low, high = np.quantile(shares[1:], [0.025, 0.975])
        return Chance(float(shares[0]), float(low), float(high), self.similar(known))

    def similar(self, given: Known) -> float:
        """Return how many patients with these genes, grade and sex are expected among those learned
        from.
        """
        binary = {name: state for name, state in given.items() if name != "age"}
        return float(_likelihood(self.fits[:1], self.checked(binary)).sum()) * self.patients

    def drawn(self, given: Known, rng: np.random.Generator) -> dict[str, str | float]:
        """Return every variable of a patient: what is known, and the rest drawn from one of the
        bootstrap fits, so that what the table leaves uncertain varies too.

        Args:
            given: as `chance`.
            rng: everything random comes from it.
        """
        known = self.checked(given)
        fit = self.fits[int(rng.integers(1, len(self.fits)))]
        likely = _likelihood([fit], known)[0]
        kind = int(rng.choice(len(likely), p=likely / likely.sum()))
        chance, true = rng.random(len(NAMES)), fit.rates[kind]
        values = np.where(np.isnan(binary := _binary(known)), chance < true, binary == 1)
        if known.get("IDH") == "mutated" and not values[list(IDH)].any():
            values[_mutated(binary, true, float(chance[IDH[0]]))] = True
        age = round(float(rng.normal(fit.age[kind], fit.spread[kind])), 1)
        age = float(np.clip(age, max(self.ages[0], ADULT), self.ages[1]))
        found: dict[str, str | float] = {"age": known.get("age", age)}
        found |= {name: STATES[name][int(values[n])] for n, name in enumerate(NAMES)}
        return found | {"IDH": STATES["IDH1"][int(values[list(IDH)].any())]}

    def checked(self, given: Known) -> dict[str, str | float]:
        """Return what is given in the words of the table.

        Raises:
            SettingError: a name or state is unknown or was not measured, the age is none of these
                patients', or two statements contradict one another.
        """
        found = {name: self._state(name, said) for name, said in given.items()}
        pair = [found.get(name) for name in ("IDH1", "IDH2")]
        wrong = {"wild type": "mutated" in pair, "mutated": pair == ["wild type"] * 2}
        if wrong.get(str(found.get("IDH"))):
            others = {key: found[key] for key in ("IDH1", "IDH2") if key in found}
            said = ", ".join(f"{key} = {state}" for key, state in others.items())
            raise SettingError(
                f"IDH = {found['IDH']} contradicts {said}: IDH is mutated where either is. Say one "
                "of them."
            )
        return found

    def _state(self, name: str, said: str | float) -> str | float:
        if name == "age":
            if not self.ages[0] <= float(said) <= self.ages[1]:
                raise SettingError(
                    f"age = {said}; the patients learned from were {self.ages[0]:.0f} to "
                    f"{self.ages[1]:.0f} years old. Give an age of theirs."
                )
            return float(said)
        if name in UNMEASURED:
            raise SettingError(
                f"{name} was not measured in the {self.patients} patients learned from, so that "
                f"nothing can be said of it. Known: IDH, {', '.join(GENES)}."
            )
        if name not in STATES and name != "IDH":
            raise SettingError(f"No gene is called {name!r}. {nearest(name, ('IDH', *GENES))}")
        word = str(said).strip().lower()
        if name == "grade":
            word = "2 or 3" if word in ("2", "3") else word
        elif name != "sex":
            word = WORDS.get(word, word)
        known = STATES.get(name, STATES["IDH1"])
        if word not in known:
            raise SettingError(f"{name} = {said}. {nearest(word, known)}")
        return word


def _likelihood(fits: Sequence[LatentClasses], known: Known) -> Reals:
    """Return the likelihood of what is known in each class, shares included, `(fit, class)`."""
    values, age = _binary(known)[None], np.array([float(known.get("age", np.nan))])
    likely = np.array([np.exp(fit.log_likelihood(values, age)[0]) for fit in fits])
    if "IDH" not in known:
        return likely
    rates = np.array([fit.rates[:, list(IDH)] for fit in fits])
    said = values[0, list(IDH)]
    neither = np.prod(np.where(np.isnan(said), 1 - rates, said == 0), -1)
    return np.asarray(likely * (1 - neither if known["IDH"] == "mutated" else neither))


def _binary(known: Known) -> Reals:
    """Return what is known as `(variable,)` 1, 0 or NaN. IDH wild type says so of both genes."""
    values = np.full(len(NAMES), np.nan)
    if known.get("IDH") == "wild type":
        values[list(IDH)] = 0
    for name, state in known.items():
        if name in STATES:
            values[NAMES.index(name)] = STATES[name].index(str(state))
    return values


def _mutated(said: Reals, rates: Reals, chance: float) -> int:
    """Return which of the IDH genes is mutated where one of them is."""
    first, second = IDH
    if not np.isnan(said[first]):
        return second
    if not np.isnan(said[second]):
        return first
    return first if chance * (rates[first] + rates[second]) < rates[first] else second


def stored(patients: GliomaPatients, about: Mapping[str, Any]) -> str:
    """Return the text of a file, with what is said about the patients."""
    fits = [
        {
            "shares": np.round(fit.shares, 4).tolist(),
            "rates": np.round(fit.rates, 4).tolist(),
            "age": np.round(fit.age, 2).tolist(),
            "spread": np.round(fit.spread, 2).tolist(),
        }
        for fit in patients.fits
    ]
    known = {**about, "patients": patients.patients, "ages": list(patients.ages)}
    rows = ",\n".join(json.dumps(fit, separators=(",", ":")) for fit in fits)
    return json.dumps(known, indent=1)[:-2] + f',\n "fits": [\n{rows}\n]\n}}\n'


@cache
def glioma_patients() -> GliomaPatients:
    """Return what was learned from the 839 patients that the file names."""
    known = json.loads(FILE.read_text(encoding="utf-8"))
    fits = []
    for fit in known["fits"]:
        shares, *rest = (np.array(fit[name]) for name in ("shares", "rates", "age", "spread"))
        fits.append(LatentClasses(shares / shares.sum(), *rest))
    low, high = known["ages"]
    return GliomaPatients(tuple(fits), known["patients"], (low, high))
