"""The injection benchmark: lesions of known kind, size and contrast are put into test phantoms, an
image or raw data, and detectors and reconstructions are asked for them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from veridical.errors import SettingError, nearest
from veridical.evaluation.injection import (
    DETECTORS,
    OF_DATA,
    Injected,
    InjectionCell,
    ShownImage,
    contrast_at,
    summarised,
)
from veridical.evaluation.scenes import (
    KINDS,
    SPACES,
    Sampling,
    Scene,
    lesions,
    of_image,
    of_raw,
    phantoms,
    places,
    with_lesions,
)
from veridical.models.base import MeasurementModel, chosen
from veridical.task import Progress, explained, silent
from veridical.types import Image, Measurement

QUESTIONS = ("added", "removed", "shown")
APART = 3.0
"""Distance of lesions from one another, in the largest size."""
Key = tuple[str, str, str, str, float, str, float]
"""Question, reconstruction, detector, kind, size, space, contrast."""


@explained
@dataclass(frozen=True)
class Inject:
    """What is injected, into what, and who is asked."""

    patients: int = 12
    """Test phantoms; of an image, slices."""
    models: tuple[str, ...] = ("zero-filled", "cg-sense", "denoiser")
    """Reconstructions, any of `veridical list model` that takes the raw data."""
    kinds: tuple[str, ...] = ("blob", "ring")
    """blob, disc, ring."""
    sizes: tuple[float, ...] = (3.0, 6.0)
    """Full widths at half maximum in pixels."""
    contrasts: tuple[float, ...] = (0.0, 1.0, 2.0, 3.0, 5.0, 8.0)
    """Heights over the noise of one pixel of a fully sampled image; below 0 dark. 0 is a control:
    its AUC must be 0.5.
    """
    spaces: tuple[str, ...] = SPACES
    """whole, measured, unmeasured: all of a lesion, or the part that the operator measures or not.
    """
    questions: tuple[str, ...] = QUESTIONS
    """added (the image shows lesions that the patient has not), removed (the other way about),
    shown (does the reconstruction show what the patient has).
    """
    lesions: int = 6
    """Lesions a slice."""
    draws: int = 8
    """Posterior samples of a model that has them; 1 leaves out the detectors that need them."""
    contrast: str = "T2w"
    """Of the phantoms."""
    pattern: Literal["uniform", "variable", "poisson"] = "variable"
    """How phantoms and images are sampled; raw data are as they are."""
    acceleration: float = 6.0
    """Of the pattern."""
    coils: int = 4
    """Receive coils."""
    noise: float = 0.02
    """Standard deviation per real component over the 99th percentile of the image."""
    seed: int = 0
    """Of phantoms, places, patterns and samples."""

    def __post_init__(self) -> None:
        for name, given, known in (
            ("kinds", self.kinds, KINDS),
            ("spaces", self.spaces, SPACES),
            ("questions", self.questions, QUESTIONS),
        ):
            for one in given:
                if one not in known:
                    raise SettingError(f"{name} holds {one!r}. {nearest(one, known)}")
        if self.patients < 1 or self.lesions < 1 or self.draws < 1 or min(self.sizes) < 1:
            raise SettingError(
                f"patients = {self.patients}, lesions = {self.lesions}, draws = {self.draws}, "
                f"sizes = {self.sizes}; expected 1 or more of each."
            )

    def __call__(
        self, subject: Image | Measurement | None = None, progress: Progress = silent
    ) -> Benchmark:
        """Run the benchmark.

        Args:
            subject: an image or raw data; None takes test phantoms. Of raw data the truth is not
                known, so no detector can be held against it.
            progress: called as work goes on.
        """
        cells: dict[Key, InjectionCell] = {}
        for number, scene in enumerate(self.scenes(subject)):
            self._slice(scene, number, cells)
            progress("slices", number + 1, self.patients)
        found = {key: summarised(cell, self.seed) for key, cell in cells.items()}
        return Benchmark(self, found)

    def detectors(self) -> tuple[str, ...]:
        """Return the names of the detectors that are asked."""
        return tuple(DETECTORS)

    def scenes(self, subject: Image | Measurement | None) -> Iterator[Scene]:
        """Yield the slices."""
        sampling = Sampling(self.pattern, self.acceleration, self.coils, self.noise)
        if subject is None:
            return phantoms(self.patients, sampling, self.contrast, self.seed)
        if isinstance(subject, Measurement):
            return of_raw(subject)
        return of_image(subject, sampling, self.patients, self.seed)

    def _slice(self, scene: Scene, number: int, cells: dict[Key, InjectionCell]) -> None:
        """Ask all questions of one slice."""
        where = places(scene, self.lesions, APART * max(self.sizes), number + self.seed)
        unit = scene.problem.sigma
        made = {
            (kind, size): lesions(scene, kind, size, where)
            for kind in self.kinds
            for size in self.sizes
        }
        for name in self.models:
            model: MeasurementModel = chosen(name, MeasurementModel)
            image = model.solve(scene.problem, 1, number + self.seed)[0]
            draws = None
            if model.stochastic and self.draws > 1:
                draws = model.solve(scene.problem, self.draws, number + self.seed)
            plain = ShownImage(scene, image, draws)
            asked = _Asked(name, model, plain, where, number + self.seed, cells)
            clean = {
                (detector, size): look(plain, size)
                for detector, look in DETECTORS.items()
                for size in self.sizes
            }
            for (kind, size), parts in made.items():
                for space in self.spaces:
                    for height in self.contrasts:
                        part = height * unit * parts[space]
                        for question in self.questions:
                            key = (kind, size, space, height)
                            asked.ask(question, key, part, clean)


@dataclass(frozen=True, eq=False)
class _Asked:
    """One reconstruction of one slice, asked about lesions."""

    name: str
    model: MeasurementModel
    plain: ShownImage
    where: list[tuple[int, int]]
    seed: int
    cells: dict[Key, InjectionCell]

    def ask(
        self,
        question: str,
        key: tuple[str, float, str, float],
        part: Tensor,
        clean: dict[tuple[str, float], Any],
    ) -> None:
        """Note the scores with a lesion and without."""
        size, scene = key[1], self.plain.scene
        for detector, shown in self._seen(question, part).items():
            without = clean[detector, size]
            if without is None:
                continue
            with_lesion = DETECTORS[detector](shown, size)
            assert with_lesion is not None
            cell = self.cells.setdefault((question, self.name, detector, *key), InjectionCell())
            cell.note(scene, self.where, size, with_lesion, without)

    def _seen(self, question: str, part: Tensor) -> dict[str, ShownImage]:
        """Return what each detector is shown."""
        plain = self.plain
        if question == "added":
            shown = ShownImage(plain.scene, plain.image + part, plain.draws)
            return dict.fromkeys(DETECTORS, shown)
        patient = with_lesions(plain.scene, part)
        if question == "removed":
            return dict.fromkeys(OF_DATA, ShownImage(patient, plain.image))
        image = self.model.solve(patient.problem, 1, self.seed)[0]
        return {"matched filter": ShownImage(patient, image)}


@dataclass(frozen=True)
class Benchmark:
    """What the benchmark found.

    Args:
        settings: of it.
        found: question, reconstruction, detector, kind, size, space, contrast -> numbers.
    """

    settings: Inject
    found: dict[Key, Injected] = field(default_factory=dict)

    def thresholds(self) -> dict[tuple[str, str, str, str, float, str], float | None]:
        """Return the contrast at 80 % sensitivity and one false mark a slice, over the noise, of
        every detector; None where it is not reached.
        """
        groups: dict[tuple[str, str, str, str, float, str], dict[float, float]] = {}
        for (*group, height), one in self.found.items():
            groups.setdefault(tuple(group), {})[abs(height)] = one.sensitivity  # type: ignore[arg-type]
        return {group: contrast_at(seen) for group, seen in groups.items()}

    def document(self) -> dict[str, Any]:
        """Return everything as JSON-ready values."""
        names = ("question", "model", "detector", "kind", "size", "space", "contrast")
        rows = [dict(zip(names, key, strict=True)) | asdict(one) for key, one in self.found.items()]
        limits = [
            dict(zip(names, key, strict=False)) | {"contrast_at_80": value}
            for key, value in self.thresholds().items()
        ]
        return {"settings": asdict(self.settings), "cells": rows, "thresholds": limits}

    def save(self, path: Path) -> Path:
        """Write it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.document(), indent=1) + "\n", encoding="utf-8")
        return path

    def table(self) -> str:
        """Return a Markdown table: AUC with interval at each contrast, and the contrast at 80 %
        sensitivity.
        """
        heights = list(dict.fromkeys(key[-1] for key in self.found))
        head = ["question", "reconstruction", "detector", "kind", "size", "space"]
        head += [f"AUC at {height:g}" for height in heights] + ["contrast at 80 %"]
        lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        for group, limit in self.thresholds().items():
            cells = [_auc(self.found.get((*group, height))) for height in heights]
            said = "not reached" if limit is None else f"{limit:.1f}"
            named = [str(part) if isinstance(part, str) else f"{part:g}" for part in group]
            lines.append("| " + " | ".join([*named, *cells, said]) + " |")
        return "\n".join(lines)


def _auc(one: Injected | None) -> str:
    if one is None:
        return "-"
    band = "" if one.interval is None else f" ({one.interval[0]:.2f} to {one.interval[1]:.2f})"
    return f"{one.auc:.2f}{band}"
