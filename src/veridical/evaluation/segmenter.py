"""A small segmenter, trained on real images by the evaluation itself: does it find in made images
what it finds in real ones?

A 2.5D U-Net, the same for every candidate, trained on real patients other than those it is tried
on. It stands for any downstream reader of the images; its own skill is measured on the real images
and is the floor.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from veridical.errors import InputError
from veridical.evaluation.regions import whole_numbers
from veridical.evaluation.sources import Source
from veridical.nets.unet import UNet
from veridical.task import Progress
from veridical.types import Array, Image

NEIGHBOURS = 1
"""Slices to each side that are shown with a slice."""
CROP = 160
"""Side of the training crops, in voxels; smaller images are taken whole."""
BATCH = 8
MOST_SLICES = 1200
"""Training slices kept in memory, half of them with a structure where there are so many."""
WIDTHS = (24, 48, 96)


@dataclass(frozen=True, eq=False)
class Segmenter:
    """Image in, label map `(x, y, z)` out.

    Args:
        net: the trained network.
        labels: label of every output channel, the first is the background.
    """

    net: UNet
    labels: tuple[int, ...]

    def __call__(self, image: Image) -> Array:
        """Return the label map of an image with the channels that it was trained on."""
        return np.asarray(
            np.array(self.labels, dtype=np.int16)[self.probabilities(image).argmax(axis=0)]
        )

    def probabilities(self, image: Image) -> Array:
        """Return the probability of every label, `(label, x, y, z)`, the background first."""
        slabs = _slabs(scaled(image))
        answers = []
        with torch.inference_mode():
            for z, slab in enumerate(slabs):
                where = torch.tensor([[_height(z, len(slabs))]], dtype=torch.float32)
                answers.append(self.net(torch.from_numpy(slab)[None], where)[0].softmax(0))
        return np.asarray(torch.stack(answers, dim=-1).numpy())

    def sha256(self) -> str:
        """Return the hash of its weights."""
        found = hashlib.sha256()
        for name, tensor in sorted(self.net.state_dict().items()):
            found.update(name.encode() + tensor.contiguous().numpy().tobytes())
        return found.hexdigest()


def train(
    images: Mapping[str, Source],
    labels: Mapping[str, Source],
    steps: int,
    seed: int,
    progress: Progress,
) -> Segmenter:
    """Train on all cases that have a label map.

    Args:
        images, labels: by case.
        steps: of 8 crops each.
        seed: same seed, machine kind and thread count: same weights.
        progress: called as work goes on.

    Raises:
        InputError: fewer than two cases with labels, or no structure in any of them.
    """
    shared = sorted(set(images) & set(labels))
    if len(shared) < 2:
        raise InputError(
            f"A segmenter needs two training cases with labels; {len(images)} images and "
            f"{len(labels)} label maps share "
            f"{len(shared)} names. Name them alike."
        )
    rng = np.random.default_rng(seed)
    slabs, targets, heights, values = _slices(images, labels, shared, rng, progress)
    if len(values) < 2:
        raise InputError(
            f"The label maps of {', '.join(shared[:3])} and the other training cases hold no "
            "structure, only 0."
        )
    torch.manual_seed(seed)
    net = UNet(slabs[0].shape[0], len(values), 1, WIDTHS, blocks=1).to(
        memory_format=torch.channels_last
    )  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 2e-3, total_steps=steps, pct_start=0.1
    )
    filled = [i for i, target in enumerate(targets) if target.any()]
    for step in range(steps):
        picked = [
            int(rng.choice(filled) if k % 2 else rng.integers(len(slabs))) for k in range(BATCH)
        ]
        x, y = zip(*(_crop(slabs[i], targets[i], rng) for i in picked), strict=True)
        where = torch.tensor([[heights[i]] for i in picked], dtype=torch.float32)
        loss = _loss(net(torch.from_numpy(np.stack(x)), where), torch.from_numpy(np.stack(y)))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        progress("training the segmenter", step + 1, steps)
    return Segmenter(net.eval(), values)


def identity(
    images: Mapping[str, Source], labels: Mapping[str, Source], steps: int, seed: int
) -> str:
    """Return a hash of what a segmenter would be trained on and how."""
    files = [
        (name, images[name].sha256(), labels[name].sha256())
        for name in sorted(set(images) & set(labels))
    ]
    return hashlib.sha256(f"{files}{steps}{seed}{WIDTHS}{CROP}{BATCH}".encode()).hexdigest()


def save(segmenter: Segmenter, path: Path) -> None:
    """Write the weights; they appear whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    save_file(
        {name: tensor.contiguous() for name, tensor in segmenter.net.state_dict().items()},
        temporary,
        {
            "labels": ",".join(map(str, segmenter.labels)),
            "inputs": str(segmenter.net.enter.in_channels // 4),
        },
    )
    temporary.replace(path)


def load(path: Path) -> Segmenter:
    """Read what `save` wrote."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        said = file.metadata()
    labels = tuple(int(value) for value in said["labels"].split(","))
    net = UNet(int(said["inputs"]), len(labels), 1, WIDTHS, blocks=1)
    net.load_state_dict(load_file(path))
    return Segmenter(net.to(memory_format=torch.channels_last).eval(), labels)  # type: ignore[call-overload]


def scaled(image: Image) -> Array:
    """Return the image by its own 1st and 99.5th percentile in each channel, `(channel, x, y, z)`
    float32.
    """
    data = image.data.astype(np.float32)
    ends = np.percentile(data.reshape(len(data), -1), (1, 99.5), axis=1)
    low, high = (end[:, None, None, None].astype(np.float32) for end in ends)
    return np.asarray(np.clip((data - low) / np.maximum(high - low, 1e-6), -0.5, 2.0))


def _slabs(data: Array) -> list[Array]:
    """Return every slice with its neighbours as channels, `(channels, x, y)`; the ends are
    repeated.
    """
    padded = np.pad(data, ((0, 0), (0, 0), (0, 0), (NEIGHBOURS, NEIGHBOURS)), mode="edge")
    width = 2 * NEIGHBOURS + 1
    return [
        np.ascontiguousarray(
            padded[..., z : z + width].transpose(0, 3, 1, 2).reshape(-1, *data.shape[1:3])
        )
        for z in range(data.shape[3])
    ]


def _height(z: int, slices: int) -> float:
    return 2 * (z + 0.5) / slices - 1


def _slices(
    images: Mapping[str, Source],
    labels: Mapping[str, Source],
    names: list[str],
    rng: np.random.Generator,
    progress: Progress,
) -> tuple[list[Array], list[Array], list[float], tuple[int, ...]]:
    """Return slabs, targets as class numbers, heights, and the label of every class."""
    slabs: list[Array] = []
    targets: list[Array] = []
    heights: list[float] = []
    for done, name in enumerate(names, 1):
        image, truth = images[name].load(), labels[name].load()
        if image.geometry.shape != truth.geometry.shape:
            raise InputError(
                f"{name}: the image is {image.geometry}, its labels are {truth.geometry}. Resample "
                "the labels."
            )
        parts, classes = _slabs(scaled(image)), whole_numbers(truth.data[0]).astype(np.int64)
        order = rng.permutation(len(parts))
        keep = sorted(
            sorted(order, key=lambda z: not classes[:, :, z].any())[
                : max(1, MOST_SLICES // len(names))
            ]
        )
        slabs += [parts[z] for z in keep]
        targets += [classes[:, :, z] for z in keep]
        heights += [_height(z, len(parts)) for z in keep]
        progress("reading training cases", done, len(names))
    values = sorted({int(value) for target in targets for value in np.unique(target)} | {0})
    return slabs, [np.searchsorted(values, target) for target in targets], heights, tuple(values)


def _crop(slab: Array, target: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return a crop around a structure or anywhere, mirrored, with another gain, contrast and
    noise.
    """
    size = [min(CROP, n - n % 8) for n in target.shape]
    inside = np.argwhere(target)
    middle = inside[rng.integers(len(inside))] if len(inside) else rng.integers(0, target.shape)
    start = [
        int(np.clip(m - s // 2 + rng.integers(-s // 4, s // 4 + 1), 0, n - s))
        for m, s, n in zip(middle, size, target.shape, strict=True)
    ]
    window = tuple(slice(a, a + s) for a, s in zip(start, size, strict=True))
    x, y = slab[(slice(None), *window)], target[window]
    if rng.random() < 0.5:
        x, y = x[:, ::-1], y[::-1]
    if rng.random() < 0.5:
        x, y = x[:, :, ::-1], y[:, ::-1]
    gamma, gain = np.exp(rng.normal(0, 0.25)), np.exp(rng.normal(0, 0.1))
    x = gain * np.sign(x) * np.abs(x) ** gamma + rng.normal(0, 0.03 * rng.random(), x.shape)
    return np.ascontiguousarray(x, dtype=np.float32), np.ascontiguousarray(y)


def _loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy plus soft Dice over the structures (Milletari et al. 2016, arXiv
    1606.04797).
    """
    probability = logits.softmax(1)[:, 1:]
    truth = functional.one_hot(target, logits.shape[1]).movedim(-1, 1)[:, 1:].to(probability.dtype)
    overlap = (probability * truth).sum((0, 2, 3))
    dice = (2 * overlap + 1) / (probability.sum((0, 2, 3)) + truth.sum((0, 2, 3)) + 1)
    return functional.cross_entropy(logits, target) + (1 - dice).mean()
