"""Out-of-distribution check: is this image one of the kind that the model was trained on?

Two questions are asked of every image that went in. Are units, voxel size and, where units are
absolute, values within what was in the training data? And do its descriptors lie among those of the
training patients? For that the distance to the most similar patient is compared with the same
distance of every training patient, each held out in turn: a conformal p-value, valid whatever the
distribution as far as the image is exchangeable with the training images. It cannot see a change
that moves none of the descriptors, such as most lesions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from veridical.audit.descriptors import describe
from veridical.audit.inputs import images
from veridical.errors import InputError
from veridical.types import SEVERITY, Array, Finding, Geometry, Image, Result, Study, Verdict

NAME = "out-of-distribution"
WARN = 0.05
"""p-value from which it warns; of fewer than 19 patients the smallest that they allow."""
FAR = 1.5
"""Distance over that of the most isolated training patient from which it fails; T1w heads held out
reach 1.0, limbs 2.8.
"""
LEAST = 8
"""Training patients without whom nothing is said."""
FLOOR = 0.05
"""Least scale of a descriptor: differences below are of no importance."""
MOST = 8.0
"""Scaled difference of one descriptor beyond which it counts no more."""
STANDS_OUT = 3.0
ROOM = 1.25
"""Factor by which voxel sizes may leave the range of the training data."""
SPILL = 0.25
"""Share of the training data's range of values by which HU and SUV may leave it."""
ABSOLUTE = ("HU", "SUV")
PERCENTILES = (1, 50, 99)


def out_of_distribution(study: Study, result: Result) -> Finding | None:
    """Judge every image that went in, or what came out of raw data; None for classical methods,
    which were not trained.
    """
    card = result.facts.get("card", {})
    if not card:
        return None
    stored = card.get("training_data")
    if not stored:
        reason = "The card of these weights does not describe the images that they were trained on."
        return Finding(NAME, "not_run", reason)
    given = images(study, result)
    if not given and study.visits and any(study.visit()):
        given = {name: result.image.channel(name) for name in result.image.channels}
    if not given:
        return Finding(
            NAME,
            "not_run",
            "Nothing of a patient was measured, so nothing can be unlike the training data.",
        )
    found = [_judged(name, image, stored) for name, image in given.items()]
    return max(found, key=lambda finding: SEVERITY.index(finding.verdict))


def training_data(known: Iterable[tuple[str, Image]], name: str) -> dict[str, Any]:
    """Describe training images, for a model's card (`training_data`).

    Args: known: patient and image, in original units, grid and orientation; channels are described
        apart. name: what the images are, in words.

    Returns: JSON-ready values: `name`, `channels` (name -> patient -> descriptors) and `ranges`
        (modality -> units, spacing, values). Images that show no object are left out.
    """
    channels: dict[str, dict[str, dict[str, float]]] = {}
    ranges: dict[str, dict[str, Any]] = {}
    for patient, image in known:
        for channel in image.channels:
            try:
                found = describe(image[channel], image.geometry)
            except InputError:
                continue
            plain = {key: round(value, 4) for key, value in found.items()}
            channels.setdefault(channel.split(".")[0], {}).setdefault(patient, plain)
            _widen(ranges.setdefault(modality(channel), {"units": []}), image, channel)
    return {"name": name, "channels": channels, "ranges": ranges}


def modality(channel: str) -> str:
    """Return CT, PET or MR."""
    plain = channel.split(".")[0]
    return plain if plain in ("CT", "PET") else "MR"


def _widen(ranges: dict[str, Any], image: Image, channel: str) -> None:
    """Widen the ranges of a modality by one channel of an image."""
    units = image.units_of(channel)
    ranges["units"] = sorted({*ranges["units"], units})
    if image.geometry.frame != "index":
        ranges["spacing"] = _around(ranges.get("spacing"), _sizes(image.geometry))
    if units in ABSOLUTE:
        ranges["values"] = _around(ranges.get("values"), _values(image[channel]))


def _around(ends: list[list[float]] | None, values: list[float]) -> list[list[float]]:
    """Return the lowest and the highest of each value so far."""
    rows = np.array([values] if ends is None else [*ends, values])
    return [rows.min(0).tolist(), rows.max(0).tolist()]


def _sizes(geometry: Geometry) -> list[float]:
    """Return the smallest and the largest side of a voxel, mm."""
    return [round(float(side), 4) for side in (min(geometry.spacing), max(geometry.spacing))]


def _values(data: Array) -> list[float]:
    return [round(float(value), 2) for value in np.percentile(data, PERCENTILES)]


def _judged(channel: str, image: Image, stored: Mapping[str, Any]) -> Finding:
    """Judge one image."""
    kind = modality(channel)
    if kind not in stored["ranges"]:
        reason = f"{channel}: no {kind} image was in the training data ({stored['name']})."
        return Finding(NAME, "fail", reason, {"channel": channel})
    outside = _outside(image, stored["ranges"][kind])
    found = _unlike(channel, image, stored)
    verdict: Verdict = "warn" if outside and found.verdict != "fail" else found.verdict
    reason = " ".join([f"{channel}: {found.reason}", *outside])
    return Finding(
        NAME, verdict, reason, {"channel": channel, **found.evidence, "outside": outside}
    )


def _unlike(channel: str, image: Image, stored: Mapping[str, Any]) -> Finding:
    """Judge the descriptors of one image by those of the training patients with that contrast, else
    of that modality.
    """
    patients = stored["channels"].get(channel.split(".")[0], {})
    if len(patients) < LEAST:
        patients = _pooled(stored["channels"], modality(channel))
    if len(patients) < LEAST:
        said = (
            f"{len(patients)} training patients are described; {LEAST} are needed to say what is "
            "unusual."
        )
        return Finding(NAME, "not_run", said)
    try:
        own = describe(image.data[0], image.geometry)
    except InputError as error:
        return Finding(NAME, "not_run", str(error))
    distance, others, z = distances(own, patients)
    further = int(np.sum(others >= distance))
    p, ratio = (1 + further) / (1 + len(others)), float(distance / max(float(others.max()), 1e-9))
    unusual = p <= max(WARN, 1 / (1 + len(others)))
    reason = (
        f"{further} of {len(others)} training patients ({stored['name']}), each held out in turn, "
        "are as far from the most "
        f"similar other one, p = {p:.2g}"
    )
    reason += f"; it is {ratio:.1f} times as far as the most isolated of them." if unusual else "."
    out = [
        f"{name} ({z[name]:+.1f})"
        for name in sorted(z, key=lambda key: -abs(z[key]))
        if abs(z[name]) > STANDS_OUT
    ]
    if unusual and out:
        reason += f" What stands out, in robust standard deviations: {', '.join(out[:4])}."
    verdict: Verdict = "fail" if unusual and ratio > FAR else "warn" if unusual else "pass"
    return Finding(
        NAME,
        verdict,
        reason,
        {"p": p, "distance": distance, "over_largest": ratio, "patients": len(others), "z": z},
    )


def _pooled(
    channels: Mapping[str, Mapping[str, Mapping[str, float]]], kind: str
) -> dict[str, Mapping[str, float]]:
    """Return patient -> descriptors over all contrasts of a modality, the first of each patient."""
    found: dict[str, Mapping[str, float]] = {}
    for channel, patients in channels.items():
        if modality(channel) == kind:
            found |= {patient: row for patient, row in patients.items() if patient not in found}
    return found


def _outside(image: Image, ranges: Mapping[str, Any]) -> list[str]:
    """Return in sentences what lies outside of the training data: units, voxel size, values where
    units are absolute.
    """
    found = []
    (channel,) = image.channels
    units = image.units_of(channel)
    if units not in ranges["units"]:
        found.append(f"Its units are {units}, in the training data {' or '.join(ranges['units'])}.")
    if "spacing" in ranges and image.geometry.frame != "index":
        (finest, thinnest), (coarsest, thickest) = ranges["spacing"]
        small, large = _sizes(image.geometry)
        if (
            small < finest / ROOM
            or small > coarsest * ROOM
            or large > thickest * ROOM
            or large < thinnest / ROOM
        ):
            found.append(
                f"Its voxels have sides of {small:g} to {large:g} mm; in the training data the "
                f"shortest side is {finest:g} to "
                f"{coarsest:g} mm, the longest {thinnest:g} to {thickest:g} mm."
            )
    if "values" in ranges and units in ABSOLUTE:
        low, high = (np.array(ends) for ends in ranges["values"])
        values, room = np.array(_values(image.data)), SPILL * (high[-1] - low[0])
        if ((values < low - room) | (values > high + room)).any():
            said, theirs = (
                ", ".join(f"{v:g}" for v in each) for each in (values, (low + high) / 2)
            )
            found.append(
                f"Its 1st, 50th and 99th percentiles are {said} {units}; in the training data "
                f"about {theirs}."
            )
    return found


def distances(
    own: Mapping[str, float], patients: Mapping[str, Mapping[str, float]]
) -> tuple[float, Array, dict[str, float]]:
    """Return how far an image is from the most similar training patient, how far each of them is
    from the most similar other one (the image among them), `(patient,)`, and each descriptor of the
    image in robust standard deviations.

    Only descriptors that all of them have are used; scales are those of all together, so that no
    row is treated apart.
    """
    rows: Sequence[Mapping[str, float]] = [*patients.values(), own]
    names = [name for name in own if all(name in row for row in rows)]
    values = np.array([[row[name] for name in names] for row in rows])
    center = np.median(values, axis=0)
    away = np.abs(values - center)
    scale = np.maximum(1.4826 * np.median(away, axis=0), np.quantile(away, 0.9, axis=0) / 1.645)
    z = (values - center) / np.maximum(scale, FLOOR)
    apart = np.minimum(np.abs(z[:, None] - z[None]), MOST)
    far = np.sqrt(np.square(apart).mean(-1))
    np.fill_diagonal(far, np.inf)
    nearest = far.min(1)
    return (
        float(nearest[-1]),
        np.asarray(nearest[:-1]),
        dict(zip(names, z[-1].tolist(), strict=True)),
    )
