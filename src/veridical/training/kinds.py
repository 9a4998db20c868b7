"""Which models can be trained, on which data and by which course: one row for each kind of model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from veridical.errors import SettingError
from veridical.generative.preconditioned import Preconditioned
from veridical.models.base import ImageModel
from veridical.models.denoiser import Denoiser
from veridical.models.distilled import Teacher
from veridical.training.denoising_data import DenoisingCourse, DenoisingData
from veridical.training.image_data import ImageData
from veridical.training.image_samples import ImageCourse
from veridical.training.training_data import Course, TrainingData

Trained = type[ImageModel] | type[Denoiser]
"""A model that can be trained: its `build` makes the untrained net from the recipe's `[model]` table."""


@dataclass(frozen=True)
class Kind:
    """How the subclasses of a model class are trained.

    Args:
        base: the class.
        data: the recipe's `[data]` table.
        course: `(model, net, data, seed, validation, teacher)` to the course.
    """

    base: type
    data: type[TrainingData]
    course: Callable[[Any, nn.Module, Any, int, bool, Teacher | None], Course[Any]]


def _denoising(
    model: type[Denoiser], net: nn.Module, data: DenoisingData, seed: int, validation: bool, teacher: Teacher | None
) -> DenoisingCourse:
    if not isinstance(net, Preconditioned):
        raise AssertionError("Denoiser.build makes a Preconditioned")
    return DenoisingCourse(data, seed, net.reach, validation)


KINDS = (Kind(ImageModel, ImageData, ImageCourse), Kind(Denoiser, DenoisingData, _denoising))


def kind_of(model: type) -> Kind:
    """Return how a model is trained.

    Raises:
        SettingError: it has nothing to train.
    """
    for kind in KINDS:
        if issubclass(model, kind.base):
            return kind
    raise SettingError(f"{getattr(model, 'name', model.__name__)} has nothing to train.")
