"""See clearer: remove noise, shading, ghosts and streaks from images, or give them a finer grid in plane and through it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from veridical.errors import InputError, SettingError
from veridical.task import Progress, Task
from veridical.tasks.complete import without_lesions
from veridical.types import Array, Geometry, Image, Result, Study

if TYPE_CHECKING:
    from veridical.models.base import ImageModel, MeasurementModel
    from veridical.tasks.imagewise import Degradation, Plan

Job = Literal[
    "denoise", "super-resolve", "upsample", "isotropic", "deblur", "bias-field", "motion", "low-dose-ct", "sparse-view-ct",
    "low-count-pet",
]  # fmt: skip
EXPECTED = {"bias-field": 0.15, "motion": 0.06}
"""Expected error where an artefact is removed, as a share of the 99th percentile."""
STREAKS = 1.5
"""Error of few views over the noise that the image seems to have: 0.9 to 1.8 on limbs, more on a head, with 40 to 160 views."""
USUAL = {"bias-field": "n4", "motion": "brain-prior", "sparse-view-ct": "body-prior"}
"""Job -> model where it is not the denoiser."""
NEEDS = {"low-dose-ct": "CT", "sparse-view-ct": "CT", "low-count-pet": "PET"}
BIAS_FIELD = "n4"
FINEST = 8.0


@dataclass(frozen=True)
class Enhance(Task):
    """Enhance MR, CT or PET images. An image is a measurement of itself: with noise, blur, thick slices or artefacts."""

    job: Job = "denoise"
    """denoise; super-resolve (finer in plane: more of k-space); upsample (finer in plane: voxels are means of smaller ones);
    isotropic (thick slices to slices as thin as the pixels); deblur; bias-field; motion; low-dose-ct, sparse-view-ct,
    low-count-pet."""
    channel: str = ""
    """Which channel to enhance; empty: the first. The others help brain-prior and body-prior."""
    noise: float = 0.0
    """Noise standard deviation in the units of the image, of few views that of the streaks; 0 estimates it from the image, or
    where a finer grid is wanted takes it to be 0.5 % of the image's 99th percentile."""
    varying: bool = False
    """Let the noise vary over the image, as after parallel imaging; its map is then estimated. The denoiser only."""
    factor: float = 2.0
    """How much finer super-resolve and upsample make the grid in plane; a whole number for upsample."""
    blur: float = 2.0
    """Full width at half maximum of the blur that deblur undoes, mm."""
    model: str = ""
    """denoiser; n4 for bias-field; brain-prior or body-prior; empty: by the job. For super-resolve also wavelet,
    total-variation, cg-sense, zero-filled; for the denoiser's other jobs also classical."""
    draws: int = 8
    """Posterior draws, for samplers. Their spread makes interval and evidence; 1 gives the estimate alone, which is faster."""
    steps: int = 4
    """Sampler steps of brain-prior and body-prior."""
    estimate: Literal["mean", "draw"] = "mean"
    """Of brain-prior and body-prior. mean: the mean of the draws, closest to the truth; draw: one draw, which has the texture
    of an image."""
    weights: str = ""
    """Path of other weights (.safetensors with a card beside it); empty for the shipped ones."""
    device: str = "auto"
    """auto, cpu or cuda."""

    def __post_init__(self) -> None:
        if self.job not in get_args(Job):
            raise SettingError(f"job = {self.job!r}; expected one of {', '.join(get_args(Job))}.")
        if (
            self.draws < 1
            or self.noise < 0
            or self.blur <= 0
            or not 1 < self.factor <= FINEST
            or self.estimate not in ("mean", "draw")
        ):
            raise SettingError(
                f"draws = {self.draws}, noise = {self.noise}, factor = {self.factor}, blur = {self.blur}, "
                f"estimate = {self.estimate!r}; expected "
                f"at least 1 draw, a noise of 0 or more, a factor above 1 and up to {FINEST:g}, a blur above 0, mean or draw."
            )

    def apply(self, study: Study, seed: int, progress: Progress) -> Result:
        subject = study.image()
        if not np.isfinite(subject.data).all():
            raise InputError("The image holds NaN or infinite values; write a number there, 0 for what is outside the body.")
        image, lesions = without_lesions(subject)
        channel = self.channel or image.channels[0]
        self._check(image, channel)
        if self._name() == BIAS_FIELD:
            from veridical.tasks.unbiased import unbiased

            return unbiased(image, channel)
        if self._measured():
            from veridical.tasks.image_problems import enhanced

            if self.estimate == "draw":
                raise SettingError(
                    f"{self._name()} gives its estimate; one draw as the result is for brain-prior and body-prior."
                )
            model, card = self._measurement_model()
            return enhanced(self, model, card, image, seed, progress)
        return self._drawn(image, lesions, channel, seed, progress)

    def _check(self, image: Image, channel: str) -> None:
        image[channel]
        needed = NEEDS.get(self.job)
        if needed and channel != needed:
            raise InputError(f"{self.job} enhances a channel called {needed}; got {channel!r}. Name it: contrast={needed!r}.")
        units = image.units_of(channel)
        if not needed and (units in ("HU", "SUV", "label") or channel in ("CT", "PET")):
            raise InputError(f"{self.job} is for MR; {channel} is in {units}. For CT and PET: {', '.join(NEEDS)}.")

    def _drawn(self, image: Image, lesions: Array | None, channel: str, seed: int, progress: Progress) -> Result:
        from veridical.models import weights
        from veridical.tasks import grids, imagewise, result
        from veridical.tasks.view import view

        model = self._image_model()
        name = channel if channel in model.channels else "other"
        if name != channel and "other" not in model.channels:
            imagewise.check_channels((channel,), model)
        names = tuple(name if c == channel else c for c in image.channels)
        units = {new: image.units_of(old) for new, old in zip(names, image.channels, strict=True)}
        named = replace(image, channels=names, header={**image.header, "units": units})
        imagewise.check_channels(named.channels, model)
        start, axes = grids.started(named, self.job, self.factor)
        card = weights.card(getattr(model, "weights", ""))
        parts = []
        for axis in axes:
            seen = view(start, axis)
            plan = self._plan(start, name, seen.scales[name])
            drawn = imagewise.solve(model, seen, plan, self.draws, seed, progress, result.widenings(card, plan))
            parts.append((drawn, seen))
        plan = self._plan(start, name, parts[0][1].scales[name])
        drawn, seen = parts[0] if len(parts) == 1 else imagewise.averaged(parts, model, plan, result.widenings(card, plan))
        done = result.assemble(drawn, seen, plan, start, model, card, self.estimate, grids.on(lesions, start))
        return replace(done, image=replace(done.image, channels=(channel,)))

    def _plan(self, image: Image, name: str, scale: float) -> Plan:
        from veridical.tasks.imagewise import Plan

        field = image.header.get("field")
        beside = tuple(c for c in image.channels if c != name)
        known = float(field) if isinstance(field, int | float) else None
        return Plan(self.name, measured=beside, degraded={name: self._degradation(image, name, scale)}, field=known)

    def _degradation(self, image: Image, name: str, scale: float) -> Degradation:
        from veridical.tasks import grids
        from veridical.tasks.imagewise import Degradation

        if self.job in ("denoise", "low-dose-ct", "low-count-pet"):
            return Degradation("noise", (self.noise or grids.noise_of(image, name)) / scale)
        if self.job == "sparse-view-ct":
            return Degradation("ghosts", 0.0, (self.noise or STREAKS * grids.noise_of(image, name)) / scale)
        if self.job in ("super-resolve", "isotropic"):
            thicker = grids.thickness(image) if self.job == "isotropic" else self.factor
            return Degradation("thick" if self.job == "isotropic" else "blur", (self.noise / scale) or 0.005, thicker)
        return Degradation("bias" if self.job == "bias-field" else "ghosts", self.noise / scale, EXPECTED[self.job])

    def _name(self) -> str:
        return self.model or USUAL.get(self.job, "denoiser")

    def _measured(self) -> bool:
        """Whether the model solves measurements; otherwise it is a joint prior of images."""
        from veridical import registry
        from veridical.models.base import ImageModel

        if issubclass(registry.get("model", self._name()), ImageModel):
            return False
        if self.job in USUAL:
            raise SettingError(f"{self.model} does not take {self.job}; {USUAL[self.job]} does.")
        return True

    def _measurement_model(self) -> tuple[MeasurementModel, dict[str, object]]:
        from veridical.models import weights
        from veridical.tasks.reconstruct import solver

        model = solver(self._name(), self.weights, device=self.device)
        name = getattr(model, "weights", "")
        return model, weights.card(name) if name else {}

    def _image_model(self) -> ImageModel:
        from veridical.tasks.imagewise import image_model

        return image_model(self._name(), self.weights, steps=self.steps, device=self.device)

    def model_and_weights(self) -> tuple[str, str]:
        if self._name() == BIAS_FIELD:
            return BIAS_FIELD, "none"
        if self._measured():
            return self._name(), self._measurement_model()[0].weights_hash
        return self._name(), self._image_model().weights_hash


def finer(geometry: Geometry, factor: float = 2.0) -> Geometry:
    """Return the grid with `factor` times the voxels in plane (rounded), as k-space padding places them.

    The voxels of index n // 2 of the old and of the new matrix keep their place.
    """
    affine = np.array(geometry.affine)
    x, y, z = geometry.shape
    wide = (round(factor * x), round(factor * y))
    steps = affine[:3, :2] * np.array([x / wide[0], y / wide[1]])
    centre = affine[:3, 3] + affine[:3, 0] * (x // 2) + affine[:3, 1] * (y // 2)
    affine[:3, 3] = centre - steps[:, 0] * (wide[0] // 2) - steps[:, 1] * (wide[1] // 2)
    affine[:3, :2] = steps
    return Geometry((*wide, z), affine, geometry.frame)
