"""One intensity style for all: the same patient as another site's scanner would have shown it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from veridical.errors import InputError, SettingError
from veridical.preprocessing.preprocessing import UNITS, Prepared, Preprocessing
from veridical.preprocessing.style import check_style, curve, style_of
from veridical.task import Progress, Task
from veridical.tasks.complete import without_lesions
from veridical.types import Array, Image, Result, Study

if TYPE_CHECKING:
    from veridical.models.base import ImageModel

CURVE = "intensity-curve"


@dataclass(frozen=True)
class Harmonize(Task):
    """Show an MR image in the intensity style of another site: by one rising curve for the whole
    volume, or by the generator, which starts from the curve and knows tissues.

    Volumes of tissue, contrast of lesions and, in a folder of patients of known age, the age effect
    are checked to be kept.
    """

    style: tuple[float, ...] = ()
    """Quantiles 10, 30, 50, 70, 90 and 98 % of the target site's foreground, in network units: what
    veridical.style(images) and the command `veridical style IMAGES` give.
    """
    channel: str = ""
    """Which image to harmonize; empty: the first."""
    model: str = CURVE
    """intensity-curve, or generator: a network that starts from the curve; it can change the order
    of tissues, sharpness and noise, and has samples.
    """
    draws: int = 8
    """Posterior samples of the generator. Their mean is the estimate; their spread makes interval
    and evidence.
    """
    steps: int = 4
    """Sampler steps of the generator. One gives the mean only; more give texture and spread."""
    weights: str = "brain"
    """Of the generator: name of shipped weights, or path of others (.safetensors with a card beside
    it).
    """
    device: str = "auto"
    """auto (a CUDA GPU where there is one, else the CPU), cpu, cuda, cuda:1 or mps."""

    def __post_init__(self) -> None:
        check_style(self.style)
        if self.draws < 1:
            raise SettingError(f"draws = {self.draws}; expected at least 1.")

    def apply(self, study: Study, seed: int, progress: Progress) -> Result:
        image, _ = without_lesions(study.image())
        channel = self.channel or image.channels[0]
        one = image.channel(channel)
        if not self.style:
            raise SettingError(
                "Which style is wanted? Give the quantiles of the target site: --style, from "
                "`veridical style IMAGES`."
            )
        if channel in UNITS:
            raise InputError(
                f"{channel} is in absolute units and has no style of its own; harmonize is for MR "
                "contrasts."
            )
        if self.model != CURVE:
            return self._generated(one, seed, progress)
        prepared = Preprocessing()(one)
        curved = self._curved(prepared, channel)
        progress("harmonizing", 1, 1)
        scale, offset = np.float32(prepared.scales[channel]), np.float32(prepared.offsets[channel])
        data = np.ascontiguousarray(prepared.restore(curved * scale + offset)[None])
        done = Image(data, one.geometry, one.units, one.channels, {"units": {channel: one.units}})
        absent = dict.fromkeys(
            ("draws", "interval", "evidence"),
            "An intensity curve gives one estimate; it has no posterior.",
        )
        facts = {"harmonized": channel, "measured": (channel,)}
        return Result(done, "point estimate", absent=absent, facts=facts)

    def _generated(self, one: Image, seed: int, progress: Progress) -> Result:
        from veridical.tasks.assemble import assemble
        from veridical.tasks.generated import Volume, Wanted, check_contrasts, generate

        model, channel = self.build(), one.channels[0]
        check_contrasts((channel,), model)
        if not model.card.get("data", {}).get("jobs", {}).get("restyle"):
            raise SettingError(
                f"The weights {self.weights!r} were not trained to harmonize (a recipe's job "
                f"`restyle`). Use others, or --model {CURVE}."
            )
        prepared = Preprocessing.from_card(model.card)(one)
        volume = Volume(prepared, (channel,), style={channel: np.array(self.style)})
        wanted = [Wanted(channel, curved=self._curved(prepared, channel))]
        found = generate(
            model, volume, wanted, one, "harmonize", self.draws, seed, "mean", progress
        )
        found = replace(found, facts={**found.facts, "harmonized": channel})
        return assemble(found, one.geometry, prepared.restore, model)

    def _curved(self, prepared: Prepared, channel: str) -> Array:
        slices = prepared.images[channel]
        return curve(slices, style_of(slices, channel), np.array(self.style))

    def build(self) -> ImageModel:
        """Return the generator with these settings."""
        from veridical.models.base import ImageModel, chosen

        return chosen(
            self.model, ImageModel, weights=self.weights, steps=self.steps, device=self.device
        )

    def model_and_weights(self) -> tuple[str, str]:
        return (CURVE, "none") if self.model == CURVE else (self.model, self.build().weights_hash)


def style(images: Sequence[Image]) -> tuple[float, ...]:
    """Return the intensity style of a site: the mean over images of the quantiles that
    `Harmonize.style` takes.

    Args:
        images: of one contrast, one channel each, of patients of the target site.

    Raises:
        InputError: no image, or one with several channels.
    """
    if not images or any(len(image.channels) != 1 for image in images):
        raise InputError("A style is taken of one or more images of one channel each.")
    found = [
        style_of(Preprocessing()(image).images[image.channels[0]], image.channels[0])
        for image in images
    ]
    return tuple(round(float(value), 4) for value in np.mean(found, 0))
