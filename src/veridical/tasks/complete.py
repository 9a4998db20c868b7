"""Complete a visit: missing MR contrasts from those that were acquired."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from veridical.errors import InputError, SettingError, nearest
from veridical.preprocessing.style import check_style
from veridical.task import Progress, Task
from veridical.types import Array, Image, Result, Study

if TYPE_CHECKING:
    from veridical.models.base import ImageModel

LESIONS = "lesions"
"""Name of a label map of lesions: the checks ask whether they are kept, and a generator may depend
on it.
"""


@dataclass(frozen=True)
class Complete(Task):
    """Make the contrasts that are missing from those that were measured."""

    takes: ClassVar[Literal["image", "visit", "raw", "study"]] = "visit"

    to: str = ""
    """Contrasts to make, separated by commas: T1w, T2w, FLAIR, PD, T1c. Empty: FLAIR, else the
    first that is missing.
    """
    model: str = "generator"
    """generator, or intensity-map: the polynomial that it starts from and has to beat."""
    draws: int = 8
    """Posterior samples. Their mean is the estimate; their spread makes interval and evidence."""
    steps: int = 4
    """Sampler steps. One gives the mean only; more give texture and spread."""
    estimate: Literal["mean", "draw"] = "mean"
    """mean: the mean of the samples, closest to the truth; draw: one sample, which looks like an
    image.
    """
    style: tuple[float, ...] = ()
    """How the image is to look: six quantiles of images of that contrast and scanner, from
    `veridical style IMAGES`. Empty: that of training patients whose other images look alike, a
    different one for each draw.
    """
    weights: str = "brain"
    """Name of shipped weights, or path of others (.safetensors with a card beside it)."""
    device: str = "auto"
    """auto (a CUDA GPU where there is one, else the CPU), cpu, cuda, cuda:1 or mps."""

    def __post_init__(self) -> None:
        if self.draws < 1 or self.estimate not in ("mean", "draw"):
            raise SettingError(
                f"draws = {self.draws}, estimate = {self.estimate!r}; expected at least 1, and "
                "mean or draw."
            )
        check_style(self.style)
        if self.style and "," in self.to:
            raise SettingError(
                f"--to {self.to} with one --style; a style is of one contrast. Make one at a time."
            )

    def apply(self, study: Study, seed: int, progress: Progress) -> Result:
        from veridical.preprocessing.preprocessing import Preprocessing
        from veridical.tasks.assemble import assemble
        from veridical.tasks.generated import Volume, Wanted, check_contrasts, generate

        image, lesions = without_lesions(study.image())
        model = self.build()
        check_contrasts(image.channels, model)
        prepared = Preprocessing.from_card(model.card)(image)
        masks = {} if lesions is None else {LESIONS: np.asarray(prepared.cut(lesions))}
        wanted = [Wanted(name) for name in self.wanted(image.channels, model.contrasts)]
        style = {one.contrast: np.array(self.style) for one in wanted if self.style}
        if style and "style" not in model.card["net"].get("conditions", ()):
            raise SettingError(
                f"--style was given, and the weights {self.weights!r} know no styles. Leave it out."
            )
        volume = Volume(prepared, image.channels, masks, attributes(image, study), style)
        found = generate(
            model, volume, wanted, image, self.name, self.draws, seed, self.estimate, progress
        )
        return assemble(found, image.geometry, prepared.restore, model)

    def wanted(self, given: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
        """Return the contrasts to make."""
        asked = tuple(name.strip() for name in self.to.split(",") if name.strip())
        found = (
            asked
            or tuple(name for name in ("FLAIR", *known) if name in known and name not in given)[:1]
        )
        for name in found:
            if name not in known:
                raise SettingError(
                    f"--to {self.to}: these weights do not make {name!r}. {nearest(name, known)}"
                )
            if name in given:
                raise InputError(
                    f"{name} was measured already. Ask for another contrast with --to, or leave "
                    f"{name} out."
                )
        if not found:
            raise InputError(
                "The study has every contrast that these weights know; there is nothing to make."
            )
        return found

    def of_visit(self, names: tuple[str, ...]) -> tuple[Task, tuple[str, ...], tuple[str, ...]]:
        known = self.build().contrasts
        asked = (
            self.wanted((), known)
            if self.to
            else tuple(name for name in ("FLAIR", *known) if name in known)
        )
        missing = tuple(name for name in asked if name not in names)
        making = missing if self.to else missing[:1]
        given = tuple(
            name for name in names if name in known and (name not in asked or not self.to)
        )
        return replace(self, to=",".join(making)), given if making else (), making

    def build(self) -> ImageModel:
        """Return the model with these settings."""
        from veridical.models.base import ImageModel, chosen

        return chosen(
            self.model, ImageModel, weights=self.weights, steps=self.steps, device=self.device
        )

    def model_and_weights(self) -> tuple[str, str]:
        return self.model, self.build().weights_hash


def attributes(image: Image, study: Study) -> dict[str, float]:
    """Return what is known of a scan and a patient as numbers."""
    numbers = {
        key: value for key, value in study.covariates.items() if isinstance(value, int | float)
    }
    field = image.header.get("field")
    return {**numbers, **({"field": float(field)} if isinstance(field, int | float) else {})}


def without_lesions(subject: Image) -> tuple[Image, Array | None]:
    """Return an image without its label map of lesions, and that map as a mask or None."""
    if LESIONS not in subject.channels:
        return subject, None
    kept = [subject.channel(name) for name in subject.channels if name != LESIONS]
    if not kept:
        raise InputError("The study holds lesions only. Add the images that were measured.")
    return Image.stack(kept), np.asarray(subject[LESIONS] > 0)
