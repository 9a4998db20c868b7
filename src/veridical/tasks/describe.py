"""Describe a head in the sentences of a report: findings that were measured, each with its numbers,
their intervals and the evidence under it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from veridical.errors import InputError, SettingError
from veridical.task import Progress, Task
from veridical.types import Array, Evidence, Image, Result, Study

if TYPE_CHECKING:
    from veridical.models.base import LabelModel
    from veridical.tasks.sentences import Sentence

EVIDENCE, STRUCTURES = "evidence", "findings"
ABSENT = (
    "A sentence has numbers with intervals of their own, in the findings; labels have no samples."
)
GIVEN = "No map of evidence came with the images; they are taken as measured."


@dataclass(frozen=True)
class Describe(Task):
    """Draft the sentences of a report from what is measured in images of a head: enhancing and
    other masses, oedema, white matter lesions, cavities, wide ventricles.

    Structures come from a segmenter, lesions from brightness against the head's own tissue. Of a
    result of Veridical, its folder, the map of evidence is read too: a sentence about a region that
    was imagined is refused. Research only: a draft for a reader, no diagnosis.
    """

    takes: ClassVar[Literal["image", "visit", "raw", "study"]] = "visit"
    results: ClassVar[bool] = True

    age: float = 0.0
    """Years, by which ventricles are judged; 0: that of the study's table, where it has one."""
    least_evidence: float = 0.5
    """Mean evidence in a region below which a sentence about it is refused."""
    model: str = "head-segmenter"
    """Name of a model that labels."""
    weights: str = ""
    """Name of shipped weights, or path of others (.safetensors with a card beside it); empty: those
    of the model.
    """
    device: str = "auto"
    """auto (a CUDA GPU where there is one, else the CPU), cpu, cuda, cuda:1 or mps."""

    def __post_init__(self) -> None:
        if not 0 <= self.least_evidence <= 1 or not 0 <= self.age <= 120:
            raise SettingError(
                f"least_evidence = {self.least_evidence:g} and age = {self.age:g}; expected a "
                "share from 0 to 1, and years from 0 to 120."
            )

    def apply(self, study: Study, seed: int, progress: Progress) -> Result:
        from veridical.tasks import sentences
        from veridical.tasks.labelling import labelled
        from veridical.tasks.lesion_masks import masks_of_image

        image, shares = _parts(study)
        channels = tuple(n for n in image.channels if image.units_of(n) == "a.u.")
        if not channels:
            raise InputError(
                f"The study holds {', '.join(image.channels)}; expected MR of a head (T1w, T1c, "
                "FLAIR). Give one, or several with --beside."
            )
        progress("describing: structures", 0, 3)
        model = self.build()
        found = labelled(model, image, _outlining(channels))
        progress("describing: lesions", 1, 3)
        masks = {shift: masks_of_image(image, found, shift) for shift in (0.0, 1.0, -1.0)}
        progress("describing: sentences", 2, 3)
        age = self.age or _years(study.covariates)
        said = sentences.sentences(masks, found, image, shares, age)
        kept, refused = sentences.judged(said, self.least_evidence)
        progress("describing: done", 3, 3)
        return self._result(image, shares, kept, refused, model)

    def _result(
        self,
        image: Image,
        shares: Mapping[str, Array] | None,
        kept: Sequence[Sentence],
        refused: Sequence[Sentence],
        model: LabelModel,
    ) -> Result:
        from veridical.tasks import sentences

        labels, names = np.zeros((1, *image.geometry.shape), np.uint8), {0: "background"}
        for one in (one for one in kept if one.fact.present):
            number = len(names)
            names[number] = one.label
            labels[0][one.region & (labels[0] == 0)] = number
        absent = dict.fromkeys(("draws", "interval"), ABSENT)
        evidence = None
        if shares is None:
            absent["evidence"] = GIVEN
        else:
            evidence = Evidence(np.mean([*shares.values()], 0)[None].astype(np.float32))
        return Result(
            Image(labels, image.geometry, "label", (STRUCTURES,), {"labels": names}),
            "point estimate",
            evidence=evidence,
            findings=tuple(sentences.findings(kept, refused, image.channels)),
            absent=absent,
            facts={
                "card": model.card,
                "measured": image.channels,
                "facts": tuple(one.fact for one in kept),
                "refused": tuple(one.fact for one in refused),
                "report": " ".join(one.text for one in kept),
                "labels": names,
            },
        )

    def of_visit(self, names: tuple[str, ...]) -> tuple[Task, tuple[str, ...], tuple[str, ...]]:
        fitting = tuple(name for name in names if name.split(".")[0] not in ("PET", "CT"))
        return self, fitting, (STRUCTURES,)

    def build(self) -> LabelModel:
        """Return the model with these settings."""
        from veridical.models.base import LabelModel, chosen

        found: LabelModel = chosen(self.model, LabelModel, weights=self.weights, device=self.device)
        return found

    def model_and_weights(self) -> tuple[str, str]:
        return self.model, self.build().weights_hash


def _outlining(channels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the channel that outlines the brain: T1w where there is one, since each takes its
    time.
    """
    return ("T1w",) if "T1w" in channels else channels[:1]


def _parts(study: Study) -> tuple[Image, dict[str, Array] | None]:
    """Return the images, and the evidence of each by its name; None where none came with them."""
    visit = {name: one for name, one in study.visit().items() if isinstance(one, Image)}
    shown = [one for name, one in visit.items() if name != EVIDENCE and one.units != "label"]
    if not shown:
        raise InputError("The study holds no image to describe; expected MR of a head.")
    image = Image.stack(shown)
    if not np.isfinite(image.data).all():
        raise InputError("The image holds NaN or infinite values; write a number there.")
    if EVIDENCE not in visit:
        return image, None
    shares = visit[EVIDENCE]
    if not np.isfinite(shares.data).all() or not shares.geometry.matches(image.geometry):
        raise InputError(
            "The map of evidence has another grid than the images, or holds NaN. Give the result "
            "as it was written."
        )
    return image, {name: np.asarray(shares[name]) for name in shares.channels}


def _years(covariates: Mapping[str, object]) -> float:
    try:
        return float(str(covariates.get("age", 0) or 0))
    except ValueError:
        return 0.0
