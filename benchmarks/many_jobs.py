"""One prior, many jobs: the same shipped weights against classical methods and a specialist, on real patients.

Denoising at three levels and 2x and 4x super-resolution in plane (two IXI patients that were held out of training, T1w; two
openMS patients in MNI space that were never trained on, T2w), thick slices to isotropic (openMS). The classical rivals are told
the noise and tuned on other patients: non-local means, L1-wavelet, cubic spline. The specialist is the same network with an L1
loss, trained only to enhance, on as many lessons as the prior had of enhancement.

python benchmarks/many_jobs.py [--specialist WEIGHTS] [--every 12]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel
import numpy as np
import torch
from scipy import ndimage
from skimage.restoration import denoise_nl_means

from veridical import Enhance, Image
from veridical.datasets.lessons import cut_kspace, thicken
from veridical.metrics.psnr import psnr
from veridical.metrics.ssim import ssim
from veridical.tasks import imagewise
from veridical.tasks.imagewise import Degradation, Plan
from veridical.tasks.view import View, view
from veridical.types import Array, Geometry

DATA = Path(os.environ.get("VERIDICAL_DATA", "../shared/data"))
NOISE = (0.03, 0.07, 0.15)
FACTORS = (2, 4)
THICK = 4


@dataclass(frozen=True)
class Case:
    """A view of one patient in network units, one channel, and where the head is."""

    patient: str
    view: View
    channel: str
    inside: Array


def cases(every: int) -> list[Case]:
    """Return the test patients, every `every`-th slice."""
    files = [(p, "T1w") for n in ("IXI049", "IXI051") for p in (DATA / "ixi_t1_2mm/nifti").glob(f"{n}*")]
    files += [(p, "T2w") for p in sorted(DATA.glob("openms/cross_sectional_MNI/*/T2_*"))]
    found = []
    for path, channel in files:
        volume = nibabel.as_closest_canonical(nibabel.load(path))
        data = volume.get_fdata(dtype=np.float32)
        middle = slice(data.shape[2] // 4, 3 * data.shape[2] // 4, every if channel == "T2w" else every // 2)
        cut = data[:, :, middle]
        image = Image(cut[None], Geometry(cut.shape, volume.affine), "a.u.", (channel,))
        seen = view(image, axis=2)
        found.append(Case(path.name[:6] if channel == "T1w" else path.parent.name, seen, channel, seen.images[channel] > 0.1))
    return found


def solved(case: Case, poor: Array, how: Degradation, model: imagewise.ImageModel) -> tuple[Array, Array]:
    """Return the posterior mean and one draw, `(slice, y, x)`."""
    seen = replace(case.view, images={case.channel: poor})
    plan = Plan("enhance", degraded={case.channel: how})
    drawn = imagewise.solve(model, seen, plan, 8, 0, lambda *_: None, {})
    return drawn.mean[0], drawn.draws[0, 0].astype(np.float32)


def nlm(strength: float) -> Callable[[Array, float], Array]:
    """Return non-local means of a strength in noise deviations."""
    return lambda image, sigma: np.asarray(
        denoise_nl_means(image, patch_size=5, patch_distance=6, h=strength * sigma, sigma=sigma, fast_mode=True)
    )


def by_wavelet(image: Array, sigma: float) -> Array:
    """Return L1-wavelet denoising through the task."""
    seen = Image(image.T[None, :, :, None], Geometry((image.shape[1], image.shape[0], 1), np.eye(4)), "a.u.", ("T1w",))
    return np.asarray(Enhance(model="wavelet", noise=sigma)(seen).image.data[0, :, :, 0].T)


def score(truth: Array, made: Array, inside: Array) -> tuple[float, float, float]:
    """Return PSNR, SSIM and the share of the truth's finest detail energy that is left."""
    values = [[], []]
    for t, m, i in zip(truth, made, inside, strict=True):
        args = [a.T[None, :, :, None] for a in (m, t)]
        values[0].append(psnr(args[0], args[1], data_range=1.0, mask=i.T[:, :, None]))
        values[1].append(ssim(args[0], args[1], data_range=1.0, mask=i.T[:, :, None]))
    fine = [float((np.square(x - ndimage.gaussian_filter(x, (0, 1, 1)))[inside]).mean()) for x in (made, truth)]
    return float(np.mean(values[0])), float(np.mean(values[1])), fine[0] / fine[1]


def tuned(tuning: Array, sigma: float) -> float:
    """Return the strength of non-local means that suits another patient best."""
    rng = np.random.default_rng(1)
    noisy = np.hypot(tuning + sigma * rng.standard_normal(tuning.shape), sigma * rng.standard_normal(tuning.shape))
    errors = {h: float(((nlm(h)(noisy, sigma) - tuning) ** 2).mean()) for h in (0.5, 0.7, 0.9, 1.1)}
    return min(errors, key=lambda h: errors[h])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--specialist", default="")
    parser.add_argument("--every", type=int, default=12)
    args = parser.parse_args()
    torch.set_num_threads(1)
    prior = imagewise.image_model("brain-prior", "", steps=4)
    models = {"prior": prior}
    if args.specialist:
        models["specialist"] = imagewise.image_model("regressor", args.specialist)
    other = nibabel.load(next((DATA / "ixi_t1_2mm/nifti").glob("IXI012*"))).get_fdata(dtype=np.float32)
    tuning = view(Image(other[None, :, :, 45:46], Geometry((*other.shape[:2], 1), np.eye(4), "index"), "a.u.", ("T1w",)))
    print("| job | patient | method | PSNR dB | SSIM | fine detail | s a slice |")
    print("|---|---|---|---|---|---|---|")
    for case in cases(args.every):
        truth = case.view.images[case.channel]
        rng = np.random.default_rng(3)
        for sigma in NOISE:
            noisy = np.hypot(truth + sigma * rng.standard_normal(truth.shape), sigma * rng.standard_normal(truth.shape))
            noisy = noisy.astype(np.float32)
            strength = tuned(tuning.images["T1w"][0], sigma)
            rivals = {"noisy": lambda i, s: i, "non-local means": nlm(strength), "L1-wavelet": by_wavelet}
            report(case, f"noise {sigma:g}", noisy, Degradation("noise", sigma), rivals, models, sigma)
        for factor in FACTORS:
            poor = cut_kspace(torch.from_numpy(truth), (1 / factor, 1 / factor)).numpy()
            rivals = {"zero-filled": lambda i, s: i, "cubic spline": lambda i, s, f=factor: spline(i, f)}
            report(case, f"{factor}x in plane", poor, Degradation("blur", 0.005, factor), rivals, models, 0.0)
        thick = thicken(torch.from_numpy(truth), THICK, -1, 0.5).numpy()
        report(case, f"{THICK}x thick", thick, Degradation("thick", 0.005, THICK), {"linear": lambda i, s: i}, models, 0.0)


def spline(image: Array, factor: int) -> Array:
    """Return the cubic spline through every `factor`-th sample of a band-limited slice."""
    coarse = image[::factor, ::factor]
    rows, columns = np.meshgrid(*[np.arange(n) / factor for n in image.shape], indexing="ij")
    return np.asarray(ndimage.map_coordinates(coarse, [rows, columns], order=3, mode="nearest"))


def report(
    case: Case, job: str, poor: Array, how: Degradation, rivals: dict[str, Callable[[Array, float], Array]],
    models: dict[str, imagewise.ImageModel], sigma: float,
) -> None:  # fmt: skip
    """Print a row for each method."""
    truth = case.view.images[case.channel]
    rows: dict[str, tuple[Array, float]] = {}
    for name, rival in rivals.items():
        start = time.perf_counter()
        made = np.stack([rival(one, sigma) for one in poor])
        rows[name] = made, time.perf_counter() - start
    for name, model in models.items():
        start = time.perf_counter()
        mean, draw = solved(case, poor, how, model)
        rows[f"{name}, mean" if model.stochastic else name] = mean, time.perf_counter() - start
        if model.stochastic:
            rows[f"{name}, one draw"] = draw, time.perf_counter() - start
    for name, (made, seconds) in rows.items():
        db, similarity, fine = score(truth, made, case.inside)
        print(
            f"| {job} | {case.patient} | {name} | {db:.2f} | {similarity:.3f} | {fine:.2f} | {seconds / len(truth):.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
