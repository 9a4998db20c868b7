"""One scanner's look for all: the same patient as another site's scanner would have shown it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from veridical.errors import InputError, SettingError, nearest
from veridical.task import Progress, Task
from veridical.types import Array, Image, Result, Study

QUANTILES = 5


@dataclass(frozen=True)
class Harmonize(Task):
    """Show an MR image under the look of another site. Volumes of tissue, contrast of lesions and, in a folder of patients
    of known age, the age effect are checked to be kept.
    """

    look: tuple[float, ...] = ()
    """Quantiles 10, 30, 50, 70 and 90 % of the target site's foreground over its 99th percentile: veridical.look(images)."""
    site: str = ""
    """Name of a look that the weights' card holds, in place of numbers."""
    channel: str = ""
    """Which channel to harmonize; empty: the first. The others help, as they are."""
    model: str = "brain-prior"
    """Which model."""
    draws: int = 8
    """Posterior draws. Their mean is the estimate; their spread makes interval and evidence."""
    steps: int = 4
    """Sampler steps."""
    estimate: Literal["mean", "draw"] = "mean"
    """mean: the mean of the draws; draw: one draw."""
    weights: str = ""
    """Path of other weights (.safetensors with a card beside it); empty for the shipped ones."""
    device: str = "auto"
    """auto, cpu or cuda."""

    def __post_init__(self) -> None:
        if self.draws < 1 or self.estimate not in ("mean", "draw"):
            raise SettingError(f"draws = {self.draws}, estimate = {self.estimate!r}; expected at least 1, and mean or draw.")
        if self.look and (len(self.look) != QUANTILES or list(self.look) != sorted(self.look)):
            raise SettingError(
                f"look = {self.look}; expected {QUANTILES} numbers that do not fall, such as veridical.look(images) returns."
            )
        if self.look and self.site:
            raise SettingError("Both look and site are given; give one of them.")

    def apply(self, study: Study, seed: int, progress: Progress) -> Result:
        from veridical.audit.biology import biology, same_look
        from veridical.audit.pathology import pathology
        from veridical.models import weights
        from veridical.tasks import imagewise, result
        from veridical.tasks.complete import without_lesions
        from veridical.tasks.view import view

        image, lesions = without_lesions(study.image())
        model = imagewise.image_model(self.model, self.weights, steps=self.steps, device=self.device)
        imagewise.check_channels(image.channels, model)
        channel = self.channel or image.channels[0]
        image[channel]
        card = weights.card(getattr(model, "weights", ""))
        seen, look = view(image), self.target(card.get("looks", {}), channel)
        beside = tuple(name for name in image.channels if name != channel)
        plan = imagewise.Plan(self.name, measured=beside, relook=(channel,), looks={channel: look})
        near = replace(seen, images={**seen.images, channel: curved(seen.images[channel], channel, look)})
        drawn = imagewise.solve(model, near, plan, self.draws, seed, progress, result.widenings(card, plan))
        done = result.assemble(drawn, seen, plan, image, model, card, self.estimate, lesions)
        before, after, body = np.asarray(image[channel]), done.image.data[0], np.asarray(seen.restore(drawn.support))
        findings = [*done.findings, biology(before, after, body)]
        if lesions is not None and lesions.any():  # their contrast is compared where both have one look
            kept = pathology(same_look(after, before, body), before, None, lesions, body, 1.0)
            findings = [f for f in findings if f.check != kept.check]
            findings.append(replace(kept, reason=f"{channel}, under the look it had: {kept.reason}"))
        return replace(done, findings=tuple(findings))

    def target(self, looks: dict[str, dict[str, list[float]]], channel: str) -> Array:
        """Return the quantiles asked for: those given, or those of a site in the card; the first site that has the channel."""
        if self.look:
            return np.array(self.look, np.float32)
        known = {name: by[channel] for name, by in looks.items() if channel in by}
        if not known:
            raise SettingError(f"The weights hold no look of {channel}. Give look: veridical.look(images of the target site).")
        name = self.site or next(iter(known))
        if name not in known:
            raise SettingError(f"No look of {channel} is called {name!r}. {nearest(name, known)}")
        return np.array(known[name], np.float32)

    def model_and_weights(self) -> tuple[str, str]:
        from veridical.tasks.imagewise import image_model

        return self.model, image_model(self.model, self.weights, steps=self.steps, device=self.device).weights_hash


def look(images: list[Image]) -> tuple[float, ...]:
    """Return how a site's images look: the mean over images of the quantiles that `Harmonize.look` takes.

    Args:
        images: of one contrast, one channel each, of patients of the target site.

    Raises:
        InputError: no image, or one with several channels.
    """
    from veridical.tasks.view import view

    if not images or any(len(image.channels) != 1 for image in images):
        raise InputError("A look is taken of one or more images of one channel each.")
    found = [look_of_slices(view(image).images[image.channels[0]], image.channels[0]) for image in images]
    return tuple(round(float(value), 4) for value in np.mean(found, 0))


def look_of_slices(slices: Array, channel: str) -> Array:
    """Return the look `(5,)` of slices `(slice, y, x)` in network units: the mean over the middle half of them."""
    import torch

    from veridical.models.known import foreground, look_of

    quarter = len(slices) // 4
    middle = torch.from_numpy(np.ascontiguousarray(slices[quarter : max(quarter + 1, 3 * quarter)], np.float32))
    rows = torch.stack([look_of(one, foreground(one, channel)) for one in middle])
    there = rows[rows.sum(1) > 0]
    return np.asarray(there.mean(0)) if len(there) else np.zeros(QUANTILES, np.float32)


def curved(slices: Array, channel: str, look: Array) -> Array:
    """Return slices under the rising curve that takes their look to another: where the model begins.

    One curve for the whole volume, straight between the quantiles; 0 and the 99th percentile, 1, stay. What no curve can do,
    sharpness, noise, shading and tissues that another sequence orders anew, is the model's.

    Args:
        slices: `(slice, y, x)`, network units.
        channel: of them.
        look: `(5,)`.
    """
    own = look_of_slices(slices, channel)
    at = np.array([0.0, *own, max(1.0, own[-1])]) + 1e-4 * np.arange(QUANTILES + 2)
    to = np.maximum.accumulate([0.0, *look, max(1.0, look[-1])])
    beyond = np.maximum(slices - at[-1], 0)
    return np.asarray(np.interp(slices, at, to) + beyond, np.float32)
