"""Enhance images: remove noise, bias fields, motion ghosts and streaks, or raise the resolution in
plane and through it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from veridical.errors import InputError, SettingError
from veridical.task import Progress, Task
from veridical.tasks.complete import attributes, without_lesions
from veridical.types import Image, Result, Study

if TYPE_CHECKING:
    from veridical.models.base import Model

Job = Literal[
    "denoise",
    "super-resolve",
    "upsample",
    "isotropic",
    "deblur",
    "bias-field",
    "motion",
    "low-dose-ct",
    "sparse-view-ct",
    "low-count-pet",
]
NEEDS = {"low-dose-ct": "CT", "sparse-view-ct": "CT", "low-count-pet": "PET"}
"""Job -> the modality that it is for; all others are for MR."""
RESTORED = {"motion": ("motion-ghosts", "brain"), "sparse-view-ct": ("sparse-view-streaks", "body")}
"""Job without an operator -> the degradation that a generator removes, and its weights."""
ERROR = {"motion": 0.06, "sparse-view-ct": 1.5}
"""Expected error where none is given: of motion as a share of the 99th percentile; of few views
over the noise that the image seems to have: 0.9 to 1.8 on limbs, more on a head, with 40 to 160
views.
"""
BIAS_FIELD = "n4"
FINEST = 8.0


@dataclass(frozen=True)
class Enhance(Task):
    """Enhance MR, CT or PET images. An image is a measurement of itself: with noise, blur, thick
    slices or artefacts.
    """

    job: Job = "denoise"
    """denoise; super-resolve (finer in plane: more of k-space); upsample (finer in plane: voxels
    are means of smaller ones); isotropic (thick slices to slices as thin as the pixels); deblur;
    bias-field; motion; low-dose-ct, sparse-view-ct, low-count-pet.
    """
    channel: str = ""
    """Which image to enhance; empty: the first. The others help a generator."""
    noise: float = 0.0
    """Noise standard deviation in the units of the image, of few views that of the streaks; 0
    estimates it from the image, or where a finer grid is wanted takes it to be 0.5 % of the image's
    99th percentile.
    """
    varying: bool = False
    """Let the noise vary over the image, as after parallel imaging; its map is then estimated. The
    denoiser only.
    """
    factor: float = 2.0
    """How much finer super-resolve and upsample make the grid in plane; a whole number for
    upsample.
    """
    blur: float = 2.0
    """Full width at half maximum of the blur that deblur undoes, mm."""
    model: str = ""
    """Empty: by the job: denoiser; n4 for bias-field; generator for motion and sparse-view-ct. For
    super-resolve also wavelet, total-variation, cg-sense, zero-filled; for the denoiser's other
    jobs also classical.
    """
    draws: int = 8
    """Posterior samples. Their spread makes interval and evidence; 1 gives the estimate alone,
    which is faster.
    """
    steps: int = 4
    """Sampler steps of the generator."""
    estimate: Literal["mean", "draw"] = "mean"
    """Of the generator. mean: the mean of the samples, closest to the truth; draw: one sample,
    which has the texture of an image.
    """
    weights: str = ""
    """Name of shipped weights, or path of others (.safetensors with a card beside it); empty: those
    for the job.
    """
    device: str = "auto"
    """auto (a CUDA GPU where there is one, else the CPU), cpu, cuda, cuda:1 or mps."""

    def __post_init__(self) -> None:
        if self.job not in get_args(Job):
            raise SettingError(f"job = {self.job!r}; expected one of {', '.join(get_args(Job))}.")
        numbers = (
            self.draws >= 1 and self.noise >= 0 and self.blur > 0 and 1 < self.factor <= FINEST
        )
        if not numbers or self.estimate not in ("mean", "draw"):
            raise SettingError(
                f"draws = {self.draws}, noise = {self.noise}, factor = {self.factor}, blur = "
                f"{self.blur}, "
                f"estimate = {self.estimate!r}; expected "
                f"at least 1 draw, a noise of 0 or more, a factor above 1 and up to {FINEST:g}, a "
                "blur above 0, mean or draw."
            )
        if self.estimate == "draw" and self.job not in RESTORED:
            raise SettingError(
                f"{self.job} gives its estimate; --estimate draw is for {', '.join(RESTORED)}."
            )

    def apply(self, study: Study, seed: int, progress: Progress) -> Result:
        image, lesions = without_lesions(study.image())
        channel = self.channel or image.channels[0]
        self._check(image, channel)
        if self.job == "bias-field":
            from veridical.tasks.unbiased import unbiased

            return unbiased(image, channel)
        if self.job in RESTORED:
            return self._restored(image, lesions, channel, study, seed, progress)
        from veridical.tasks.image_problems import enhanced

        return enhanced(self, self._solver(), image, channel, seed, progress)

    def _check(self, image: Image, channel: str) -> None:
        """Refuse what no model was made for: complex numbers, holes, and units or modality other
        than the job's.
        """
        data, units, needed = image[channel], image.units_of(channel), NEEDS.get(self.job)
        if np.iscomplexobj(data):
            raise InputError(
                f"{channel} is complex; enhance takes real images. Take its magnitude, or "
                "reconstruct its k-space."
            )
        if not np.isfinite(data).all():
            raise InputError(
                "The image holds NaN or infinite values; write a number there, 0 for what is "
                "outside the body."
            )
        if needed and channel != needed:
            raise InputError(
                f"{self.job} enhances a {needed}; got {channel!r}. Name it: --contrast {needed}."
            )
        wanted = {"CT": "HU", "PET": "SUV"}.get(needed or "")
        if wanted and units != wanted:
            raise InputError(
                f"{self.job} takes {needed} in {wanted}; got {units}. Convert it, or say so: "
                f"--units {wanted}."
            )
        if not needed and (units in ("HU", "SUV", "label") or channel in ("CT", "PET")):
            raise InputError(
                f"{self.job} is for MR; {channel} is in {units}. For CT and PET: --job "
                f"{', '.join(NEEDS)}."
            )

    def _restored(
        self, image: Image, lesions: Any, channel: str, study: Study, seed: int, progress: Progress
    ) -> Result:
        """Let a generator remove an artefact that no operator describes."""
        from veridical.preprocessing.preprocessing import Preprocessing
        from veridical.tasks import grids
        from veridical.tasks.assemble import assemble
        from veridical.tasks.empty_slices import shown
        from veridical.tasks.generated import Volume, Wanted, check_contrasts, generate
        from veridical.tasks.image_problems import air

        model, degradation = self._generator(), RESTORED[self.job][0]
        check_contrasts(image.channels, model)
        prepared = Preprocessing.from_card(model.card)(image)
        every = np.asarray(prepared.cut(image[channel]), np.float32)
        slices = shown(every, channel, air(image, channel))
        size = (
            grids.noise_of(image, channel)
            if self.job == "sparse-view-ct"
            else float(np.percentile(every[~slices.empty], 99))
        )
        masks = {} if lesions is None else {"lesions": np.asarray(prepared.cut(lesions))}
        beside = tuple(name for name in image.channels if name != channel)
        volume = Volume(prepared, beside, masks, attributes(image, study))
        wanted = [Wanted(channel, degradation, self.noise or ERROR[self.job] * size)]
        found = generate(
            model, volume, wanted, image, self.name, self.draws, seed, self.estimate, progress
        )
        found = slices.complete(found, np.ones(len(every), bool), len(every))
        found = replace(found, facts={**found.facts, "measured": image.channels})
        return assemble(found, image.geometry, prepared.restore, model)

    def _solver(self) -> Any:
        from veridical.models.base import MeasurementModel, chosen

        return chosen(
            self.model or "denoiser", MeasurementModel, weights=self.weights, device=self.device
        )

    def _generator(self) -> Any:
        from veridical.models.base import ImageModel, chosen

        usual = self.weights or RESTORED[self.job][1]
        return chosen(
            self.model or "generator",
            ImageModel,
            weights=usual,
            steps=self.steps,
            device=self.device,
        )

    def model_and_weights(self) -> tuple[str, str]:
        if self.job == "bias-field":
            return BIAS_FIELD, "none"
        model: Model = self._generator() if self.job in RESTORED else self._solver()
        return model.name, model.weights_hash
