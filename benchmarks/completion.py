"""Missing contrasts and modalities of patients who were not trained on: the generator against the
classical answers.

python benchmarks/completion.py [--brain WEIGHTS] [--body WEIGHTS] [--only lgg] [--quick] [--visits
0] [--slices 0]

Rivals: a constant (the training patients' mean of the contrast, inside the object), a copy of the
measured contrast that is most like it, the intensity map that the generator starts from (the best
polynomial of the training patients), and the regressor (the generator in one step). Sets: openms
(longitudinal_patient03), tcga (TCGA-FG-6692, another site and scanner), lgg (20 glioma patients of
site DU, 8 bits), painted (heads of three label maps that train nothing, 2 mm), sarcoma (STS_025,
STS_032, STS_042: CT from MR, PET from MR and CT; the registration is the data set's own).

Images are compared in network units, in which the inner tissue of MR is 0.4. PSNR and SSIM count
the object as the measured images show it, "PSNR brain" the brain where there is more (as our
segmenter finds it on T1w); their range is the 99th percentile of the true image
there, of CT 2000 HU. MAE is in % of that percentile, of CT in HU and of PET in SUV, over the object
and over its lesion (MR, PET) or bone (CT above 150 HU). Kept contrast: lesion minus the rim within
4 pixels of it, made over real. Inside: share of voxels within the interval where the weights are
calibrated. Mean ± SD over visits. With --keep FOLDER, images are written for `veridical evaluate
FOLDER/... --axes x,y,z`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from patients import (
    Visit,
    arguments,
    lgg_visits,
    openms_visits,
    painted_visits,
    parsed,
    peak_of,
    sarcoma_visits,
    say,
    spread,
    table,
    tcga_visits,
)
from scipy import ndimage, stats

from veridical.metrics.dice import dice
from veridical.metrics.psnr import psnr
from veridical.metrics.ssim import ssim
from veridical.models import weights
from veridical.preprocessing.preprocessing import Preprocessing
from veridical.tasks.complete import Complete
from veridical.tasks.translate import Translate
from veridical.types import Array, Image, Result

SETS = {
    "openms": openms_visits,
    "tcga": tcga_visits,
    "lgg": lgg_visits,
    "painted": painted_visits,
    "sarcoma": sarcoma_visits,
}
JOBS = {
    "openms": {"FLAIR": ("T1w", "T2w"), "T2w": ("T1w", "FLAIR"), "T1w": ("T2w", "FLAIR")},
    "tcga": {"FLAIR": ("T1w", "T2w", "T1c"), "T1c": ("T1w", "T2w", "FLAIR")},
    "lgg": {"FLAIR": ("T1w", "T1c"), "T1c": ("T1w", "FLAIR"), "T1w": ("FLAIR", "T1c")},
    "painted": {
        "FLAIR": ("T1w", "T2w"),
        "T1c": ("T1w", "T2w", "FLAIR"),
        "CT": ("T1w", "T2w"),
        "PET": ("T1w", "CT"),
    },
    "sarcoma": {"CT": ("T1w",), "PET": ("T1w", "CT")},
}
"""Set -> what is made -> what it is made from."""
BONE, CT_RANGE, RIM, FAINT = 0.15, 2.0, 4, 0.05
"""Network units of bone, of the range of CT, pixels around a lesion, and network units of a
contrast that is told from none.
"""
COLUMNS = (
    "set",
    "made",
    "from",
    "method",
    "visits",
    "PSNR dB",
    "PSNR brain dB",
    "SSIM",
    "MAE",
    "MAE lesion, bone",
    "kept contrast",
    "AUC lesion, Dice bone",
    "inside %",
    "in lesion %",
)


@dataclass
class Row:
    """Scores of a method, one list over patients for each column that it has."""

    found: dict[str, list[float]] = field(default_factory=dict)

    def add(self, scores: Mapping[str, float]) -> None:
        for name, value in scores.items():
            self.found.setdefault(name, []).append(value)

    def cells(self) -> list[str]:
        patients = str(len(self.found["PSNR dB"]))
        digits = {"SSIM": 3, "kept contrast": 2, "AUC lesion, Dice bone": 2}
        return [
            patients,
            *(
                spread(self.found[n], digits.get(n, 2)) if n in self.found else ""
                for n in COLUMNS[5:]
            ),
        ]


@dataclass(frozen=True, eq=False)
class Case:
    """What is to be made of a visit: the truth `(x, y, z)` in network units, and where the lesion
    or bone is.
    """

    visit: Visit
    made: str
    given: Image
    truth: Array
    unit: float

    @classmethod
    def of(
        cls, visit: Visit, made: str, given: tuple[str, ...], preprocessing: Preprocessing
    ) -> Case:
        unit = preprocessing(visit.image.channel(made)).scales[made]
        shown = Image.stack([visit.image.channel(name) for name in given])
        return cls(
            visit, made, shown, np.asarray(visit.image[made], np.float32) / np.float32(unit), unit
        )

    def scores(self, made: Array, body: Array, result: Result | None = None) -> dict[str, float]:
        """Score an image in network units."""
        whole = np.percentile(self.truth[body], 99)
        peak = CT_RANGE if self.made == "CT" else peak_of(self.truth[body])
        pair, where = (made[None], self.truth[None]), body[None]
        step = self.unit if self.made in ("CT", "PET") else 100 / whole
        error = np.abs(made - self.truth) * step
        found = {
            "PSNR dB": psnr(*pair, data_range=peak, mask=where),
            "SSIM": ssim(*pair, data_range=peak, mask=where),
        }
        found["MAE"] = float(error[body].mean())
        brain = self.visit.brain
        if brain is not None and brain.any():
            inner = peak_of(self.truth[brain])
            found["PSNR brain dB"] = psnr(*pair, data_range=inner, mask=brain[None])
        lesion = (self.truth > BONE) & body if self.made == "CT" else self.visit.lesion
        if lesion is not None and lesion.any():
            found["MAE lesion, bone"] = float(error[lesion].mean())
            found["AUC lesion, Dice bone"] = (
                dice(made > BONE, lesion, (1.0, 1.0, 1.0))
                if self.made == "CT"
                else auc(made, lesion & body, body)
            )
            if self.made != "CT" and abs(contrast(self.truth, lesion, body)) > FAINT:
                found["kept contrast"] = contrast(made, lesion, body) / contrast(
                    self.truth, lesion, body
                )
        if result is not None and result.interval is not None:
            low, high = (
                edge[0] / result.image.header["scale"][self.made]
                for edge in (result.interval.lower, result.interval.upper)
            )
            inside = (low <= self.truth) & (self.truth <= high)
            found["inside %"] = 100 * float(inside[body].mean())
            if lesion is not None and lesion.any():
                found["in lesion %"] = 100 * float(inside[lesion].mean())
        return found


def auc(image: Array, lesion: Array, body: Array) -> float:
    """Return how well brightness tells lesion voxels from the rest of the object; 0.5 is chance."""
    ranks = stats.rankdata(image[body])
    inside = lesion[body]
    count, rest = int(inside.sum()), int((~inside).sum())
    return float((ranks[inside].sum() - count * (count + 1) / 2) / max(count * rest, 1))


def contrast(image: Array, lesion: Array, body: Array) -> float:
    """Return how much brighter a lesion is than what surrounds it in the slice."""
    near = ndimage.generate_binary_structure(2, 1)[:, :, None]
    rim = ndimage.binary_dilation(lesion, near, RIM) & ~ndimage.binary_dilation(lesion, near) & body
    return float(image[lesion].mean() - image[rim].mean())


def makers(name: str, made: str, draws: int) -> Iterator[tuple[str, Complete]]:
    """Yield the methods by name."""
    task = Translate if made in ("CT", "PET") else Complete
    yield "intensity map", task(to=made, model="intensity-map", weights=name)
    yield "regressor", task(to=made, draws=1, steps=1, weights=name)
    if draws > 1:
        yield f"generator, mean of {draws}", task(to=made, draws=draws, weights=name)
    yield "generator, one sample", task(to=made, draws=1, weights=name)


def judged(
    case: Case, name: str, draws: int, keep: Path | None
) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the scores of every method."""
    body: Array | None = None
    for method, task in makers(name, case.made, draws):
        result = task(case.given, seed=0)
        if body is None:
            body = np.asarray(result.facts["body"], bool)
            yield "constant", case.scores(constant(name, case.made, body), body)
            yield "copy", case.scores(copied(name, case), body)
            kept(keep, "real", case, case.truth)
        made = np.asarray(result.image.data[0]) / result.image.header["scale"][case.made]
        kept(keep, method.replace(", ", "-").replace(" ", "-"), case, made)
        yield method, case.scores(made, body, result)


def constant(name: str, made: str, body: Array) -> Array:
    """Return the mean of the training patients inside the object, and air around it."""
    card = weights.card(name)
    air = Preprocessing.from_card(card).air(made)
    return np.where(body, np.float32(card["intensity_maps"][made][""]["terms"][0]), np.float32(air))


def copied(name: str, case: Case) -> Array:
    """Return the measured contrast from which the intensity map makes the wanted one best, as it
    is, in network units.
    """
    maps = weights.card(name)["intensity_maps"][case.made]
    best = min(case.given.channels, key=lambda c: maps.get(c, {"error": np.inf})["error"])
    prepared = Preprocessing.from_card(weights.card(name))(case.given.channel(best))
    return np.asarray(prepared.restore(prepared.images[best][None])[0])


def kept(folder: Path | None, method: str, case: Case, image: Array) -> None:
    if folder is not None:
        place = folder / case.visit.group / case.made / method
        place.mkdir(parents=True, exist_ok=True)
        np.save(place / f"{case.visit.patient}.npy", image.astype(np.float32))


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--brain", default="brain", help="weights that make MR contrasts of heads")
    parser.add_argument("--body", default="body", help="weights that make CT and PET of limbs")
    parser.add_argument("--only", default="", choices=["", *JOBS], help="one set")
    parser.add_argument("--visits", type=int, default=0, help="of each set; 0: all")
    parser.add_argument("--slices", type=int, default=0, help="middle slices of each visit; 0: all")
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--keep", type=Path, help="folder for the images")
    given = parsed(parser)
    rows: dict[tuple[str, str, str, str], Row] = {}
    for group in [given.only] if given.only else JOBS:
        name = given.body if group == "sarcoma" else given.brain
        preprocessing = Preprocessing.from_card(weights.card(name))
        for visit in islice(
            SETS[group](6 if given.quick else given.slices),
            1 if given.quick else given.visits or None,
        ):
            for made, shown in JOBS[group].items():
                if {made, *shown} <= set(visit.image.channels):
                    say(f"{group}, {visit.patient}: {made} from {', '.join(shown)}")
                    case = Case.of(visit, made, shown, preprocessing)
                    for method, scores in judged(case, name, given.draws, given.keep):
                        rows.setdefault((group, made, " + ".join(shown), method), Row()).add(scores)
    print(table(COLUMNS, [[*key, *row.cells()] for key, row in rows.items()]))


if __name__ == "__main__":
    main()
