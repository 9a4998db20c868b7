"""What the tasks on images share: slices made known to a model, draws of a whole volume, and the result with its companions.

A task only says, in a `Plan`, which channels are measured, degraded, seen under another look or asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from veridical.audit.evidence import evidence, local_variance
from veridical.errors import InputError, nearest
from veridical.models import weights
from veridical.models.base import ImageModel
from veridical.models.known import (
    AIR,
    DEGRADATIONS,
    DEGRADED,
    LEAST_LEVEL,
    MEASURED,
    RELOOK,
    RELOOK_LEVEL,
    Known,
    ask,
    blur_level,
    collate,
    detail,
    index_of,
    nothing,
    support_of,
)
from veridical.task import Progress
from veridical.tasks.view import View
from veridical.types import Array

if TYPE_CHECKING:
    from veridical.nets.joint import JointNet

SMOOTHING = 2.0
"""Gaussian width in voxels over which variances of few draws are averaged."""
REACH = 3.0
"""Millimetres along the slice axis over which the noise of a draw is alike, so that slices fit each other."""
TOGETHER = 8
"""Slices times draws that go through a network at once."""


@dataclass(frozen=True)
class Degradation:
    """How a channel was degraded.

    Args:
        kind: one of `noise`, `blur`, `thick`, `bias`, `ghosts`.
        noise: standard deviation per real component, in network units.
        size: factor of blur or slice thickness in voxels; expected error in network units for bias and ghosts.
    """

    kind: Literal["noise", "blur", "thick", "bias", "ghosts"]
    noise: float = 0.0
    size: float = 1.0


@dataclass(frozen=True)
class Plan:
    """What is asked of a volume.

    Args:
        job: names the calibration in the card.
        measured: channels that are taken as they are.
        asked: channels that are missing and wanted.
        degraded: channel -> how.
        relook: channels to be shown under another look.
        looks: channel -> quantiles of the wanted look.
        field: tesla, where known.
    """

    job: str
    measured: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    degraded: Mapping[str, Degradation] = field(default_factory=dict)
    relook: tuple[str, ...] = ()
    looks: Mapping[str, Array] = field(default_factory=dict)
    field: float | None = None

    @property
    def wanted(self) -> tuple[str, ...]:
        """Channels of the result, in the order in which they were named."""
        return (*self.degraded, *self.relook, *self.asked)


@dataclass(frozen=True, eq=False)
class Drawn:
    """A solved volume in network units, `(channel, slice, y, x)`; draws with one more axis in front.

    Args:
        mean, spread, evidence: over the draws; spread and evidence are None for one draw.
        draws: float16 to bound memory.
        support: `(slice, y, x)` bool, where the object is.
        residual: for each degraded channel, root mean square of what was changed over what was expected to be wrong.
    """

    mean: Array
    draws: Array
    spread: Array | None
    evidence: Array | None
    support: Array
    residual: Mapping[str, float]


def solve(
    model: ImageModel, view: View, plan: Plan, draws: int, seed: int, progress: Progress, widening: Mapping[str, float]
) -> Drawn:
    """Draw a whole volume, a few slices at a time.

    Args:
        model: any image model.
        view: the volume.
        plan: what is asked.
        draws: how many; a model without randomness gives one.
        seed: same seed, same bytes.
        progress: told after every few slices.
        widening: wanted channel -> by which the spread of the draws must grow to be calibrated.
    """
    net = facts(model)
    places = [index_of(net.channels, name) for name in plan.wanted]
    slices, rows, columns = view.shape
    count = draws if model.stochastic else 1
    out = np.zeros((count, len(places), slices, rows, columns), np.float16)
    mean = np.zeros(out.shape[1:], np.float32)
    support = np.zeros(view.shape, bool)
    size, changed = max(1, TOGETHER // count), dict.fromkeys(plan.degraded, (0.0, 0.0))
    noise = noise_walk((count, len(net.channels), rows, columns), view.spacing[0], seed)
    for start in range(0, slices, size):
        stop = min(start + size, slices)
        batch = [known_slice(view, i, plan, net) for i in range(start, stop)]
        known = collate(batch)
        given = torch.stack([next(noise) for _ in batch])
        found = model.complete(known, count, seed + start, given)[:, :, places].numpy()
        out[:, :, start:stop] = found.transpose(1, 2, 0, 3, 4)
        mean[:, start:stop] = found.mean(1).transpose(1, 0, 2, 3)
        support[start:stop] = known.support[:, 0].numpy() > 0.5
        for name in plan.degraded:
            k = index_of(net.channels, name)
            moved = (known.anchor[:, k].numpy() - found[:, :, plan.wanted.index(name)].mean(1)) ** 2
            expected = known.level[:, k].numpy()[:, None, None] ** 2 * np.ones_like(moved)
            inside = support[start:stop]
            before = changed[name]
            changed[name] = (before[0] + float(moved[inside].sum()), before[1] + float(expected[inside].sum()))
        progress(f"{plan.job}: {', '.join(plan.wanted)}", stop, slices)
    residual = {name: float(np.sqrt(a / max(b, 1e-12))) for name, (a, b) in changed.items()}
    if count < 2:
        return Drawn(mean, out, None, None, support, residual)
    spread, found_evidence = _companions(out, plan, net, widening)
    return Drawn(mean, out, spread, found_evidence, support, residual)


def _companions(draws: Array, plan: Plan, net: JointNet, widening: Mapping[str, float]) -> tuple[Array, Array]:
    """Return spread and evidence `(channel, slice, y, x)`, slice by slice to bound memory."""
    spread = np.zeros(draws.shape[1:], np.float32)
    found = np.zeros(draws.shape[1:], np.float32)
    for k, name in enumerate(plan.wanted):
        prior = (net.prior_std[index_of(net.channels, name)] / widening.get(name, 1.0)) ** 2
        for index in range(draws.shape[2]):
            one = draws[:, k, index].astype(np.float32)[:, None]
            spread[k, index] = np.sqrt(local_variance(one, SMOOTHING)[0])
            found[k, index] = evidence(one, prior, SMOOTHING)[0]
    return spread, found


def noise_walk(shape: tuple[int, ...], spacing: float, seed: int) -> Iterator[Tensor]:
    """Yield the noise of one slice after the other: unit variance, correlated along the slice axis over `REACH` mm."""
    generator = torch.Generator().manual_seed(seed)
    keep = float(np.exp(-spacing / REACH)) if spacing < REACH else 0.0
    noise = torch.randn(shape, generator=generator)
    while True:
        yield noise
        noise = keep * noise + (1 - keep**2) ** 0.5 * torch.randn(shape, generator=generator)


def facts(model: ImageModel) -> JointNet:
    """Return the untrained net that the card of a model's weights describes: its channels, means and deviations."""
    from veridical.models.base import make
    from veridical.nets.joint import JointNet

    card = weights.card(str(getattr(model, "weights", "")))
    small = {key: card["net"][key] for key in ("channels", "prior_mean", "prior_std") if key in card["net"]}
    return make(JointNet, {**small, "widths": (8, 8), "blocks": 1})


def known_slice(view: View, index: int, plan: Plan, net: JointNet) -> Known:
    """Say what is known of one slice."""
    slices, rows, columns = view.shape
    count = len(net.channels)
    known = nothing(count, torch.ones(rows, columns))
    around = [index, max(index - 1, 0), min(index + 1, slices - 1)]
    for name in (*plan.measured, *plan.degraded, *plan.relook):
        k = index_of(net.channels, name)
        here, below, above = (torch.from_numpy(np.ascontiguousarray(view.images[name][i])) for i in around)
        known.anchor[0, k], known.neighbours[0, k], known.neighbours[0, count + k] = here, below, above
        known.status[0, k] = MEASURED
        if name in plan.degraded:
            known.status[0, k] = DEGRADED
            known.kind[0, DEGRADATIONS.index(plan.degraded[name].kind)] = 1.0
            known.level[0, k] = plan.degraded[name].noise
        elif name in plan.relook:
            known.status[0, k], known.level[0, k] = RELOOK, RELOOK_LEVEL
            known.hint[0, k] = detail(here, RELOOK_LEVEL)
    support = support_of(known, net.channels)
    for name, how in plan.degraded.items():
        k = index_of(net.channels, name)
        known.level[0, k] = expected_error(known.anchor[0, k], how, support[0, 0])
        known.hint[0, k] = detail(known.anchor[0, k], float(known.level[0, k]))
    known = replace(known, support=support)
    for name in plan.asked:
        k = index_of(net.channels, name)
        ask(known, k, net.prior_mean[k], net.prior_std[k], AIR.get(name, 0.0))
    for name, look in plan.looks.items():
        k = index_of(net.channels, name)
        known.look[0, k], known.look_known[0, k] = torch.from_numpy(np.asarray(look, np.float32)), 1.0
    if slices > 1:
        known.height[0] = torch.tensor([2 * index / (slices - 1) - 1, 1.0])
    if plan.field:
        known.field[0] = torch.tensor([plan.field / 3.0, 1.0])
    return known


def expected_error(anchor: Tensor, how: Degradation, support: Tensor) -> float:
    """Return how far a degraded channel `(y, x)` is expected to be from the truth: as in training, without the truth."""
    size = 0.0
    if how.kind in ("blur", "thick"):
        size = blur_level(anchor, how.size, support) * (1.5 if how.kind == "thick" else 1.0)
    elif how.kind in ("bias", "ghosts"):
        size = how.size
    return max(LEAST_LEVEL, float(np.hypot(how.noise, size)))


def check_channels(names: Sequence[str], model: ImageModel) -> None:
    """Refuse channels that a model does not know."""
    for name in names:
        if name not in model.channels:
            raise InputError(
                f"{model.name} knows the channels {', '.join(model.channels)}; the image has {name!r}. "
                f"{nearest(name, model.channels)} Name them: contrast='T1w,T2w'."
            )


def image_model(model: str, weights_name: str, **settings: Any) -> ImageModel:
    """Build an image model with those of the settings that it has; no weights named means the shipped ones."""
    from dataclasses import fields

    from veridical import registry
    from veridical.errors import SettingError

    kind = registry.get("model", model)
    if not issubclass(kind, ImageModel):
        known = [name for name in registry.entries("model") if issubclass(registry.get("model", name), ImageModel)]
        raise SettingError(f"{model} does not work on images. Those that do: {', '.join(known)}.")
    given = settings | ({"weights": weights_name} if weights_name else {})
    has = {f.name for f in fields(kind)}
    built: ImageModel = kind(**{key: value for key, value in given.items() if key in has})
    return built


def averaged(
    parts: Sequence[tuple[Drawn, View]], model: ImageModel, plan: Plan, widening: Mapping[str, float]
) -> tuple[Drawn, View]:
    """Average volumes that were solved along several axes, draw by draw, so that no seams along any axis are left."""
    (first, seen), others = parts[0], parts[1:]
    forth = [seen.cut(view.restore(drawn.draws.astype(np.float32))) for drawn, view in others]
    draws = (first.draws.astype(np.float32) + sum(forth)) / len(parts)
    if first.spread is None:
        return replace(first, mean=draws.mean(0), draws=draws.astype(np.float16)), seen
    spread, found = _companions(draws, plan, facts(model), widening)
    return replace(first, mean=draws.mean(0), draws=draws.astype(np.float16), spread=spread, evidence=found), seen
