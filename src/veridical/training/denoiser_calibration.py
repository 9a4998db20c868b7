"""Calibrate a denoiser: for each job, the intervals of patients it never saw, against a truth
without noise.

MR and PET are calibrated on digital patients of the second simulator, which trains nothing, and on
held-out real ones; CT on the held-out patients of OpenKBP and on painted heads; thick slices on
heads painted under contrasts that no training used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from veridical.audit.evidence import local_variance
from veridical.audit.interval import CalibrationCase
from veridical.errors import SettingError
from veridical.models.base import MeasurementModel
from veridical.models.denoiser import Denoiser
from veridical.models.problem import Problem
from veridical.models.problems import linear, problems
from veridical.phantoms.acquire import scan
from veridical.phantoms.cohort_b import CohortB
from veridical.phantoms.rendering import render
from veridical.phantoms.scanners import CONTRASTS
from veridical.phantoms.simulated_scan import draw_exam
from veridical.physics.blur import Blur
from veridical.physics.degradation import Degradation, log_uniform
from veridical.physics.fourier import centre, fft, ifft
from veridical.physics.low_count_noise import LowCountNoise
from veridical.physics.low_dose_noise import LowDoseNoise
from veridical.physics.noise import poisson, poisson_gaussian
from veridical.physics.noncartesian_mri import NoncartesianMRI, NoncartesianScan, radial
from veridical.physics.parallel_beam import ParallelBeam, half_turn
from veridical.physics.pet import PET
from veridical.preprocessing.tissue_level import bright_level
from veridical.task import Progress
from veridical.tasks import measured
from veridical.tasks.enhance import Enhance
from veridical.tasks.image_problems import pose
from veridical.training.clean_volumes import (
    clean_volumes,
    contrast_of_labels,
    ct_of_labels,
    label_maps,
    paint,
)
from veridical.types import Array, Geometry, Image, Measurement, Noise, Study

SEED = 901
HELD_OUT = {"ixi": ("IXI049", "IXI051"), "sarcoma-mr": ("STS_042",), "openkbp": ("pt_20",)}
MR_NOISE = (0.02, 0.15)
"""Standard deviation of noise as a share of the brightness, 1."""
MADE_NOISY: dict[str, Degradation] = {
    "low-dose-ct": LowDoseNoise(),
    "low-count-pet": LowCountNoise(MR_NOISE, grain=(1.5, 3.5)),
}
"""Job -> what it removes. MR slices stand for PET, with pixels that count as 1 mm; those of PET are
2 to 4 mm wide.
"""
WATER = 0.02
"""Attenuation of water at CT energies, 1/mm."""
WHERE = "digital patients of a second simulator and held-out real ones, one slice or slab a patient"


@dataclass(frozen=True, eq=False)
class CalibrationProblem:
    """A problem of a patient, its truth `(z, y, x)` in the units of the measurement, and where it
    counts.
    """

    patient: str
    problem: Problem
    truth: Array
    foreground: Array


Poser = Callable[[int], Iterator[CalibrationProblem]]


def cases(
    name: str, job: str, studies: Iterable[Study] | None, patients: int, progress: Progress
) -> tuple[list[CalibrationCase], str]:
    """Return one case a patient, in the problem's units, and in words who they are.

    Args: name: of the weights. job: one of `JOBS`. studies: not taken: a denoiser is calibrated
        against truths without noise, which patients of a folder do not have. patients: at most so
        many. progress: called as work goes on.

    Raises:
        SettingError: a folder was given.
    """
    if studies is not None:
        raise SettingError(
            "A denoiser is calibrated against truths without noise, which a folder does not have. "
            "Leave out --data."
        )
    chosen = limited(POSERS[job](patients), patients, progress, job)
    return [
        case(Denoiser(weights=name), posed, index, job) for index, posed in enumerate(chosen)
    ], WHERE


def limited(
    every: Iterator[CalibrationProblem], count: int, progress: Progress, job: str
) -> Iterator[CalibrationProblem]:
    """Yield at most `count` of them, and say so."""
    for index, posed in enumerate(every):
        if index == count:
            return
        yield posed
        progress(f"calibrating {job}", index + 1, count)


def case(
    model: MeasurementModel, posed: CalibrationProblem, seed: int, job: str
) -> CalibrationCase:
    """Solve one problem with 8 draws and compare with the truth, in the problem's units."""
    found = measured.solve(model, posed.problem, 8, seed, job, raw=job == "reconstruct-mri")
    if found.draws is None:
        raise AssertionError("a denoiser gives draws")
    spread = np.sqrt(local_variance(found.draws[:, None], measured.SMOOTHING)[0])
    return CalibrationCase(
        np.abs(found.estimate - posed.truth) / found.scale,
        spread / found.scale,
        posed.foreground,
        posed.patient,
    )


def mr_slices(count: int) -> Iterator[tuple[str, Array]]:
    """Yield a slice `(y, x)`, 99th percentile about 1, of held-out real patients and then of
    digital ones.
    """
    for source in ("ixi", "sarcoma-mr"):
        for volume in clean_volumes(source):
            if volume.patient.startswith(HELD_OUT[source]):
                middle = volume.image[len(volume.image) // 2]
                yield volume.patient, np.asarray(middle / bright_level(middle), np.float32)
    cohort = CohortB(SEED)
    for index in range(count):
        image = render(
            cohort.slice(index, size=(192, 160), spacing=1.2, plane="axial"), CONTRASTS[index % 5]
        )
        yield f"cohort-b-{index}", np.asarray(image / bright_level(image), np.float32)


def ct_slices(count: int) -> Iterator[tuple[str, Array]]:
    """Yield a slice `(y, x)` in HU of held-out radiotherapy patients, and of painted heads with
    tissue values of their own.
    """
    for volume in clean_volumes("openkbp"):
        if volume.patient.startswith(HELD_OUT["openkbp"]):
            middle = volume.image[len(volume.image) // 2]
            yield (
                volume.patient,
                np.asarray(1000 * middle / np.median(middle[middle > 0.5]) - 1000, np.float32),
            )
    for index, (patient, labels) in enumerate(label_maps()):
        rng = np.random.default_rng([SEED, index, 10])
        middle = len(labels) // 2
        painted = paint(labels[middle - 2 : middle + 3, ::2, ::2], ct_of_labels(rng), rng)[2]
        yield (
            patient,
            np.asarray(1000 * painted / np.median(painted[painted > 0.3]) - 1000, np.float32),
        )


def scans(count: int) -> Iterator[CalibrationProblem]:
    """Multi-coil Cartesian scans under random patterns."""
    cohort = CohortB(SEED)
    for index in range(count):
        exam = draw_exam(cohort, index)
        problem = next(problems(exam.measurement))
        yield CalibrationProblem(
            exam.patient,
            problem,
            exam.truth.data[0].transpose(2, 1, 0),
            exam.brain.transpose(2, 1, 0),
        )


def radial_scans(count: int) -> Iterator[CalibrationProblem]:
    """Multi-coil radial scans of 32 to 64 spokes."""
    for index, (patient, image) in enumerate(mr_slices(count)):
        rng = np.random.default_rng([SEED, index, 6])
        raw = scan(image, rng, noise=0.01, receive="gaussian")
        rows, columns = image.shape
        side = max(rows, columns)
        trajectory = radial(int(rng.integers(32, 65)), side, float(min(rows, columns)))
        images, maps = torch.from_numpy(raw.images), torch.from_numpy(raw.maps)
        operator = NoncartesianMRI(trajectory, maps)
        clean = operator.forward(images)
        noise = torch.from_numpy(rng.normal(0, raw.noise, (*clean.shape, 2)).astype(np.float32))
        data = (clean + torch.view_as_complex(noise)).numpy()[None]
        known = NoncartesianScan(trajectory.numpy()[None], (rows, columns))
        grid = Geometry.index((columns, rows, 1))
        problem = next(problems(Measurement(data, known, Noise("gaussian", raw.noise), grid)))
        truth = np.sqrt((np.abs((raw.maps * raw.images[:, None]).sum(0)) ** 2).sum(0))[None]
        yield CalibrationProblem(patient, problem, truth, truth > 0.1 * np.percentile(truth, 99))


def sinograms(count: int) -> Iterator[CalibrationProblem]:
    """CT scans of 60 to 240 views at low dose."""
    for index, (patient, hounsfield) in enumerate(ct_slices(count)):
        rng = np.random.default_rng([SEED, index, 7])
        mu = torch.from_numpy(np.clip(hounsfield + 1000, 0, None) / 1000 * WATER)
        operator = ParallelBeam(
            (mu.shape[0], mu.shape[1]), (3.0, 3.0), half_turn(int(rng.choice([60, 120, 240])))
        )
        photons = float(np.exp(rng.uniform(np.log(3e3), np.log(1e5))))
        data = poisson_gaussian(
            operator.forward(mu), photons, 0.0, torch.Generator().manual_seed(index)
        )
        truth = mu.numpy()[None]
        yield CalibrationProblem(
            patient,
            linear(operator, data.numpy(), Noise("poisson_gaussian", photons)),
            truth,
            truth > 0.1 * WATER,
        )


def counts(count: int) -> Iterator[CalibrationProblem]:
    """PET scans of digital heads with 50,000 to 500,000 counts a slice."""
    cohort = CohortB(SEED)
    for index in range(count):
        rng = np.random.default_rng([SEED, index, 8])
        image = render(cohort.slice(index, size=(96, 80), spacing=2.4, plane="axial"), "FDG")
        activity = torch.from_numpy(np.asarray(image / image.max(), np.float32))
        projector = ParallelBeam((activity.shape[0], activity.shape[1]), (2.4, 2.4), half_turn(120))
        total = float(projector.forward(activity).sum())
        system = PET(projector, scale=float(np.exp(rng.uniform(np.log(5e4), np.log(5e5)))) / total)
        data = poisson(system.expected(activity), torch.Generator().manual_seed(index))
        truth = activity.numpy()[None]
        yield CalibrationProblem(
            f"cohort-b-{index}", linear(system, data.numpy(), Noise("poisson")), truth, truth > 0.05
        )


def images(job: str, count: int) -> Iterator[CalibrationProblem]:
    """Degraded MR slices, or CT and PET ones, by the job that mends them."""
    slices = ct_slices(count) if job == "low-dose-ct" else mr_slices(count)
    for index, (patient, image) in enumerate(slices):
        rng = np.random.default_rng([SEED, index, len(job)])
        even = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
        given, settings = degraded(job, even, rng)
        channel = "CT" if job == "low-dose-ct" else "PET" if job == "low-count-pet" else "T1w"
        units = {"CT": "HU", "PET": "SUV"}.get(channel, "a.u.")
        grid = Geometry((given.shape[1], given.shape[0], 1), np.diag([1.0, 1.0, 3.0, 1.0]))
        task = Enhance(job=job, **settings)  # type: ignore[arg-type]
        posed = pose(task, Image(given.T[None, :, :, None], grid, units, (channel,)), channel)
        truth = even[None] - posed.offset
        yield CalibrationProblem(
            patient, next(posed.problems), truth, truth > 0.1 * np.percentile(truth, 99)
        )


def degraded(job: str, image: Array, rng: np.random.Generator) -> tuple[Array, dict[str, float]]:
    """Return what would be measured of an image `(y, x)`, and the settings of the task."""
    stack, pixel = torch.from_numpy(image)[None], (1.0, 1.0)
    if job in MADE_NOISY:
        made = MADE_NOISY[job]
        drawn = made.draw((image.shape[0], image.shape[1]), pixel, rng)
        return made.apply(image[None], pixel, drawn)[0], {"noise": drawn["noise"]}
    if job == "super-resolve":
        small = (
            0.5
            * ifft(
                centre(fft(stack.to(torch.complex64)), (image.shape[0] // 2, image.shape[1] // 2))
            ).real
        )
        return small[0].numpy(), {"factor": 2.0, "noise": 0.005}
    if job == "upsample":
        return Blur(image.shape, pixel, (0, 0), (2, 2)).forward(stack)[0].numpy(), {"factor": 2.0}
    white = rng.standard_normal(image.shape, np.float32)
    if job == "denoise":
        level = log_uniform(MR_NOISE, rng)
        return image + np.float32(level) * white, {"noise": level}
    width = float(rng.uniform(1.5, 3.0))
    soft = Blur(image.shape, pixel, (width, width)).forward(stack)[0].numpy()
    return soft + np.float32(0.01) * white, {"noise": 0.01, "blur": width}


def thick_slices(count: int) -> Iterator[CalibrationProblem]:
    """Slabs of painted heads whose slices were averaged by four."""
    for index, (patient, labels) in enumerate(label_maps()):
        rng = np.random.default_rng([SEED, index, 9])
        start = labels.shape[0] // 2 - 16
        volume = paint(labels[start : start + 32, 40:168, 20:148], contrast_of_labels(rng), rng)
        thick = volume.reshape(8, 4, *volume.shape[1:]).mean(1)
        grid = Geometry((thick.shape[2], thick.shape[1], 8), np.diag([1.0, 1.0, 4.0, 1.0]))
        posed = pose(
            Enhance(job="isotropic"),
            Image(thick.transpose(2, 1, 0)[None], grid, "a.u.", ("T1w",)),
            "T1w",
        )
        yield CalibrationProblem(patient, next(posed.problems), volume, volume > 0.1)


POSERS: dict[str, Poser] = {
    "reconstruct-mri": scans,
    "reconstruct-noncartesian-mri": radial_scans,
    "reconstruct-ct": sinograms,
    "reconstruct-pet": counts,
    "enhance-isotropic": thick_slices,
    **{
        f"enhance-{job}": partial(images, job)
        for job in (
            "denoise",
            "super-resolve",
            "upsample",
            "deblur",
            "low-dose-ct",
            "low-count-pet",
        )
    },
}
JOBS = tuple(POSERS)
