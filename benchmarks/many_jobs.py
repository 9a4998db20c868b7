"""One prior, many jobs: the same shipped weights against classical methods and specialists, on real patients.

Denoising at three levels and 2x and 4x super-resolution in plane (two IXI patients that were held out of training, T1w; two
openMS patients in MNI space that were never trained on, T2w), thick slices to isotropic. The classical rivals are told the
noise and tuned on other patients: non-local means, L1-wavelet, cubic spline. The specialists are the same network with an L1
loss, one trained only on noise, one only on blur, on as many such lessons as the prior had (recipes/brain-denoiser.toml,
recipes/brain-upsampler.toml; one whose weights are not there is left out). Prints means over patients with their range; and,
since four patients carry no verdict, those of `veridical evaluate` on FLAIRs of twenty glioma patients that trained nothing
here, three slices each, whose lesions a segmenter trained on the other site's reads.

python benchmarks/many_jobs.py [--specialists RUNS] [--every 12] [--verdicts]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import completion as shared
import completion_lgg as glioma
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
SPECIALISTS = {"noise": "brain-denoiser", "blur": "brain-upsampler"}
Images = dict[str, Array]
"""Method -> `(slice, y, x)`."""


@dataclass(frozen=True)
class Case:
    """A view of one patient in network units, one channel, and where the head is."""

    patient: str
    view: View
    channel: str
    inside: Array

    @property
    def truth(self) -> Array:
        """`(slice, y, x)`."""
        return self.view.images[self.channel]


@dataclass(frozen=True, eq=False)
class Job:
    """One job: what is degraded how, by patient, and what its rivals do about it."""

    name: str
    how: Degradation
    poor: Callable[[Array], Array]
    rivals: dict[str, Callable[[Array], Array]]
    made: dict[str, Images] = field(default_factory=dict)
    """Patient -> images of every method."""


def case(path: Path, channel: str, every: int) -> Case:
    """Return the middle slices of a volume, every n-th."""
    volume = nibabel.as_closest_canonical(nibabel.load(path))
    data = volume.get_fdata(dtype=np.float32)
    middle = slice(data.shape[2] // 4, 3 * data.shape[2] // 4, every if channel == "T2w" else every // 2)
    cut = data[:, :, middle]
    seen = view(Image(cut[None], Geometry(cut.shape, volume.affine), "a.u.", (channel,)), axis=2)
    return Case(path.parent.name if channel == "T2w" else path.name[:6], seen, channel, seen.images[channel] > 0.1)


def cases(every: int) -> list[Case]:
    """Return the test patients, every `every`-th slice."""
    files = [(p, "T1w") for n in ("IXI049", "IXI051") for p in (DATA / "ixi_t1_2mm/nifti").glob(f"{n}*")]
    files += [(p, "T2w") for p in sorted(DATA.glob("openms/cross_sectional_MNI/*/T2_*"))]
    return [case(path, channel, every) for path, channel in files]


def solved(case: Case, poor: Array, how: Degradation, model: imagewise.ImageModel) -> tuple[Array, Array]:
    """Return the posterior mean and one draw, `(slice, y, x)`."""
    seen = replace(case.view, images={case.channel: poor})
    plan = Plan("enhance", degraded={case.channel: how})
    drawn = imagewise.solve(model, seen, plan, 8, 0, lambda *_: None, {})
    return drawn.mean[0], drawn.draws[0, 0].astype(np.float32)


def nlm(strength: float, sigma: float) -> Callable[[Array], Array]:
    """Return non-local means of a strength in noise deviations."""
    return lambda image: np.asarray(
        denoise_nl_means(image, patch_size=5, patch_distance=6, h=strength * sigma, sigma=sigma, fast_mode=True)
    )


def by_wavelet(sigma: float) -> Callable[[Array], Array]:
    """Return L1-wavelet denoising through the task."""

    def apply(image: Array) -> Array:
        seen = Image(image.T[None, :, :, None], Geometry((image.shape[1], image.shape[0], 1), np.eye(4)), "a.u.", ("T1w",))
        return np.asarray(Enhance(model="wavelet", noise=sigma)(seen).image.data[0, :, :, 0].T)

    return apply


def noisy(truth: Array, sigma: float, seed: int = 3) -> Array:
    """Return images with Rician noise."""
    rng = np.random.default_rng(seed)
    real, imaginary = (sigma * rng.standard_normal(truth.shape) for _ in range(2))
    return np.hypot(truth + real, imaginary).astype(np.float32)


def score(truth: Array, made: Array, inside: Array) -> tuple[float, float, float]:
    """Return PSNR, SSIM and the share of the truth's finest detail energy that is left."""
    values = [[], []]
    for t, m, i in zip(truth, made, inside, strict=True):
        args = [a.T[None, :, :, None] for a in (m, t)]
        values[0].append(psnr(args[0], args[1], data_range=1.0, mask=i.T[:, :, None]))
        values[1].append(ssim(args[0], args[1], data_range=1.0, mask=i.T[:, :, None]))
    fine = [float((np.square(x - ndimage.gaussian_filter(x, (0, 1, 1)))[inside]).mean()) for x in (made, truth)]
    return float(np.mean(values[0])), float(np.mean(values[1])), fine[0] / fine[1]


def coarser(truth: Array, factor: int) -> Array:
    """Return images of a lower resolution in plane, zero-filled."""
    return cut_kspace(torch.from_numpy(truth), (1 / factor, 1 / factor)).numpy()


def thickened(truth: Array) -> Array:
    """Return images averaged along x over `THICK` pixels, interpolated."""
    return thicken(torch.from_numpy(truth), THICK, -1, 0.5).numpy()


def tuned(tuning: Array, sigma: float) -> float:
    """Return the strength of non-local means that suits another patient best."""
    poor = noisy(tuning, sigma, 1)
    errors = {h: float(((nlm(h, sigma)(poor) - tuning) ** 2).mean()) for h in (0.5, 0.7, 0.9, 1.1)}
    return min(errors, key=lambda h: errors[h])


def spline(image: Array, factor: int) -> Array:
    """Return the cubic spline through every `factor`-th sample of a band-limited slice."""
    coarse = image[::factor, ::factor]
    rows, columns = np.meshgrid(*[np.arange(n) / factor for n in image.shape], indexing="ij")
    return np.asarray(ndimage.map_coordinates(coarse, [rows, columns], order=3, mode="nearest"))


def jobs(tuning: Array) -> list[Job]:
    """Return all jobs; non-local means is tuned on the slice `(y, x)` of another patient."""
    found = []
    for sigma in NOISE:
        rivals = {"noisy": lambda i: i, "non-local means": nlm(tuned(tuning, sigma), sigma), "L1-wavelet": by_wavelet(sigma)}
        found.append(Job(f"noise {sigma:g}", Degradation("noise", sigma), lambda x, s=sigma: noisy(x, s), rivals))
    for factor in FACTORS:
        rivals = {"zero-filled": lambda i: i, "cubic spline": lambda i, f=factor: spline(i, f)}
        how = Degradation("blur", 0.005, factor)
        found.append(Job(f"{factor}x in plane", how, lambda x, f=factor: coarser(x, f), rivals))
    found.append(Job(f"{THICK}x thick", Degradation("thick", 0.005, THICK), thickened, {"linear": lambda i: i}))
    return found


def do(job: Job, one: Case, models: dict[str, imagewise.ImageModel]) -> None:
    """Do a job on a patient by every method."""
    begin, poor = time.perf_counter(), job.poor(one.truth)
    job.made[one.patient] = made = {name: np.stack([rival(x) for x in poor]) for name, rival in job.rivals.items()}
    for name, model in models.items():
        if name == "prior" or name == f"{job.how.kind} specialist":
            mean, draw = solved(one, poor, job.how, model)
            made |= {"prior, mean": mean, "prior, one draw": draw} if model.stochastic else {name: mean}
    print(f"{job.name}, {one.patient}: {time.perf_counter() - begin:.1f} s for {len(poor)} slices", file=sys.stderr, flush=True)


def rows(job: Job, tested: list[Case]) -> list[list[str]]:
    """Return a row for each method: means over patients, the range of PSNR."""
    found = []
    for method in job.made[tested[0].patient]:
        scores = np.array([score(one.truth, job.made[one.patient][method], one.inside) for one in tested])
        db, similarity, fine = scores.mean(0)
        ends = f"{scores[:, 0].min():.2f} to {scores[:, 0].max():.2f}"
        found.append([job.name, method, str(len(tested)), f"{db:.2f} ({ends})", f"{similarity:.3f}", f"{fine:.2f}"])
    return found


def verdicts(todo: list[Job], models: dict[str, imagewise.ImageModel]) -> str:
    """Judge what is made of glioma patients' FLAIRs at three levels."""
    net = imagewise.facts(models["prior"])
    prior = shared.Prior(net.channels, net.prior_mean, net.prior_std)
    train, test = glioma.split(("TCGA_DU",))
    testing, training, text = glioma.parts(test, prior, 3), glioma.parts(train, prior, 12), ""
    for job in todo:
        for part in testing:
            image = part.images["FLAIR"]
            same = View({"FLAIR": image}, {"FLAIR": 1.0}, (5.0, 0.94, 0.94), lambda a: a, lambda a: a)
            do(job, Case(part.patient, same, "FLAIR", part.brain), models)
        kept = [name for name in job.made[testing[0].patient] if name not in ("noisy", "L1-wavelet", "zero-filled")]
        made = {name: {("FLAIR", part.patient): job.made[part.patient][name] for part in testing} for name in kept}
        text += f"\n#### {job.name}\n\n{glioma.judged(made, testing, training)}"
    return text


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--specialists", type=Path)
    words.add_argument("--every", type=int, default=12)
    words.add_argument("--verdicts", action="store_true")
    given = words.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    models = {"prior": imagewise.image_model("brain-prior", "", steps=4)}
    for kind, name in SPECIALISTS.items() if given.specialists else ():
        if (file := given.specialists / name / f"{name}.safetensors").is_file():
            models[f"{kind} specialist"] = imagewise.image_model("regressor", str(file))
    tested = cases(given.every)
    tuning = case(next((DATA / "ixi_t1_2mm/nifti").glob("IXI012*")), "T1w", given.every).truth
    todo = jobs(tuning[len(tuning) // 2])
    for job in todo:
        for one in tested:
            do(job, one, models)
    head = ["job", "method", "patients", "PSNR dB", "SSIM", "fine detail"]
    print(shared.table(head, [row for job in todo for row in rows(job, tested)]), flush=True)
    if given.verdicts:
        print(verdicts([job for job in todo if job.name in ("noise 0.07", "2x in plane")], models))


if __name__ == "__main__":
    main()
