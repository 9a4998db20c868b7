"""Numbers of structures in label maps of whole heads: ours, and FreeSurfer's with the further ones
outside of the brain.

FreeSurfer: Fischl et al., Neuron 2002, 10.1016/S0896-6273(02)00569-X; numbers of 500 and above are
those of SynthSeg (Billot et al., Medical Image Analysis 2023, 10.1016/j.media.2023.102789).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from veridical.errors import InputError
from veridical.phantoms.label_maps import NAMES, STRUCTURES
from veridical.physics.tissue import TissueClass as T
from veridical.types import Array

Numbering = Literal["freesurfer", "veridical"]
Labels = NDArray[np.uint8]

TUMOUR: dict[str, T] = {
    "oedema": T.OEDEMA,
    "necrosis": T.NECROSIS,
    "enhancing tumour": T.ENHANCING,
}
LABELS = (*NAMES, *TUMOUR)
"""Structure by number, as Veridical writes label maps: 0 is background."""
TISSUE = np.array([int(t) for t in (*(t for t, _ in STRUCTURES.values()), *TUMOUR.values())])
"""Tissue of each."""
LESIONS = tuple(LABELS.index(name) for name in ("lesion", *TUMOUR))

FREESURFER: dict[str, tuple[int, ...]] = {
    "background": (0,),
    "white matter": (2, 41, 136, 137, *range(251, 256), 5001, 5002),
    "cortex": (3, 42, *range(1000, 1036), *range(2000, 2036)),
    "lateral ventricle": (4, 5, 31, 43, 44, 63, 72),
    "cerebellar white matter": (7, 46),
    "cerebellar cortex": (8, 47),
    "thalamus": (9, 10, 48, 49),
    "caudate": (11, 26, 50, 58),
    "putamen": (12, 51, 163, 164),
    "pallidum": (13, 52),
    "third and fourth ventricle": (14, 15),
    "brain stem": (16, 28, 60, 85),
    "hippocampus and amygdala": (17, 18, 53, 54),
    "fluid around the brain": (24, 257),
    "lesion": (25, 57, 77, 78, 79),
    "vessel": (30, 62, 502),
    "sinus and dura": (514,),
    "eye": (506,),
    "muscle": (507, 508, 530),
    "mucosa": (509,),
    "fat": (511,),
    "spinal cord": (512,),
    "compact bone": (165, 515),
    "spongy bone": (516,),
}
"""Structure -> FreeSurfer's numbers of its parts, left and right."""


def numbers(numbering: Numbering) -> Mapping[int, int]:
    """Return number in a label map -> number of ours, for one of the two numberings."""
    if numbering == "veridical":
        return {number: number for number in range(len(LABELS))}
    return {
        number: LABELS.index(name) for name, members in FREESURFER.items() for number in members
    }


def from_numbers(labels: Array, numbering: Numbering) -> Labels:
    """Return a label map in our numbers.

    Args:
        labels: any shape, whole numbers of 0 or more.
        numbering: which numbers these are.

    Returns:
        uint8 of that shape, positions in `LABELS`.

    Raises:
        InputError: it holds NaN, fractions, no structure at all, or numbers that are not known.
    """
    values = np.unique(labels)
    if not np.isfinite(values).all() or (values != np.round(values)).any():
        raise InputError(
            "The label map holds numbers that are not whole, or NaN; expected one whole number a "
            "structure. Is it an image, or was it interpolated? Use the nearest voxel."
        )
    known = numbers(numbering)
    unknown = [int(value) for value in values if int(value) not in known]
    if unknown:
        other: Numbering = "freesurfer" if numbering == "veridical" else "veridical"
        fits = set(values.astype(int)) <= set(numbers(other))
        named = ", ".join(map(str, unknown[:8])) + (", ..." if len(unknown) > 8 else "")
        hint = (
            f"All of its numbers are known under the other numbering: --numbering {other}."
            if fits
            else "Renumber them, or make them 0; docs/tutorials/synthesize.md lists all numbers."
        )
        raise InputError(
            f"The label map holds {named}, which {numbering} does not name; expected "
            f"{listed(numbering)}. {hint}"
        )
    if not (values > 0).any():
        raise InputError("The label map holds background (0) only; expected structures of a head.")
    table = np.zeros(int(values.max()) + 1, np.uint8)
    for value in values.astype(int):
        table[value] = known[value]
    return np.asarray(table[labels.astype(np.int64)])


def listed(numbering: Numbering) -> str:
    """Return the known numbers in few words: `0, 2 to 5, 7 to 18`."""
    ordered = sorted(numbers(numbering))
    spans: list[list[int]] = []
    for number in ordered:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in spans)
