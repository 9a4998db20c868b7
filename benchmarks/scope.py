"""Is an image that a model was not made for told, and how often is one that it was made for?

python benchmarks/scope.py [--patients 40] [--tested 12] [--parts digital,gliomas,real] [--data DIR]

Digital patients: T1w volumes of 4 mm with noise of 1 to 2 % of the brightness; the card describes
the first ones, the last ones are tested, as they are and changed. Real sets: T1w slices of 36
glioma patients (two sites, 8 bits, no skull), each held out in turn; and T1w heads of IXI against
the card of `brain`, beside what is no such head: limbs, a head CT given as MR, a pelvis, a hand of
rods, a localizer. `p`: median conformal p-value; KS: of the p-values of exchangeable images against
the uniform distribution. A shift is told when the finding warns or fails.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage, stats

from veridical import read
from veridical.audit.descriptors import describe
from veridical.audit.out_of_distribution import distances, out_of_distribution, training_data
from veridical.errors import InputError
from veridical.models.weights import card
from veridical.phantoms.cohort import Cohort
from veridical.phantoms.rendering import PhantomVolume, render
from veridical.phantoms.scanners import SITES
from veridical.types import Array, Finding, Geometry, Image, Result, Study

STEP, SHAPE, LOW = 4.0, (48, 58, 46), 0.2


def mr(data: Array, geometry: Geometry, name: str = "T1w") -> Image:
    return Image(np.asarray(data, np.float32)[None], geometry, "a.u.", (name,))


def noisy(data: Array, level: float, seed: int) -> Array:
    """Return a magnitude image with noise of a share of its 99th percentile."""
    rng, size = np.random.default_rng(seed), level * np.percentile(data, 99)
    return np.hypot(data + rng.normal(0, size, data.shape), rng.normal(0, size, data.shape))


def usual(head: PhantomVolume, seed: int, contrast: str = "T1w") -> Array:
    level = np.random.default_rng((seed, 1)).uniform(0.01, 0.02)
    return noisy(render(head, contrast), level, seed)


def ghosts(data: Array) -> Array:
    """Return an image whose every fourth line of k-space was measured 12 mm away, through y."""
    kspace = np.fft.fft(data, axis=1)
    phase = np.exp(2j * np.pi * np.fft.fftfreq(data.shape[1]) * 3)
    kspace[:, ::4] *= phase[::4, None]
    return np.abs(np.fft.ifft(kspace, axis=1))


def undersampled(data: Array) -> Array:
    """Return an image of every other line of k-space, without a reconstruction."""
    kspace = np.fft.fft(data, axis=1)
    kspace[:, 1::2] = 0
    return np.abs(np.fft.ifft(kspace, axis=1))


def changed(head: PhantomVolume, seed: int) -> Iterator[tuple[str, Image]]:
    """Yield a patient as it is, and changed in each way."""
    grid, data = head.geometry, usual(head, seed)
    ten, thousand = (Geometry(grid.shape, np.diag([STEP * f] * 3 + [1])) for f in (10, 0.001))
    coarse = ndimage.zoom(data, (1, 1, 0.25), order=1)
    low = render(head, "T1w", site=replace(SITES[0], field=LOW))
    yield "none", mr(data, grid)
    yield "contrast: T2w called T1w", mr(usual(head, seed, "T2w"), grid)
    yield "contrast: FLAIR called T1w", mr(usual(head, seed, "FLAIR"), grid)
    yield "contrast agent", mr(usual(head, seed, "T1c"), grid)
    yield f"field strength {LOW:g} T", mr(noisy(low, 0.03, seed), grid)
    yield "noise 5 %", mr(noisy(data, 0.05, seed), grid)
    yield "noise 10 %", mr(noisy(data, 0.1, seed), grid)
    yield "motion, 12 mm", mr(ghosts(data), grid)
    yield "mask: half of k-space", mr(undersampled(data), grid)
    yield "no skull", mr(data * head.brain, grid)
    yield "half of the head", mr(data[:, :, 23:], Geometry((48, 58, 23), grid.affine))
    yield "slices of 16 mm", mr(coarse, Geometry(coarse.shape, np.diag([STEP, STEP, 16.0, 1])))
    yield "mm times 10", mr(data, ten)
    yield "mm over 1000", mr(data, thousand)
    yield "CT called T1w", mr(render(head, "CT"), grid)


def judged(image: Image, stored: Mapping[str, Any]) -> Finding:
    found = out_of_distribution(
        Study.of(image), Result(image, "image", facts={"card": {"training_data": stored}})
    )
    assert found is not None
    return found


def line(name: str, found: list[Finding]) -> None:
    p = [one.evidence["p"] for one in found if "p" in one.evidence]
    told = np.mean([one.verdict in ("warn", "fail") for one in found])
    failed = np.mean([one.verdict == "fail" for one in found])
    median = f"{np.median(p):.3f}" if p else "-"
    print(f"| {name} | {len(found)} | {median} | {told:.2f} | {failed:.2f} |", flush=True)


def uniform(rows: list[dict[str, float]], size: int, draws: int, seed: int = 0) -> str:
    """Return how p-values of images drawn from one set are spread."""
    rng, p = np.random.default_rng(seed), []
    for _ in range(draws):
        order = rng.permutation(len(rows))[: size + 1]
        own, others, _ = distances(rows[order[0]], {str(n): rows[n] for n in order[1:]})
        p.append((rng.random() * (1 + np.sum(others == own)) + np.sum(others > own)) / (size + 1))
    below = np.mean(np.array(p) <= 0.05)
    ks = stats.kstest(p, "uniform")
    return f"KS {ks.statistic:.3f} (p = {ks.pvalue:.2f}), {below:.3f} at or below 0.05, n = {draws}"


def digital(patients: int, tested: int) -> None:
    cohort = Cohort(11)
    heads = (cohort.volume(n, STEP, SHAPE, "none") for n in range(patients))
    known = [(str(n), mr(usual(head, n), head.geometry)) for n, head in enumerate(heads)]
    stored = training_data(known, f"{patients} digital patients")
    rows = list(stored["channels"]["T1w"].values())
    print(f"digital patients, exchangeable: {uniform(rows, len(rows) - 1, 400)}")
    found: dict[str, list[Finding]] = {}
    for n in range(patients, patients + tested):
        for name, image in changed(cohort.volume(n, STEP, SHAPE, "none"), n):
            found.setdefault(name, []).append(judged(image, stored))
    print("\n| shift | images | p | told | fails |\n|---|---|---|---|---|")
    for name, those in found.items():
        line(name, those)


def gliomas(data: Path) -> None:
    """T1w slices of glioma patients against each other, and their other contrasts."""
    slices: dict[str, dict[str, dict[str, float]]] = {"T1w": {}, "FLAIR": {}, "T1c": {}}
    for path in sorted(data.glob("lgg_tcga/*.npz")):
        stack = np.load(path)["image"]
        for channel, name in enumerate(slices):
            middle = stack[len(stack) // 3 : -len(stack) // 3, channel].astype(np.float32)
            volume = np.moveaxis(middle, 0, -1)
            try:
                slices[name][path.stem] = describe(volume, Geometry.index(volume.shape))
            except InputError:
                continue
    rows = list(slices["T1w"].values())
    print(f"\nglioma patients, T1w, exchangeable: {uniform(rows, len(rows) - 1, 400)}")
    for name in ("FLAIR", "T1c"):
        p = []
        for patient, row in slices[name].items():
            rest = {key: one for key, one in slices["T1w"].items() if key != patient}
            own, others, _ = distances(row, rest)
            p.append((1 + np.sum(others >= own)) / (1 + len(others)))
        told = np.mean(np.array(p) <= 0.05)
        print(f"{name} called T1w: told {told:.2f} of {len(p)}, median p {np.median(p):.3f}")


def others(data: Path) -> Iterator[tuple[str, Image]]:
    """Yield real and made images that are no T1w volume of a head, and some that are."""
    for path in sorted(data.glob("ixi_t1_2mm/nifti/**/*IXI0[45]*.nii.gz")):
        yield (
            "IXI T1w, held out" if path.name[:6] in ("IXI049", "IXI051") else "-",
            read(path, contrast="T1w"),
        )
    for path in sorted(data.glob("sts_mr_ct_pet/nifti/*/MR_T1_image.nii.gz")):
        yield "limb or trunk, T1w", read(path, contrast="T1w")
    ct = read(data / "ct_head_ge", contrast="CT", slices=(15, 28))
    yield "head CT called T1w", mr(ct.data[0], ct.geometry)
    yield "head CT in HU, model of MR", ct
    x, y, z = np.meshgrid(*(np.arange(n) * 2.0 for n in (96, 96, 20)), indexing="ij")
    hand = sum(
        120.0 * ((x - 30 - 22 * n) ** 2 + (z - 20) ** 2 < 64) * (y > 30 + 8 * abs(n - 2))
        for n in range(5)
    )
    grid = Geometry((96, 96, 20), np.diag([2.0, 2.0, 2.0, 1.0]))
    yield "hand of rods", mr(noisy(np.asarray(hand), 0.02, 0), grid)
    head = Cohort(11).volume(200, 2.0, pathology="none")
    plane = render(head, "T1w")[::1, ::1, 50:51]
    wide = Geometry(plane.shape, np.diag([2.0, 2.0, 10.0, 1.0]))
    yield "localizer, one slice of 10 mm", mr(noisy(plane, 0.02, 1), wide)


def real(data: Path) -> None:
    """Hold real images against the card of the model `brain`."""
    stored = card("brain")["training_data"]
    found: dict[str, list[Finding]] = {}
    for name, image in others(data):
        if name != "-":
            found.setdefault(name, []).append(judged(image, stored))
    print("\n| given to brain | images | p | told | fails |\n|---|---|---|---|---|")
    for name, those in found.items():
        line(name, those)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=40)
    parser.add_argument("--tested", type=int, default=12)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--parts", default="digital,gliomas,real")
    given = parser.parse_args()
    if "digital" in given.parts:
        digital(given.patients, given.tested)
    if "gliomas" in given.parts:
        gliomas(given.data)
    if "real" in given.parts:
        real(given.data)


if __name__ == "__main__":
    main()
