"""Raw MR data as what is known of a slice: the unrolled reconstruction as anchor, its phase removed, and the gradient of the
misfit to the data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from veridical.models.known import DEGRADATIONS, DEGRADED, Known, nothing
from veridical.models.prepared_scan import Scan
from veridical.models.unrolled import Unrolled
from veridical.nets.joint import JointNet


@dataclass(frozen=True, eq=False)
class KnownScan:
    """What is known, and how a drawn magnitude becomes an image again.

    Args:
        known: one slice.
        channel: of the contrast.
        anchor: `(set, y, x)` complex.
        phase: `(y, x)` complex of modulus 1.
    """

    known: Known
    channel: int
    anchor: Tensor
    phase: Tensor

    def images(self, drawn: Tensor) -> Tensor:
        """Return complex images `(draw, set, y, x)` from drawn states `(draw, channel, y, x)`."""
        first = drawn[:, self.channel] * self.phase
        rest = self.anchor[1:].expand(len(drawn), -1, -1, -1)
        return torch.cat([first[:, None], rest], 1)

    def truth(self, image: Tensor) -> Tensor:
        """Return the state `(1, channel, y, x)` of a true image `(set, y, x)`: its part along the anchor's phase."""
        state = torch.zeros_like(self.known.anchor)
        state[0, self.channel] = (image[0] * self.phase.conj()).real
        return state


def known_scan(net: JointNet, scan: Scan, contrast: str, device: str = "cpu") -> KnownScan:
    """Reconstruct a scan by the unrolled model that the net is anchored in and say what is known from it.

    Args:
        net: gives the channels, the anchor's weights and the coefficients of its error level.
        scan: prepared, `(set, y, x)` without a batch axis.
        contrast: a channel of the net; any other counts as `other`.
        device: where to reconstruct.
    """
    with torch.no_grad():
        anchor = Unrolled(weights=net.anchor, device=device).solve(scan, 1, 0, "other")[0].to(scan.start)
    changed = anchor - scan.start
    level = error_level(net.error, scan, changed)
    magnitude = anchor[0].abs()
    phase = torch.where(magnitude > 1e-8, anchor[0] / magnitude.clamp_min(1e-8), torch.ones_like(anchor[0]))
    channel = net.channels.index(contrast if contrast in net.channels else "other")
    known = nothing(len(net.channels), scan.support[0].cpu()).to(scan.start.device)
    known.status[0, channel], known.level[0, channel] = DEGRADED, level
    known.kind[0, DEGRADATIONS.index("scan")] = 1.0
    known.anchor[0, channel] = magnitude
    known.hint[0, channel] = (changed[0] * phase.conj()).real / level
    misfit = scan.operator.normal(anchor) - scan.operator.adjoint(scan.kspace)

    def gradient(u: Tensor) -> Tensor:
        first = (u[:, channel] * phase)[:, None]
        image = torch.cat([first, torch.zeros_like(first).expand(-1, anchor.shape[0] - 1, -1, -1)], 1)
        slope = ((scan.operator.normal(image) + misfit / level)[:, 0] * phase.conj()).real
        out = torch.zeros_like(u)
        out[:, channel] = slope
        return out

    return KnownScan(replace(known, gradient=gradient), channel, anchor, phase)


def error_level(coefficients: tuple[float, ...], scan: Scan, changed: Tensor) -> float:
    """Return the expected error of the anchor from what is known without a truth."""
    return math.exp(sum(c * f for c, f in zip(coefficients, error_features(scan, changed), strict=True)))


def error_features(scan: Scan, changed: Tensor) -> tuple[float, float, float, float]:
    """Return constant, log noise, log sampled fraction and log size of what the unrolled model changed, in the object."""
    share = scan.support.mean().clamp_min(1e-3)
    size = float((changed.abs().square().sum(0).mean() / share).sqrt())
    return 1.0, *scan.condition, math.log(size + 1e-4)
