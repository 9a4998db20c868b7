"""The joint embedding on digital patients that were held out, with held-out templates: recall at 1
and 5 both ways against chance, what genes add, other text towers, and real heads.

Usage: python benchmarks/retrieval.py [WEIGHTS] [--heads 450] [--validate-on 50] [--real]
       [--letters]
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from veridical.errors import VeridicalError
from veridical.language.encoder import HashedLetters
from veridical.language.grammar import report
from veridical.language.reader import read_report
from veridical.models.joint_embedding import JointEmbedding
from veridical.models.weights import network
from veridical.nets.joint_towers import contrastive_loss
from veridical.training.embedding_data import EmbeddingCourse, EmbeddingData, embedded
from veridical.types import Array
from veridical.workflow.retrieve import Retrieve

RESAMPLES = 2000


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("weights", nargs="?", default="embedding")
    words.add_argument("--heads", type=int, default=450)
    words.add_argument("--validate-on", type=int, default=50)
    words.add_argument("--real", action="store_true")
    words.add_argument("--letters", action="store_true")
    given = words.parse_args()
    if given.real:
        real(given.weights)
        return
    data = EmbeddingData(heads=given.heads, validate_on=given.validate_on)
    unseen = data.course(JointEmbedding, {}, 0, True)
    net = network("joint-embedding", JointEmbedding.build, given.weights).eval()
    vectors = embedded(net, unseen, torch.device("cpu"))
    recalls(unseen, *vectors)
    told(net, unseen)
    nothing(given.weights, unseen, vectors[0])
    if given.letters:
        letters(data, net, unseen, vectors[0])


def recalls(unseen: EmbeddingCourse, images: Array, reports: Array, variables: Array) -> None:
    """Recall among all held-out patients; heads are resampled for the interval."""
    n = len(images)
    print(f"\n{n} held-out patients of {len(set(unseen.cache.heads[unseen.numbers]))} heads\n")
    print("| asked -> found | recall at 1 | at 5 | chance at 1 | at 5 | median rank |")
    print("|---|---|---|---|---|---|")
    rows = {
        "report -> image": (reports, images),
        "image -> report": (images, reports),
        "variables -> image": (variables, images),
        "image -> variables": (images, variables),
    }
    tumours = np.array(
        [unseen.cache.facts[int(k)][0].kind == "tumour" and unseen.cache.facts[int(k)][0].present
         for k in unseen.numbers]
    )  # fmt: skip
    for name, (asked, found) in rows.items():
        ranks = rank_of(asked @ found.T)
        print(f"| {name} | {shown(ranks, 1, unseen)} | {shown(ranks, 5, unseen)} | {1 / n:.3f} | "
              f"{5 / n:.3f} | {np.median(ranks) + 1:.0f} |")  # fmt: skip
    among = rank_of(reports[tumours] @ images[tumours].T)
    print(f"| report -> image, tumours alone (n = {tumours.sum()}) | {(among < 1).mean():.2f} | "
          f"{(among < 5).mean():.2f} | {1 / tumours.sum():.3f} | {5 / tumours.sum():.3f} | "
          f"{np.median(among) + 1:.0f} |")  # fmt: skip


def rank_of(alike: Array) -> Array:
    """How many others are more alike than the partner; of equal ones the half."""
    own = alike.diagonal()[:, None]
    return np.asarray((alike > own).sum(1) + ((alike == own).sum(1) - 1) / 2)


def shown(ranks: Array, best: int, unseen: EmbeddingCourse) -> str:
    """A share with its 95 % interval over heads."""
    heads = unseen.cache.heads[unseen.numbers]
    hit, rng, groups = ranks < best, np.random.default_rng(0), np.unique(heads)
    by = [hit[heads == head] for head in groups]
    draws = [
        np.concatenate([by[k] for k in rng.integers(len(by), size=len(by))]).mean()
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(draws, [0.025, 0.975])
    return f"{hit.mean():.2f} ({low:.2f} to {high:.2f})"


def told(net: nn.Module, unseen: EmbeddingCourse) -> None:
    """How often the nearest of all held-out reports has the kind, side and lobe of the image's."""
    images, reports, _ = embedded(net, unseen, torch.device("cpu"))
    alike = images @ reports.T
    np.fill_diagonal(alike, -2)  # another patient's
    facts = [unseen.cache.facts[int(k)][0] for k in unseen.numbers]
    nearest = alike.argmax(1)
    print("\n| nearest report of another patient has the same | share | chance |\n|---|---|---|")
    for name in ("kind", "side", "lobe", "size_class", "enhances"):
        own = [getattr(one, name) for one in facts]
        which = [k for k, one in enumerate(facts) if one.present and own[k] not in ("", None)]
        share = np.mean([own[k] == own[int(nearest[k])] for k in which])
        chance = np.mean([np.mean([own[k] == own[j] for j in range(len(own)) if j != k])
                          for k in which])  # fmt: skip
        print(f"| {name} (n = {len(which)}) | {share:.2f} | {chance:.2f} |")


def nothing(weights: str, unseen: EmbeddingCourse, images: Array) -> None:
    """Whether `nothing alike` is said where there is nothing, and not where there is something."""
    model, rng = JointEmbedding(weights), np.random.default_rng(1)
    said: dict[str, list[bool]] = {
        "partner there": [],
        "partner and all of its kind and side away": [],
    }
    facts = [unseen.cache.facts[int(k)] for k in unseen.numbers]
    for number in range(len(facts)):
        one = facts[number]
        if not one[0].present:
            continue
        text = report(one, rng, "held-out")
        vector = model.of_facts(read_report(text).facts)
        others = [
            k for k, f in enumerate(facts)
            if (f[0].kind, f[0].side) != (one[0].kind, one[0].side)
        ]  # fmt: skip
        chosen = rng.choice(others, 20, replace=False)
        for name, among in zip(said, ([*chosen, number], chosen), strict=True):
            best = float((images[among] @ vector).max())
            said[name].append(model.chance(best, "text", len(among)) <= Retrieve().level)
    print("\n| among 20 images of other kinds or sides | something alike is found |\n|---|---|")
    for name, found in said.items():
        print(f"| {name} (n = {len(found)}) | {np.mean(found):.2f} |")


def letters(data: EmbeddingData, net: nn.Module, unseen: EmbeddingCourse, images: Array) -> None:
    """A text tower over groups of letters in place of facts, trained against the same images."""
    seen = data.course(JointEmbedding, {}, 0, False)
    known, _, _ = embedded(net, seen, torch.device("cpu"))
    encoder, rng = HashedLetters(), np.random.default_rng(0)
    torch.manual_seed(0)
    tower = nn.Sequential(nn.Linear(encoder.buckets, 128), nn.SiLU(), nn.Linear(128, 64))
    sharp = nn.Parameter(torch.tensor(2.5))
    optimizer = torch.optim.Adam([*tower.parameters(), sharp], lr=1e-3)
    for _ in range(1500):
        chosen = rng.choice(len(known), 128, replace=False)
        texts = [report(seen.cache.facts[int(seen.numbers[k])], rng, "train") for k in chosen]
        vectors = functional.normalize(tower(torch.from_numpy(encoder.encode(texts))), dim=1)
        loss = contrastive_loss(torch.from_numpy(known[chosen]), vectors, sharp)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    print("\n| text tower over letters, templates | recall at 1 | at 5 |\n|---|---|---|")
    for split in ("train", "held-out"):
        texts = [report(unseen.cache.facts[int(k)], rng, split) for k in unseen.numbers]
        with torch.inference_mode():
            vectors = functional.normalize(tower(torch.from_numpy(encoder.encode(texts))), dim=1)
        ranks = rank_of(vectors.numpy() @ images.T)
        print(f"| {split} | {shown(ranks, 1, unseen)} | {shown(ranks, 5, unseen)} |", flush=True)


def real(weights: str) -> None:
    """Real heads: reports against the scans of patients whose disease is known."""
    root = Path(os.environ.get("VERIDICAL_DATA", "../shared/data"))
    queries = {
        "multiple sclerosis": "There are 12 white matter lesions in both hemispheres.",
        "tumour": "There is an enhancing tumour of 3 cm in the left frontal lobe.",
    }
    search = Retrieve(best=10, weights=weights)
    for folder in ("openms", "ixi_t1_2mm", "tcga_fg_6692"):
        try:
            library = search.images_of(root / folder)
        except VeridicalError as error:
            print(folder, "refused:", error)
            continue
        for name, text in queries.items():
            print(f"\n{folder}: {name}")
            print("\n".join(search.by_text(text, library).lines()), flush=True)


if __name__ == "__main__":
    main()
