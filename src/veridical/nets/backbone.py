"""The base of all backbones: plain modules that a denoiser or a generator is built around,
interchangeable by name.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from veridical import registry
from veridical.errors import SettingError, nearest

if TYPE_CHECKING:
    from onnx import ModelProto


class Backbone(nn.Module, ABC):
    """Map `(batch, inputs, y, x)` and a condition `(batch, conditions)` to `(batch, outputs, y,
    x)`; any image size.

    A subclass takes `inputs`, `outputs` and `conditions`, and settings of its own with defaults;
    its output is zero when it is made, so that what is built around it starts as the identity.
    """

    @property
    def exports(self) -> bool:
        """Whether `onnx` writes it as a graph for other runtimes."""
        return False

    inputs: int
    conditions: int
    multiple: int
    """Sides of images are padded to multiples of this."""

    def onnx(self) -> ModelProto:
        """Return the graph from `inputs` and `condition` to `outputs`, for backbones that
        export.
        """
        raise NotImplementedError(f"{type(self).__name__} is not exported")

    @abstractmethod
    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return the output for a batch of images and their condition vectors."""


def backbone(
    name: str, inputs: int, outputs: int, conditions: int, settings: Mapping[str, Any]
) -> Backbone:
    """Build an untrained backbone by its name, its convolutions laid out for CPUs.

    Raises: SettingError: no backbone has that name, or it has no such setting; the message says the
        nearest.
    """
    kind = registry.get("backbone", name)
    known = inspect.signature(kind).parameters
    for key in settings:
        if key not in known or key in ("inputs", "outputs", "conditions"):
            raise SettingError(f"The backbone {name} has no setting {key!r}. {nearest(key, known)}")
    made: Backbone = kind(inputs=inputs, outputs=outputs, conditions=conditions, **settings)
    return channels_last(made)


def channels_last(net: Backbone) -> Backbone:
    """Lay a net's convolutions out with the channel last, which is fastest on CPUs."""
    from torch import channels_last as layout

    for parameter in net.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=layout)
    return net
