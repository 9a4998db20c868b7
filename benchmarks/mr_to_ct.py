"""CT from MR, and PET from MR and CT, of soft-tissue-sarcoma patients that no model here was trained on.

Six patients train every method, STS_025 and STS_032 test it, each reported apart: two patients carry no interval over
patients, so the intervals are over blocks of five neighbouring slices and say how sure the number is for *this* patient. CT is
resampled onto the T1w MR, and slices at the ends where the MR shows less than 90 % of the body are left out; the registration
is the data set's own. The body is what is denser than -300 HU, filled; bone is above 150 HU in it, soft tissue the rest, air is
below -300 HU within 5 mm of it. MR and CT saw the limb in two positions, and the skin of one lies up to 10 mm off that of the
other: soft tissue more than 10 mm deep in both is scored apart.

Baselines: one constant, the median CT of each MR intensity, gradient-boosted trees on intensity, texture and position, and the
L1 regressor of the same net, lessons and budget. Bands: of the draws as they are, as wide as the other patient needed, and the
conformal one at 25 %: one calibration patient allows less than 50 %, 90 % would need nine.

Usage: python benchmarks/mr_to_ct.py [--prior WEIGHTS] [--regressor WEIGHTS] [--draws N] [--every N]
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import completion as shared
import nibabel
import numpy as np
import torch
from scipy import ndimage
from sklearn.ensemble import HistGradientBoostingRegressor

from veridical.audit.interval import Case, calibrate
from veridical.layouts.pool import data_root
from veridical.training.slabs import Volume, canonical, volumes
from veridical.evaluation.statistics import bca, bootstrap
from veridical.metrics.dice import dice
from veridical.models import weights
from veridical.models.base import ImageModel
from veridical.models.body_prior import BodyPrior
from veridical.models.known import AIR, HOUNSFIELD, UPTAKE, foreground
from veridical.models.regressor import Regressor

TEST = ("STS_025", "STS_032")
UNITS = {"CT": HOUNSFIELD, "PET": UPTAKE}
JOBS = {"CT from T1w": ("CT", ("T1w",)), "PET from T1w": ("PET", ("T1w",)), "PET from T1w and CT": ("PET", ("T1w", "CT"))}
BONE, AIR_BELOW, NEAR, DEEP = 150.0, -300.0, 5, 10
SHOWN = 0.9
"""Share of the body that the MR shows where a slice is used."""
BLOCK = 5
NORMAL = 1.645
"""Deviations to each side that hold 90 % of a normal distribution."""
FLOOR = 0.01
LEVEL_OF_ONE = 0.25
"""Conformal risk control promises less than n / (n + 1) from n patients, and near that by a band that never misses."""
SAMPLE = 60_000
Array = np.ndarray
Method = Callable[[Volume, Sequence[int]], Array]
"""Gives `(draw, slice, y, x)` in network units."""


@dataclass(frozen=True, eq=False)
class Patient:
    """A tested patient: the slices used, images in network units and regions, `(slice, y, x)`."""

    volume: Volume
    slices: tuple[int, ...]
    tumour: Array
    regions: Mapping[str, Array]

    def truth(self, name: str) -> Array:
        return images(self.volume, name, self.slices)


def patient(volume: Volume, every: int) -> Patient:
    slices = tuple(shown(volume)[::every])
    file = data_root() / "sts_mr_ct_pet/nifti" / volume.patient / "MR_T1_mask.nii.gz"
    tumour = canonical(nibabel.as_closest_canonical(nibabel.load(file)))[list(slices)] > 0.5
    hu, body = HOUNSFIELD * images(volume, "CT", slices), bodies(volume, slices)
    near = np.stack([ndimage.binary_dilation(one, iterations=NEAR) for one in body])
    bone = body & (hu > BONE)
    soft = body & ~bone & (hu >= AIR_BELOW)
    inner = [ndimage.binary_erosion(one, iterations=DEEP, border_value=1) for one in body & support(volume, slices)]
    return Patient(
        volume,
        slices,
        tumour,
        {"body": body, "soft": soft, "deep soft": soft & np.stack(inner), "bone": bone, "air": near & (hu < AIR_BELOW)},
    )


def shown(volume: Volume) -> list[int]:
    """Return the slices in which the MR shows the body; at the ends of a coil it shows nothing."""
    usable = volume.usable()
    body, seen = bodies(volume, usable), support(volume, usable)
    share = (body & seen).sum((1, 2)) / np.maximum(body.sum((1, 2)), 1)
    return [z for z, part in zip(usable, share, strict=True) if part > SHOWN]


def images(volume: Volume, name: str, slices: Sequence[int]) -> Array:
    """Return slices of a channel, `(slice, y, x)` in network units."""
    return volume.images[volume.names.index(name)][list(slices)].astype(np.float32)


def bodies(volume: Volume, slices: Sequence[int]) -> Array:
    """Return the body in CT, `(slice, y, x)`, without the couch."""
    dense = HOUNSFIELD * images(volume, "CT", slices) > AIR_BELOW
    return np.stack([_largest(ndimage.binary_fill_holes(ndimage.binary_opening(one, iterations=2))) for one in dense])


def _largest(mask: Array) -> Array:
    labels, count = ndimage.label(mask)
    return mask if count < 2 else labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))


def support(volume: Volume, slices: Sequence[int]) -> Array:
    """Return where the MR shows the body, `(slice, y, x)`."""
    shows = [foreground(torch.from_numpy(one), "T1w").numpy() > 0.5 for one in images(volume, "T1w", slices)]
    return np.asarray([ndimage.binary_fill_holes(one) for one in shows])


def constant(training: Sequence[Volume], target: str) -> Method:
    """The mean over the bodies of the training patients."""
    values = [v.images[v.names.index(target)][support_of_all(v)] for v in training]
    mean = float(np.mean(np.concatenate(values), dtype=np.float64))
    return lambda volume, slices: _inside(np.full((len(slices), *volume.images.shape[2:]), mean), volume, slices, target)


def intensity_map(training: Sequence[Volume], target: str) -> Method:
    """The median of the target at each MR intensity, in 64 steps of equal count."""
    mr, wanted = (np.concatenate([v.images[v.names.index(n)][support_of_all(v)] for v in training]) for n in ("T1w", target))
    edges = np.quantile(mr.astype(np.float32), np.linspace(0, 1, 65))
    place = np.clip(np.searchsorted(edges, mr.astype(np.float32)) - 1, 0, 63)
    medians = np.array([np.median(wanted[place == k].astype(np.float32)) for k in range(64)])
    middle = (edges[1:] + edges[:-1]) / 2

    def apply(volume: Volume, slices: Sequence[int]) -> Array:
        return _inside(np.interp(images(volume, "T1w", slices), middle, medians), volume, slices, target)

    return apply


def trees(training: Sequence[Volume], target: str, given: Sequence[str]) -> Method:
    """Gradient-boosted trees, absolute error, on what `described` says of a voxel."""
    rng, rows, wanted = np.random.default_rng(0), [], []
    for volume in training:
        slices = volume.usable()
        inside = support(volume, slices)
        chosen = rng.choice(int(inside.sum()), SAMPLE // len(training), replace=False)
        rows.append(described(volume, slices, given)[inside][chosen])
        wanted.append(images(volume, target, slices)[inside][chosen])
    model = HistGradientBoostingRegressor(loss="absolute_error", max_iter=300, max_leaf_nodes=63, random_state=0)
    model.fit(np.concatenate(rows), np.concatenate(wanted).astype(np.float64))

    def apply(volume: Volume, slices: Sequence[int]) -> Array:
        found = described(volume, slices, given)
        values = model.predict(found.reshape(-1, found.shape[-1])).reshape(found.shape[:-1])
        return _inside(values, volume, slices, target)

    return apply


def described(volume: Volume, slices: Sequence[int], given: Sequence[str]) -> Array:
    """Return `(slice, y, x, feature)`: each given channel, smoothed, its slope and neighbours; depth and place in the body."""
    inside = support(volume, slices)
    features = [np.stack([ndimage.distance_transform_edt(one) for one in inside])]
    y, x = np.indices(inside.shape[1:])
    for grid in (y, x):
        middle = np.array([grid[one].mean() if one.any() else 0.0 for one in inside])
        features.append((grid - middle[:, None, None]) * (volume.pixel or 1.0))
    last = volume.images.shape[1] - 1
    for name in given:
        whole = volume.images[volume.names.index(name)].astype(np.float32)
        here = whole[list(slices)]
        features += [here, *(ndimage.gaussian_filter(here, (0, s, s)) for s in (1, 2, 4, 8))]
        features += [np.stack([ndimage.gaussian_gradient_magnitude(one, s) for one in here]) for s in (1, 3)]
        features += [whole[[min(max(z + step, 0), last) for z in slices]] for step in (-1, 1)]
    return np.stack(features, -1)


def support_of_all(volume: Volume) -> Array:
    """Return the support of all slices, empty where a slice shows too little."""
    inside = np.zeros(volume.images.shape[1:], bool)
    inside[volume.usable()] = support(volume, volume.usable())
    return inside


def _inside(values: Array, volume: Volume, slices: Sequence[int], target: str) -> Array:
    return np.where(support(volume, slices), values, AIR.get(target, 0.0))[None]


def learned(model: ImageModel, target: str, given: Sequence[str], draws: int) -> Method:
    """An image model, slice by slice."""
    net = weights.card(model.weights)["net"]  # type: ignore[attr-defined]
    prior = shared.Prior(tuple(net["channels"]), tuple(net["prior_mean"]), tuple(net["prior_std"]))
    k = prior.channels.index(target)

    def apply(volume: Volume, slices: Sequence[int]) -> Array:
        known = (shared.known_of(volume, z, given, target, prior) for z in slices)
        return torch.stack([model.complete(one, draws, z)[0, :, k] for z, one in zip(slices, known, strict=True)], 1).numpy()

    return apply


def mean_error(error: Array, region: Array) -> str:
    """Return the mean over a region with its 95 % interval over blocks of slices."""
    sums, counts = ((a * region).sum((1, 2)).astype(float) for a in (error, np.ones_like(error)))
    kept = np.flatnonzero(counts)
    if not kept.size:
        return ""
    blocks = [str(z // BLOCK) for z in kept]
    sums, counts = sums[kept], counts[kept]
    found = bootstrap(np.arange(len(kept)), blocks, statistic=lambda i: sums[i].sum(-1) / counts[i].sum(-1))
    ends = bca(found)
    return f"{found.observed:.3g}" + (f" ({ends[0]:.3g} to {ends[1]:.3g})" if ends else "")


def estimates(drawn: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    """Yield every method's estimate; of a sampler the mean, the median and one of the draws."""
    for name, made in drawn.items():
        if len(made) == 1:
            yield name, made[0]
        else:
            yield f"{name}, mean of {len(made)}", made.mean(0)
            yield f"{name}, median of {len(made)}", np.median(made, 0)
            yield f"{name}, one draw", made[0]


def ct_rows(case: Patient, drawn: Mapping[str, Array]) -> Iterator[list[str]]:
    """Yield errors in HU, overlap of bone and fine detail of deep soft tissue by method."""
    truth, body, deep = HOUNSFIELD * case.truth("CT"), case.regions["body"], case.regions["deep soft"]
    level = float(truth[deep].mean())
    for name, made in estimates(drawn):
        hu = HOUNSFIELD * made
        error = np.abs(hu - truth)
        bias = float((hu - truth)[body].mean())
        bone = dice(body & (hu > BONE), case.regions["bone"], (1.0, 1.0, 1.0))
        power, off = shared.spectrum(*(np.where(deep, (image - level) / HOUNSFIELD, 0) for image in (hu, truth)))
        maes = [mean_error(error, case.regions[region]) for region in case.regions]
        yield [case.volume.patient, name, *maes, f"{bias:+.1f}", f"{bone:.3f}", f"{power:+.1f}", f"{off:.1f}"]


def pet_rows(case: Patient, job: str, drawn: Mapping[str, Array]) -> Iterator[list[str]]:
    """Yield errors in SUV, in the tumour and in the rest of the body."""
    truth, rest = UPTAKE * case.truth("PET"), case.regions["body"] & ~case.tumour
    for name, made in estimates(drawn):
        suv = UPTAKE * made
        error = np.abs(suv - truth)
        found = [mean_error(error, region) for region in (case.tumour, rest)]
        means = [f"{image[case.tumour].mean():.2f}" for image in (suv, truth)]
        tops = [f"{np.percentile(image[case.tumour], 95):.2f}" for image in (suv, truth)]
        yield [case.volume.patient, job, name, *found, " / ".join(means), " / ".join(tops)]


def band_rows(job: str, target: str, cases: Sequence[Patient], drawn: Mapping[str, Array]) -> Iterator[list[str]]:
    """Yield the share of voxels inside three bands, in per cent, by region."""
    made = {}
    for case in cases:
        found = drawn[case.volume.patient]
        error = np.abs(found.mean(0) - case.truth(target))
        made[case.volume.patient] = Case(error, found.std(0, ddof=1), case.regions["body"], case.volume.patient)
    for case in cases:
        own, other = made[case.volume.patient], next(one for name, one in made.items() if name != case.volume.patient)
        ratio = (other.error / np.maximum(other.spread, FLOOR))[other.foreground]
        promised = calibrate([other], LEVEL_OF_ONE, FLOOR, other.patient).multiplier
        widths = {
            "90 % of the draws": NORMAL,
            "90 % as the other needed": float(np.quantile(ratio, 0.9)),
            "25 % conformal": promised,
        }
        for name, width in widths.items():
            inside = own.error <= width * np.maximum(own.spread, FLOOR)
            regions = case.regions | {"tumour": case.tumour}
            shares = [f"{100 * inside[region].mean():.1f}" if region.any() else "" for region in regions.values()]
            half = UNITS[target] * width * np.maximum(own.spread, FLOOR)[own.foreground].mean()
            yield [case.volume.patient, job, name, f"{width:.2f}", *shares, f"{half:.3g}"]


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--prior", default="body-prior")
    words.add_argument("--regressor", default="", help="weights of recipes/sarcoma-regressor.toml")
    words.add_argument("--draws", type=int, default=8)
    words.add_argument("--every", type=int, default=1)
    given = words.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    training = volumes("sarcoma", TEST)
    cases = [patient(volume, given.every) for volume in volumes("sarcoma", TEST, validation=True)]
    for case in cases:
        sizes = ", ".join(f"{name} {int(region.sum())}" for name, region in (case.regions | {"tumour": case.tumour}).items())
        print(f"- {case.volume.patient}: {len(case.slices)} slices; voxels: {sizes}")
    tables: dict[str, list[list[str]]] = {"CT": [], "PET": [], "bands": []}
    for job, (target, measured) in JOBS.items():
        methods: dict[str, Method] = {"constant": constant(training, target)}
        if measured == ("T1w",):
            methods["intensity map"] = intensity_map(training, target)
        methods["trees"] = trees(training, target, measured)
        if given.regressor:
            methods["L1 regressor"] = learned(Regressor(weights=given.regressor), target, measured, 1)
        methods["body-prior, one pass"] = learned(BodyPrior(weights=given.prior, steps=1), target, measured, 1)
        methods["body-prior"] = learned(BodyPrior(weights=given.prior), target, measured, given.draws)
        drawn = {c.volume.patient: {name: made(c.volume, c.slices) for name, made in methods.items()} for c in cases}
        for case in cases:
            found = drawn[case.volume.patient]
            tables[target] += list(ct_rows(case, found) if target == "CT" else pet_rows(case, job, found))
        tables["bands"] += band_rows(job, target, cases, {name: found["body-prior"] for name, found in drawn.items()})
    head = (
        "patient",
        "method",
        "MAE body HU",
        "soft",
        "deep soft",
        "bone",
        "air",
        "bias",
        "bone Dice",
        "fine power dB",
        "spectrum off dB",
    )
    print("\n" + shared.table(head, tables["CT"]))
    head = ("patient", "job", "method", "MAE tumour SUV", "MAE elsewhere", "mean SUV made / real", "95th percentile")
    print(shared.table(head, tables["PET"]))
    head = ("patient", "job", "band", "spreads", "% in body", "soft", "deep soft", "bone", "air", "tumour", "half width")
    print(shared.table(head, tables["bands"]))


if __name__ == "__main__":
    main()
