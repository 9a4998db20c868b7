"""Do the shipped networks copy the real images that they learned from?

python benchmarks/shipped_copies.py brain OUT

makes images of the patients that the weights never saw: contrasts completed from the others, one
sample each, by a generator; MR with 20 % of noise and then one posterior sample by a
denoiser.
OUT/made holds them slice by slice, OUT/training the real slices of the same contrasts that the
weights learned from, OUT/held_out those that they did not. Then

veridical audit OUT/made --training OUT/training --held-out OUT/held_out --out OUT/audit
veridical card brain --audit OUT/audit

looks for copies and notes the verdict on the card. The names say which slices are of one patient.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np

from veridical.layouts.pool import SETS
from veridical.models import weights
from veridical.preprocessing.preprocessing import UNITS, Preprocessing
from veridical.tasks.complete import Complete
from veridical.tasks.enhance import Enhance
from veridical.tasks.translate import Translate
from veridical.training.prepared_visits import PreparedVisit, prepared_visits
from veridical.types import Array, Geometry, Image

CONTRASTS = ("T1w", "T2w", "FLAIR", "PD", "T1c", "CT", "PET")
NOISE = 0.08
"""Of the noise that a denoiser is given, in network units: 20 % of the inner tissue."""
EVERY, MADE_EVERY = 3, 2
"""Of the slices of a visit, one in so many is compared, or made."""
LEAST = 0.08
"""Share of a slice that must show something."""


def visits(card: dict, held_out: bool) -> Iterator[PreparedVisit]:
    """Yield visits of real sets that trained weights, or were held out."""
    data = card["data"]
    for source in data["sources"]:
        name = {"sarcoma-mr": "sarcoma", "openms-raw": "openms"}.get(source, source)
        if name in SETS:
            yield from prepared_visits(
                name, CONTRASTS, Preprocessing(), tuple(data["held_out"]), held_out
            )


def slices(visit: PreparedVisit, name: str, every: int) -> Iterator[tuple[int, Array]]:
    """Yield every so many slices of a contrast that show something."""
    whole = visit.images[visit.names.index(name)].astype(np.float32)
    for index in range(0, len(whole), every):
        if Preprocessing().foreground(name, whole[index]).mean() > LEAST:
            yield index, whole[index]


def written(folder: Path, name: str, image: Array, spacing: tuple[float, float]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    grid = np.diag([spacing[1], spacing[0], 5.0, 1.0])
    nib.save(nib.Nifti1Image(np.float32(image.T[..., None]), grid), folder / f"{name}.nii.gz")


def named(patient: str, visit: int, index: int, contrast: str) -> str:
    """Return the name of a slice, in the way of BIDS."""
    label = "".join(one for one in patient if one.isalnum())
    return f"sub-{label}_ses-{visit}_slice-{index:03}_{contrast}"


def image_of(
    visit: PreparedVisit, names: tuple[str, ...], index: int, noise: Array | None
) -> Image:
    """Return contrasts of a slice as a task takes them, MR with an inner tissue of 100."""
    rows = []
    for name in names:
        data = visit.images[visit.names.index(name), index].astype(np.float32)
        rows.append(data if noise is None else np.hypot(data + noise[0], noise[1]))
    units = {name: UNITS.get(name, "a.u.") for name in names}
    scale = [{"CT": 1000.0, "PET": Preprocessing().uptake}.get(name, 250.0) for name in names]
    data = np.stack([(row * s).T[..., None] for row, s in zip(rows, scale, strict=True)])
    grid = Geometry(data.shape[1:], np.diag([visit.spacing[2], visit.spacing[1], 5.0, 1.0]))
    one = len(set(units.values())) == 1
    header = {} if one else {"units": units}
    return Image(data, grid, units[names[0]] if one else "mixed", names, header)


def made(card: dict, name: str, visit: PreparedVisit) -> Iterator[tuple[int, str, Array]]:
    """Yield what the weights make of a visit, with slice and contrast."""
    rng, whole = np.random.default_rng(7), set(visit.usable(Preprocessing()))
    for contrast in visit.names:
        for index, _ in slices(visit, contrast, MADE_EVERY):
            if index not in whole or (card["model"] == "denoiser" and contrast in UNITS):
                continue
            if card["model"] == "denoiser":
                noise = NOISE * rng.standard_normal((2, *visit.images.shape[2:])).astype(np.float32)
                given = image_of(visit, (contrast,), index, noise)
                found = Enhance(draws=2)(given, seed=index).draws[0, 0]
            else:
                others = tuple(one for one in visit.names if one != contrast)
                if not others:
                    continue
                task = Translate if contrast in UNITS else Complete
                given = image_of(visit, others, index, None)
                found = task(to=contrast, draws=1, weights=name)(given, seed=index).image.data[0]
            yield index, contrast, np.asarray(found[..., 0]).T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights")
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    card = weights.stored_card(asked.weights)
    for held_out, folder in ((False, "training"), (True, "held_out")):
        for number, visit in enumerate(visits(card, held_out)):
            for contrast in visit.names:
                for index, image in slices(visit, contrast, EVERY):
                    name = named(visit.patient, number, index, contrast)
                    written(asked.out / folder, name, image, visit.spacing[1:])
            if held_out:
                for index, contrast, image in made(card, asked.weights, visit):
                    name = named(visit.patient, number, index, contrast)
                    written(asked.out / "made", name, image, visit.spacing[1:])
    counts = {one: len([*(asked.out / one).glob("*.nii.gz")]) for one in ("made", "training")}
    print(counts)


if __name__ == "__main__":
    main()
