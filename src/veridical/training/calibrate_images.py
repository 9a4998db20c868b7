"""Calibration of image jobs: intervals on digital patients of the second simulator, scope and looks on training slices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from veridical.audit.describe_image import describe_image
from veridical.audit.evidence import local_variance
from veridical.audit.interval import Case
from veridical.audit.scope import Scope
from veridical.models import weights
from veridical.models.base import ImageModel
from veridical.models.known import foreground, look_of
from veridical.phantoms.cohort import Cohort
from veridical.phantoms.cohort_b import CohortB
from veridical.phantoms.scanners import CONTRASTS
from veridical.task import Progress
from veridical.tasks.complete import Complete
from veridical.tasks.enhance import EXPECTED
from veridical.tasks.harmonize import curved
from veridical.tasks.imagewise import SMOOTHING, Degradation, Plan, facts, image_model, known_slice
from veridical.tasks.view import View
from veridical.training.lessons import cut_kspace, degrade, magnitude_noise, thicken
from veridical.training.slabs import Slab, cohort_slab, volumes
from veridical.types import Array

CALIBRATION_SEED = 901
SIZE, SPACING, GAP = (176, 144), 1.25, 3.0
QUIET = (0.005, 0.03)
"""Noise of the channels that are measured."""
KINDS = ("noise", "blur", "thick", "bias", "ghosts")
LOOKS = 12
"""Slices that a site's look is the mean of."""


def image_jobs(name: str, patients: int, progress: Progress) -> dict[str, Iterable[Case]]:
    """Return the cases of every completion, enhancement and harmonization by the key of its calibration."""
    found: dict[str, Iterable[Case]] = {}
    for channel in (c for c in CONTRASTS if c in weights.card(name)["net"]["channels"]):
        found[f"complete-{channel}"] = cases(name, "complete", channel, "", patients, progress)
        found[f"harmonize-{channel}"] = cases(name, "harmonize", channel, "", patients, progress)
    for kind in KINDS:
        found[f"enhance-{kind}"] = cases(name, "enhance", "", kind, patients, progress)
    return found


def cases(name: str, job: str, channel: str, kind: str, patients: int, progress: Progress) -> Iterator[Case]:
    """Yield one case a patient: the middle slice of a slab solved as the task would, in network units."""
    model = image_model(weights.card(name)["model"], name, steps=Complete().steps)
    channels = tuple(c for c in CONTRASTS if c in model.channels)
    cohort = CohortB(CALIBRATION_SEED)
    for index in range(patients):
        rng = np.random.default_rng([CALIBRATION_SEED, index, len(job) + len(channel) + len(kind)])
        slab = cohort_slab(cohort, index, channels, GAP, SIZE, SPACING)
        chosen = channel or channels[int(rng.integers(len(channels)))]
        view, plan = posed(slab, job, chosen, kind, rng)
        yield solved_case(model, view, plan, slab.images[slab.names.index(chosen), 1], slab.patient, index)
        progress(f"calibrating {job} {channel or kind}", index + 1, patients)


def solved_case(
    model: ImageModel, view: View, plan: Plan, truth: Array, patient: str, seed: int, index: int | None = None
) -> Case:
    """Solve one slice of a view, the middle one unless another is given, and compare with the truth `(y, x)` in the support."""
    net = facts(model)
    known = known_slice(view, view.shape[0] // 2 if index is None else index, plan, net)
    draws = model.complete(known, Complete().draws, seed)[0, :, net.channels.index(plan.wanted[0])].numpy()
    spread = np.sqrt(local_variance(draws[:, None], SMOOTHING)[0])
    return Case(np.abs(draws.mean(0) - truth), spread, known.support[0, 0].numpy() > 0.5, patient)


def posed(slab: Slab, job: str, chosen: str, kind: str, rng: np.random.Generator) -> tuple[View, Plan]:
    """Turn a slab into what a task would be given: measured channels with a little noise, one missing, degraded or relooked."""
    place = slab.names.index(chosen)
    others = [i for i in range(len(slab.names)) if i != place]
    shown = [i for i in others if rng.random() < 0.6] or [others[int(rng.integers(len(others)))]] if others else []
    noise = float(rng.uniform(*QUIET))
    quiet = {slab.names[i]: magnitude_noise(torch.from_numpy(slab.images[i]), noise, rng).numpy() for i in shown}
    measured = tuple(quiet)
    truth = torch.from_numpy(np.ascontiguousarray(slab.images[place]))
    if job == "complete":
        return _view(quiet, slab), Plan(job, measured=measured, asked=(chosen,))
    support = foreground(truth[1], chosen)
    if job == "harmonize":
        seen = magnitude_noise(truth.clamp_min(0) ** float(np.exp(rng.normal(0, 0.3))), noise, rng).numpy()
        look = look_of(truth[1], support).numpy()
        return _view({chosen: curved(seen, chosen, look)}, slab), Plan(job, relook=(chosen,), looks={chosen: look})
    sigma = float(np.exp(rng.uniform(np.log(0.02), np.log(0.15)))) if kind == "noise" else 0.01
    poor, size = _degraded(truth, kind, support, rng)
    noisy = magnitude_noise(poor, sigma, rng).numpy()
    how = Degradation(kind, sigma, size)  # type: ignore[arg-type]
    return _view({chosen: noisy}, slab), Plan(job, degraded={chosen: how})


def _degraded(truth: torch.Tensor, kind: str, support: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, float]:
    """Degrade `(3, y, x)`; returns the size that a task would state: a factor, or the error it expects."""
    if kind == "blur":
        factor = float(rng.choice([2.0, 3.0, 4.0]))
        return cut_kspace(truth, (1 / factor, 1 / factor)), factor
    if kind == "thick":
        factor = float(rng.uniform(2, 5))
        return thicken(truth, factor, -1 - int(rng.integers(2)), float(rng.random())), factor
    if kind == "noise":
        return truth, 1.0
    middle_first = truth[[1, 0, 2]]
    poor, _ = degrade(middle_first, kind, support, rng)
    return poor[[1, 0, 2]], EXPECTED["bias-field" if kind == "bias" else "motion"]


def _view(images: Mapping[str, Array], slab: Slab) -> View:
    spacing = slab.pixel or 1.0
    return View(images, dict.fromkeys(images, 1.0), (GAP, spacing, spacing), lambda a: a, lambda a: a)


def fit_image_scopes(card: Mapping[str, Any], count: int, progress: Progress) -> dict[str, dict[str, Any]]:
    """Fit the scope of each channel on the middle slices of training slabs: digital patients and the real sets of the card."""
    rng = np.random.default_rng(7)
    real = {
        name: volumes(name, tuple(card["data"]["held_out"])) for name in card["data"]["sources"] if name in ("openms", "ixi")
    }
    found: dict[str, dict[str, Any]] = {}
    for channel in (c for c in CONTRASTS if c in card["net"]["channels"]):
        rows: list[dict[str, float]] = []
        pool = [(v, i) for all_ in real.values() for v in all_ if channel in v.names for i in v.usable()]
        while len(rows) < count:
            if pool and rng.random() < 0.5:
                volume, index = pool[int(rng.integers(len(pool)))]
                slab = volume.slab(index)
            else:
                slab = cohort_slab(Cohort(0), 10_000_000 + len(rows), (channel,), GAP)
            image = torch.from_numpy(np.ascontiguousarray(slab.images[slab.names.index(channel), 1]))
            if not (image > 0.1).float().mean() > 0.08:
                continue
            noise = float(np.exp(rng.uniform(np.log(0.003), np.log(0.05))))
            rows.append(describe_image(magnitude_noise(image, noise, rng).numpy()))
        names = tuple(rows[0])
        words = f"{count} training slices of {channel}, digital and real"
        found[channel] = Scope.fit(np.array([[r[n] for n in names] for r in rows]), names, words).to_dict()
        progress("fitting scope of images", len(found), len(CONTRASTS))
    return found


def site_looks(card: Mapping[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Return the looks of the digital sites and of the real sets: site -> channel -> quantiles."""
    found: dict[str, dict[str, list[float]]] = {}
    for name in card["data"]["sources"]:
        if name in ("openms", "ixi"):
            for volume in volumes(name, tuple(card["data"]["held_out"]))[:4]:
                usable = volume.usable()
                for channel in volume.names:
                    place = volume.names.index(channel)
                    chosen = [volume.images[place, i] for i in usable[len(usable) // 3 : 2 * len(usable) // 3]]
                    found.setdefault(name, {}).setdefault(channel, _mean_look(chosen[:LOOKS], channel))
    cohort, wanted = Cohort(0), [c for c in CONTRASTS if c in card["net"]["channels"]]
    for site in cohort.sites:
        mine = [i for i in range(200) if cohort.site(i).name == site.name][:LOOKS]
        slabs = [cohort_slab(cohort, i, tuple(wanted), GAP) for i in mine]
        found[site.name] = {c: _mean_look([s.images[s.names.index(c), 1] for s in slabs], c) for c in wanted}
    return found


def _mean_look(images: list[Array], channel: str) -> list[float]:
    rows = []
    for image in images:
        one = torch.from_numpy(np.ascontiguousarray(image, np.float32))
        rows.append(look_of(one, foreground(one, channel)).numpy())
    kept = [row for row in rows if row.sum() > 0]
    return [round(float(v), 4) for v in np.mean(kept, 0)]
