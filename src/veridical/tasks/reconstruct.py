"""See clearer: raw MR scanner data to an image that says what was measured and what was imagined."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from veridical.errors import GeometryError, InputError, SettingError
from veridical.task import Progress, Task
from veridical.types import Derived, Image, Measurement

if TYPE_CHECKING:
    from veridical.models.base import MRIModel
    from veridical.models.prepared_scan import Scan


@dataclass(frozen=True)
class Reconstruct(Task):
    """Reconstruct Cartesian multi-coil MR k-space, slice by slice, by any MR model."""

    takes: ClassVar[Literal["image", "visit", "raw"]] = "raw"

    model: str = "brain-prior"
    """Which solver: brain-prior, unrolled, or a classical one: zero-filled, cg-sense, wavelet, total-variation."""
    draws: int = 8
    """Posterior draws, for samplers. Their mean is the estimate; their spread makes interval and evidence."""
    steps: int = 4
    """Sampler steps, for samplers. More give texture and spread; time grows as steps."""
    sets: int = 2
    """Sets of coil maps. Two where the object may be larger than the field of view and wrap around; one is faster."""
    weights: str = ""
    """Path of other weights (.safetensors with a card beside it); empty for the shipped ones."""
    device: str = "auto"
    """auto, cpu or cuda."""

    def __post_init__(self) -> None:
        if self.draws < 1 or self.sets not in (1, 2):
            raise SettingError(f"draws = {self.draws}, sets = {self.sets}; expected at least 1 draw, and 1 or 2 sets of maps.")

    def apply(self, subject: Measurement | Image, seed: int, progress: Progress) -> Derived:
        from veridical.physics.cartesian_mri import CartesianScan
        from veridical.tasks import slicewise

        if not isinstance(subject, Measurement) or not isinstance(subject.operator, CartesianScan):
            raise InputError(
                f"reconstruct takes Cartesian MR k-space; got {type(subject).__name__}. "
                "Read raw data with veridical.read(path), for bare arrays with axes='coil,y,x'."
            )
        shape = subject.operator.mask.shape
        if subject.data.ndim != 4 or (subject.data.shape[0], *subject.data.shape[2:]) != shape:
            raise GeometryError(
                f"k-space of shape {subject.data.shape} and a mask {shape}; expected (slice, coil, ky, kx) and "
                "(slice, ky, kx). For one slice add the first axis: data[None]."
            )
        if subject.geometry.shape != shape[::-1]:
            raise GeometryError(
                f"k-space has {shape[0]} slices of (ky, kx) = {shape[1:]}, the grid is {subject.geometry.shape}; "
                "expected (kx, ky, slice). Give the geometry of the whole matrix."
            )
        if not np.isfinite(subject.data).all():
            raise InputError("The k-space holds NaN or infinite values; repair the file or leave those samples out as zeros.")
        solver, contrast = self.build(), str(subject.header.get("contrast") or "other")
        total, card = subject.data.shape[0], self.card()
        wider = slicewise.widening(card, self.name)
        solved = []
        for index, scan in enumerate(self.scans(subject)):
            solved.append(slicewise.solve(solver, scan, self.draws, seed + index, contrast, wider))
            progress("reconstructing slices", index + 1, total)
        return slicewise.assemble(solved, solver, card, subject.geometry, self.name, contrast, "a.u.")

    def scans(self, measurement: Measurement) -> Iterator[Scan]:
        """Prepare one slice after the other: coil maps, noise level, classical start."""
        import torch

        from veridical.models.prepared_scan import prepare
        from veridical.physics.cartesian_mri import CartesianScan
        from veridical.physics.coils import compress, espirit
        from veridical.physics.noise import estimate_sigma

        operator = measurement.operator
        if not isinstance(operator, CartesianScan):
            raise InputError(f"Slices of Cartesian k-space were expected; the operator is {operator.name!r}.")
        for kspace, mask in zip(measurement.data, operator.mask, strict=True):
            data = compress(torch.from_numpy(np.array(kspace, dtype=np.complex64)), MOST_COILS)
            sampled = torch.from_numpy(np.array(mask, dtype=np.float32))
            if not float(data.abs().max()) > 0:
                raise InputError("A slice of k-space is all zero; nothing was measured there. Leave it out.")
            if data.shape[0] == 1:
                maps = torch.zeros(2, 1, *mask.shape, dtype=torch.complex64)
                maps[0] = 1
            else:
                maps = espirit(data, sampled, sets=self.sets)
                maps = torch.cat([maps, torch.zeros_like(maps)])[:2]
            sigma = measurement.noise.level or estimate_sigma(data, sampled)
            yield prepare(data * sampled, sampled, maps, sigma)

    def model_and_weights(self) -> tuple[str, str]:
        return self.model, self.build().weights_hash

    def card(self) -> dict[str, object]:
        """Return the card of the weights in use; empty for classical models."""
        from veridical.models import weights

        name = getattr(self.build(), "weights", "")
        return weights.card(name) if name else {}

    def build(self) -> MRIModel:
        """Return the solver with these settings."""
        return solver(self.model, self.weights, steps=self.steps, device=self.device)


MOST_COILS = 12
"""More coils than that are compressed to this number of virtual ones."""


def solver(model: str, weights: str, **settings: Any) -> MRIModel:
    """Build an MR model with those of the settings that it has; no weights named means the shipped ones."""
    from dataclasses import fields

    from veridical import registry
    from veridical.models.base import MRIModel

    kind = registry.get("model", model)
    if not issubclass(kind, MRIModel):
        known = [name for name in registry.entries("model") if issubclass(registry.get("model", name), MRIModel)]
        raise SettingError(f"{model} does not solve MR scans. Those that do: {', '.join(known)}.")
    given = settings | ({"weights": weights} if weights else {})
    has = {f.name for f in fields(kind)}
    built: MRIModel = kind(**{key: value for key, value in given.items() if key in has})
    return built
