"""One intensity style for all: the same patient as another site's scanner would have shown it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from veridical.errors import InputError, SettingError
from veridical.preprocessing.preprocessing import UNITS, Preprocessing
from veridical.preprocessing.style import check_style, style_of
from veridical.task import Progress, Task
from veridical.tasks.complete import without_lesions
from veridical.types import Array, Image, Result, Study

MODEL = "intensity-curve"


@dataclass(frozen=True)
class Harmonize(Task):
    """Show an MR image in the intensity style of another site, by one rising curve for the whole
    volume.

    A network after the curve was tried and lost to it (16.6 against 17.0 dB to the true style), so
    the curve is what ships: what no curve can do, sharpness, noise and tissues that another
    sequence orders anew, stays. Volumes of tissue, contrast of lesions and, in a folder of patients
    of known age, the age effect are checked to be kept.
    """

    style: tuple[float, ...] = ()
    """Quantiles 10, 30, 50, 70, 90 and 98 % of the target site's foreground, in network units: what
    veridical.style(images) and the command `veridical style IMAGES` give.
    """
    channel: str = ""
    """Which image to harmonize; empty: the first."""

    def __post_init__(self) -> None:
        check_style(self.style)

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
        prepared = Preprocessing()(one)
        curved = curve(
            prepared.images[channel],
            style_of(prepared.images[channel], channel),
            np.array(self.style),
        )
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

    def model_and_weights(self) -> tuple[str, str]:
        return MODEL, "none"


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


def curve(slices: Array, own: Array, wanted: Array) -> Array:
    """Return slices under the rising curve that takes one style to another; zero stays, and beyond
    the last quantile the curve goes on with slope 1.

    Args:
        slices: `(slice, y, x)`, network units.
        own, wanted: `(6,)`.
    """
    at = np.array([0.0, *own]) + 1e-4 * np.arange(len(own) + 1)
    to = np.maximum.accumulate([0.0, *wanted])
    beyond = np.maximum(slices - at[-1], 0) + np.minimum(slices, 0)
    return np.asarray(np.interp(slices, at, to) + beyond, np.float32)
