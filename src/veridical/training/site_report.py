"""What a site finds out about weights on its own patients: quality, intervals, and whether the
weights give away who trained them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from veridical.audit import membership
from veridical.errors import SettingError
from veridical.generative.posterior import LinearProblem, denoised_directly, samples_of_noisy
from veridical.io.guards import write_text
from veridical.models.denoiser import DIRECT_ROUNDS
from veridical.models.image_prior import ImagePrior
from veridical.physics.identity import Identity
from veridical.training.card_scores import t_interval
from veridical.training.denoising_data import VALIDATION_LEVELS, DenoisingCourse
from veridical.training.screening import Arrays
from veridical.training.site import SiteRun, SiteTrainer
from veridical.types import Finding

LEVEL = 0.9
"""Share of pixels that an interval is to hold."""
SLICES, SAMPLES = 8, 8
"""Slices on which intervals are looked at, and posterior samples of each."""
LOOKS = 3
"""Items of each patient whose loss is asked for by the attack."""
FILE = "report.json"
NUMBERS = ("net_db", "start_db", "coverage", "epsilon")
LONGEST = 500
"""Characters of a sentence of another site."""


def site_report(site: SiteTrainer, shared: Arrays) -> dict[str, Any]:
    """Judge the shared weights at a site; write all of it there and return what may leave.

    Args:
        site: with its patients.
        shared: weights.

    Returns: `patients`, `held_out`, `net_db` with `net_interval`, `start_db` (the noisy image);
        `coverage` of 90 % intervals before calibration; `epsilon`; `membership`, which with privacy
        stays at the site, since it looks at the patients who trained.
    """
    run = site.run
    run.take(shared)
    net = run.net.eval()
    found: dict[str, Any] = {
        "patients": site.patients,
        **quality(run.unseen, net, run.ranks.device),
        "coverage": coverage(run.unseen, net),
        "epsilon": round(site.epsilon(), 3),
        "membership": told(attack(run, net)),
    }
    write_text(site.folder / FILE, json.dumps(found, indent=2) + "\n")
    if site.federation.private:
        found["membership"] = {
            "verdict": "not_run",
            "reason": f"Kept at the site, in {FILE}: it looks at the patients who trained, which "
            "epsilon does not cover.",
        }
    return found


def received(text: str) -> dict[str, Any] | str:
    """Return a report as a site sent it, or in words why it is none; nothing else is let through.

    Args:
        text: JSON.
    """
    try:
        said = json.loads(text)
        low, high = (float(one) for one in said["net_interval"])
        found: dict[str, Any] = {name: int(said[name]) for name in ("patients", "held_out")}
        found |= {name: float(said[name]) for name in NUMBERS}
        found["net_interval"] = [low, high]
        membership = {
            name: str(said["membership"][name])[:LONGEST] for name in ("verdict", "reason")
        }
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        return f"garbage: its report cannot be read ({type(error).__name__})"
    return found | {"membership": membership}


def quality(unseen: DenoisingCourse, net: nn.Module, device: torch.device) -> dict[str, Any]:
    """Return PSNR in dB on held-out patients, of the net and of the noisy image, with the interval
    over patients; each is a mean over the noise levels of validation.
    """
    each = [
        one.validate(net, len(VALIDATION_LEVELS), device) for one in unseen.by_patient().values()
    ]
    values = [one["stack_net_db"] for one in each]
    interval = t_interval(values) if len(values) > 1 else (values[0], values[0])
    return {
        "net_db": round(float(np.mean(values)), 3),
        "net_interval": [round(one, 3) for one in interval],
        "start_db": round(float(np.mean([one["stack_start_db"] for one in each])), 3),
        "held_out": len(values),
    }


def coverage(unseen: DenoisingCourse, net: Any) -> float:
    """Return the share of pixels of held-out slices that lie within the 90 % interval of posterior
    samples, before any calibration.
    """
    prior, inside = ImagePrior(net), []
    for index in range(SLICES):
        stacks, _ = unseen.stacks(unseen.generator(10_000 + index), 1)
        clean = stacks[0, unseen.reach]
        level = VALIDATION_LEVELS[index % len(VALIDATION_LEVELS)]
        generator = torch.Generator().manual_seed(index)
        noisy = clean + level * torch.randn(clean.shape, generator=generator)
        problem = LinearProblem(Identity(tuple(clean.shape)), noisy, level, noisy)
        with torch.inference_mode():
            estimate = denoised_directly(problem, prior, 2)
            samples = samples_of_noisy(problem, prior, estimate, SAMPLES, index, DIRECT_ROUNDS)
        half = 1.6449 * samples.std(0)
        shown = clean > 0.1
        if bool(shown.any()):
            held = ((clean - samples.mean(0)).abs() <= half)[shown]
            inside.append(float(held.float().mean()))
    return round(float(np.mean(inside)), 3) if inside else float("nan")


def attack(run: SiteRun, net: nn.Module) -> Finding:
    """Ask whether the loss tells patients who trained from those who did not.

    The attacker knows a patient's images and takes a low loss for a sign of training (Yeom et al.
    2018, 10.1109/CSF.2018.00027). Judged as sets of images are, by `audit.membership`.
    """
    members = losses(run.source, net)
    others = losses(run.unseen, net)
    if min(len(members), len(others)) < membership.LEAST:
        return Finding(
            membership.NAME,
            "not_run",
            f"{len(members)} patients trained and {len(others)} did not; {membership.LEAST} of "
            "each are needed to tell an attack from chance.",
        )
    return membership.judged(-members, -others)


def losses(course: DenoisingCourse, net: nn.Module) -> membership.Scores:
    """Return the mean loss of each patient on the same draws of noise."""
    found = []
    for one in course.by_patient().values():
        parts = []
        for look in range(LOOKS):
            generator = torch.Generator().manual_seed(look)
            with torch.no_grad():
                parts += [
                    float(loss)
                    for loss in one.losses(net, one[look], generator, torch.device("cpu"))
                ]
        found.append(np.mean(parts))
    return np.array(found)


def told(finding: Finding) -> dict[str, Any]:
    """Return a finding as JSON holds it."""
    return {
        "verdict": finding.verdict,
        "reason": finding.reason,
        **dict(finding.evidence or {}),
    }


def alone(site: SiteTrainer, folder: Path) -> Arrays:
    """Train the model at the site alone, in as many steps as in all rounds; return its averaged
    weights.

    Raises:
        SettingError: the site keeps the privacy of patients, which this training would not.
    """
    if site.federation.private:
        raise SettingError("A training without privacy beside one with it would give it away.")
    run = SiteRun(site.run.plan, folder, 0.0)
    folder.mkdir(parents=True, exist_ok=True)
    run.restore()
    while run.step < site.federation.steps:
        run.step_on()
        run.step += 1
    run.state.save(folder, run.step, 0.0)
    return {key: value.numpy() for key, value in run.state.average.items()}
