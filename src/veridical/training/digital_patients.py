"""Digital patients that a generator learns from beside real ones: the embedded cohort, and heads
painted from label maps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import ndimage

from veridical.errors import InputError
from veridical.layouts.pool import data_root
from veridical.phantoms.cohort import Cohort
from veridical.phantoms.label_heads import LabelHeads
from veridical.phantoms.label_maps import label_maps
from veridical.phantoms.population import Population
from veridical.phantoms.rendering import PhantomSlice, PhantomVolume, render
from veridical.physics.tissue import TissueClass
from veridical.preprocessing.preprocessing import UNITS, Preprocessing
from veridical.preprocessing.style import style_of
from veridical.training.prepared_visits import Slab
from veridical.types import Array

LICENCES = {
    "phantoms": "",
    "painted": "Apache-2.0 (label maps: Billot et al. 2023, 10.1016/j.media.2023.102789)",
}
"""Source -> licence of what it is made from."""
PATIENTS = {"phantoms": 200, "painted": 1500}
"""Different slabs, each made once: making one takes a tenth of a training step (painted) or as long
as one (phantoms).
"""
VALIDATION = 1_000_000
"""Added to the seed of the patients that are validated on."""
COARSE = 4.0
"""mm at which the whole head is imaged to find the level of its inner tissue."""
ELSEWHERE = 500_000_000
"""Added to the number of a patient for another scanner, which no patient has."""
GREY_SUV, SUV_SPREAD, BLUR = 8.0, 0.25, 2.3
"""FDG uptake of grey matter in SUV, standard deviation of its log between patients, and that of the
point spread of a PET scanner in mm.
"""
Heads = Population | LabelHeads


@dataclass(eq=False)
class DigitalPatients:
    """Slabs of digital patients by number.

    Args:
        name: `phantoms` or `painted`.
        seed: of all patients.
        contrasts: to show.
        preprocessing: of the network.
        held_out: beginnings of names of label maps that are not trained on.
        validation: whether these, and other patients, are shown instead.

    Raises:
        InputError: the label maps are not there.
    """

    name: str
    seed: int
    contrasts: tuple[str, ...]
    preprocessing: Preprocessing
    held_out: tuple[str, ...] = ()
    validation: bool = False
    _made: dict[int, Slab] = field(default_factory=dict)

    def __post_init__(self) -> None:
        seed = self.seed + (VALIDATION if self.validation else 0)
        self.heads: Heads = (
            Cohort(seed)
            if self.name == "phantoms"
            else painted_heads(seed, self.held_out, self.validation)
        )

    def __len__(self) -> int:
        return PATIENTS[self.name]

    def __getitem__(self, index: int) -> Slab:
        """Return a slab of patient `index`; there are as many as the length says."""
        number = index % len(self)
        if number not in self._made:
            rng = np.random.default_rng((self.seed, number, 9))
            gap = 2.0 if self.name == "phantoms" else float(rng.uniform(1.0, 5.0))
            magnetic = [name for name in self.contrasts if name not in UNITS]
            restyled = magnetic[number % len(magnetic)] if magnetic else ""
            self._made[number] = phantom_slab(
                self.heads, number, self.contrasts, gap, self.preprocessing, restyled=restyled
            )
        return self._made[number]

    def voxels(self, count: int, each: int = 1500) -> Iterator[dict[str, Array]]:
        """Yield foreground voxels of a few patients, contrast -> `(voxel,)` in network units."""
        rng = np.random.default_rng((self.seed, 8))
        for index in range(count):
            slab = self[index]
            middle = slab.images[:, 0].astype(np.float32)
            shown = [
                self.preprocessing.foreground(n, i) for n, i in zip(slab.names, middle, strict=True)
            ]
            inside = np.flatnonzero(np.max(shown, 0))
            chosen = rng.choice(inside, min(each, len(inside)), replace=False)
            yield {n: i.reshape(-1)[chosen] for n, i in zip(slab.names, middle, strict=True)}


def painted_heads(seed: int, held_out: tuple[str, ...], validation: bool) -> LabelHeads:
    """Return patients from the label maps that are trained on, or from those held out.

    Raises:
        InputError: the maps are not there, or none is left.
    """
    folder = data_root().parent / "training_data" / "synthseg_labels"
    if not folder.is_dir():
        raise InputError(
            f"{folder} is not there: 'painted' patients need its label maps of heads. Set "
            "VERIDICAL_DATA, or leave that source out."
        )
    maps = tuple(
        m for m in label_maps(str(folder)) if m.name.startswith(held_out or ("\0",)) == validation
    )
    if not maps:
        raise InputError(
            f"No label map is left in {folder}; held_out = {held_out} names all or none of them."
        )
    return LabelHeads(maps, seed)


def phantom_slab(
    heads: Heads, index: int, names: Sequence[str], gap: float, preprocessing: Preprocessing,
    size: tuple[int, int] = (192, 160), spacing: float = 1.1, restyled: str = "",
) -> Slab:  # fmt: skip
    """Return a slab of a digital patient in network units, its neighbours `gap` mm away.

    The scale of an MR image is that of the whole head, as in real scans, not that of the slice.

    Args:
        heads: the patients.
        index: of the patient.
        names: contrasts.
        gap: mm.
        preprocessing: of the network.
        size: pixels.
        spacing: mm.
        restyled: an MR contrast that is shown as another scanner shows it, too.
    """
    below, middle, above = heads.slab(index, gap, size, spacing)
    slices, whole = (middle, below, above), heads.volume(index, COARSE)
    images, styles = _shown(slices, whole, names, index, preprocessing)
    masks = {"lesions": middle.lesions} if middle.lesions.any() else {}
    found = Slab(
        images, tuple(names), (spacing, spacing), masks, {"field": middle.site.field}, styles
    )
    if not restyled:
        return found
    site, key = heads.site(index + ELSEWHERE), (*middle.key, ELSEWHERE)
    moved = [replace(head, site=site, key=key) for head in slices]
    away = replace(whole, site=site, key=key)
    images, styles = _shown(moved, away, [restyled], index, preprocessing)
    elsewhere = Slab(images, (restyled,), (spacing, spacing), styles=styles)
    return replace(found, elsewhere=elsewhere)


def _shown(
    slices: Sequence[PhantomSlice], whole: PhantomVolume, names: Sequence[str], index: int,
    preprocessing: Preprocessing,
) -> tuple[Array, dict[str, Array]]:  # fmt: skip
    """Return images `(contrast, 3, y, x)` float16 of slices, in network units, and the styles of
    the whole head.
    """
    images, styles = [], {}
    for name in names:
        coarse = _imaged(whole, name, COARSE, index)
        unit = _unit(whole, name, coarse, preprocessing)
        shown = [_imaged(head, name, head.pixel, index) for head in slices]
        images.append(np.stack(shown) / unit)
        styles[name] = style_of(coarse.transpose(2, 1, 0) / unit, name)
    return preprocessing.clipped(np.stack(images)).astype(np.float16), styles


def _unit(whole: PhantomVolume, name: str, image: Array, preprocessing: Preprocessing) -> float:
    """Return what one network unit is: of MR by the known grey and white matter, whose mean is the
    inner tissue, since finding it in an image goes wrong now and then.
    """
    if name in UNITS:
        return preprocessing.scale(name, UNITS[name], image)
    brain = [
        np.median(image[whole.brain & (whole.labels == kind)])
        for kind in (TissueClass.GREY, TissueClass.WHITE)
    ]
    return float(np.mean(brain)) / preprocessing.tissue


def _imaged(head: PhantomSlice | PhantomVolume, name: str, spacing: float, index: int) -> Array:
    if name != "PET":
        return render(head, name)
    grey = GREY_SUV * np.exp(SUV_SPREAD * np.random.default_rng((index, 7)).standard_normal())
    return np.asarray(ndimage.gaussian_filter(render(head, "FDG"), BLUR / spacing) * grey / 128)
