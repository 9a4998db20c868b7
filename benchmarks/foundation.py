"""One frozen set of weights, the shipped denoiser, serving several jobs, against specialists that
are trained from scratch with the same number of steps and the same patients.

Jobs with a known operator (denoise, reconstruct, super-resolve) use the frozen denoiser as
it is, in the same solver in which the specialist, a denoiser trained on the patients of the job,
is used. Other jobs (complete FLAIR, segment lesions) train a head on its frozen features, and the
specialist is a U-Net of the same size, trained from scratch for at least as long. `embed` asks
whether features tell patients of two hospitals, and contrasts, without any training.

Everything is on a set that the denoiser never saw: TCGA-LGG, two hospitals, 8 bits, no skull, T1w,
FLAIR and T1c (benchmarks only). Few-shot: 1, 5 and 20 patients.

Usage: python benchmarks/foundation.py [WORK] [--patients 1 5 20] [--tested 8] [--steps 200]
       [--jobs denoise reconstruct super-resolve complete segment embed] [--table]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from adapt import DATA, patients
from torch import Tensor, nn
from torch.nn import functional

from veridical.generative.posterior import (
    LinearProblem,
    Settings,
    denoised_directly,
    plug_and_play,
)
from veridical.generative.preconditioned import Preconditioned, denoising_loss
from veridical.models.denoiser import Denoiser
from veridical.models.image_prior import ImagePrior
from veridical.models.weights import card, network
from veridical.nets.backbone import backbone
from veridical.physics.cartesian_mri import CartesianMRI
from veridical.physics.identity import Identity
from veridical.training.card_scores import t_interval
from veridical.training.denoising_samples import add_noise

SIDE, BATCH, SLICES = 96, 8, 2
"""Pixels of a patch; patches a step; slices tested of a patient."""
LEVEL = 0.05
"""Noise at which features are taken."""
MEASURED = ("denoise", "reconstruct", "super-resolve")
HEADED = ("complete", "segment")
RATE = {"specialist": 1e-3, "frozen": 3e-3}


def slices(case: str) -> dict[str, Tensor]:
    """T1w, FLAIR and T1c of a patient `(slice, 3, y, x)`, brightness of tissue about 0.6, and the
    lesion; the slices that show most of the head.
    """
    with np.load(DATA / f"{case}.npz", allow_pickle=False) as file:
        image, mask = file["image"].astype(np.float32), file["mask"] > 0
    shown = (image[:, 1] > 20).mean((1, 2))
    kept = np.flatnonzero(shown > 0.12)
    image, mask = image[kept][..., 16:-16, 16:-16], mask[kept][..., 16:-16, 16:-16]
    for channel in range(3):
        part = image[:, channel]
        image[:, channel] = 0.6 * part / np.median(part[part > 20])
    return {
        "image": torch.from_numpy(np.clip(image, 0, 2.5)),
        "mask": torch.from_numpy(mask.astype(np.float32)),
    }


def patches(cases: list[str], rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of patches and lesions without end."""
    every = [slices(case) for case in cases]
    while True:
        image, mask = [], []
        for _ in range(BATCH):
            one = every[int(rng.integers(len(every)))]
            number = int(rng.integers(len(one["image"])))
            y, x = (int(rng.integers(0, n - SIDE + 1)) for n in one["image"].shape[2:])
            flip = bool(rng.random() < 0.5)
            cut = (number, slice(None), slice(y, y + SIDE), slice(x, x + SIDE))
            a, b = one["image"][cut], one["mask"][number, y : y + SIDE, x : x + SIDE]
            image.append(a.flip(-1) if flip else a)
            mask.append(b.flip(-1) if flip else b)
        yield torch.stack(image), torch.stack(mask)


def shipped() -> Preconditioned:
    """The frozen backbone."""
    net = network("denoiser", Denoiser.build, "denoiser").eval()
    return net.requires_grad_(False)


def features(net: Preconditioned, images: Tensor) -> Tensor:
    """What the frozen backbone makes of images `(batch, contrast, y, x)` before its last layer,
    contrast by contrast, on the grid of the images.
    """
    found: list[Tensor] = []
    layer = net.backbone.leave  # type: ignore[union-attr]
    hook = layer.register_forward_pre_hook(  # type: ignore[union-attr, operator]
        lambda _, inputs: found.append(inputs[0])
    )
    flat = images.flatten(0, 1)[:, None, None]
    pair = torch.cat([flat, torch.zeros_like(flat)], 2)
    with torch.inference_mode():
        net(pair, torch.full((len(flat), 1, *flat.shape[-2:]), LEVEL))
    hook.remove()
    hidden = found[0].clone().unflatten(0, images.shape[:2]).flatten(1, 2)
    return functional.interpolate(hidden, images.shape[-2:], mode="bilinear")


class Frozen(nn.Module):
    """A head of two convolutions on the frozen features and the images themselves."""

    def __init__(self, net: Preconditioned, contrasts: int) -> None:
        super().__init__()
        self.net = [net]  # not a part that is trained
        width = net.backbone.leave.in_channels  # type: ignore[union-attr]
        self.head = nn.Sequential(
            nn.Conv2d(contrasts * (int(width) + 1), 48, 1),
            nn.SiLU(),
            nn.Conv2d(48, 1, 3, padding=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return `(batch, y, x)`."""
        seen = torch.cat([features(self.net[0], images).clone(), images], 1)
        out: Tensor = self.head(seen)[:, 0]
        return out


class Specialist(nn.Module):
    """A U-Net of the denoiser's size."""

    def __init__(self, contrasts: int) -> None:
        super().__init__()
        widths = tuple(card("denoiser")["net"]["widths"])
        self.net = backbone("unet", contrasts, 1, 1, {"widths": widths, "normalized": True})

    def forward(self, images: Tensor) -> Tensor:
        """Return `(batch, y, x)`."""
        out: Tensor = self.net(images, images.new_zeros(len(images), 1))[:, 0]
        return out


def trained(net: nn.Module, loss: Callable[[nn.Module, Any], Tensor], cases: list[str], steps: int,
            rate: float) -> float:  # fmt: skip
    """Train so many steps and return the seconds."""
    rng, begun = np.random.default_rng(0), time.perf_counter()
    left = [parameter for parameter in net.parameters() if parameter.requires_grad]
    optimizer, stream = torch.optim.Adam(left, lr=rate), patches(cases, rng)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 20, 2 * (1 - step / steps) + 0.02)
        optimizer.zero_grad(set_to_none=True)
        value = loss(net, next(stream))
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(left, 1.0)
        optimizer.step()
    net.eval()
    return time.perf_counter() - begun


def noise_loss(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """The loss of a denoiser on one contrast of each patch, of random brightness and noise."""
    images, seed = batch[0], int(1e3 * float(batch[0].sum())) % 2**31
    generator = torch.Generator().manual_seed(seed)
    which = torch.randint(images.shape[1], (len(images),), generator=generator)
    clean = images[torch.arange(len(images)), which][:, None]
    item = add_noise(clean, [False] * len(clean), generator)
    return denoising_loss(net(item.noisy, item.sigma), item.clean, item.sigma, item.real)


def head_loss(job: str) -> Callable[[nn.Module, Any], Tensor]:
    """The loss of a head: FLAIR from T1w and T1c, or the lesion from all three."""

    def complete(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return (net(batch[0][:, [0, 2]]) - batch[0][:, 1]).square().mean()

    def segment(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        logits, mask = net(batch[0]), batch[1]
        chance = logits.sigmoid()
        overlap = (2 * (chance * mask).sum() + 1) / (chance.sum() + mask.sum() + 1)
        return functional.binary_cross_entropy_with_logits(logits, mask) + 1 - overlap

    return complete if job == "complete" else segment


def measured(job: str, net: Preconditioned, case: str) -> float:
    """PSNR in dB (peak 1) of FLAIR and T1c in some slices of a patient."""
    images, prior, found = slices(case)["image"], ImagePrior(net), []
    for number in np.linspace(0, len(images) - 1, SLICES + 2).astype(int)[1:-1]:
        for channel in (1, 2):
            truth = images[number, channel]
            generator = torch.Generator().manual_seed(3 * int(number) + channel)
            with torch.inference_mode():
                found.append(decibel(solved(job, truth, prior, generator), truth))
    return float(np.mean(found))


def solved(job: str, truth: Tensor, prior: ImagePrior, generator: torch.Generator) -> Tensor:
    """What the prior makes of a noisy image, of a quarter of its k-space, or of its centre."""
    if job == "denoise":
        sigma = 0.07
        noisy = truth + sigma * torch.randn(truth.shape, generator=generator)
        problem = LinearProblem(Identity(tuple(truth.shape)), noisy, sigma, noisy)
        return denoised_directly(problem, prior, 2)
    rows, columns = truth.shape
    mask, sigma = torch.zeros(rows, columns), 0.01
    if job == "reconstruct":
        mask[::4] = 1
        mask[rows // 2 - 10 : rows // 2 + 10] = 1
    else:
        mask[rows // 4 : 3 * rows // 4, columns // 4 : 3 * columns // 4] = 1
    coil = torch.ones(1, 1, rows, columns, dtype=torch.complex64)
    operator = CartesianMRI(mask, coil)
    white = torch.randn(2, 1, rows, columns, generator=generator)
    data = operator.forward(truth[None].to(torch.complex64))
    data = data + sigma * mask * torch.complex(white[0], white[1])
    problem = LinearProblem(operator, data, sigma, operator.adjoint(data))
    return plug_and_play(problem, prior, Settings())[0].abs()


def decibel(image: Tensor, truth: Tensor) -> float:
    return float(-10 * (image - truth).square().mean().clamp_min(1e-9).log10())


def headed(job: str, net: nn.Module, case: str) -> float:
    """PSNR of FLAIR from T1w and T1c, or Dice of the lesion over a patient's slices."""
    known = slices(case)
    with torch.inference_mode():
        if job == "complete":
            made = torch.cat([net(part) for part in known["image"][:, [0, 2]].split(4)])
            return decibel(made, known["image"][:, 1])
        found = torch.cat([net(part) for part in known["image"].split(4)]) > 0
    both = float((found & (known["mask"] > 0)).sum())
    return 2 * both / max(float(found.sum() + known["mask"].sum()), 1.0)


def embedded(net: Preconditioned, cases: list[str]) -> dict[str, float]:
    """How often the nearest of the other patients, by pooled features, is of the same hospital, and
    how often the nearest image of another patient has the same contrast.
    """
    rows = []
    for case in cases:
        image = slices(case)["image"]
        middle = image[len(image) // 2][None]
        hidden = features(net, middle)[0].unflatten(0, (3, -1))
        inside = middle[0, 1] > 0.15
        rows.append(torch.cat([hidden[..., inside].mean(-1), hidden[..., inside].std(-1)], 1))
    every = torch.stack(rows)  # (patient, contrast, number)
    every = (every - every.mean((0, 1))) / (every.std((0, 1)) + 1e-6)
    site = np.array([case.split("_")[1] for case in cases])
    apart = torch.cdist(every.flatten(1), every.flatten(1)) + torch.eye(len(cases)) * 1e9
    same = float((site[apart.argmin(1).numpy()] == site).mean())
    flat, own = every.flatten(0, 1), torch.arange(len(cases)).repeat_interleave(3)
    far = torch.cdist(flat, flat) + (own[:, None] == own[None]) * 1e9
    contrast = torch.arange(3).repeat(len(cases))
    return {
        "hospital": same,
        "contrast": float((contrast[far.argmin(1)] == contrast).float().mean()),
    }


def rows_of(job: str, counts: list[int], given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield what the frozen backbone and the specialists reach in a job."""
    cases, frozen = patients(), shipped()
    tested = cases[-given.tested :]
    if job in MEASURED:
        yield line(job, "frozen", 0, 0.0, [measured(job, frozen, case) for case in tested])
        for count in counts:
            net, seconds = specialist(cases[:count], given)
            yield line(job, "specialist", count, seconds, [measured(job, net, c) for c in tested])
    elif job == "embed":
        net, seconds = specialist(cases[: max(counts)], given)
        for who, one in (("frozen", frozen), ("specialist", net)):
            for what, share in embedded(one, cases).items():
                yield line(f"embed: {what}", who, max(counts) * (who != "frozen"), seconds, [share])
    else:
        contrasts = 2 if job == "complete" else 3
        for count in counts:
            for who in ("frozen", "specialist"):
                torch.manual_seed(0)
                net = Frozen(frozen, contrasts) if who == "frozen" else Specialist(contrasts)
                seconds = trained(net, head_loss(job), cases[:count], given.steps, RATE[who])
                yield line(job, who, count, seconds, [headed(job, net, case) for case in tested])


KEPT: dict[int, tuple[Preconditioned, float]] = {}
"""Specialists that denoise, by how many patients they learned from."""


def specialist(cases: list[str], given: argparse.Namespace) -> tuple[Preconditioned, float]:
    """A denoiser of the same size from scratch, and the seconds that it took."""
    if len(cases) not in KEPT:
        torch.manual_seed(0)
        net = Denoiser.build(card("denoiser")["net"])
        seconds = trained(net, noise_loss, cases, given.steps, RATE["specialist"])
        KEPT[len(cases)] = net.requires_grad_(False), seconds
    return KEPT[len(cases)]


def line(job: str, who: str, count: int, seconds: float, scores: list[float]) -> dict[str, Any]:
    return {"job": job, "who": who, "patients": count, "seconds": round(seconds), "scores": scores}


def table(lines: list[dict[str, Any]]) -> str:
    """The table, with the difference to the specialist of as many patients."""
    rows = ["| job | patients | frozen backbone | specialist from scratch | frozen - specialist |",
            "|---|---|---|---|---|"]  # fmt: skip
    for job in dict.fromkeys(one["job"] for one in lines):
        mine = [one for one in lines if one["job"] == job]
        for other in (one for one in mine if one["who"] == "specialist"):
            own = next(
                one for one in mine
                if one["who"] == "frozen" and one["patients"] in (0, other["patients"])
            )  # fmt: skip
            apart = np.subtract(own["scores"], other["scores"])
            said = f"{apart.mean():+.2f}"
            if len(apart) > 1:
                low, high = t_interval([float(one) for one in apart])
                said += f" ({low:+.2f} to {high:+.2f})"
            rows.append(f"| {job} | {other['patients']} | {np.mean(own['scores']):.2f} | "
                        f"{np.mean(other['scores']):.2f} | {said} |")  # fmt: skip
    return "\n".join(rows)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("work", nargs="?", type=Path, default=Path("runs/foundation"))
    words.add_argument("--patients", type=int, nargs="+", default=[1, 5, 20])
    words.add_argument("--tested", type=int, default=8)
    words.add_argument("--steps", type=int, default=200)
    words.add_argument("--jobs", nargs="+", default=[*MEASURED, *HEADED, "embed"])
    words.add_argument("--table", action="store_true", help="print what was measured, and end")
    given = words.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    log = given.work / "foundation.jsonl"
    lines = [json.loads(one) for one in log.read_text().splitlines()] if log.is_file() else []
    for job in [] if given.table else given.jobs:
        for one in rows_of(job, given.patients, given):
            lines.append(one)
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(one) + "\n")
            print(json.dumps(one), flush=True)
    print(table(lines))


if __name__ == "__main__":
    main()
