"""Out-of-distribution check: is this image one of the kind that the model was trained on?

Two questions are asked of every image that went in. Are units, voxel size and, where units are
absolute, values within what was in the training data? And do its descriptors lie among those of the
training patients? For that its strangeness is compared with that of every training patient, each
held out in turn: a conformal p-value, valid whatever the distribution as far as the image is
exchangeable with the training images. Strange is what lies far from the most similar patient, or
what has one descriptor that no other patient comes near. The check cannot see a change that moves
none of the descriptors, such as most lesions.

An image of another generator or scanner is held against the card of a model that is named:
`veridical audit IMAGE --model brain`.
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
"""Strangeness over that of the strangest training patient from which it fails."""
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
BROKEN = 1.6
"""How many times the room that is left, an image fails."""
ABSOLUTE = ("HU", "SUV")
PERCENTILES = (1, 50, 99)
ADVICE = {
    "size": "check that the voxel size is right and that the body part is the model's",
    "noise": "denoise it first (veridical enhance), or scan again",
    "air": "look for motion, wrap-around and a mask that was applied",
    "ghosts": "look for motion, wrap-around and a mask that was applied",
    "cut": "check the field of view: the object runs out of it",
    "height": "check that the volume holds the whole body part of the model",
    "dark": "check contrast, contrast agent and intensity scale",
    "texture": "check the resolution: it is smoother or rougher than the training images",
    "depth": "check contrast, contrast agent, skull stripping and body part",
    "quantile": "check contrast, contrast agent and intensity scale",
}
"""Beginning of a descriptor's name -> what to do where it stands out."""
OTHERWISE = "check that modality, contrast and body part are the model's"


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
    if not given and (result.kind == "image" or (study.visits and any(study.visit()))):
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
        reason = (
            f"{channel}: no {kind} image was in the training data ({stored['name']}). Use a model "
            f"of {kind} images."
        )
        return Finding(NAME, "fail", reason, {"channel": channel})
    outside, broken = _outside(image, stored["ranges"][kind])
    found = _unlike(channel, image, stored)
    verdict: Verdict = "fail" if broken else "warn" if outside else "not_run"
    verdict = max(verdict, found.verdict, key=SEVERITY.index)
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
    strangeness, others, z = distances(own, patients)
    further = int(np.sum(others >= strangeness))
    p, ratio = (1 + further) / (1 + len(others)), float(strangeness / max(others.max(), 1e-9))
    unusual = p <= max(WARN, 1 / (1 + len(others)))
    reason = (
        f"{further} of {len(others)} training patients ({stored['name']}), each held out in turn, "
        f"are as unlike the others, p = {p:.2g}"
    )
    reason += f"; it is {ratio:.1f} times as unlike them as the strangest." if unusual else "."
    out = [name for name in sorted(z, key=lambda key: -abs(z[key])) if abs(z[name]) > STANDS_OUT]
    if unusual:
        shown = ", ".join(f"{name} ({z[name]:+.1f})" for name in out[:4])
        said = f" What stands out, in robust standard deviations: {shown}." if out else ""
        reason += f"{said} What to do: {_advice(out)}."
    verdict: Verdict = "fail" if unusual and ratio > FAR else "warn" if unusual else "pass"
    evidence = {"p": p, "strangeness": strangeness, "over_largest": ratio}
    return Finding(NAME, verdict, reason, {**evidence, "patients": len(others), "z": z})


def _advice(names: Sequence[str]) -> str:
    """Return what to do about the two descriptors that stand out most."""
    kinds = (name.split("_")[0] for name in names)
    found = dict.fromkeys(ADVICE[kind] for kind in kinds if kind in ADVICE)
    return "; ".join([*found][:2]) or OTHERWISE


def _pooled(
    channels: Mapping[str, Mapping[str, Mapping[str, float]]], kind: str
) -> dict[str, Mapping[str, float]]:
    """Return patient -> descriptors over all contrasts of a modality, the first of each patient."""
    found: dict[str, Mapping[str, float]] = {}
    for channel, patients in channels.items():
        if modality(channel) == kind:
            found |= {patient: row for patient, row in patients.items() if patient not in found}
    return found


def _outside(image: Image, ranges: Mapping[str, Any]) -> tuple[list[str], bool]:
    """Return in sentences what lies outside of the training data, and whether any of it is so far
    outside that the image fails: units, voxel size, values where units are absolute.
    """
    found, broken = [], False
    (channel,) = image.channels
    units = image.units_of(channel)
    if units not in ranges["units"]:
        theirs = " or ".join(ranges["units"])
        found.append(f"Its units are {units}, in the training data {theirs}. Convert it.")
        broken = True
    if "spacing" in ranges and image.geometry.frame != "index":
        (finest, thinnest), (coarsest, thickest) = ranges["spacing"]
        small, large = _sizes(image.geometry)
        beyond = max(finest / small, small / coarsest, large / thickest, thinnest / large)
        if beyond > ROOM:
            found.append(
                f"Its voxels have sides of {small:g} to {large:g} mm; in the training data the "
                f"shortest side is {finest:g} to {coarsest:g} mm, the longest {thinnest:g} to "
                f"{thickest:g} mm. Check the header; resample what is right."
            )
        broken |= beyond > ROOM * BROKEN
    if "values" in ranges and units in ABSOLUTE:
        low, high = (np.array(ends) for ends in ranges["values"])
        values = np.array(_values(image.data))
        beyond = _beyond(values, low, high)
        if beyond > 1:
            said, theirs = (
                ", ".join(f"{v:g}" for v in each) for each in (values, (low + high) / 2)
            )
            found.append(
                f"Its 1st, 50th and 99th percentiles are {said} {units}; in the training data "
                f"about {theirs}. Check slope and intercept of the file."
            )
        broken |= beyond > BROKEN
    return found, broken


def _beyond(values: Array, low: Array, high: Array) -> float:
    """Return how far percentiles lie outside of those of the training data, in shares of the room
    that is left to them: a share of the range, and for its width a factor.
    """
    room = SPILL * (high[-1] - low[0])
    shift = float(np.maximum(low - values, values - high).max() / room)
    width = max(float(values[-1] - values[0]), 1e-9)
    narrow, wide = (float(end[-1] - low[0]) for end in (low, high))
    return max(shift, narrow / width / ROOM / BROKEN, width / wide / ROOM / BROKEN)


def distances(
    own: Mapping[str, float], patients: Mapping[str, Mapping[str, float]]
) -> tuple[float, Array, dict[str, float]]:
    """Return how strange an image is, how strange each training patient is with the image among the
    others, `(patient,)`, and each descriptor of the image in robust standard deviations.

    Strangeness is the larger of two distances, each over its median: to the most similar other
    patient over all descriptors, and of one descriptor to the nearest value that another patient
    has. Only descriptors that all of them have are used; medians and scales are those of all
    together, so that no row is treated apart.
    """
    rows: Sequence[Mapping[str, float]] = [*patients.values(), own]
    names = [name for name in own if all(name in row for row in rows)]
    values = np.array([[row[name] for name in names] for row in rows])
    center = np.median(values, axis=0)
    away = np.abs(values - center)
    scale = np.maximum(1.4826 * np.median(away, axis=0), np.quantile(away, 0.9, axis=0) / 1.645)
    z = (values - center) / np.maximum(scale, FLOOR)
    apart = np.abs(z[:, None] - z[None])
    apart[np.arange(len(z)), np.arange(len(z))] = np.inf
    nearest = np.sqrt(np.square(np.minimum(apart, MOST)).mean(-1))
    np.fill_diagonal(nearest, np.inf)
    single = np.minimum(apart.min(1), MOST * STANDS_OUT).max(-1)
    parts = [nearest.min(1), single]
    strange = np.max([part / max(float(np.median(part)), FLOOR) for part in parts], axis=0)
    return (
        float(strange[-1]),
        np.asarray(strange[:-1]),
        dict(zip(names, z[-1].tolist(), strict=True)),
    )
