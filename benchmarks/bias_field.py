"""Bias field left on real MR images: `veridical.preprocessing.bias_field` and SimpleITK's N4.

python benchmarks/bias_field.py [--seeds 1] [--volumes 0] [--only SET] [--alike]

Known smooth fields are multiplied into real volumes. These have bias of their own, which nobody
knows, so each method is also run on the volume as it is: of `applied * found(as it is) / found(with
the field)`, 1 everywhere for a perfect method, the standard deviation of the logarithm is the
residual, over the foreground (above Otsu's threshold of the volume as it is). Fields are
polynomials of degree 3 (`physics.bias_shading`), strengths 0.4 and 0.8, and the fall-off of a
surface coil beside the body. N4 of SimpleITK runs as in its own example: Otsu's mask, every fourth
voxel along each axis, its defaults (4 levels of 50 iterations). "Above 1.2" counts the volumes
whose residual is more than 1.2 times that of N4. "N4, alike" gets the mask and the coarse grid of
ours, which spares thick slices. One thread each.

A method that flattens anatomy too would do well there, so a second table, of the heads of IXI, asks
what is done to images as they are: the coefficient of variation between the medians of eight lobes
of white matter (labels of DLMUSE), and the standard deviation of the log field that is found on an
image painted from the labels, which has tissue and noise but no bias. SimpleITK is not a
dependency; without it, its columns are empty:

pip install --no-deps --target FOLDER SimpleITK && PYTHONPATH=FOLDER python benchmarks/bias_field.py
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

from veridical.io.files import read
from veridical.physics.bias_shading import random_polynomial, smooth_field
from veridical.preprocessing.bias_field import N4, bias_field
from veridical.types import Array, Image

DATA = Path(os.environ.get("VERIDICAL_DATA", "../shared/data"))
SETS = {
    "openms raw": "openms/longitudinal_raw/patient*/study*.nii.gz",
    "ixi T1 2 mm": "ixi_t1_2mm/nifti/*.nii.gz",
    "tcga raw": "tcga_fg_6692/raw/*.nii.gz",
    "sts T1, limbs": "sts_mr_ct_pet/nifti/*/MR_T1_image.nii.gz",
}
FIELDS = ("polynomial 0.4", "polynomial 0.8", "surface coil")
COLUMNS = (
    *(
        "set",
        "volumes",
        "field",
        "applied SD",
        "ours",
        "N4",
        "N4, alike",
        "ours / N4",
        "ours / alike",
        "above 1.2",
        "ours s",
    ),
    "N4 s",
)
LOBES = range(81, 89)
"""Labels of DLMUSE: white matter of the frontal, occipital, parietal and temporal lobes, right and
left.
"""
FLUID, DEEP = (4, 11, 46, 49, 50, 51, 52), (*range(55, 61), 35, 61, 62)

Method = Callable[[Array, tuple[float, float, float]], Array]


def ours(image: Array, spacing: tuple[float, float, float]) -> Array:
    return bias_field(image, spacing)


def simple_itk(image: Array, spacing: tuple[float, float, float], alike: bool = False) -> Array:
    """N4 as in the example of SimpleITK's documentation; `alike`: with the mask and the coarse grid
    of ours.
    """
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    whole = sitk.GetImageFromArray(np.ascontiguousarray(image.T, dtype=np.float32))
    whole.SetSpacing(spacing)
    mask, steps = sitk.OtsuThreshold(whole, 0, 1, 200), [4, 4, 4]
    if alike:
        mask = sitk.GetImageFromArray(
            np.ascontiguousarray((image > threshold_otsu(image)).T.astype(np.uint8))
        )
        mask.CopyInformation(whole)
        steps = [min(4, max(1, round(N4().grid / size))) for size in spacing]
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.Execute(sitk.Shrink(whole, steps), sitk.Shrink(mask, steps))
    return np.asarray(np.exp(sitk.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(whole)).T))


def applied(
    kind: str, shape: tuple[int, ...], spacing: tuple[float, float, float], seed: int
) -> Array:
    """A smooth field, above 0."""
    rng = np.random.default_rng(seed)
    if kind.startswith("polynomial"):
        return smooth_field(shape, random_polynomial(len(shape), rng), float(kind.split()[1]))
    size = np.multiply(shape, spacing)
    direction = rng.normal(size=3)
    coil = size / 2 + direction / np.linalg.norm(direction) * size.max() * 0.6
    where = np.meshgrid(
        *[np.arange(n) * s for n, s in zip(shape, spacing, strict=True)], indexing="ij", sparse=True
    )
    away = sum((a - c) ** 2 for a, c in zip(where, coil, strict=True))
    return np.asarray(0.5 + (1 + away / (0.5 * size.max()) ** 2) ** -1.5, np.float32)


def volumes(pattern: str, most: int) -> Iterator[tuple[Array, tuple[float, float, float]]]:
    for path in sorted(DATA.glob(pattern))[: most or None]:
        image = read(path, contrast="T1w", units="a.u.")
        assert isinstance(image, Image)
        yield image.data[0].astype(np.float32), image.geometry.spacing


def residuals(
    method: Method, image: Array, spacing: tuple[float, float, float], seeds: range
) -> dict[str, tuple[float, float]]:
    """Mean residual and seconds for each kind of field."""
    inside = image > max(threshold_otsu(image), 0)
    natural = method(image, spacing)[inside]
    rows = {}
    for kind in FIELDS:
        left, begun = [], time.process_time()
        for seed in seeds:
            field = applied(kind, image.shape, spacing, seed)
            found = method(image * field, spacing)[inside]
            left.append(float(np.log(field[inside] * natural / found).std()))
        rows[kind] = float(np.mean(left)), (time.process_time() - begun) / len(seeds)
    return rows


def row(
    group: str, pattern: str, methods: dict[str, Method], seeds: int, most: int
) -> Iterator[list[str]]:
    cases = list(volumes(pattern, most))
    drawn = [range(number * seeds, (number + 1) * seeds) for number in range(len(cases))]
    found = {
        name: [residuals(method, *case, own) for case, own in zip(cases, drawn, strict=True)]
        for name, method in methods.items()
    }
    for kind in FIELDS:
        spread = [
            np.log(applied(kind, image.shape, spacing, seed)[image > threshold_otsu(image)]).std()
            for (image, spacing), own in zip(cases, drawn, strict=True)
            for seed in own
        ]
        mean = {name: np.mean([one[kind] for one in each], 0) for name, each in found.items()}
        cells = [group, str(len(cases)), kind, f"{np.mean(spread):.3f}"]
        cells += [
            f"{mean[name][0]:.4f}" if name in mean else "" for name in ("ours", "N4", "N4, alike")
        ]
        cells += [
            f"{mean['ours'][0] / mean[rival][0]:.2f}" if rival in mean else ""
            for rival in ("N4", "N4, alike")
        ]
        pairs = zip(found["ours"], found.get("N4", []), strict=False)
        cells.append(
            str(sum(one[kind][0] > 1.2 * other[kind][0] for one, other in pairs))
            if "N4" in mean
            else ""
        )
        yield [*cells, f"{mean['ours'][1]:.1f}", f"{mean['N4'][1]:.1f}" if "N4" in mean else ""]


def painted(labels: Array, seed: int) -> Array:
    """An image of tissue means (as of T1) with noise and no bias."""
    brain = np.where((labels > 0) & ~np.isin(labels, LOBES), 0.65, 0.0)
    brain[np.isin(labels, (*LOBES, *range(89, 96)))] = 1.0
    brain[np.isin(labels, DEEP)] = 0.85
    brain[
        np.isin(labels, FLUID) | (ndimage.binary_closing(labels > 0, iterations=4) & (labels == 0))
    ] = 0.3
    noise = np.random.default_rng(seed).normal(0, 0.03, (2, *labels.shape))
    return np.asarray(
        1000 * np.hypot(ndimage.gaussian_filter(brain, 0.5) + noise[0], noise[1]), np.float32
    )


def anatomy(methods: dict[str, Method], most: int) -> None:
    """Print the second table."""
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in ("as it is", *methods)}
    paths = sorted(DATA.glob("ixi_t1_2mm/nifti/*.nii.gz"))[: most or None]
    for number, (image, spacing) in enumerate(volumes(SETS["ixi T1 2 mm"], most)):
        name = paths[number].name.replace(".nii.gz", "_DLMUSE.nii.gz")
        known = read(DATA / "ixi_t1_2mm" / "dlmuse" / name, contrast="labels", units="label")
        assert isinstance(known, Image)
        labels, flat = known.data[0], painted(known.data[0], number)
        for title in scores:
            method = methods.get(title, lambda image, spacing: np.ones(image.shape))
            medians = [
                np.median((image / method(image, spacing))[labels == lobe]) for lobe in LOBES
            ]
            found = np.log(method(flat, spacing)[labels > 0]).std()
            scores[title].append((float(np.std(medians) / np.mean(medians)), float(found)))
    print(
        "\n| method | white matter, CV between lobes | log field found where there is none, SD "
        "|\n| --- | --- | --- |"
    )
    for title, pairs in scores.items():
        print(f"| {title} | {np.mean(pairs, 0)[0]:.4f} | {np.mean(pairs, 0)[1]:.4f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=1, help="fields of each kind for each volume")
    parser.add_argument("--volumes", type=int, default=0, help="of each set; 0: all")
    parser.add_argument("--only", choices=SETS, help="one set")
    parser.add_argument(
        "--alike", action="store_true", help="N4 with the mask and grid of ours too; slow"
    )
    given = parser.parse_args()
    methods: dict[str, Method] = {"ours": ours}
    try:
        import SimpleITK  # noqa: F401

        methods["N4"] = simple_itk
        if given.alike:
            methods["N4, alike"] = lambda image, spacing: simple_itk(image, spacing, alike=True)
    except ImportError:
        print("SimpleITK is not installed: its columns are empty.\n")
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}")
    for group, pattern in SETS.items():
        if given.only in (None, group):
            for cells in row(group, pattern, methods, given.seeds, given.volumes):
                print(f"| {' | '.join(cells)} |", flush=True)
    anatomy(methods, given.volumes)


if __name__ == "__main__":
    main()
