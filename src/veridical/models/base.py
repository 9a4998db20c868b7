"""What all models share: the call, the device, and what training needs of a model of images."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from veridical.errors import SettingError, nearest
from veridical.models.known import Known
from veridical.models.problem import Problem
from veridical.physics.cartesian_mri import CartesianMRI
from veridical.physics.linear import LinearOperator

CONTRASTS = ("T1w", "T2w", "FLAIR", "PD", "T1c", "other")


@dataclass(frozen=True)
class MeasurementModel(ABC):
    """A solver of one prepared slice or volume. Subclasses are frozen dataclasses; their fields are their settings."""

    name: ClassVar[str]
    stochastic: ClassVar[bool] = False

    def accepts(self, operator: LinearOperator) -> bool:
        """Say whether this model can take measurements by an operator."""
        return True

    @abstractmethod
    def solve(self, problem: Problem, draws: int, seed: int) -> Tensor:
        """Return images `(draw, *domain)` in the problem's units; their mean is the estimate.

        One where the model has no randomness or one draw is asked for.
        """

    @property
    def weights_hash(self) -> str:
        """SHA-256 of the weights file, or `none`."""
        return "none"


@dataclass(frozen=True)
class MRIModel(MeasurementModel, ABC):
    """A solver of Cartesian MR k-space, whose operator has a norm of at most 1."""

    def accepts(self, operator: LinearOperator) -> bool:
        return isinstance(operator, CartesianMRI)


@dataclass(frozen=True)
class ImageModel(ABC):
    """A solver of slices whose channels are measured, degraded or missing. Its fields are its settings."""

    name: ClassVar[str]
    stochastic: ClassVar[bool] = False

    @property
    @abstractmethod
    def channels(self) -> tuple[str, ...]:
        """Names of the channels of its state, in order."""

    @abstractmethod
    def complete(self, known: Known, draws: int, seed: int, noise: Tensor | None = None) -> Tensor:
        """Draw what is not known.

        Args:
            known: a batch of slices.
            draws: of each slice.
            seed: of everything random that `noise` does not hold.
            noise: `(batch, draw, channel, y, x)` of unit variance to start from, so that slices of a volume can share it;
                None draws it from the seed. Models without a noise image ignore it.

        Returns:
            `(batch, draw, channel, y, x)` in the units of `known`; one draw where the model has no randomness.
        """

    @classmethod
    @abstractmethod
    def build(cls, settings: Mapping[str, Any]) -> nn.Module:
        """Make the untrained net from the recipe's `[model]` table."""

    @classmethod
    @abstractmethod
    def lesson_loss(cls, net: nn.Module, known: Known, truth: Tensor, generator: torch.Generator) -> Tensor:
        """Return the training loss of a batch of slices; `truth` is `(batch, channel, y, x)`."""

    @classmethod
    @abstractmethod
    def lesson_guess(cls, net: nn.Module, known: Known) -> Tensor:
        """Return the best single estimate `(batch, channel, y, x)`, for validation."""

    @property
    def weights_hash(self) -> str:
        """SHA-256 of the weights file, or `none`."""
        return "none"


Net = TypeVar("Net", bound=nn.Module)


def make(kind: type[Net], settings: Mapping[str, Any]) -> Net:
    """Make an untrained net, its convolutions laid out for CPUs; unknown settings are refused with the nearest known one."""
    known = inspect.signature(kind).parameters
    for key in settings:
        if key not in known:
            raise SettingError(f"{kind.__name__} has no setting {key!r}. {nearest(key, known)}")
    return channels_last(kind(**settings))


def channels_last(net: Net) -> Net:
    """Lay a net's convolutions out with the channel last, which is fastest on CPUs."""
    for parameter in net.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return net


def pick_device(device: str) -> torch.device:
    """Turn `auto` into the best device there is."""
    if device != "auto":
        return torch.device(device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
