"""The joint embedding of images of heads, reports and clinical variables: vectors that are alike
where they belong to one patient, with what chance similarity looks like.

Learned from digital patients alone. A report is first read into facts (`language.reader`); words
that are not understood change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from veridical.errors import InputError
from veridical.language.fact import Fact
from veridical.language.fact_vectors import SIZE, report_vector
from veridical.models import weights
from veridical.models.base import EmbeddingModel, WithWeights
from veridical.nets.joint_towers import JointTowers
from veridical.preprocessing.coarse_head import SHAPE, coarse_head, middle_of
from veridical.types import Array, Image

CONTRASTS = ("T1w", "T2w", "FLAIR", "T1c")
"""Channels of the tower of images; after them comes one for an image of any contrast."""
VARIABLES = ("age", "sex", "grade", "IDH")
STATES = {
    "sex": {"female": -1.0, "male": 1.0},
    "grade": {"2 or 3": -1.0, "2": -1.0, "3": -1.0, "4": 1.0},
    "IDH": {"wild type": -1.0, "mutated": 1.0},
}
PAIRS = ("text", "image", "genes")
"""With what an image is compared."""


@dataclass(frozen=True)
class JointEmbedding(WithWeights, EmbeddingModel):
    """Towers for images, reports and clinical variables, from weights and their card."""

    name: ClassVar[str] = "joint-embedding"
    learns: ClassVar[str] = "embedding"
    weights: str = "embedding"
    """Name of shipped weights, or the path of a .safetensors file with its card beside it."""

    @classmethod
    def build(cls, settings: Mapping[str, Any]) -> nn.Module:
        """Make the untrained towers from the recipe's `[model]` table: `features` and
        `size`.
        """
        return JointTowers(len(CONTRASTS) + 1, SHAPE, SIZE, 2 * len(VARIABLES), **settings)

    def of_images(self, visit: Mapping[str, Image]) -> Array:
        """Return the vector of a visit, `(size,)` of unit length.

        Args:
            visit: name -> image; those of `CONTRASTS` count, and of others the first.

        Raises:
            InputError: there is no image, or it shows no head.
            GeometryError: the size of its voxels is not known.
        """
        net = _towers(self.weights)
        with torch.inference_mode():
            found = net.of_images(torch.from_numpy(channels(visit))[None])
        return np.asarray(found[0].numpy())

    def of_facts(self, facts: Sequence[Fact]) -> Array:
        """Return the vector of a report, `(size,)` of unit length.

        Raises:
            InputError: it says nothing.
        """
        if not facts:
            raise InputError("A report without facts has no vector. Name a finding.")
        net = _towers(self.weights)
        with torch.inference_mode():
            found = net.of_reports(torch.from_numpy(report_vector(facts))[None])
        return np.asarray(found[0].numpy())

    def of_variables(self, known: Mapping[str, str | float]) -> Array:
        """Return the vector of clinical variables, `(size,)` of unit length.

        Args:
            known: those of `VARIABLES` that are known.
        """
        net = _towers(self.weights)
        with torch.inference_mode():
            found = net.of_variables(torch.from_numpy(variables_vector(known))[None])
        return np.asarray(found[0].numpy())

    def chance(self, similarity: float, pair: str, among: int = 1) -> float:
        """Return how probable it is that the best of so many that do not belong together is at
        least so similar.

        Args:
            similarity: cosine.
            pair: of `PAIRS`: what an image was compared with.
            among: how many were compared.
        """
        null = np.asarray(self.card["null"][pair])
        above = (1 + float((null >= similarity).sum())) / (1 + len(null))
        return 1 - (1 - above) ** among


def channels(visit: Mapping[str, Image]) -> Array:
    """Return a visit as the tower of images takes it, `(contrast, x, y, z)` float32: what was not
    imaged is 0; an image of another contrast takes the last place where none of the known is there.

    Raises:
        InputError: there is no image.
    """
    images = {name: image for name, image in visit.items() if image.units != "label"}
    known = [name for name in CONTRASTS if name in images]
    if not images:
        raise InputError("There is no image to compare; expected T1w, T2w, FLAIR or T1c of a head.")
    found = np.zeros((len(CONTRASTS) + 1, *SHAPE), np.float32)
    chosen = known or [next(iter(images))]
    middle = middle_of(images[chosen[0]])
    for name in chosen:
        place = CONTRASTS.index(name) if name in CONTRASTS else len(CONTRASTS)
        found[place] = coarse_head(images[name], middle)
    return found


def variables_vector(known: Mapping[str, str | float]) -> Array:
    """Return clinical variables as `(8,)` numbers, two a variable: its value and whether it is
    known.

    Raises:
        InputError: a state is none of `STATES`.
    """
    found = np.zeros((len(VARIABLES), 2), np.float32)
    for row, name in zip(found, VARIABLES, strict=True):
        said = known.get(name)
        if said is None or (isinstance(said, float) and math.isnan(said)):
            continue
        if name == "age":
            row[:] = (float(said) - 50) / 20, 1.0
        elif str(said) in STATES[name]:
            row[:] = STATES[name][str(said)], 1.0
        else:
            raise InputError(f"{name} = {said!r}; expected {' or '.join(STATES[name])}.")
    return found.ravel()


@cache
def _towers(name: str) -> JointTowers:
    net = weights.network(JointEmbedding.name, JointEmbedding.build, name)
    assert isinstance(net, JointTowers)
    return net.eval()
