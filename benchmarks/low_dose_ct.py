"""Low-dose CT at 25 % and 10 % of the dose on real CT: accuracy, bias, noise texture, detectability, of several methods.

python benchmarks/low_dose_ct.py [--model plain-unet --model body-prior] [--raw] [--slices 10]

Limbs of two patients (STS_025, STS_032) and the head CT are tested on; classical methods are tuned on two others (STS_024,
STS_035), for each dose by the error itself. Each volume's own photons are estimated from its noise, so that 25 % of the dose
is 25 % of what *it* was scanned with. Low-contrast discs are put into even soft tissue of the full-dose slices; these are the
reference. The noise is that of the fan-beam sinogram (`low_dose_ct`); a model that is trained on the surrogate sees it here for
the first time. All methods are told the noise level. Two realizations of each slice.

PSNR and SSIM are of the soft-tissue window, -160 to 240 HU, inside the body. The reference has noise of its own: a method that
takes that away too is punished, alike for all. Noise is the standard deviation between two realizations in even soft tissue,
texture the mean frequency of its power spectrum. d' is of a channelized Hotelling observer, over places with and without disc.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

from veridical.io.files import read
from veridical.metrics.noise_power import noise_power_spectrum
from veridical.metrics.observer import Detectability, dense_gaussians, detectability
from veridical.metrics.psnr import psnr
from veridical.metrics.ssim import ssim
from veridical.models.tv_ct import TvCt
from veridical.physics.ct_noise import low_dose_surrogate
from veridical.physics.low_dose import CTScanner, at_dose, attenuation, hounsfield, low_dose_ct, photons_of
from veridical.task import silent
from veridical.types import Array, Geometry, Image

DATA = Path(os.environ.get("VERIDICAL_DATA", "../shared/data"))
TEST = {"limbs": ("STS_025", "STS_032"), "head": ("ct_head_ge",)}
TUNING = ("STS_024", "STS_035")
DOSES = (0.25, 0.1)
WINDOW = (-160.0, 240.0)
TISSUES = {"fat": (-150.0, -50.0), "soft": (0.0, 100.0), "bone": (300.0, 3000.0)}
RADIUS, CONTRAST, ROI, PLACES = 4.0, 1.5, 21, 5
"""Of the discs: mm, and in standard deviations of the full-dose noise; width of the regions in pixels; how many a slice."""

MODEL = """a learned model of `enhance`: NAME, or NAME=WEIGHTS; of a sampler the mean of its draws, one of them with
NAME=WEIGHTS:draw, or its mean in one step with NAME=WEIGHTS:one-pass"""
COLUMNS = (
    *("region", "dose", "method", "PSNR dB", "SSIM", "bias fat HU", "bias soft HU", "bias bone HU", "noise HU", "texture 1/mm"),
    *("d' (95 %)", "s a slice"),
)


@dataclass(frozen=True)
class Case:
    """Some slices of a patient with discs in them, `(slice, y, x)` HU, and where these are."""

    reference: Array
    body: Array
    spacing: tuple[float, float]
    thickness: float
    scanner: CTScanner
    contrast: float
    places: tuple[tuple[int, int, int, bool], ...]


@dataclass(frozen=True)
class Low:
    """What a method is given: low-dose slices `(slice, y, x)` in HU, and what is known of them. `seed` remakes the noise."""

    hu: Array
    case: Case
    dose: float
    noise: float
    seed: int


Method = Callable[[Low], Array]


def case(patient: str, slices: int) -> Case:
    """Read a volume, take slices at even distances, estimate its photons and put discs in."""
    if patient == "ct_head_ge":
        image = read(DATA / patient, slices=(16, 27))  # the slab above the skull base
    else:
        image = read(DATA / "sts_mr_ct_pet" / "nifti" / patient / "CT_image.nii.gz", contrast="CT", units="HU")
    assert isinstance(image, Image)
    chosen = np.linspace(0.2, 0.8, slices) * (image.geometry.shape[2] - 1)
    hu = np.maximum(image.data[0][:, :, chosen.round().astype(int)].transpose(2, 1, 0), -1000.0).astype(np.float32)
    dx, dy, thickness = image.geometry.spacing
    if dx < 0.6:
        hu = hu.reshape(len(hu), hu.shape[1] // 2, 2, hu.shape[2] // 2, 2).mean((2, 4))
        dx, dy = 2 * dx, 2 * dy
    body = np.stack([ndimage.gaussian_filter(one, 2) > -400 for one in hu])
    y, x = (np.flatnonzero(body.any(axes)) for axes in ((0, 2), (0, 1)))
    hu, body = (a[:, y[0] : y[-1] + 1, x[0] : x[-1] + 1] for a in (hu, body))
    rng = np.random.default_rng(0)
    photons = float(np.median([photons_of(one, (dy, dx), rng) for one in hu]))
    found = Case(hu, body, (dy, dx), thickness, CTScanner(photons=photons), 0.0, ())
    return with_discs(found, CONTRAST * noise_level(hu, found, 1.0))


def noise_level(hu: Array, case: Case, dose: float) -> float:
    """Return the standard deviation of a scan's noise in the body, HU, from the slices and the dose alone."""
    own = replace(case.scanner, photons=dose * case.scanner.photons, electronic=0.0)
    # what half the dose adds is as strong as what is there
    added = low_dose_surrogate(hu, case.spacing, 0.5, np.random.default_rng(1), own) - hu
    return float(added[case.body].std())


def with_discs(case: Case, contrast: float) -> Case:
    """Put discs into every second of the evenest places of each slice."""
    reference, places, half = case.reference.copy(), [], ROI // 2
    y, x = np.meshgrid(np.arange(ROI) - half, np.arange(ROI) - half, indexing="ij")
    away = np.hypot(y * case.spacing[0], x * case.spacing[1])
    disc = contrast * np.clip(RADIUS - away + 0.5, 0, 1)
    for index, hu in enumerate(case.reference):
        smooth = ndimage.gaussian_filter(hu, 2)
        spread = ndimage.generic_gradient_magnitude(smooth, ndimage.sobel)
        uneven = ndimage.maximum_filter(spread, ROI) + 1e6 * (ndimage.minimum_filter(smooth, ROI) < 0)
        uneven[[*range(half), *range(-half, 0)]] = uneven[:, [*range(half), *range(-half, 0)]] = np.inf
        for number in range(PLACES):
            row, column = np.unravel_index(int(uneven.argmin()), hu.shape)
            if uneven[row, column] >= 1e6:
                break
            box = np.s_[index, row - half : row + half + 1, column - half : column + half + 1]
            present = (number + index) % 2 == 0
            reference[box] += disc * present
            places.append((index, int(row), int(column), present))
            uneven[max(row - ROI, 0) : row + ROI, max(column - ROI, 0) : column + ROI] = np.inf
    return replace(case, reference=reference, contrast=contrast, places=tuple(places))


def lowered(case: Case, dose: float, seed: int) -> Low:
    low = low_dose_ct(case.reference, case.spacing, dose, np.random.default_rng(seed), case.scanner)
    return Low(low, case, dose, noise_level(low, case, dose), seed)


def as_it_is(low: Low) -> Array:
    return low.hu


def non_local_means(strength: float) -> Method:
    """Buades et al. 2005, patches of 5 x 5 in 15 x 15, of the noise level given."""

    def apply(low: Low) -> Array:
        settings = {"patch_size": 5, "patch_distance": 7, "h": strength * low.noise, "sigma": low.noise, "fast_mode": True}
        return np.stack([denoise_nl_means(one, **settings) for one in low.hu])

    return apply


def total_variation(weight: float) -> Method:
    """Of the image (Rudin, Osher and Fatemi 1992)."""

    def apply(low: Low) -> Array:
        return np.stack([denoise_tv_chambolle(one, weight * low.noise, eps=1e-5, max_num_iter=100) for one in low.hu])

    return apply


def raw_total_variation(weight: float) -> Method:
    """From the same raw data, by the operator that made them: no error of the model, unlike any method that sees images."""

    def apply(low: Low) -> Array:
        beam = low.case.scanner.beam(low.hu.shape[-2:], low.case.spacing)
        lines = beam.forward(attenuation(low.case.reference))
        data = at_dose(lines, low.dose, np.random.default_rng(low.seed), low.case.scanner)
        return hounsfield(TvCt(weight=weight).solve(beam, data, silent).numpy())

    return apply


def learned(said: str) -> Method:
    """A model as `--model` takes it, slice by slice."""
    from veridical.tasks.enhance import Enhance

    name, _, rest = said.partition("=")
    weights, _, draws = rest.partition(":")
    settings = {"job": "low-dose-ct", "model": name, "weights": weights}
    sampler = {"draws": 1, "steps": 1} if draws == "one-pass" else {"estimate": "draw" if draws == "draw" else "mean"}

    def apply(low: Low) -> Array:
        task = Enhance.from_settings({**settings, **sampler, "noise": low.noise})
        rows, columns = low.hu.shape[-2:]
        grid = Geometry((columns, rows, 1), np.diag([*low.case.spacing[::-1], low.case.thickness, 1.0]))
        images = [Image(one.T[None, :, :, None], grid, "HU", ("CT",)) for one in low.hu]
        return np.stack([task(image, seed=index).image.data[0, :, :, 0].T for index, image in enumerate(images)])

    return apply


def tuned(make: Callable[[float], Method], values: Sequence[float], lows: Sequence[Low]) -> Callable[[float], float]:
    """Return, for each dose, the value of least squared error in the window, over the tuning patients."""
    best = {}
    for dose in DOSES:
        chosen = [low for low in lows if low.dose == dose]
        errors = [np.mean([-np.mean(accuracy(make(value)(low), low.case)[0]) for low in chosen]) for value in values]
        best[dose] = values[int(np.argmin(errors))]
    print(f"- {make.__name__.replace('_', ' ')}: " + ", ".join(f"{value:g} at {dose:.0%}" for dose, value in best.items()))
    return best.__getitem__


def accuracy(hu: Array, case: Case) -> tuple[list[float], list[float]]:
    """PSNR and SSIM of each slice."""
    clipped = [(np.clip(a, *WINDOW), np.clip(b, *WINDOW), m) for a, b, m in zip(hu, case.reference, case.body, strict=True)]
    peak = WINDOW[1] - WINDOW[0]
    return (
        [psnr(a, b, data_range=peak, mask=m) for a, b, m in clipped],
        [ssim(a, b, data_range=peak, mask=m) for a, b, m in clipped],
    )


def regions(hu: Array, case: Case) -> list[Array]:
    half = ROI // 2
    return [hu[i, r - half : r + half + 1, c - half : c + half + 1] for i, r, c, _ in case.places]


def biases(hu: Array, case: Case) -> dict[str, float]:
    """Mean error by tissue; the tissue is that of the smoothed reference, so its noise does not choose."""
    smooth = np.stack([ndimage.gaussian_filter(one, 1) for one in case.reference])
    inside = {name: case.body & (smooth > low) & (smooth < high) for name, (low, high) in TISSUES.items()}
    return {name: float((hu - case.reference)[mask].mean()) for name, mask in inside.items() if mask.sum() > 100}


def texture(first: Array, second: Array, case: Case) -> tuple[float, float]:
    """Standard deviation in HU and mean frequency in 1/mm of what differs between two realizations."""
    spectra, variances = [], []
    for a, b in zip(regions(first, case), regions(second, case), strict=True):
        noise = (a - b).astype(np.float64) / np.sqrt(2)
        frequency, power = noise_power_spectrum(noise, spacing=case.spacing)
        spectra.append(power)
        variances.append(noise.var())
    weight = frequency * np.mean(spectra, 0)
    return float(np.sqrt(np.mean(variances))), float((frequency * weight).sum() / weight.sum())


def observed(results: Sequence[tuple[Array, Case]]) -> Detectability:
    """Detectability of the discs, each patient's in units of its contrast."""
    sides: dict[bool, list[Array]] = {True: [], False: []}
    for hu, case in results:
        for place, region in zip(case.places, regions(hu, case), strict=True):
            sides[place[3]].append(region / case.contrast)
    channels = dense_gaussians((ROI, ROI), count=5, first=0.02, growth=1.5)
    return detectability(np.stack(sides[True]), np.stack(sides[False]), channels=channels)


def row(group: str, dose: float, name: str, method: Method, lows: Sequence[tuple[Low, Low]]) -> str:
    """One line of the table: a method on all patients of a group."""
    begun = time.process_time()
    results = [(method(first), method(second), first.case) for first, second in lows]
    seconds = (time.process_time() - begun) / sum(2 * len(first.hu) for first, _ in lows)
    scores = [accuracy(hu, case) for one in results for hu, case in ((one[0], one[2]), (one[1], one[2]))]
    levels = [f"{np.mean([value for score in scores for value in score[i]]):.{digits}f}" for i, digits in ((0, 2), (1, 3))]
    found = [biases(hu, one[2]) for one in results for hu in one[:2]]
    bias = [f"{np.mean([b[tissue] for b in found if tissue in b]):+.1f}" for tissue in TISSUES]
    noise, frequency = np.mean([texture(*one) for one in results], 0)
    seen = observed([(hu, one[2]) for one in results for hu in one[:2]])
    index = f"{seen.index:.2f} ({seen.interval[0]:.2f} to {seen.interval[1]:.2f})"
    cells = [group, f"{dose:.0%}", name, *levels, *bias, f"{noise:.1f}", f"{frequency:.3f}", index, f"{seconds:.3f}"]
    return "| " + " | ".join(cells) + " |"


def table(methods: dict[str, Callable[[float], Method]], slices: int) -> None:
    cases = {group: [case(patient, slices) for patient in patients] for group, patients in TEST.items()}
    for group, patients in TEST.items():
        for patient, one in zip(patients, cases[group], strict=True):
            full = noise_level(one.reference, one, 1.0)
            print(f"- {group}, {patient}: {one.scanner.photons:.2g} photons, noise {full:.1f} HU, discs {one.contrast:.1f} HU")
    seen = {group: observed([(one.reference, one) for one in found]) for group, found in cases.items()}
    for group, full_dose in seen.items():
        low, high = full_dose.interval
        print(f"- d' at full dose, {group}: {full_dose.index:.2f} ({low:.2f} to {high:.2f}), one realization")
    print(f"\n| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}")
    for group, found in cases.items():
        for dose in DOSES:
            lows = [(lowered(one, dose, 2), lowered(one, dose, 3)) for one in found]
            for name, make in methods.items():
                print(row(group, dose, name, make(dose), lows), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", default=[], help=MODEL)
    parser.add_argument("--raw", action="store_true", help="total variation from the raw data too, 8 s a slice")
    parser.add_argument("--slices", type=int, default=10, help="of each volume")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"Tuned on {', '.join(TUNING)} (strength in noise levels; for raw data as in `tv-ct`):\n")
    tuning = [case(patient, 3) for patient in TUNING]
    lows = [lowered(one, dose, 1) for one in tuning for dose in DOSES]
    nlm = tuned(non_local_means, (0.3, 0.45, 0.6, 0.8, 1.0, 1.3), lows)
    tv = tuned(total_variation, (0.3, 0.5, 0.75, 1.0, 1.4, 2.0), lows)
    methods: dict[str, Callable[[float], Method]] = {
        "FBP": lambda dose: as_it_is,
        "total variation": lambda dose: total_variation(tv(dose)),
        "non-local means": lambda dose: non_local_means(nlm(dose)),
    }
    if given.raw:
        raw = tuned(raw_total_variation, (1e-4, 2e-4, 4e-4, 8e-4), lows)
        methods["total variation, raw data"] = lambda dose: raw_total_variation(raw(dose))
    for said in given.model:
        name, _, rest = said.partition("=")
        title = " ".join([name, *(part for part in (Path(rest.partition(":")[0]).stem, rest.partition(":")[2]) if part)])
        methods[title] = lambda dose, said=said: learned(said)  # type: ignore[misc]
    print("\nTested:\n")
    table(methods, given.slices)


if __name__ == "__main__":
    main()
