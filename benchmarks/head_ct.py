"""CT and PET of whole heads from MR: the generator, its rivals, and what structures say.

python benchmarks/head_ct.py [--weights brain] [--segmenter segmenter] [--heads 4]

Heads with their skull, painted from the three label maps that trained nothing, 2 mm, T1w under a
scanner of their own. Rivals: a constant (the median of the truth inside the body, which no method
knows), the intensity map that the generator starts from, the generator (one sample), and structures
(the segmenter's probabilities times the usual value of each structure). MAE in HU over the body
(above -300 HU), its bone (above 150 HU), its soft tissue, and the air around and inside of it; Dice
of bone; MAE of PET in SUV over the body. Mean ± SD over heads. Truth and training share the tables
of tissue values, whose spread between patients is that of the phantoms.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from patients import arguments, parsed, say, spread, table
from scipy import ndimage

from veridical.phantoms.rendering import render
from veridical.tasks.translate import Translate
from veridical.training.digital_patients import painted_heads
from veridical.types import Array, Image

HELD_OUT, SEED = ("head14", "head15", "head16"), 77
AIR, BONE = -300.0, 150.0
COLUMNS = ("method", "heads", "MAE body", "bone", "soft tissue", "air", "Dice bone", "MAE PET")


def heads(count: int) -> Iterator[tuple[str, Image, Array, Array]]:
    """Yield T1w, and the true CT and PET, of heads that have a skull."""
    known, found, index = painted_heads(SEED, HELD_OUT, True), 0, -1
    while found < count:
        index += 1
        whole = known.volume(index, 2.0, fine=2)
        ct = render(whole, "CT")
        if (ct > BONE).mean() < 0.01:
            continue
        found += 1
        pet = ndimage.gaussian_filter(render(whole, "FDG"), 1.2) / 16
        name = f"{known.head(index).name}, {whole.pathology}"
        yield name, Image(render(whole, "T1w")[None], whole.geometry, "a.u.", ("T1w",)), ct, pet


def scores(made: Array, truth: Array) -> list[float]:
    body, error = truth > AIR, np.abs(made - truth)
    bone = truth > BONE
    overlap = 2 * float(((made > BONE) & bone).sum()) / float((made > BONE).sum() + bone.sum())
    parts = (body, bone, body & ~bone, ~body)
    return [*(float(error[part].mean()) for part in parts), overlap]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--segmenter", default="segmenter")
    parser.add_argument("--heads", type=int, default=4)
    given = parsed(parser)
    weights = given.weights or "brain"
    methods = {
        "intensity map": {"model": "intensity-map", "weights": weights},
        "generator, one sample": {"weights": weights, "draws": 1},
        "structures": {"model": "structures", "weights": given.segmenter},
    }
    found: dict[str, list[list[float]]] = {}
    for name, image, ct, pet in heads(given.heads):
        body = ct > AIR
        flat = np.where(body, np.median(ct[body]), -1000.0)
        uptake = float(np.abs(pet[body] - np.median(pet[body])).mean())
        found.setdefault("constant", []).append([*scores(flat, ct), uptake])
        for method, settings in methods.items():
            made = Translate(to="CT,PET", **settings)(image).image  # type: ignore[arg-type]
            uptake = float(np.abs(made["PET"] - pet)[body].mean())
            found.setdefault(method, []).append([*scores(made["CT"], ct), uptake])
        say(name)
    digits = (0, 0, 0, 0, 2, 2)
    rows = [
        [method, str(len(each)), *(spread([r[k] for r in each], d) for k, d in enumerate(digits))]
        for method, each in found.items()
    ]
    print(table(COLUMNS, rows))


if __name__ == "__main__":
    main()
