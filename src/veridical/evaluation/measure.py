"""One case: everything that can be said of it alone, from its files to numbers; no other case is in
memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from veridical import registry
from veridical.errors import InputError, VeridicalError
from veridical.evaluation import catalogue, lesions
from veridical.evaluation.cases import Case
from veridical.evaluation.catalogue import Handle
from veridical.evaluation.draws import load_draws
from veridical.evaluation.head_reader import HeadReader
from veridical.evaluation.protocol import Protocol
from veridical.evaluation.regions import blurred, foreground, structures
from veridical.evaluation.results import CaseRow
from veridical.evaluation.segmenter import Segmenter
from veridical.evaluation.sources import Source
from veridical.metrics.fourier_correlation import fourier_correlation_curve
from veridical.metrics.noise_power import noise_power_spectrum
from veridical.types import Array, Image, Interval

INSIDE = ("mae", "bias", "rmse", "psnr", "nmse", "ssim")
"""Pixel metrics that are also given for every structure."""
WHOLE = ("mae", "psnr", "ssim")
"""Pixel metrics that are also given for the whole image, air included."""
WINDOWED = 11
"""Slices from which windows are cubes and no longer squares: the width of the Gaussian window."""

Probe = Callable[[Image], "float | Array"]
"""A task in one function: an image in, a number or a label map `(x, y, z)` out."""


@dataclass(frozen=True, eq=False)
class Rules:
    """What holds for all cases.

    Args:
        protocol: with its data range and window found.
        extractors: names of the feature extractors.
        names: label -> structure.
        probes: name -> a user's task, `segmenter` when one was trained, and the reader of heads.
        units: of the images.
    """

    protocol: Protocol
    extractors: tuple[str, ...]
    names: Mapping[int, str] = field(default_factory=dict)
    probes: Mapping[str, Probe] = field(default_factory=dict)
    units: str = "a.u."


@dataclass(frozen=True, eq=False)
class Measured:
    """What one case gave.

    Args: row: its numbers. features: extractor -> side (`candidate`, `reference`, `baseline`) ->
        `(rows, d)`. curves: name -> line -> `(2, n)`, positions and values. ranks: histogram of the
        truth's rank among the draws over the foreground, or None. detections: structure ->
        `SIDE-found`, `SIDE-imagined` -> scores of lesions found and of false alarms. patches:
        structure -> `SIDE-present`, `SIDE-absent` -> `(n, x, y)` around lesions and away from them.
    """

    row: CaseRow
    features: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)
    curves: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)
    ranks: Array | None = None
    detections: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)
    patches: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)


class Scores:
    """A small collector: values by endpoint, and why a metric could not be computed."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.notes: dict[str, str] = {}

    def add(self, handle: Handle, region: str, supplies: Mapping[str, Any]) -> None:
        """Compute one metric in one region, or note why it cannot be."""
        key = f"{handle.about.level}/{handle.name}/{region}"
        try:
            self.values[key] = handle(supplies)
        except VeridicalError as error:
            self.notes[key] = str(error)


def measure(case: Case, rules: Rules, itself: bool = False) -> Measured:
    """Measure one paired case.

    Args: case: with candidate and reference. rules: of the evaluation. itself: also compare the
        reference with itself, where there is no second scan: what perfect is.

    Raises:
        InputError: an image cannot be read, or label map and image lie on different grids.
    """
    candidate, reference = _image(case.candidate), _image(case.reference)
    counted = region(case, reference)
    labels = _labels(case, "labels", reference, rules)
    found = pixels(candidate, reference, counted, labels, rules.protocol)
    flat = constant(reference, counted)
    baseline = _optional(case, "baseline")
    bad = pixels(baseline or flat, reference, counted, labels, rules.protocol)
    retest = _optional(case, "retest")
    again = Scores()
    if retest is not None or itself:
        again = pixels(retest or reference, reference, counted, labels, rules.protocol)
    task, volumes, detections = _task(case, rules, candidate, reference, labels)
    trust, ranks = _trust(case, rules.protocol, candidate, reference, counted, labels)
    doses = _dose(case, counted)
    row = CaseRow(
        case.name,
        case.patient,
        found.values | task[0].values | trust.values | doses.values,
        _bounded(bad.values) | task[1].values,
        _bounded(again.values) | task[2].values,
        groups=case.groups,
        labelled=volumes,
        notes=found.notes | task[0].notes | trust.notes | doses.notes,
    )
    smooth = baseline or blurred(reference, rules.protocol.blur)
    sides = {"candidate": candidate, "reference": reference, "baseline": smooth}
    features = {name: embedded(sides, rules, name, counted) for name in rules.extractors}
    both = {"candidate": candidate, "reference": reference}
    cut = {
        name: lesions.patches(both, mask, counted, rules.protocol.seed)
        for name, mask in labels.items()
    }
    return Measured(row, features, _curves(candidate, reference, counted), ranks, detections, cut)


def embed(image: Image, rules: Rules, extractor: str, mask: Array | None = None) -> Array:
    """Return the rows of features of one image, channels side by side; `mask` None takes the
    image's own foreground.
    """
    counted = foreground(image).mask if mask is None else mask
    function = registry.get("extractor", extractor)
    window, spacing = rules.protocol.window, image.geometry.spacing
    return np.concatenate(
        [function(channel, mask=counted, spacing=spacing, window=window) for channel in image.data],
        axis=1,
    )


def embedded(
    sides: Mapping[str, Image], rules: Rules, extractor: str, counted: Array | None
) -> dict[str, Array]:
    """Return the features of all sides, or none where the extractor refuses one: the case is then
    not in that set.
    """
    try:
        return {side: embed(image, rules, extractor, counted) for side, image in sides.items()}
    except VeridicalError:
        return {}


def pixels(
    candidate: Image,
    reference: Image,
    counted: Array,
    labels: Mapping[str, Array],
    protocol: Protocol,
) -> Scores:
    """Compute the metrics of two images: in the foreground all, in the whole image and in
    structures those that fit there.
    """
    scores = Scores()
    deep = min(candidate.data.shape[1:]) >= WINDOWED
    supplies = {
        "candidate": candidate.data,
        "reference": reference.data,
        "data_range": protocol.data_range,
        "spacing": (1.0, *reference.geometry.spacing),
        "dimensions": 3 if deep else 2,
    }
    for handle in catalogue.taking("candidate", "reference", without=("interval", "draws")):
        scores.add(handle, "foreground", supplies | {"mask": counted})
        if handle.name in WHOLE:
            scores.add(handle, "image", supplies)
        if handle.name in INSIDE:
            for name, mask in labels.items():
                scores.add(handle, name, supplies | {"mask": mask})
    return scores


def _bounded(values: Mapping[str, float]) -> dict[str, float]:
    """Leave out what was infinite: a baseline or floor at infinity gives no scale."""
    return {key: value for key, value in values.items() if abs(value) < catalogue.CEILING}


def _image(source: Source | None) -> Image:
    if source is None:
        raise InputError("One side of the pair is missing.")
    return source.load()


def _optional(case: Case, role: str) -> Image | None:
    source = case.roles.get(role)
    return source.load() if isinstance(source, Source) else None


def region(case: Case, reference: Image) -> Array:
    """Return the voxels that count: the given mask's, else the foreground of the reference."""
    given = _optional(case, "mask")
    return foreground(reference).mask if given is None else np.asarray(given.data.any(axis=0))


def _labels(case: Case, role: str, image: Image, rules: Rules) -> dict[str, Array]:
    given = _optional(case, role)
    if given is None:
        return {}
    if given.geometry.shape != image.geometry.shape:
        raise InputError(
            f"The {role} of {case.name} are {given.geometry}, the image is {image.geometry}. "
            "Resample the labels."
        )
    return structures(given, rules.names)


def constant(reference: Image, counted: Array) -> Image:
    """Return pixel level's simple baseline: one number everywhere, the mean of the reference where
    it counts.
    """
    means = reference.data[:, counted].mean(axis=1)
    return replace(
        reference,
        data=np.broadcast_to(means[:, None, None, None], reference.data.shape).astype(np.float32),
    )


def _task(
    case: Case, rules: Rules, candidate: Image, reference: Image, labels: Mapping[str, Array]
) -> tuple[
    tuple[Scores, Scores, Scores], dict[str, tuple[float, float]], dict[str, dict[str, Array]]
]:
    """Return the scores of the structures in the candidate, in nothing (all missed) and in the real
    image; volumes in ml; what was detected in both.
    """
    scores = (Scores(), Scores(), Scores())
    volumes: dict[str, tuple[float, float]] = {}
    detections: dict[str, dict[str, Array]] = {}
    given = _labels(case, "candidate_labels", candidate, rules)
    if {"candidate_labels", "labels"} <= set(
        case.roles
    ):  # without a truth nothing that was found is right or wrong
        volumes |= agreement(given, labels, "", reference, scores[:2])
        agreement(labels, labels, "", reference, (scores[2],))
    for name, probe in rules.probes.items():
        answers = [probe(image) for image in (candidate, reference)]
        if isinstance(probe, Segmenter):
            for structure, mask in labels.items():
                sides = zip(lesions.SIDES, (candidate, reference), strict=True)
                both = {
                    side: _detected(probe, image, structure, mask, rules) for side, image in sides
                }
                detections[f"{name}:{structure}"] = {
                    f"{side}-{k}": v for side, each in both.items() for k, v in each.items()
                }
        if all(isinstance(answer, float | int) for answer in answers):
            scores[0].values[f"task/{name}/number"] = float(answers[0]) - float(answers[1])
            continue
        names = probe.names if isinstance(probe, HeadReader) else rules.names
        maps = [
            structures(replace(reference, data=np.asarray(a)[None], channels=("label",)), names)
            for a in answers
        ]
        truth = labels or maps[1]
        volumes |= agreement(maps[0], truth, f"{name}:", reference, scores[:2])
        agreement(maps[1], truth, f"{name}:", reference, (scores[2],))
        if labels:
            agreement(maps[0], maps[1], f"{name} in both:", reference, scores[:2])
            agreement(maps[1], maps[1], f"{name} in both:", reference, (scores[2],))
    return scores, volumes, detections


def _detected(
    probe: Segmenter, image: Image, structure: str, truth: Array, rules: Rules
) -> dict[str, Array]:
    """Return what a segmenter finds of one structure, by its probability."""
    place = next(
        (k for k, v in enumerate(probe.labels) if rules.names.get(v, f"label-{v}") == structure),
        None,
    )
    probability = np.zeros(truth.shape) if place is None else probe.probabilities(image)[place]
    return lesions.detected(probability, truth, image)


def agreement(
    found: Mapping[str, Array],
    truth: Mapping[str, Array],
    prefix: str,
    image: Image,
    into: tuple[Scores, ...],
) -> dict[str, tuple[float, float]]:
    """Compare structures, those that only one side has included, and return their volumes in ml,
    found and true.

    Args:
        found, truth: name -> bool `(x, y, z)`.
        prefix: of the regions' names.
        image: for grid and spacing.
        into: collector of the scores, and if there are two, of those of an empty answer.
    """
    voxel = float(np.prod(image.geometry.spacing)) / 1000
    nothing = np.zeros(image.geometry.shape, dtype=bool)
    volumes = {}
    for name in sorted(set(found) | set(truth)):
        one, other = found.get(name, nothing), truth.get(name, nothing)
        volumes[prefix + name] = (float(one.sum()) * voxel, float(other.sum()) * voxel)
        for scores, answer in zip(into, (one, nothing), strict=False):
            supplies = {
                "candidate_structure": answer,
                "reference_structure": other,
                "spacing": image.geometry.spacing,
            }
            for handle in catalogue.taking("candidate_structure", "reference_structure"):
                scores.add(handle, prefix + name, supplies)
    return volumes


def _trust(
    case: Case,
    protocol: Protocol,
    candidate: Image,
    reference: Image,
    counted: Array,
    labels: Mapping[str, Array],
) -> tuple[Scores, Array | None]:
    """Return the scores of intervals and draws, where there are some, and the rank histogram."""
    from veridical.metrics.rank_uniformity import rank_histogram

    scores = Scores()
    draws = _draws(case)
    interval = _interval(case, protocol.level, draws)
    supplies: dict[str, Any] = {
        "candidate": candidate.data,
        "reference": reference.data,
        "seed": protocol.seed,
    }
    supplies |= {} if interval is None else {"interval": interval}
    supplies |= {} if draws is None else {"draws": draws}
    for handle in catalogue.taking("reference"):
        companions = handle.takes & {"interval", "draws"}
        if companions and companions <= set(supplies):
            for name, mask in {"foreground": counted, **labels}.items():
                scores.add(handle, name, supplies | {"mask": mask})
    ranks = (
        None
        if draws is None
        else rank_histogram(draws, reference.data, mask=counted, seed=protocol.seed)
    )
    return scores, ranks


def _draws(case: Case) -> Array | None:
    sources = case.roles.get("draws")
    if not sources:
        return None
    return load_draws(sources if isinstance(sources, tuple) else (sources,))


def _interval(case: Case, level: float, draws: Array | None) -> Interval | None:
    lower, upper = _optional(case, "lower"), _optional(case, "upper")
    if lower is not None and upper is not None:
        return Interval(
            lower.data, upper.data, level, 0, "given with the candidate", "what its maker promised"
        )
    if draws is None or len(draws) * (1 - level) < 1:
        return None
    low, high = np.quantile(draws, ((1 - level) / 2, (1 + level) / 2), axis=0)
    return Interval(
        low, high, level, 0, f"quantiles of {len(draws)} draws", "nothing: it is not calibrated"
    )


def _dose(case: Case, counted: Array) -> Scores:
    scores = Scores()
    candidate, reference = _optional(case, "candidate_dose"), _optional(case, "dose")
    if candidate is None or reference is None:
        return scores
    if candidate.geometry.shape != reference.geometry.shape:
        raise InputError(
            f"The doses of {case.name} are {candidate.geometry} and {reference.geometry}. Resample "
            "one of them."
        )
    supplies = {"candidate_dose": candidate.data[0], "reference_dose": reference.data[0]}
    supplies |= {"spacing": reference.geometry.spacing}
    masks = {"dose grid": np.ones(reference.geometry.shape, dtype=bool)}
    if counted.shape == reference.geometry.shape:
        masks["foreground"] = counted
    for handle in catalogue.taking("candidate_dose", "reference_dose"):
        for name, mask in masks.items() if "mask" in handle.takes else (("dose grid", None),):
            scores.add(handle, name, supplies | {"mask": mask})
    return scores


def _curves(candidate: Image, reference: Image, counted: Array) -> dict[str, dict[str, Array]]:
    """Return the noise power spectra of both images and their band-wise correlation, of the first
    channel.
    """
    spacing = reference.geometry.spacing
    one, other = candidate.data[0], reference.data[0]
    found: dict[str, dict[str, Array]] = {}
    try:
        power = {
            side: np.stack(noise_power_spectrum(image, spacing=spacing, mask=counted))
            for side, image in {"candidate": one, "reference": other}.items()
        }
        found["noise-power"] = power
        found["fourier-correlation"] = {
            "candidate": np.stack(
                fourier_correlation_curve(one, other, spacing=spacing, mask=counted)
            )
        }
    except VeridicalError:
        return found
    return found
