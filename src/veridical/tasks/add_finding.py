"""Add a finding that a text describes to a scan of a head, in the brightness of the scan's own
tissue; what was changed is imagined, and said so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from veridical.errors import InputError, SettingError
from veridical.task import Progress, Task
from veridical.tasks.from_text import EXAMPLE, asked, text_finding, words
from veridical.types import Array, Evidence, Geometry, Image, Result, Study

if TYPE_CHECKING:
    from veridical.models.base import LabelModel
    from veridical.tasks.labelling import Labelling

IMAGINED = "whether a voxel is as it was measured (1), or was painted as the text asks (0)"
ABSENT = {
    "draws": "One place is one draw; other seeds give others.",
    "interval": "The scan is as it was, the finding imagined: no interval holds what is not there.",
}


@dataclass(frozen=True)
class AddFinding(Task):
    """Put what a text describes into a scan of a head: a tumour, oedema, white matter lesions or an
    old infarct, on the side and in the lobe that it names, as large as it says.

    A segmenter finds the brain; brightness follows from the signal equations, fitted to the scan's
    own white matter, grey matter and fluid. Evidence is 0 where the scan was changed and 1
    elsewhere; the result is marked as synthetic. For tests of readers and detectors, no patient's
    image.
    """

    text: str = ""
    """The findings in the words of a report: left frontal 2 cm enhancing tumour with oedema. It
    goes into the provenance, so name no patient.
    """
    model: str = "head-segmenter"
    """Name of a model that labels."""
    weights: str = ""
    """Name of shipped weights, or path of others (.safetensors with a card beside it); empty: those
    of the model.
    """
    device: str = "auto"
    """auto (a CUDA GPU where there is one, else the CPU), cpu, cuda, cuda:1 or mps."""

    def __post_init__(self) -> None:
        if self.text and any(fact.kind == "atrophy" for fact in asked(self.text).facts):
            raise SettingError(
                f"text = {self.text!r} is about atrophy, which would move the whole brain; a "
                "finding is added, anatomy stays. Use veridical synthesize --text."
            )

    def apply(self, study: Study, seed: int, progress: Progress) -> Result:
        from veridical.phantoms import described_lesions, head_painting
        from veridical.tasks.labelling import labelled
        from veridical.tasks.painting import painted

        if not self.text:
            raise SettingError(f"text is empty; say what to add, for instance {EXAMPLE!r}.")
        image = study.image()
        if not np.isfinite(image.data).all():
            raise InputError("The image holds NaN or infinite values; write a number there.")
        report, model, rng = asked(self.text), self.build(), np.random.default_rng(seed)
        progress("adding: structures", 0, 3)
        found = labelled(model, image, image.channels[:1])
        plain = head_painting.anatomy(numbered(found, image.geometry), image.geometry, rng)
        progress("adding: places", 1, 3)
        plan = described_lesions.planned(plain, report.facts, rng)
        diseased = described_lesions.drawn(plain, plan)
        progress("adding: brightness", 2, 3)
        data, touched = painted(image, plain.labels, diseased.labels, rng)
        progress("adding: done", 3, 3)
        return self._result(image, data, touched, diseased.labels, plain.labels, model)

    def _result(
        self,
        image: Image,
        data: Array,
        touched: Array,
        after: Array,
        before: Array,
        model: LabelModel,
    ) -> Result:
        report = asked(self.text)
        about = {"added": "; ".join(words(fact) for fact in report.facts if fact.present)}
        share = np.where(touched, 0.0, 1.0).astype(np.float32)
        evidence = np.broadcast_to(share, image.data.shape).copy()
        labels = np.where(after != before, after, 0).astype(np.uint8)[None]
        header: dict[str, Any] = {**image.header, "synthetic": about}
        drawn = Result(
            Image(labels, image.geometry, "label", ("added",), {"synthetic": about}),
            "one draw",
            absent={**ABSENT, "evidence": "Labels of what was added; nothing of it was measured."},
        )
        return Result(
            replace(image, data=data.astype(np.float32), header=header),
            "one draw",
            evidence=Evidence(evidence, about=IMAGINED),
            findings=(text_finding(report),),
            absent=ABSENT,
            facts={
                "card": model.card,
                "measured": image.channels,
                "synthetic": about,
            },
            also={"added": drawn},
        )

    def build(self) -> LabelModel:
        """Return the model with these settings."""
        from veridical.models.base import LabelModel, chosen

        found: LabelModel = chosen(self.model, LabelModel, weights=self.weights, device=self.device)
        return found

    def model_and_weights(self) -> tuple[str, str]:
        return self.model, self.build().weights_hash


def numbered(found: Labelling, geometry: Geometry) -> Array:
    """Return the structures of a head on a grid, positions in `head_labels.LABELS`."""
    from veridical.models.head_segmenter import MEMBERS
    from veridical.phantoms.label_maps import NAMES

    table = np.array([NAMES.index(MEMBERS[name][0]) for name in found.names], np.uint8)
    groups, _ = found.placed(geometry)
    return np.asarray(table[groups])
