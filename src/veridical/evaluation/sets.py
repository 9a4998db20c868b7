"""Candidates, references and further sets as wholes: of one kind, no image twice, nothing that a
model was trained on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from veridical.errors import VeridicalError
from veridical.evaluation.cases import Cases
from veridical.evaluation.likeness import rescaled, sampled
from veridical.evaluation.sources import Source
from veridical.provenance import digest
from veridical.task import Progress
from veridical.types import Array, Finding, Image

SHOWN = 3
KEPT = 2048
"""Voxels of an image that are kept to compare the ranges of whole sets."""


@dataclass
class Kind:
    """What the images of one set are like.

    Args:
        dimensions: number of axes longer than one voxel and number of channels, in words.
        units: as the images say.
        voxels: a few of each image.
    """

    dimensions: set[str] = field(default_factory=set)
    units: set[str] = field(default_factory=set)
    voxels: list[Array] = field(default_factory=list)

    def add(self, image: Image) -> None:
        """Take note of one image."""
        shape = image.geometry.shape
        channels = f"{len(image.data)} channel{'s' if len(image.data) > 1 else ''}"
        self.dimensions.add(f"{'3D' if shape[2] > 1 else '2D'}, {channels}")
        self.units.add(image.units)
        flat = sampled(image.data).ravel()
        self.voxels.append(flat[:: max(1, flat.size // KEPT)].astype(np.float32))


@dataclass
class Sets:
    """What is known of each set.

    Args:
        digests: set -> hash of the voxels -> cases.
        kinds: set -> what its images are like.
    """

    digests: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)

    def add(self, name: str, case: str, image: Image) -> None:
        """Take note of an image of a set."""
        self.digests.setdefault(name, {}).setdefault(_content(image), []).append(case)
        self.kinds.setdefault(name, Kind()).add(image)

    def duplicates(self) -> Finding:
        """Say whether an image comes twice."""
        groups = [
            (side, names)
            for side, found in self.digests.items()
            for names in found.values()
            if len(names) > 1
        ]
        if not groups:
            return Finding("duplicates", "pass", "No image comes twice.")
        side, names = groups[0]
        of = (
            " It is a defect of the reference, not of the candidate."
            if all(side == "reference" for side, _ in groups)
            else ""
        )
        reason = (
            f"{len(groups)} images come more than once, for example the {side} of "
            f"{', '.join(names[:SHOWN])}: the same voxels. "
            f"Copies count one case several times. Remove them.{of}"
        )
        return Finding(
            "duplicates", "fail", reason, {"groups": [names for _, names in groups[:20]]}
        )

    def copies(self) -> Finding:
        """Say whether candidates, or images of the second set, are the references themselves."""
        real = self.digests.get("reference", {})
        for side, what in (("candidate", "candidates"), ("second", "images of the second set")):
            copies = [
                (name, real[key][0])
                for key, names in self.digests.get(side, {}).items()
                if key in real
                for name in names
            ]
            if copies:
                reason = (
                    f"{len(copies)} {what} are reference images, voxel for voxel, for example "
                    f"{copies[0][0]}. "
                    "Check that the right folder was given."
                )
                return Finding("copies", "fail", reason, {"cases": [name for name, _ in copies]})
        return Finding("copies", "pass", "No candidate is a reference image.")

    def read(self, sources: Mapping[str, Source], what: str, progress: Progress) -> Iterator[str]:
        """Look at the images of a further set; yield those that cannot be read."""
        for done, (name, source) in enumerate(sorted(sources.items()), 1):
            try:
                image = source.load()
            except VeridicalError as error:
                yield f"{name} ({error})"
            else:
                self.add(what, name, image)
            progress(f"checking the {what} set", done, len(sources))

    def alike(self, paired: bool, ratio: float, offset: float) -> Finding:
        """Say whether the sets that are compared as sets are of one kind: dimensions, units and,
        without pairs, range.
        """
        real = self.kinds.get("reference")
        for name, kind in self.kinds.items():
            if real is None or name == "reference" or (paired and name == "candidate"):
                continue
            for what, ours, theirs in (
                ("dimensions", kind.dimensions, real.dimensions),
                ("units", kind.units, real.units),
            ):
                if ours != theirs:
                    said = (
                        f"{', '.join(sorted(ours))} in the {name} set, {', '.join(sorted(theirs))} "
                        "in the reference set"
                    )
                    return Finding(
                        "dimensions",
                        "fail",
                        f"The sets differ in {what}: {said}. Convert one.",
                        {name: sorted(ours)},
                    )
            scale = rescaled(
                np.concatenate(kind.voxels),
                np.concatenate(real.voxels),
                ratio,
                offset,
                paired=False,
            )
            if scale and name == "candidate":
                return Finding(
                    "dimensions",
                    "fail",
                    f"The sets differ in range: {scale}. Bring both to one scale first.",
                )
        mixed = [
            f"the {name} set holds {' and '.join(sorted(k.dimensions))}"
            for name, k in self.kinds.items()
            if len(k.dimensions) > 1
        ]
        if mixed:
            return Finding(
                "dimensions",
                "fail",
                f"Scores of different kinds cannot be averaged: {'; '.join(mixed)}. Part them.",
            )
        return Finding("dimensions", "pass", "All sets are of one kind.")

    def leakage(self, cases: Cases, unread: list[str]) -> Finding:
        """Say whether images or patients that a model was trained on are among the candidates or
        the references.
        """
        split = _split(cases)
        if split:
            reason = (
                f"{len(split)} patients are in more than one split of the table, for example "
                f"{split[0]}. Split by patient."
            )
            return Finding("leakage", "fail", reason, {"patients": split})
        if not cases.training:
            return Finding(
                "leakage",
                "not_run",
                "No training set was given, so that leakage cannot be seen. Give --training.",
            )
        ours = {
            key: names[0]
            for side in ("reference", "candidate")
            for key, names in self.digests.get(side, {}).items()
        }
        trained = self.digests.get("training", {})
        same = [
            (name, ours[key]) for key, names in trained.items() if key in ours for name in names
        ]
        if same:
            reason = (
                f"{len(same)} training images are among the images judged, voxel for voxel: "
                f"{same[0][0]} is {same[0][1]}."
            )
            return Finding(
                "leakage",
                "fail",
                f"{reason} Remove them from one side.",
                {"cases": sorted(case for _, case in same)},
            )
        numbered = [name for name, source in cases.training.items() if source.index is not None]
        patients = {cases.patients.get(name, name) for name in cases.training} - set(numbered)
        whose = [
            case.name
            for case in cases.cases
            if case.reference is not None and case.patient in patients
        ]
        if whose:
            reason = (
                f"{len(whose)} test cases are of patients in the training set, for example "
                f"{whose[0]}. Split by patient; where "
                "the names only look the same, give a table with the column patient."
            )
            return Finding("leakage", "fail", reason, {"cases": whose})
        said = (
            f"None of {len(cases.training)} training images or their patients is among the cases."
        )
        if unread:
            return Finding(
                "leakage",
                "warn",
                f"{said} {len(unread)} images could not be read, the first is {unread[0]}",
            )
        return Finding("leakage", "pass", said)


def _content(image: Image) -> str:
    """Return the hash of the voxels, whatever the file's type and packing."""
    return digest(image.data.astype(np.float32) + np.float32(0))


def _split(cases: Cases) -> list[str]:
    """Return the patients that the table's column `split` has in several parts."""
    parts: dict[str, set[str]] = {}
    for case in cases.cases:
        if "split" in case.groups:
            parts.setdefault(case.patient, set()).add(case.groups["split"])
    return sorted(patient for patient, several in parts.items() if len(several) > 1)
