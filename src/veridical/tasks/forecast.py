"""Forecast: images of a patient at a later time, with volumes, rates, lesions and tumour, from one
visit or many.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from veridical.errors import InputError, SettingError, nearest
from veridical.task import Progress, Task
from veridical.types import Evidence, Image, Interval, Result, Study

if TYPE_CHECKING:
    from veridical.models.base import LabelModel
    from veridical.tasks.forecast_future import Future

FEWEST = 4
"""Samples from which spreads are told, even where fewer are asked for."""
IMAGINED = (
    "the image at the later time: the anatomy of the last visit was measured, on another day, and "
    "is carried there; the change since then is imagined"
)
NOT_CALIBRATED = (
    "Intervals of images are calibrated for the method personal and some kinds of patients, which "
    "docs/measurements/forecast.md names; not for this forecast."
)


@dataclass(frozen=True)
class Forecast(Task):
    """Forecast the images of a patient at a later time, from any past visits.

    Brains shrink by a smooth deformation at the patient's own rates: what the scans say, shrunk
    towards people of that age, sex and diagnosis, so that one visit is enough. Tumours follow a
    model of growth and treatment that is fitted to the scans; new lesions are counted. What is
    stable stays as it is. Research only.
    """

    takes: ClassVar[Literal["image", "visit", "raw", "study"]] = "study"

    at: str = "1y"
    """When, after the last visit: 2.5y, 18m, 6w, 90d, or a date with `first`; several separated by
    commas.
    """
    method: Literal["personal", "population", "linear", "last"] = "personal"
    """personal: own rates shrunk towards the population; population: its mean rates; linear: own
    rates alone, two visits needed; last: nothing changes.
    """
    draws: int = 8
    """Samples of the images; 0 writes none."""
    days: str = ""
    """Days of the visits in order, where the data set numbers them: 0,380,700."""
    first: str = ""
    """Date of the first visit, for `at` as a date: 2024-11-30."""
    age: float = 0.0
    """Years at the first visit; 0: what the tables say."""
    sex: str = ""
    """female or male; empty: what the tables say."""
    diagnosis: str = ""
    """healthy, mild cognitive impairment, Alzheimer, multiple sclerosis, glioma; empty: what the
    tables say; where they do not, intervals are wider.
    """
    genes: str = ""
    """Genes of a tumour beside those of the study: MGMT=methylated,IDH=mutant."""
    treatment: str = ""
    """Done and planned, by days since the first visit: surgery@5x0.9;30x2@21;temozolomide@21x6, or
    standard@21; of multiple sclerosis natalizumab@400.
    """
    threshold: str = "hippocampus and amygdala=-10%"
    """Region and change until which the time is told; brain and the regions of the table."""
    numbering: Literal["veridical", "freesurfer"] = "veridical"
    """Numbers of label maps called structures; without one the last visit is segmented."""
    weights: str = ""
    """Name of weights of the segmenter, or path of others; empty: those shipped."""
    device: str = "auto"
    """auto (a CUDA GPU where there is one, else the CPU), cpu, cuda, cuda:1 or mps."""

    def __post_init__(self) -> None:
        methods = ("personal", "population", "linear", "last")
        if self.method not in methods:
            raise SettingError(f"method = {self.method!r}. {nearest(self.method, methods)}")
        if self.draws < 0:
            raise SettingError(f"draws = {self.draws}; expected 0 or more.")

    def apply(self, study: Study, seed: int, progress: Progress) -> Result:
        from veridical.models.atrophy_rates import NAMES
        from veridical.tasks import forecast_conditions as words
        from veridical.tasks.forecast_calibration import widening
        from veridical.tasks.forecast_future import Future
        from veridical.tasks.forecast_visits import visits_of

        if not study.days:
            raise InputError("The study has no visit; expected one or more.")
        study = words.dated(study, self.days)
        asked = words.horizons(self.at, self.first, study.days[-1] - study.days[0])
        who = words.conditions(study, asdict(self))
        progress("bringing visits together", 0, 1 + len(asked))
        visits = visits_of(study, self.numbering, self.build())
        wide = widening() if self.method == "personal" else np.ones(len(NAMES))
        future = Future(visits, study.days[0], study.days[-1], who, self.method, wide, seed)
        made = {}
        for number, (name, days) in enumerate(asked.items(), 1):
            progress(f"forecasting {name}", number, 1 + len(asked))
            made[name] = self._result(future, study, name, days)
        progress("forecasting", 1 + len(asked), 1 + len(asked))
        first = next(iter(made))
        also = {f"in-{name.replace('.', 'p')}": one for name, one in made.items() if name != first}
        return _with(made[first], also)

    def of_visit(self, names: tuple[str, ...]) -> tuple[Task, tuple[str, ...], tuple[str, ...]]:
        fitting = tuple(name for name in names if name.split(".")[0] != "PET")
        return self, fitting, fitting

    def build(self) -> LabelModel:
        """Return the model that segments the last visit where it has no label map."""
        from veridical.models.base import LabelModel, chosen

        found: LabelModel = chosen(
            "head-segmenter", LabelModel, weights=self.weights, device=self.device
        )
        return found

    def model_and_weights(self) -> tuple[str, str]:
        return f"{self.method} velocity field", self.build().weights_hash

    def _result(self, future: Future, study: Study, name: str, days: float) -> Result:
        """Return the forecast of one time."""
        from veridical.audit.evidence import evidence
        from veridical.tasks import forecast_findings
        from veridical.tasks.forecast_calibration import band

        estimate, spread, samples = future.images(days, max(self.draws, FEWEST))
        image = _stacked(future, estimate)
        table = forecast_findings.table(future, days, self.threshold)
        image = Image(
            image.data, image.geometry, image.units, image.channels,
            {**image.header, "forecast": {"days": days, **table}},
        )  # fmt: skip
        held: Interval | None = None
        if self.method == "personal":
            held = band(future, image, np.stack([*spread.values()]))
        absent = {} if held is not None else {"interval": NOT_CALIBRATED}
        if not self.draws:
            absent["draws"] = "No samples were asked for: --draws 8."
        return Result(
            image,
            "posterior mean" if self.method == "personal" else "point estimate",
            draws=samples[: self.draws] if self.draws else None,
            interval=held,
            evidence=Evidence(_evidence(samples, future, evidence), about=IMAGINED),
            findings=tuple(forecast_findings.findings(future, study, days, table)),
            absent=absent,
            facts={"measured": tuple(future.visits.last.images), "forecast": table},
        )


def _evidence(samples: Any, future: Future, evidence: Any) -> Any:
    """Return how much of each voxel is carried from what was measured: 1 less the variance of the
    samples over that of the brightness of the brain, as if nothing but the contrast were known.
    """
    prior = []
    for one in future.carried.values():
        shown = one.data > np.percentile(one.data, 60)
        prior.append(max(float(one.data[shown].var()), 1e-12))
    return evidence(samples, np.array(prior)[:, None, None, None], 3.0, future.target.spacing)


def _stacked(future: Future, estimate: Mapping[str, Any]) -> Image:
    """Return all contrasts as one image, with the units that they had."""
    units: dict[str, str] = {}
    for visit in future.visits.every:
        units |= {name: one.units_of(name) for name, one in visit.images.items()}
    parts = [
        Image(data[None], future.target, units[name], (name,)) for name, data in estimate.items()
    ]
    return Image.stack(parts)


def _with(result: Result, also: Mapping[str, Result]) -> Result:
    from dataclasses import replace

    return replace(result, also=also)
