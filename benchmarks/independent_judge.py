"""What a network of others, trained on real T1w, finds in images that were made: are structures
where they should be?

python benchmarks/independent_judge.py PEERS [--imagined FOLDER] [--heads 3] [--weights brain]

PEERS/brainchop/model30chan18cls is MeshNet of brainchop (MIT licence), read in place. It knows
nothing of us. Imagined heads, in FOLDER from `veridical synthesize`, against their own label maps;
real heads (IXI) against labels of a third network (DLMUSE): if imagined heads are as good, its Dice
is as high. Completed: T1w of a patient with multiple sclerosis made from T2w and FLAIR, against
what it finds in the true T1w. Mean ± SD over heads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from patients import arguments, openms_visits, parsed, say, spread, table
from scipy import ndimage
from segmentation import MUSE, dice, ixi
from torch import Tensor, nn
from torch.nn import functional

from veridical.io.files import read
from veridical.phantoms.label_maps import NAMES as STRUCTURES
from veridical.tasks.complete import Complete
from veridical.types import Array, Geometry, Image

THEIRS: Mapping[str, Sequence[int]] = {
    "white matter": (1,),
    "cortex": (2,),
    "lateral ventricle": (3, 4),
    "cerebellar white matter": (5,),
    "cerebellar cortex": (6,),
    "thalamus": (7,),
    "caudate": (8, 16),
    "putamen": (9,),
    "pallidum": (10,),
    "third and fourth ventricle": (11, 12),
    "brain stem": (13,),
    "hippocampus and amygdala": (14, 15),
}
"""Structure -> numbers of the judge's classes; the ventral diencephalon is left out."""
SIDE = (208, 240, 240)
"""Voxels of 1 mm along left, inferior, anterior: a head without most of the air around it."""


class MeshNet(nn.Module):
    """Dilated convolutions of one width (Fedorov et al. 2017, arXiv 1612.00940)."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        described = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        layers = described["modelTopology"]["model_config"]["config"]["layers"]
        values = np.frombuffer((folder / "model.bin").read_bytes(), "<f4")
        found, at = {}, 0
        for one in described["weightsManifest"][0]["weights"]:
            size = int(np.prod(one["shape"]))
            found[one["name"]] = torch.from_numpy(
                values[at : at + size].reshape(one["shape"]).copy()
            )
            at += size
        self.kernels = []
        for layer in layers:
            if layer["class_name"] == "Conv3D":
                name, wide = layer["config"]["name"], layer["config"]["dilation_rate"][0]
                kernel = found[f"{name}/kernel"].permute(4, 3, 0, 1, 2).contiguous()
                self.kernels.append((kernel, found[f"{name}/bias"], wide))

    def forward(self, x: Tensor) -> Tensor:
        """Map `(1, 1, x, y, z)` in [0, 1] to scores `(1, class, x, y, z)`."""
        for number, (kernel, bias, wide) in enumerate(self.kernels):
            pad = wide * (kernel.shape[-1] // 2)
            x = functional.conv3d(x, kernel, bias, padding=pad, dilation=wide)
            if number < len(self.kernels) - 1:
                x = functional.elu(x, inplace=True)
        return x


def conformed(image: Image) -> Geometry:
    """Return the judge's grid about the middle of an image: 1 mm, left, inferior, anterior."""
    affine = np.zeros((4, 4))
    affine[0, 0], affine[2, 1], affine[1, 2], affine[3, 3] = -1.0, -1.0, 1.0, 1.0
    grid = image.geometry
    middle = (grid.affine @ np.array([*(np.array(grid.shape) - 1) / 2, 1.0]))[:3]
    affine[:3, 3] = middle - affine[:3, :3] @ ((np.array(SIDE) - 1) / 2)
    return Geometry(SIDE, affine)


def onto(image: Image, grid: Geometry, order: int = 1) -> Array:
    """Return the first channel on the judge's grid; nothing lies outside of the image."""
    step = np.linalg.inv(image.geometry.affine) @ grid.affine
    data = np.asarray(image.data[0], np.float32)
    return np.asarray(
        ndimage.affine_transform(data, step[:3, :3], step[:3, 3], grid.shape, order=order)
    )


def judged(judge: MeshNet, image: Image) -> Array:
    """Return the judge's classes on its own grid."""
    values = onto(image, conformed(image))
    low, high = np.percentile(values, (2, 98))
    scaled = np.clip((values - low) / max(float(high - low), 1e-9), 0, 1).astype(np.float32)
    with torch.inference_mode():
        return judge(torch.from_numpy(scaled)[None, None])[0].argmax(0).numpy()


def agreement(found: Array, truth: Array, numbers: Mapping[str, Sequence[int]]) -> list[float]:
    """Return the Dice of each structure with labels that number it so."""
    return [
        dice(np.isin(found, list(THEIRS[name])), np.isin(truth, list(numbers[name])))
        for name in THEIRS
    ]


def imagined(folder: Path) -> Iterator[tuple[Image, Image]]:
    for path in sorted(folder.glob("sub-*/anat/*_T1w.nii.gz")):
        image = read(path, contrast="T1w")
        labels = read(next(path.parent.glob("*dseg.nii.gz")), units="label")
        assert isinstance(image, Image)
        assert isinstance(labels, Image)
        yield image, labels


def heads(judge: MeshNet, folder: Path | None, count: int) -> dict[str, list[list[float]]]:
    """Return the Dice of every head, real and imagined."""
    found: dict[str, list[list[float]]] = {"real (IXI)": []}
    for name, image, labels in ixi(count):
        truth = onto(Image(labels[None], image.geometry, "label", ("labels",)), conformed(image), 0)
        found["real (IXI)"].append(agreement(judged(judge, image), truth, MUSE))
        say(f"{name}: {np.mean(found['real (IXI)'][-1]):.2f}")
    if folder is not None:
        ours = {name: (STRUCTURES.index(name),) for name in THEIRS}
        for number, (image, labels) in enumerate(islice(imagined(folder), count)):
            truth = onto(labels, conformed(image), 0)
            scores = agreement(judged(judge, image), truth, ours)
            found.setdefault("imagined", []).append(scores)
            say(f"imagined {number + 1}: {np.mean(scores):.2f}")
    return found


def completed(judge: MeshNet, weights: str) -> dict[str, list[list[float]]]:
    """Return the Dice of made with true T1w of each visit."""
    found: dict[str, list[list[float]]] = {}
    tasks = {
        "intensity map": Complete(to="T1w", model="intensity-map", weights=weights),
        "generator, mean": Complete(to="T1w", draws=1, steps=1, weights=weights),
    }
    for visit in openms_visits(0):
        truth = judged(judge, visit.image.channel("T1w"))
        given = Image.stack([visit.image.channel(name) for name in ("T2w", "FLAIR")])
        for name, task in tasks.items():
            made = judged(judge, task(given, seed=0).image)
            found.setdefault(f"T1w by {name}", []).append(agreement(made, truth, THEIRS))
            say(f"{visit.patient}, {name}: {np.mean(found[f'T1w by {name}'][-1]):.2f}")
    return found


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("peers", type=Path)
    parser.add_argument("--imagined", type=Path, help="folder from veridical synthesize")
    parser.add_argument("--heads", type=int, default=3)
    given = parsed(parser)
    judge = MeshNet(given.peers / "brainchop" / "model30chan18cls")
    found = heads(judge, given.imagined, 1 if given.quick else given.heads)
    found |= completed(judge, given.weights or "brain")
    rows = [
        [name, str(len(scores)), spread([float(np.mean(one)) for one in scores])]
        + [f"{value:.2f}" for value in np.nanmean(scores, 0)]
        for name, scores in found.items()
    ]
    print(table(["T1w", "n", "mean", *THEIRS], rows))


if __name__ == "__main__":
    main()
