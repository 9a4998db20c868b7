"""Deface: remove the face from volumes of heads, and check that it is gone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from veridical.errors import InputError
from veridical.task import Progress, Task
from veridical.types import Array, Image, Result, Study

BRAIN = "brain"
"""Name of an image of the study that is a mask of the brain."""


@dataclass(frozen=True)
class Deface(Task):
    """Replace the face by air: all that lies below a plane from the brows down and back.

    The head's vertex, forehead and length, found by its surface, place the plane; no template and
    no network. A mask of the brain in the study (named `brain`, units `label`) lowers the plane
    until it leaves it whole. Ears, skull and brain stay, and can still tell a person. The finding
    `face` says whether a nose is left.
    """

    margin: float = 0.0
    """mm by which the plane is lowered: more of the orbits and of what lies behind is left."""

    def apply(self, study: Study, seed: int, progress: Progress) -> Result:
        from veridical.preprocessing.face import SHOWN, air_of, face_region, head_frame

        image, brain = _parts(study)
        frame = head_frame(np.asarray(image.data[0], np.float32), image.geometry)
        if frame.depth < SHOWN:
            raise InputError(
                f"The image reaches {frame.depth:.0f} mm below the vertex; a face begins "
                f"{SHOWN:.0f} mm below it, so there is none to remove. Share it as it is."
            )
        lowered = replace(frame, top=frame.top - self.margin)
        region = face_region(lowered, image.geometry, brain)
        data = np.array(image.data)
        for channel in data:
            channel[region] = air_of(channel)
        progress("defacing", 1, 1)
        removed = float(region.sum() * np.prod(image.geometry.spacing) / 1000)
        absent = dict.fromkeys(
            ("draws", "interval", "evidence"), "Defacing removes voxels; nothing is estimated."
        )
        facts = {"measured": image.channels, "defaced": {"millilitres": removed}}
        return Result(replace(image, data=data), "point estimate", absent=absent, facts=facts)

    def model_and_weights(self) -> tuple[str, str]:
        return "none", "none"


def _parts(study: Study) -> tuple[Image, Array | None]:
    """Return all images of the visit but the mask of the brain, and that as bool `(x, y, z)`."""
    visit = {name: one for name, one in study.visit().items() if isinstance(one, Image)}
    shown = [one for name, one in visit.items() if name != BRAIN]
    if not shown:
        raise InputError("The study holds no image to deface; expected a volume of a head.")
    image = Image.stack(shown)
    if not np.isfinite(image.data).all():
        raise InputError("The image holds NaN or infinite values; write a number there.")
    if BRAIN not in visit:
        return image, None
    return image, np.asarray(Image.stack([shown[0], visit[BRAIN]]).data[-1] > 0)
