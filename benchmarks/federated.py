"""Federated training compared: each site alone, all images in one place, FedAvg, FedProx, FedAvg
with privacy of patients, and synthetic images shared in place of weights; then sites that drop out,
send garbage or poison.

    python benchmarks/federated.py --out runs/federated --seeds 0 1

Sites are digital patients of four scanners with contrasts and noise of their own. All methods look
at equally many patches. What is shared as synthetic images comes from a linear generator that each
site fits: the mean and the principal components of its training slices, drawn as Gaussian.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from veridical.errors import InputError
from veridical.io.files import read_image, write
from veridical.training.checkpoints import log_lines
from veridical.training.federated import Masked, Server
from veridical.training.federation import Defence, Federation, Privacy
from veridical.training.screening import Arrays
from veridical.training.site import SiteAnswer, SiteRun
from veridical.training.site_report import attack, coverage, quality
from veridical.types import Geometry, Image
from veridical.workflow.federate import LocalSites
from veridical.workflow.site_folders import SPACING, THICKNESS, phantom_sites

SITES, PATIENTS, HELD_OUT, SIZE = 4, 150, 30, 96
COMPONENTS = 40
ROUNDS, FIRST = 5, 3
"""Rounds in which a site misbehaves, and the first one in which it does."""
RECIPE = """
intended_use = "Measurements of federated training on digital patients only; for nothing else."
[model]
name = "denoiser"
backbone = "unet"
widths = [24, 32]
reach = 1
[data]
sources = {{ photographs = 1.0 }}
batch = 8
patch = 48
[training]
learning_rate = {rate}
warmup = 50
validate = 1
workers = 0
device = "cpu"
seed = {seed}
"""


def federation(out: Path, folders: list[Path], seed: int, rate: float = 2e-3) -> Federation:
    """Write a federation and read it."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"small-{rate:g}.toml").write_text(RECIPE.format(seed=seed, rate=rate))
    lines = ["[federation]", f'recipe = "small-{rate:g}.toml"', "rounds = 20", "local_steps = 25"]
    for folder in folders:
        held = [f"sub-{folder.name}{n:03}" for n in range(PATIENTS - HELD_OUT, PATIENTS)]
        lines += [f"[sites.{folder.name}]", f"folder = {json.dumps(str(folder))}"]
        lines += [f"held_out = {json.dumps([*held, *(h.removeprefix('sub-') for h in held)])}"]
    (out / f"fed-{rate:g}.toml").write_text("\n".join(lines) + "\n")
    return Federation.read(out / f"fed-{rate:g}.toml")


def trained(plan: Federation, out: Path) -> dict[str, np.ndarray]:
    """Train over sites within this process and return the averaged weights."""
    return Server(plan, out, resume=True).run(LocalSites(plan, out)).average


def central(plan: Federation, out: Path, times: int) -> Arrays:
    """Train on all images in one place, `times` as many patches a step."""
    recipe = plan.central()
    data = replace(recipe.data, batch=times * recipe.data.batch, cache=str(out / "cache"))
    out.mkdir(parents=True, exist_ok=True)
    run = SiteRun(replace(recipe, data=data), out, 0.0)
    run.restore()
    while run.step < plan.steps:
        run.step_on()
        run.step += 1
    run.state.save(out, run.step, 0.0)
    return {key: value.numpy() for key, value in run.state.average.items()}


def judged(sites: LocalSites, weights: Arrays) -> dict[str, dict[str, float]]:
    """Return quality and coverage of weights at every site."""
    found = {}
    for name in sites.federation.sites:
        run = sites.site(name).run
        run.take(weights)
        net = run.net.eval()
        unseen = copy(run.unseen)
        unseen.data = replace(unseen.data, batch=2)
        found[name] = quality(unseen, net, torch.device("cpu"))
        found[name]["coverage"] = coverage(run.unseen, net)
    return found


def told(sites: LocalSites, weights: Arrays) -> str:
    """Return what membership inference finds at every site, in a few words."""
    words = []
    for name in sites.federation.sites:
        run = sites.site(name).run
        run.take(weights)
        evidence = attack(run, run.net.eval()).evidence
        words.append(f"{name} AUC {evidence['auc']:.2f}, p = {evidence['p']:.2g}")
    return "; ".join(words)


def synthetic(folders: list[Path], out: Path, seed: int) -> list[Path]:
    """Write images of a linear generator of each site's training slices."""
    made = []
    for number, folder in enumerate(folders):
        paths = sorted(folder.rglob("*.nii.gz"))[: PATIENTS - HELD_OUT]
        slices = np.stack([read_image(path).data[0, :, :, 0] for path in paths])
        scale = np.percentile(slices, 99, axis=(1, 2), keepdims=True)
        flat = (slices / scale).reshape(len(slices), -1)
        middle = flat.mean(0)
        _, size, axes = np.linalg.svd(flat - middle, full_matrices=False)
        rng = np.random.default_rng([seed, number])
        drawn = rng.standard_normal((len(flat), COMPONENTS)) * size[:COMPONENTS]
        images = middle + drawn @ axes[:COMPONENTS] / np.sqrt(len(flat) - 1)
        grid = Geometry((SIZE, SIZE, 1), np.diag([SPACING, SPACING, THICKNESS, 1.0]), "scanner")
        for index, image in enumerate(images):
            name = f"sub-{folder.name}syn{index:03}"
            path = out / folder.name / name / "anat" / f"{name}_T1w.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            shown = np.clip(image.reshape(SIZE, SIZE), 0, None).astype(np.float32)
            write(Image(shown[None, :, :, None], grid, "a.u.", ("T1w",)), path)
        made.append(out / folder.name)
    return made


def row(name: str, found: Mapping[str, Mapping[str, float]]) -> str:
    """Return a line of the table."""
    each = [f"{one['net_db']:.2f}" for one in found.values()]
    mean = np.mean([one["net_db"] for one in found.values()])
    held = np.mean([one["coverage"] for one in found.values()])
    return f"| {name} | {' | '.join(each)} | {mean:.2f} | {held:.0%} |"


class Attacked(LocalSites):
    """Sites of which one misbehaves from some round on.

    Args:
        how: `drop`, `nan`, `shape`, `flip`, `scale`.
    """

    how = ""

    def train(self, number: int, shared: Arrays, names: list[str]) -> dict[str, SiteAnswer | str]:
        """Let sites train, then spoil the answer of the last one."""
        found = super().train(number, shared, names)
        bad = list(self.federation.sites)[-1]
        if number < FIRST or bad not in found:
            return found
        answer, spoil = found[bad], SPOILED[self.how]
        found[bad] = (
            "no answer: its node is gone, failed or did not answer in time"
            if spoil is None
            else SiteAnswer({k: spoil(v) for k, v in answer.update.items()}, answer.patients, {})
        )
        return found

    def masked(self, number: int, shared: Arrays, names: list[str]) -> Masked:
        """Not used here."""
        raise InputError("no masks here")


SPOILED: dict[str, Callable | None] = {
    "drops out": None,
    "sends NaN": lambda one: one * np.nan,
    "flips the sign": lambda one: -one,
    "scales by 20": lambda one: 20 * one,
    "scales by -2": lambda one: -2 * one,
}


POISON = ("flips the sign", "scales by 20", "scales by -2")
"""What the defence could miss; garbage is left out with and without it."""


def robustness(plan: Federation, out: Path) -> None:
    """Measure what misbehaving sites do, with and without the defence."""
    short = replace(plan, settings=replace(plan.settings, rounds=ROUNDS))
    honest = trained(short, out / "honest")
    sites = LocalSites(short, out / "honest")
    others = list(plan.sites)[:-1]

    def mean(weights: Arrays) -> float:
        return float(np.mean([judged(sites, weights)[name]["net_db"] for name in others]))

    print(f"\n{ROUNDS} rounds, mean of three sites. All honest: {mean(honest):.2f} dB\n")
    print(f"| the fourth site, from round {FIRST} on | defended | left out in | not defended |")
    print("|---|---|---|---|", flush=True)
    last = list(plan.sites)[-1]
    for how in SPOILED:
        cells = []
        for screen in (True, False) if how in POISON else (True,):
            under = replace(short, defence=Defence(screen=screen))
            where = out / f"{how}-{screen}".replace(" ", "-")
            reached = Attacked(under, where)
            reached.how = how
            try:
                standing = Server(under, where, resume=True).run(reached)
                cells.append(f"{mean(standing.average):.2f}")
            except InputError as error:
                cells.append(f"stopped: {str(error)[:60]}")
            if screen:
                lines = log_lines(where)
                bad = [str(line["round"]) for line in lines if line["left_out"]]
                wrong = {name for line in lines for name in line["left_out"]} - {last}
                also = f"; also {', '.join(sorted(wrong))}" if wrong else ""
                cells.append(f"rounds {', '.join(bad)}{also}")
        print(f"| {how} | {' | '.join(cells)} |", flush=True)


def cosines(out: Path) -> str:
    """Return the least and the median cosine of honest updates with the median of the others."""
    found = [one["cosine"] for line in log_lines(out) for one in line["sites"].values()]
    ratios = [one["ratio"] for line in log_lines(out) for one in line["sites"].values()]
    return (
        f"cosine {min(found):.2f} to {max(found):.2f}, median {np.median(found):.2f}; length "
        f"{min(ratios):.2f} to {max(ratios):.2f} of the others' median"
    )


def prepared(out: Path, seed: int) -> tuple[Federation, list[Path]]:
    """Make the patients of a seed."""
    folders = phantom_sites(out / "data", SITES, PATIENTS, SIZE, seed=100 * seed)
    return federation(out, folders, seed), folders


def compare(out: Path, seed: int) -> None:
    """Print the table of one seed."""
    plan, folders = prepared(out, seed)
    sites = LocalSites(plan, out / "judge")
    names = list(plan.sites)
    print(f"\n## Seed {seed}\n\n| method | {' | '.join(names)} | mean | 90 % holds |")
    print("|---|" + "---|" * (len(names) + 2), flush=True)
    alone = {name: sites.alone(name) for name in names}
    for name, weights in alone.items():
        print(row(f"{name} alone", judged(sites, weights)), flush=True)
    whole = central(plan, out / "central", SITES)
    print(row("central", judged(sites, whole)), flush=True)
    average = trained(plan, out / "fedavg")
    print(row("FedAvg", judged(sites, average)), flush=True)
    prox = replace(plan, settings=replace(plan.settings, strategy="fedprox", proximal=0.1))
    print(row("FedProx, mu = 0.1", judged(sites, trained(prox, out / "fedprox"))), flush=True)
    slow = federation(out, folders, seed, rate=5e-4)
    private = kept_private(slow, sites, out, 8)
    shared = synthetic(folders, out / "synthetic", seed)
    pooled = replace(
        plan,
        sites={
            folder.name: replace(plan.sites[folder.name], folder=str(folder), held_out=())
            for folder in shared
        },
    )
    pool = judged(sites, central(pooled, out / "pool", SITES))
    print(row("synthetic images shared", pool), flush=True)
    kept_private(slow, sites, out, 32)
    print(f"\nHonest updates: {cosines(out / 'fedavg')}.")
    for name, weights in (("FedAvg", average), ("epsilon 8", private), ("alone", alone[names[0]])):
        print(f"Membership, {name}: {told(sites, weights)}.", flush=True)


def kept_private(plan: Federation, sites: LocalSites, out: Path, patients: int) -> Arrays:
    """Train with epsilon = 8 and so many patients a step, print the row, return the weights."""
    privacy = Privacy(epsilon=8.0, patients=patients, clip=0.5, seeded=True)
    where = out / f"private-{patients}"
    found = trained(replace(plan, privacy=privacy), where)
    spent = max(one["epsilon"] for line in log_lines(where) for one in line["sites"].values())
    name = f"FedAvg, epsilon {spent:.2f}, {patients} patients a step"
    print(row(name, judged(sites, found)), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/federated"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", choices=("compare", "robustness"))
    given = parser.parse_args()
    out = given.out.resolve()
    os.environ["VERIDICAL_CACHE"] = str(out / "cache")
    torch.set_num_threads(1)
    if given.only != "robustness":
        for seed in given.seeds:
            compare(out / f"seed-{seed}", seed)
    if given.only != "compare":
        plan, _ = prepared(out / f"seed-{given.seeds[0]}", given.seeds[0])
        robustness(plan, out / "robust")


if __name__ == "__main__":
    main()
