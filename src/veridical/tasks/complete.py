"""See more when contrasts are missing: any subset of a patient's MR contrasts to the others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from veridical.errors import InputError, SettingError, nearest
from veridical.task import Progress, Task
from veridical.types import Array, Image, Result, Study

LESIONS = "lesions"
"""Name of a channel that is a mask of lesions, used for checks only."""


@dataclass(frozen=True)
class Complete(Task):
    """Make the contrasts that are missing from those that were measured. The channels of the image say which they are."""

    takes: ClassVar[Literal["image", "visit", "raw"]] = "visit"

    to: str = ""
    """Contrasts to make, separated by commas: T1w, T2w, FLAIR, PD, T1c. Empty: FLAIR, else the first that is missing."""
    model: str = "brain-prior"
    """Which model: brain-prior, or a baseline with weights of your own: regressor, translation-gan, bridge."""
    draws: int = 8
    """Posterior draws. Their mean is the estimate; their spread makes interval and evidence."""
    steps: int = 4
    """Sampler steps. One gives the mean only; more give texture and spread."""
    estimate: Literal["mean", "draw"] = "mean"
    """mean: the mean of the draws, closest to the truth; draw: one draw, which looks like an image."""
    weights: str = ""
    """Path of other weights (.safetensors with a card beside it); empty for the shipped ones."""
    device: str = "auto"
    """auto, cpu or cuda."""

    def __post_init__(self) -> None:
        if self.draws < 1 or self.estimate not in ("mean", "draw"):
            raise SettingError(f"draws = {self.draws}, estimate = {self.estimate!r}; expected at least 1, and mean or draw.")

    def apply(self, study: Study, seed: int, progress: Progress) -> Result:
        return made(self, study, seed, progress)

    def wanted(self, given: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
        """Return the channels to make."""
        usual = ("FLAIR", *known)
        asked = tuple(name.strip() for name in self.to.split(",") if name.strip())
        found = asked or tuple(name for name in usual if name in known and name not in given and name != "other")[:1]
        for name in found:
            if name not in known:
                raise SettingError(f"to = {self.to!r}: {self.model} does not make {name!r}. {nearest(name, known)}")
            if name in given:
                raise InputError(f"{name} was measured already. Ask for another contrast with --to, or leave {name} out.")
        if not found:
            raise InputError(f"The image has every channel that {self.model} knows; there is nothing to make.")
        return found

    def of_visit(self, names: tuple[str, ...]) -> tuple[Task, tuple[str, ...], tuple[str, ...]]:
        from veridical.tasks.imagewise import image_model

        known = image_model(self.model, self.weights, steps=self.steps, device=self.device).channels
        asked = self.wanted((), known) if self.to else tuple(name for name in ("FLAIR", *known) if name in known)
        missing = tuple(name for name in asked if name not in names and name != "other")
        making = missing if self.to else missing[:1]
        given = tuple(name for name in names if name in known and name != "other" and (name not in asked or not self.to))
        return replace(self, to=",".join(making)), given if making else (), making

    def model_and_weights(self) -> tuple[str, str]:
        from veridical.tasks.imagewise import image_model

        return self.model, image_model(self.model, self.weights, steps=self.steps, device=self.device).weights_hash


def made(task: Complete, study: Study, seed: int, progress: Progress) -> Result:
    """Make the channels that a task wants from those that an image has."""
    from veridical.models import weights
    from veridical.tasks import imagewise, result
    from veridical.tasks.view import view

    model = imagewise.image_model(task.model, task.weights, steps=task.steps, device=task.device)
    image, lesions = without_lesions(study.image())
    imagewise.check_channels(image.channels, model)
    field = image.header.get("field")
    plan = imagewise.Plan(
        task.name, measured=image.channels, asked=task.wanted(image.channels, model.channels),
        field=float(field) if isinstance(field, int | float) else None,
    )  # fmt: skip
    card = weights.card(getattr(model, "weights", ""))
    seen = view(image)
    drawn = imagewise.solve(model, seen, plan, task.draws, seed, progress, result.widenings(card, plan))
    return result.assemble(drawn, seen, plan, image, model, card, task.estimate, lesions)


def without_lesions(subject: Image) -> tuple[Image, Array | None]:
    """Return an image without its channel `lesions`, and that channel as a mask or None."""
    if LESIONS not in subject.channels:
        return subject, None
    kept = [k for k, name in enumerate(subject.channels) if name != LESIONS]
    if not kept:
        raise InputError("The image holds lesions only. Add the contrasts that were measured.")
    rest = Image(subject.data[kept], subject.geometry, subject.units, tuple(subject.channels[k] for k in kept), subject.header)
    return rest, np.asarray(subject[LESIONS] > 0)
