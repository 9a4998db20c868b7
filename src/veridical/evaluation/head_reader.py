"""A fixed reader of heads: the shipped segmenter labels made and real images alike, so that the
structures in both can be compared where nobody drew any.

It was never trained on the user's images, prefers no contrast, and is the same in every evaluation.
What it finds in the real image is no truth: agreement says that both images show the same anatomy
to one and the same reader.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from veridical.errors import InputError, VeridicalError
from veridical.evaluation.cases import Case
from veridical.models.base import LabelModel
from veridical.models.head_segmenter import HeadSegmenter
from veridical.preprocessing.preprocessing import UNITS
from veridical.tasks.labelling import Labelling, labelled
from veridical.tasks.segment import LEAST, OUTSIDE
from veridical.types import Array, Image

NAME = "head structures"
READ: dict[str, tuple[str, ...]] = {
    "background": ("background", "rest of the head"),
    "white matter": ("white matter",),
    "cortex": ("cortex", "hippocampus and amygdala"),
    "ventricles": ("lateral ventricle", "third and fourth ventricle"),
    "deep grey matter": ("thalamus", "caudate", "putamen", "pallidum"),
    "cerebellum": ("cerebellar white matter", "cerebellar cortex"),
    "brain stem": ("brain stem",),
    "fluid around the brain": ("fluid around the brain",),
    "lesion": ("lesion",),
    "skull": ("skull",),
}
"""Structure that is compared -> those that the segmenter tells apart: few and large ones."""
SHORTEST = 100.0
"""mm along each axis below which an image shows no whole head."""


@dataclass(frozen=True)
class HeadReader:
    """Image in, label map `(x, y, z)` out.

    Args:
        model: that tells the structures of heads apart.
    """

    names: ClassVar[Mapping[int, str]] = dict(enumerate(READ))
    """Label -> structure."""
    model: LabelModel

    def __call__(self, image: Image) -> Array:
        """Return the label map of the first channel of an image."""
        return self._read(image).merged(READ).placed(image.geometry)[0].astype(np.int16)

    def sees_head(self, image: Image) -> bool:
        """Say whether an image shows a whole head."""
        size = np.array(image.geometry.spacing) * image.geometry.shape
        name = image.channels[0]
        unfit = image.units_of(name) in ("label", "SUV", "Gy") or name in UNITS.keys() - {"CT"}
        if image.geometry.frame == "index" or size.min() < SHORTEST or unfit:
            return False
        try:
            found = self._read(image)
        except VeridicalError:
            return False
        return found.volume([one for one in found.names if one not in OUTSIDE]) >= LEAST

    def sha256(self) -> str:
        """Return the hash of the weights."""
        return self.model.weights_hash

    def _read(self, image: Image) -> Labelling:
        return labelled(self.model, image, image.channels[:1])


def reader_of(cases: Iterable[Case]) -> HeadReader | None:
    """Return the shipped segmenter as a reader where the first real image shows a head; None where
    it does not, or no weights are installed.
    """
    reference = next((case.reference for case in cases if case.reference is not None), None)
    reader = HeadReader(HeadSegmenter())
    try:
        reader.sha256()
    except InputError:
        return None
    return reader if reference is not None and reader.sees_head(reference.load()) else None
