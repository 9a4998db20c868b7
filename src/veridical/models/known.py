"""What is known of a slice before anything is drawn: the input of every model of images, whatever the job.

One slice has K channels (contrasts or modalities). Each is measured, degraded, seen under another look, missing but asked
for, or not part of the state at all. A job only differs in what it writes here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from veridical.errors import InputError, nearest
from veridical.nets.joint import FLAGS, KINDS, LOOK

ABSENT, MISSING, DEGRADED, RELOOK, MEASURED = range(FLAGS + 1)
DEGRADATIONS = ("noise", "blur", "thick", "bias", "ghosts")
LEAST_LEVEL = 0.01
HOUNSFIELD, UPTAKE = 1000.0, 5.0
"""HU, and SUV, that are 1 in network units."""
AIR = {"CT": -1.0}
"""What a channel shows where nothing is, in network units; 0 in all others."""
RELOOK_LEVEL = 0.08
"""Expected difference between two looks of one channel."""
QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True, eq=False)
class Known:
    """A batch of slices. Images are in the units networks work in: MR relative to the 99th percentile of the
    foreground, CT in thousands of HU, PET in units of 5 SUV. For a net of volumes the grid is `(z, y, x)`, and `neighbours`
    has no channel.

    Args:
        anchor: `(batch, channel, y, x)`, the best simple estimate of each channel; zero where there is none.
        hint: same shape, what an anchor is unsure of, in units of its level; zero where nothing is known of that.
        neighbours: `(batch, 2 * channel, y, x)`, anchors of the slices below and above; zero where there are none.
        support: `(batch, 1, y, x)`, 1 where the object is.
        status: `(batch, channel)` of `ABSENT, MISSING, DEGRADED, RELOOK, MEASURED`.
        level: `(batch, channel)`, expected root mean square error of the anchor: what the flow has to add.
        kind: `(batch, KINDS)`, 1 for each of the `DEGRADATIONS` in which channels are degraded.
        look: `(batch, channel, len(QUANTILES))`, quantiles of the wanted image's foreground; zero where not known.
        look_known: `(batch, channel)`.
        height: `(batch, 2)`: position along the slice axis in [-1, 1] and 1 if it is known.
        field: `(batch, 2)`: field strength in units of 3 T and 1 if it is known.
    """

    anchor: Tensor
    hint: Tensor
    neighbours: Tensor
    support: Tensor
    status: Tensor
    level: Tensor
    kind: Tensor
    look: Tensor
    look_known: Tensor
    height: Tensor
    field: Tensor

    @property
    def drawn(self) -> Tensor:
        """`(batch, channel, 1, 1)` float: 1 for the channels that a sampler draws."""
        return self.over(((self.status != ABSENT) & (self.status != MEASURED)).to(self.anchor.dtype))

    def over(self, values: Tensor) -> Tensor:
        """Return values `(batch, channel)` with one more axis of length 1 for each of the grid."""
        return values.reshape(*values.shape, *[1] * (self.anchor.ndim - 2))

    def to(self, device: torch.device) -> Known:
        """Return the same with its tensors on `device`."""
        return replace(self, **{name: getattr(self, name).to(device) for name in _TENSORS})

    def repeat(self, draws: int) -> Known:
        """Return a batch in which every slice comes `draws` times, one after the other."""
        return replace(self, **{name: getattr(self, name).repeat_interleave(draws, 0) for name in _TENSORS})

    def around(self) -> Tensor:
        """Return what stands beside the state, `(batch, 4 * channel + 3, y, x)` or `(batch, 2 * channel + 4, z, y, x)`."""
        return torch.cat([self.anchor, self.hint, self.neighbours, positions(self.support), self.support], 1)

    def condition(self, time: Tensor) -> Tensor:
        """Return the condition vector `(batch, conditions)` at times `(batch,)`."""
        flags = torch.stack([self.status == s for s in range(1, FLAGS + 1)], -1).to(time.dtype).flatten(1)
        level = torch.log(self.level.clamp_min(LEAST_LEVEL)) * self.drawn.flatten(1)
        parts = [time[:, None], flags, level, self.look_known, self.look.flatten(1), self.kind, self.height, self.field]
        return torch.cat(parts, 1)


_TENSORS = tuple(f.name for f in fields(Known))


def collate(slices: Sequence[Known]) -> Known:
    """Put slices of one size together to a batch."""
    return Known(**{name: torch.cat([getattr(s, name) for s in slices]) for name in _TENSORS})


def nothing(channels: int, support: Tensor) -> Known:
    """Return one slice `(1, ...)` of which only the support `(y, x)` is known; no channel is in its state yet.

    A support `(z, y, x)` gives a volume.
    """
    shape, beside = support.shape, 2 * channels if support.ndim == 2 else 0
    zeros = torch.zeros
    return Known(
        zeros(1, channels, *shape), zeros(1, channels, *shape), zeros(1, beside, *shape), support[None, None],
        zeros(1, channels, dtype=torch.long), zeros(1, channels), zeros(1, KINDS), zeros(1, channels, LOOK),
        zeros(1, channels), zeros(1, 2), zeros(1, 2),
    )  # fmt: skip


def positions(support: Tensor) -> Tensor:
    """Return where each voxel lies in the object: `(batch, 2, y, x)`, in standard deviations from its centre of mass.

    A support `(batch, 1, z, y, x)` gives `(batch, 3, z, y, x)`.
    """
    shape, along = support.shape[2:], tuple(range(2, support.ndim))
    grids = torch.meshgrid(*[torch.arange(n) for n in shape], indexing="ij")
    weight = support + 1e-6
    total = weight.sum(along, keepdim=True)
    maps = []
    for grid in grids:
        axis = grid.to(support)
        mean = (weight * axis).sum(along, keepdim=True) / total
        spread = ((weight * (axis - mean).square()).sum(along, keepdim=True) / total).sqrt().clamp_min(1.0)
        maps.append((axis - mean) / (2 * spread))
    return torch.cat(maps, 1).expand(support.shape[0], len(shape), *shape)


def foreground(image: Tensor, name: str, noise: float = 0.0) -> Tensor:
    """Return a soft mask of where an image `(y, x)` or `(z, y, x)` shows something, in [0, 1].

    Args:
        image: in the units of `Known`.
        name: of the channel; air is -1 in CT and 0 elsewhere.
        noise: standard deviation, which lifts the air of a magnitude image by 1.25 times itself.
    """
    above = image + 0.7 if name == "CT" else image - 1.25 * noise
    smooth = _near(above, 5)
    return ((smooth - 0.04) / 0.06).clamp(0, 1)


def support_of(known: Known, channels: Sequence[str]) -> Tensor:
    """Return where the object is, `(1, 1, y, x)`, from what one slice shows; ones where it shows nothing."""
    shown = [k for k in range(len(channels)) if known.status[0, k] not in (ABSENT, MISSING)]
    masks = [foreground(known.anchor[0, k], channels[k], float(known.level[0, k])) for k in shown]
    return torch.stack(masks).amax(0)[None, None] if masks else torch.ones(1, 1, *known.anchor.shape[2:])


def ask(known: Known, channel: int, mean: float, std: float, air: float = 0.0) -> None:
    """Ask for a channel that was not measured: its anchor is the mean of such images over the object, and air around it."""
    known.status[0, channel], known.level[0, channel] = MISSING, std
    known.anchor[0, channel] = air + (mean - air) * known.support[0, 0]


def look_of(image: Tensor, support: Tensor) -> Tensor:
    """Return the intensity quantiles `(5,)` of an image's foreground `(y, x)`; zeros where there is none."""
    inside = image[support > 0.5]
    if inside.numel() < 16:
        return torch.zeros(LOOK)
    order = inside.sort().values
    at = [int(q * (len(order) - 1)) for q in QUANTILES]
    return order[at]


def blur_level(anchor: Tensor, factor: float, support: Tensor) -> float:
    """Return what a blurred anchor `(y, x)` is expected to lack: the size of what blurring it again by `factor` removes."""
    width = 2 * max(1, round(factor / 2)) + 1
    again = _near(anchor, width, outside=False)
    lost = ((anchor - again).square() * support).sum() / support.sum().clamp_min(1.0)
    return float(lost.sqrt())


def _near(image: Tensor, width: int, outside: bool = True) -> Tensor:
    """Return the mean over a square or cube of odd width about each voxel; outside of the image lies zero, or nothing."""
    pool = torch.nn.functional.avg_pool2d if image.ndim == 2 else torch.nn.functional.avg_pool3d
    return pool(image[None, None], width, 1, width // 2, count_include_pad=outside)[0, 0]


def detail(anchor: Tensor, level: float) -> Tensor:
    """Return the hint of a degraded channel `(y, x)` or `(z, y, x)`: its detail in units of the expected error."""
    return ((anchor - _near(anchor, 5, outside=False)) / max(level, LEAST_LEVEL)).clamp(-5, 5)


def index_of(channels: Sequence[str], name: str) -> int:
    """Return the place of a channel, or refuse with the nearest known name."""
    if name not in channels:
        raise InputError(f"This prior has no channel {name!r}. {nearest(name, channels)}")
    return list(channels).index(name)
