"""What all models share: the call, the tags by which tasks choose them, and what training needs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from veridical import registry
from veridical.conditioning.request import Request
from veridical.errors import FormatError, SettingError
from veridical.models import weights
from veridical.models.problem import Problem
from veridical.physics.cartesian_mri import CartesianMRI
from veridical.physics.linear import LinearOperator
from veridical.types import Array, Image

if TYPE_CHECKING:
    from veridical.models.dose_anatomy import PlanAnatomy


@dataclass(frozen=True)
class Model(ABC):
    """A named model. A subclass is a frozen dataclass; its fields are its settings."""

    name: ClassVar[str]
    learns: ClassVar[str] = ""
    """Name of the training data that it learns from (`veridical list training-data`); empty:
    nothing is learned.
    """

    @property
    def stochastic(self) -> bool:
        """Whether it gives posterior samples; otherwise one estimate."""
        return False

    @property
    def card(self) -> dict[str, Any]:
        """The card of the weights in use; empty for classical models."""
        return {}

    @property
    def weights_hash(self) -> str:
        """SHA-256 of the weights file, or `none`."""
        return "none"

    @classmethod
    def build(cls, settings: Mapping[str, Any]) -> nn.Module:
        """Make the untrained network from the recipe's `[model]` table.

        Raises:
            SettingError: the model has nothing to train.
        """
        raise SettingError(
            f"{cls.name} has nothing to train. Models that have: veridical list training-data."
        )


class WithWeights:
    """A model whose setting `weights` names a file of trained weights; put before its kind."""

    weights: str

    @property
    def card(self) -> dict[str, Any]:
        """The card that lies beside the weights."""
        return weights.card(self.weights)

    @property
    def weights_hash(self) -> str:
        """SHA-256 of the weights file."""
        return weights.fingerprint(self.weights)


@dataclass(frozen=True)
class MeasurementModel(Model, ABC):
    """A solver of one prepared slice or volume of any measurement."""

    def accepts(self, operator: LinearOperator) -> bool:
        """Say whether this model can take measurements by an operator."""
        return True

    @abstractmethod
    def solve(self, problem: Problem, draws: int, seed: int) -> Tensor:
        """Return images `(draw, *domain)` in the problem's units; their mean is the estimate.

        One where the model has no randomness or one draw is asked for.
        """


@dataclass(frozen=True)
class MRIModel(MeasurementModel, ABC):
    """A solver of Cartesian MR k-space, whose operator has a norm of at most 1."""

    def accepts(self, operator: LinearOperator) -> bool:
        return isinstance(operator, CartesianMRI)


@dataclass(frozen=True)
class ImageModel(Model, ABC):
    """A maker of slices from what is known of them. Its card says which contrasts it knows."""

    @property
    def contrasts(self) -> tuple[str, ...]:
        """Names of the contrasts and modalities that it knows, in order.

        Raises:
            FormatError: its weights are those of another kind of model.
        """
        known = self.card["net"].get("contrasts")
        if not known:
            raise FormatError(
                f"These are weights of {self.card['model']}, which names no contrasts; expected "
                "weights of a generator. "
                "Give others: --weights PATH."
            )
        return tuple(known)

    @abstractmethod
    def make(self, requests: Sequence[Request], draws: int, noise: Array | None = None) -> Array:
        """Make slices.

        Args: requests: slices of one size, in network units. draws: of each slice. noise:
            `(request, draw, y, x)` of unit variance to start from, so that slices of a volume can
            share it; models without randomness ignore it.

        Returns:
            `(request, draw, y, x)` in network units; one draw where the model has no randomness.
        """


@dataclass(frozen=True)
class LabelModel(Model, ABC):
    """A finder of structures in a volume."""

    @property
    @abstractmethod
    def labels(self) -> tuple[str, ...]:
        """Names of what it tells apart, the background first."""

    @property
    @abstractmethod
    def spacing(self) -> float:
        """mm of the isotropic grid that it works on."""

    @abstractmethod
    def probabilities(self, volume: Array) -> Array:
        """Return probabilities `(label, x, y, z)` of a volume `(x, y, z)` on that grid, RAS."""


@dataclass(frozen=True)
class EmbeddingModel(Model, ABC):
    """A maker of vectors, which are alike where visits are."""

    @abstractmethod
    def of_images(self, visit: Mapping[str, Image]) -> Array:
        """Return the vector of a visit's images, `(size,)` of unit length."""


@dataclass(frozen=True)
class DoseModel(Model, ABC):
    """A predictor of radiotherapy doses."""

    @abstractmethod
    def predict(self, anatomy: PlanAnatomy) -> tuple[Array, Array]:
        """Return dose and its standard deviation, `(x, y, z)` in Gy; 0 where no dose may be."""


def pick_device(device: str) -> torch.device:
    """Return the device that a setting means: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.

    Raises:
        SettingError: there is no such device on this machine.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place: torch.device | None = torch.device(device)
    except RuntimeError:
        place = None
    if place is None or place.type not in ("cpu", "cuda", "mps"):
        raise SettingError(f"--device {device}: expected auto, cpu, cuda, cuda:1 or mps.")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if place.type == "cuda" and (place.index or 0) >= count:
        raise SettingError(
            f"--device {device}: torch {torch.__version__} sees {count} CUDA GPUs on this machine. "
            "Use --device auto, which "
            "takes a GPU where there is one, or install torch with CUDA."
        )
    if place.type == "mps" and not torch.backends.mps.is_available():
        raise SettingError(
            f"--device {device}: this machine has no Apple GPU that torch can use. Use --device "
            "auto."
        )
    return place


M = TypeVar("M", bound=Model)


def chosen(name: str, base: type[M] | Any, **settings: Any) -> M:
    """Build a model by name with those of the settings that it has; empty settings leave its own
    default.

    Raises: SettingError: no model has that name, or it is of another kind; the message names those
        that fit.
    """
    kind = registry.get("model", name)
    if not issubclass(kind, base):
        fitting = [
            one for one in registry.entries("model") if issubclass(registry.get("model", one), base)
        ]
        raise SettingError(f"{name} is no {base.__name__}. Models that are: {', '.join(fitting)}.")
    has = {f.name for f in fields(kind)}
    built: M = kind(
        **{key: value for key, value in settings.items() if key in has and value not in ("", None)}
    )
    return built
