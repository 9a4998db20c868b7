"""Segment heads: structures, tissues or the brain, in any MR contrast or CT, with volumes and
confidence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

import numpy as np

from veridical.errors import InputError, SettingError
from veridical.task import Progress, Task
from veridical.tasks.complete import without_lesions
from veridical.types import Array, Finding, Image, Result, Study, Verdict

if TYPE_CHECKING:
    from veridical.models.base import LabelModel
    from veridical.tasks.labelling import Labelling

What = Literal["structures", "tissues", "brain"]
TISSUES: dict[str, tuple[str, ...]] = {
    "background": ("background",),
    "white matter": ("white matter", "cerebellar white matter", "brain stem"),
    "grey matter": (
        "cortex",
        "cerebellar cortex",
        "thalamus",
        "caudate",
        "putamen",
        "pallidum",
        "hippocampus and amygdala",
    ),
    "fluid": ("lateral ventricle", "third and fourth ventricle", "fluid around the brain"),
    "lesion": ("lesion",),
    "skull": ("skull",),
    "rest of the head": ("rest of the head",),
}
"""Tissue -> structures that are made of it."""
OUTSIDE = ("background", "skull", "rest of the head")
FLUID_AROUND = "fluid around the brain"
LEAST, ADULTS = 200.0, (800.0, 1800.0)
"""ml of brain without the fluid around it: below the first there is no head; adults have about the
second.
"""
CUT = 600.0
"""mm2 of brain on the border of the field of view from which it counts as cut: a neck has less."""
SURE = 0.8
"""Mean probability of the chosen label in the brain from which it passes."""
ABSENT = "A label has a probability, which is its confidence; it has no posterior samples."


@dataclass(frozen=True)
class Segment(Task):
    """Label every voxel of a head, from any MR contrast or CT, whole or without its skull.

    The network learned from label maps of real heads that were painted in random contrasts, so that
    it prefers no scanner and no sequence. It works at 2 mm; its probabilities are brought back to
    the grid of the image. Volumes are findings of the result. Not for diagnosis.
    """

    takes: ClassVar[Literal["image", "visit", "raw", "study"]] = "visit"

    what: What = "structures"
    """structures: sixteen, in brain, skull and rest of the head; tissues: white and grey matter,
    fluid, lesion, skull, rest; brain: everything inside of the skull, its fluid included.
    """
    channel: str = ""
    """Which image to segment; empty: all of the visit, whose probabilities are averaged."""
    model: str = "head-segmenter"
    """Name of a model that labels."""
    weights: str = ""
    """Name of shipped weights, or path of others (.safetensors with a card beside it); empty: those
    of the model.
    """
    device: str = "auto"
    """auto (a CUDA GPU where there is one, else the CPU), cpu, cuda, cuda:1 or mps."""

    def __post_init__(self) -> None:
        if self.what not in get_args(What):
            raise SettingError(
                f"what = {self.what!r}; expected one of {', '.join(get_args(What))}."
            )

    def apply(self, study: Study, seed: int, progress: Progress) -> Result:
        from veridical.tasks.labelling import labelled, ml_of

        image, _ = without_lesions(study.image())
        channels, model, grid = self._channels(image), self.build(), image.geometry
        progress("segmenting", 0, 1)
        found = labelled(model, image, channels)
        asked = found if self.what == "structures" else found.merged(self._sets(found.names))
        labels, confidence = asked.placed(grid)
        if self.what == "brain":
            labels, confidence = _one_piece(labels, confidence)
        progress("segmenting", 1, 1)
        volumes, names = ml_of(labels, asked.names, grid), dict(enumerate(asked.names))
        header = {"labels": names, "volumes_ml": volumes}
        absent = dict.fromkeys(("draws", "interval", "evidence"), ABSENT)
        sure = Image(confidence[None], grid, "1", ("confidence",))
        return Result(
            Image(labels[None], grid, "label", (self.what,), header),
            "point estimate",
            findings=tuple(findings(found, asked, volumes)),
            absent=absent,
            facts={"card": model.card, "measured": channels, "labelling": asked, **header},
            also={"confidence": Result(sure, "point estimate", absent=absent)},
        )

    def _channels(self, image: Image) -> tuple[str, ...]:
        """Return the channels that are looked at."""
        asked = (self.channel,) if self.channel else image.channels
        for name in asked:
            units = image.units_of(name)
            if units in ("label", "SUV") or name.split(".")[0] == "PET":
                raise InputError(
                    f"{name} is in {units}; expected MR or CT in HU. Choose another image: "
                    "--channel T1w."
                )
            if name.split(".")[0] == "CT" and units != "HU":
                raise InputError(
                    f"CT is in {units}; expected HU. Convert it, or say so if it is: --units HU."
                )
        return asked

    def _sets(self, names: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
        """Return the structures of each label that is asked for."""
        if self.what == "tissues":
            return TISSUES
        outside = tuple(name for name in names if name in OUTSIDE)
        return {"background": outside, "brain": tuple(n for n in names if n not in OUTSIDE)}

    def of_visit(self, names: tuple[str, ...]) -> tuple[Task, tuple[str, ...], tuple[str, ...]]:
        fitting = tuple(name for name in names if name.split(".")[0] != "PET")
        if self.channel:
            fitting = tuple(name for name in fitting if name == self.channel)
        return self, fitting, (self.what,)

    def build(self) -> LabelModel:
        """Return the model with these settings."""
        from veridical.models.base import LabelModel, chosen

        found: LabelModel = chosen(self.model, LabelModel, weights=self.weights, device=self.device)
        return found

    def model_and_weights(self) -> tuple[str, str]:
        return self.model, self.build().weights_hash


def findings(found: Labelling, asked: Labelling, volumes: Mapping[str, float]) -> Iterator[Finding]:
    """Say whether a head is seen whole, how sure the labels are, and how large they are.

    Args:
        found: all structures.
        asked: the labels of the result.
        volumes: of these, ml.
    """
    inside = [name for name in found.names if name not in OUTSIDE]
    brain = found.volume([name for name in inside if name != FLUID_AROUND])
    cut = _cut(found, inside)
    area, side = sum(cut.values()), max(cut, key=lambda name: cut[name])
    evidence = {"brain_ml": round(brain, 1), "cut_mm2": {k: round(v) for k, v in cut.items()}}
    if brain < LEAST:
        reason = f"{brain:.0f} ml of brain were found; a head has more than {LEAST:.0f} ml."
        yield Finding("head", "fail", reason, evidence)
    elif area > CUT:
        reason = (
            f"The field of view cuts the brain: {area / 100:.0f} cm2 of it lie on its border, most "
            f"of them at the {side}. Volumes are too small."
        )
        yield Finding("head", "warn", reason, evidence)
    else:
        yield Finding("head", "pass", f"A whole brain of {brain:.0f} ml is seen.", evidence)
    yield _sureness(asked, brain >= LEAST)
    yield _amounts(volumes, asked.names, brain, area > CUT)


def _cut(found: Labelling, inside: list[str]) -> dict[str, float]:
    """Return the mm2 of brain on the border of the field of view, by the side of the patient."""
    where, size = found.where(inside), found.grid.spacing[0] ** 2
    sides = (("left", "right"), ("back", "front"), ("bottom", "top"))
    areas = {}
    for axis, names in enumerate(sides):
        for name, step in zip(names, (1, -1), strict=True):
            seen, brain = (np.moveaxis(a, axis, 0)[::step] for a in (found.seen, where))
            before = np.concatenate([np.zeros_like(seen[:1]), seen[:-1]])
            areas[name] = float((brain & seen & ~before).sum()) * size
    return areas


def _sureness(asked: Labelling, head: bool) -> Finding:
    """Judge the probabilities of the chosen labels inside of the brain."""
    name = "segmentation confidence"
    if not head:
        return Finding(name, "not_run", "There is no head whose labels could be judged.")
    most, chosen = asked.probabilities.max(0), asked.best
    each = {
        label: round(float(most[chosen == place].mean()), 3)
        for place, label in enumerate(asked.names)
        if label not in OUTSIDE and (chosen == place).any()
    }
    mean = float(most[asked.where(list(each))].mean())
    least = min(each, key=lambda label: each[label])
    reason = (
        f"The chosen label has a mean probability of {mean:.2f} in the brain ({SURE:g} passes)"
        + (f", least in {least}, {each[least]:.2f}." if len(each) > 1 else ".")
    )
    verdict: Verdict = "pass" if mean >= SURE else "warn"
    return Finding(name, verdict, reason, {"mean": round(mean, 3), "by_label": each})


def _amounts(
    volumes: Mapping[str, float], names: tuple[str, ...], brain: float, cut: bool
) -> Finding:
    """List the volumes, and judge whether the brain is as large as an adult's."""
    usual = ADULTS[0] <= brain <= ADULTS[1]
    verdict: Verdict = "not_run" if cut or brain < LEAST else "pass" if usual else "warn"
    listed = "; ".join(f"{name} {volume:.1f} ml" for name, volume in volumes.items() if volume)
    reason = f"{listed[:1].upper()}{listed[1:]}." if listed else "Nothing but background was found."
    if verdict == "warn":
        reason += (
            f" A brain of {brain:.0f} ml is not an adult's ({ADULTS[0]:.0f} to {ADULTS[1]:.0f} ml)."
        )
    evidence = {"volumes_ml": dict(volumes), "labels": dict(enumerate(names))}
    return Finding("volumes", verdict, reason, evidence)


def _one_piece(labels: Array, confidence: Array) -> tuple[Array, Array]:
    """Return a mask without what does not hang together with its largest piece, and without
    holes; the confidence of what was changed is that of the other label.
    """
    from scipy import ndimage

    pieces, count = ndimage.label(labels)
    if count == 0:
        return labels, confidence
    largest = 1 + int(np.bincount(pieces.ravel())[1:].argmax())
    mask = ndimage.binary_fill_holes(pieces == largest)
    changed = mask != (labels > 0)
    return mask.astype(np.uint8), np.where(changed, 1 - confidence, confidence)
