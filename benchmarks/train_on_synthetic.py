"""Train on synthetic, test on real: a segmenter of structures learns from imagined heads, from as
many real ones, or from both, and is tried on real heads that none of them saw.

python benchmarks/train_on_synthetic.py FOLDER [--steps 500] [--seeds 3]

FOLDER is what `veridical synthesize FOLDER --n 200 --contrasts T1w --spacing 2 --pathology none`
wrote. Real: ten healthy T1w at 2 mm (IXI) with labels by another network (DLMUSE); each seed halves
them anew, five to train on, five to try. Labels of the imagined heads are FreeSurfer's, whose
structures are cut a little differently. Every arm has the same small U-Net on axial slices with
their neighbours, as many steps, and the same strong augmentation (mirrored, turned, scaled, gamma,
shading, blur, noise). Dice, mean ± SD over seeds of the mean over five patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from patients import arguments, parsed, say, spread, table
from segmentation import MUSE, ixi
from torch import Tensor
from torch.nn import functional

from veridical.io.files import read
from veridical.nets.unet import UNet
from veridical.phantoms.label_maps import NAMES as STRUCTURES
from veridical.preprocessing.preprocessing import Preprocessing
from veridical.types import Array, Image

NAMES = tuple(MUSE)
SIDE, BATCH, RATE, HALF = (112, 96), 8, 2e-3, 5
NONE = torch.zeros(1, 1)


@dataclass(frozen=True, eq=False)
class Head:
    """Axial slices `(slice, y, x)` in network units; positions in NAMES from 1 on, 0 elsewhere."""

    slices: Array
    labels: Array


def head(image: Image, labels: Array, numbers: list[list[int]]) -> Head:
    """Return a head with its structures, a list of label numbers each."""
    prepared = Preprocessing()(image)
    mapped = np.zeros(labels.shape, np.float32)
    for place, those in enumerate(numbers):
        mapped[np.isin(labels, those)] = place + 1
    cut = np.stack([np.asarray(prepared.cut(mapped == n)) for n in range(len(numbers) + 1)])
    shown = prepared.images["T1w"]
    inside = np.flatnonzero((cut[1:] > 0.5).any((0, 2, 3)))
    kept = slice(max(inside[0] - 2, 0), inside[-1] + 3)
    return Head(shown[kept].astype(np.float32), cut[:, kept].argmax(0).astype(np.int64))


def real() -> list[Head]:
    numbers = [list(those) for those in MUSE.values()]
    return [head(image, labels, numbers) for _, image, labels in ixi(10)]


def imagined(folder: Path) -> list[Head]:
    numbers = [[STRUCTURES.index(name)] for name in NAMES]
    found = []
    for path in sorted(folder.glob("sub-*/anat/*_T1w.nii.gz")):
        image = read(path, contrast="T1w")
        labels = read(next(path.parent.glob("*dseg.nii.gz")), units="label")
        assert isinstance(image, Image)
        assert isinstance(labels, Image)
        found.append(head(image, np.asarray(labels.data[0]).astype(int), numbers))
    return found


def drawn(heads: list[Head], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return one augmented slice `(3, y, x)` with its labels `(y, x)`."""
    one = heads[int(rng.integers(len(heads)))]
    middle = int(rng.integers(len(one.slices)))
    last = len(one.slices) - 1
    image = torch.from_numpy(one.slices[[max(middle - 1, 0), middle, min(middle + 1, last)]])
    labels = torch.from_numpy(one.labels[middle])[None].float()
    turn, scale = rng.normal(0, 0.15), np.exp(rng.normal(0, 0.1))
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    flip = -1.0 if rng.random() < 0.5 else 1.0
    (rows, columns), (high, wide) = SIDE, image.shape[-2:]
    theta = torch.tensor(
        [
            [flip * cos * columns / wide, -sin * rows / wide, rng.uniform(-0.1, 0.1)],
            [flip * sin * columns / high, cos * rows / high, rng.uniform(-0.1, 0.1)],
        ]
    ).float()
    grid = functional.affine_grid(theta[None], [1, 1, *SIDE], align_corners=False)
    shown = functional.grid_sample(image[None], grid, align_corners=False)[0]
    known = functional.grid_sample(labels[None], grid, mode="nearest", align_corners=False)[0, 0]
    coarse = torch.from_numpy(rng.normal(0, 0.25, (1, 1, 4, 4)).astype(np.float32))
    shading = functional.interpolate(coarse, SIDE, mode="bicubic", align_corners=True)[0].exp()
    shown = shading * shown.clamp_min(0) ** float(np.exp(rng.normal(0, 0.25)))
    if rng.random() < 0.3:
        shown = functional.avg_pool2d(shown, 3, 1, 1)
    noise = rng.uniform(0, 0.05) * rng.standard_normal(shown.shape)
    return shown + torch.from_numpy(noise.astype(np.float32)), known.long()


def learned(heads: list[Head], steps: int, seed: int) -> UNet:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = UNet(3, len(NAMES) + 1, 1, (24, 32, 48, 64), 1, normalized=True)
    optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps)
    for _ in range(steps):
        images, labels = map(
            torch.stack, zip(*(drawn(heads, rng) for _ in range(BATCH)), strict=True)
        )
        out = net(images, NONE.expand(BATCH, 1))
        hot = functional.one_hot(labels, len(NAMES) + 1).movedim(-1, 1).float()
        share = out.softmax(1)
        both = 2 * (share * hot).sum((0, 2, 3)) + 1
        overlap = both / (share.sum((0, 2, 3)) + hot.sum((0, 2, 3)) + 1)
        loss = functional.cross_entropy(out, labels) + 1 - overlap[1:].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval()


def scored(net: UNet, heads: list[Head]) -> list[float]:
    """Return the mean Dice over heads of each structure."""
    every = []
    for one in heads:
        around = np.pad(one.slices, ((1, 1), (0, 0), (0, 0)), mode="edge")
        stack = torch.from_numpy(np.stack([around[:-2], around[1:-1], around[2:]], 1))
        with torch.inference_mode():
            found = torch.cat(
                [net(part, NONE.expand(len(part), 1)).argmax(1) for part in stack.split(16)]
            ).numpy()
        every.append(
            [
                2
                * float(((found == n) & (one.labels == n)).sum())
                / max(float((found == n).sum() + (one.labels == n).sum()), 1.0)
                for n in range(1, len(NAMES) + 1)
            ]
        )
    return [float(value) for value in np.mean(every, 0)]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("folder", type=Path, help="imagined heads")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=3)
    given = parsed(parser)
    steps, seeds = (3, 1) if given.quick else (given.steps, given.seeds)
    true, made = real(), imagined(given.folder)
    say(f"{len(true)} real, {len(made)} imagined heads")
    rows: dict[str, list[list[float]]] = {}
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(true))
        train, test = ([true[i] for i in part] for part in (order[:HALF], order[HALF:]))
        few = [made[i] for i in np.random.default_rng(seed).permutation(len(made))[:HALF]]
        arms = {
            f"{HALF} real": train,
            f"{HALF} imagined": few,
            f"{len(made)} imagined": made,
            f"{HALF} real, {HALF} imagined": train + few,
            f"{HALF} real, {len(made)} imagined, half of the slices each": train
            * (len(made) // HALF)
            + made,
        }
        for name, heads in arms.items():
            rows.setdefault(name, []).append(scored(learned(heads, steps, seed), test))
            say(f"seed {seed}: {name}: {np.mean(rows[name][-1]):.3f}")
    print(
        table(
            ["trained on", "mean", *NAMES],
            [
                [name, spread([float(np.mean(one)) for one in found], 3)]
                + [f"{value:.2f}" for value in np.mean(found, 0)]
                for name, found in rows.items()
            ],
        )
    )


if __name__ == "__main__":
    main()
