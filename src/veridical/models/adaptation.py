"""Adaptation of a reconstruction network to one scan by its own samples, without any truth.

Zero-shot self-supervision (Yaman et al., ICLR 2022, arXiv 2102.07737): again and again some of the measured samples are
withheld, the network reconstructs from the rest, and is corrected by how it predicts the withheld ones. A fixed part, never
used for correction, says when to stop.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from veridical.models.prepared_scan import Scan, prepare
from veridical.physics.fourier import fft
from veridical.physics.masks import fully_sampled_centre

Run = Callable[[nn.Module, Scan], Tensor]
"""`(net, scan)` to the image `(set, y, x)`, differentiable."""

WITHHELD = 0.3
STOPPING = 0.15
RATE = 1e-4
PATIENCE = 4
EVERY = 5


def adapt(net: nn.Module, run: Run, scan: Scan, steps: int, seed: int) -> nn.Module:
    """Return a copy of the net adapted to a scan; the one that predicted the stopping samples best.

    Args:
        net: trained; left as it is.
        run: applies it.
        scan: prepared from all samples.
        steps: at most that many corrections; it ends early when the stopping samples are no longer predicted better.
        seed: of the withheld samples.
    """
    generator = torch.Generator().manual_seed(seed)
    mask = scan.operator.mask
    stopping = withhold(mask, STOPPING, generator)
    training = mask * ~stopping
    check = _reduced(scan, training)
    adapted = copy.deepcopy(net).train()
    optimizer = torch.optim.Adam(adapted.parameters(), lr=RATE)
    best, kept, waited = _error(run(adapted, check).detach(), scan, stopping), copy.deepcopy(adapted.state_dict()), 0
    for step in range(steps):
        hidden = withhold(training, WITHHELD, generator)
        loss = _error(run(adapted, _reduced(scan, training * ~hidden)), scan, hidden)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(adapted.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % EVERY:
            continue
        with torch.no_grad():
            error = _error(run(adapted, check), scan, stopping)
        if error < best:
            best, kept, waited = error, copy.deepcopy(adapted.state_dict()), 0
        else:
            waited += 1
        if waited == PATIENCE:
            break
    adapted.load_state_dict(kept)
    return adapted.eval()


def withhold(mask: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Choose a share of the samples outside the fully sampled centre, whole lines where whole lines were sampled: bool."""
    sampled = mask > 0
    rows, columns = fully_sampled_centre(sampled.cpu().numpy())
    outside = sampled.clone()
    outside[rows, columns] = False
    if bool((sampled == sampled[:1]).all()):
        chosen = torch.rand(mask.shape[1], generator=generator)[None].expand(mask.shape) < share
    else:
        chosen = torch.rand(mask.shape, generator=generator) < share
    return outside & chosen.to(mask.device)


def _reduced(scan: Scan, mask: Tensor) -> Scan:
    """Return the scan as if only `mask` had been sampled; coil maps, noise level and scale stay."""
    with torch.no_grad():
        fresh = prepare(scan.kspace * mask, mask.to(scan.operator.mask.dtype), scan.operator.maps, scan.sigma)
    return replace(fresh, kspace=fresh.kspace * fresh.scale, start=fresh.start * fresh.scale, sigma=scan.sigma, scale=1.0)


def _error(image: Tensor, scan: Scan, where: Tensor) -> Tensor:
    """Relative error of the predicted samples, half L2 and half L1, as the paper takes it."""
    predicted = fft(scan.operator.coil_images(image))[..., where]
    measured = scan.kspace[..., where]
    error = predicted - measured
    relative: Tensor = error.norm() / measured.norm() + error.abs().sum() / measured.abs().sum()
    return relative
