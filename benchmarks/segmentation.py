"""What the segmenter of heads finds: on heads it never saw, on real T1w with labels, on lesions.

python benchmarks/segmentation.py [--weights FILE] [--quick] [--patients 8]

Painted: patients painted from the label maps head14, head15 and head16, which trained nothing, in
random contrasts (the signal equations or none), 2 mm, some without their skull; the truth is the
map. IXI: ten healthy T1w at 2 mm against labels by another network (DLMUSE, trained on the labels
of MUSE), as far as structures correspond; volume is found over theirs, concordance is Lin's over
the ten. openMS: two patients with multiple sclerosis, 1 mm, skull removed, against the consensus of
three readers; no real image trained anything. Mean ± SD over patients. Seconds are of one head on
`--threads` threads, loading not counted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from patients import DATA, arguments, parsed, say, spread, table

from veridical.io.files import read
from veridical.layouts.discovery import studies
from veridical.metrics.concordance import concordance
from veridical.models.head_segmenter import GROUPS, SPACING, HeadSegmenter
from veridical.tasks.segment import Segment
from veridical.training.segmentation_data import SegmentationCourse, SegmentationData
from veridical.types import Array, Geometry, Image, Result

HELD_OUT = ("head14", "head15", "head16")
CROP = (96, 112, 96)
"""Voxels of 2 mm: a head and air around it."""
SEED = 7
MUSE: Mapping[str, Sequence[int]] = {
    "white matter": range(81, 96),
    "cortex": range(100, 208),
    "lateral ventricle": (49, 50, 51, 52),
    "third and fourth ventricle": (4, 11),
    "cerebellar white matter": (40, 41),
    "cerebellar cortex": (38, 39, 71, 72, 73),
    "thalamus": (59, 60),
    "caudate": (23, 30, 36, 37),
    "putamen": (57, 58),
    "pallidum": (55, 56),
    "brain stem": (35, 61, 62),
    "hippocampus and amygdala": (31, 32, 47, 48),
}
"""Structure -> labels of MUSE; what the other side has no name for is not compared."""
COLUMNS = ("structure", "Dice, painted", "Dice, IXI", "volume, IXI", "concordance, IXI")
LESIONS = ("patient", "images", "Dice", "ml found", "ml of the readers", "found of theirs %")


@dataclass
class Row:
    """Scores of one structure, one entry a patient."""

    painted: list[float] = field(default_factory=list)
    real: list[float] = field(default_factory=list)
    volumes: list[tuple[float, float]] = field(default_factory=list)

    def cells(self) -> list[str]:
        if not self.volumes:
            return [_spread(self.painted), "", "", ""]
        found, theirs = np.array(self.volumes).T
        agreed = f"{concordance(found, theirs):.2f}" if len(found) > 2 else ""
        return [_spread(self.painted), _spread(self.real), spread(found / theirs), agreed]


def _spread(values: list[float]) -> str:
    return spread(values) if values else ""


def dice(one: Array, other: Array) -> float:
    return 2 * float((one & other).sum()) / max(float(one.sum() + other.sum()), 1.0)


def painted(count: int) -> Iterator[tuple[Image, Array]]:
    """Yield patients that trained nothing, and their groups."""
    data = SegmentationData(held_out=HELD_OUT, crop=CROP)
    course = data.course(HeadSegmenter, {}, SEED, True)
    assert isinstance(course, SegmentationCourse)
    grid = Geometry(CROP, np.diag([SPACING, SPACING, SPACING, 1.0]))
    for index in range(count):
        image, truth = course.sample(index)
        yield Image(image[None], grid, "a.u.", ("painted",)), truth


def ixi(count: int) -> Iterator[tuple[str, Image, Array]]:
    """Yield patients with the labels of MUSE."""
    for path in sorted((DATA / "ixi_t1_2mm/nifti").glob("*.nii.gz"))[:count]:
        image = read(path, contrast="T1w")
        labels = read(
            DATA / "ixi_t1_2mm/dlmuse" / path.name.replace("_ds", "_ds_DLMUSE"), units="label"
        )
        assert isinstance(image, Image)
        assert isinstance(labels, Image)
        yield path.name[:6], image, np.asarray(labels.data[0]).astype(int)


def sclerosis(count: int) -> Iterator[tuple[str, Image, Array]]:
    """Yield FLAIR, and T1w with FLAIR, of patients with lesions that readers drew."""
    found = [one for one in studies(DATA / "openms") if one.id.startswith("cross")][:count]
    for study in found:
        visit = study.visit()
        lesion = visit["lesion"]
        assert isinstance(lesion, Image)
        for names in (("FLAIR",), ("T1w", "FLAIR")):
            images = [one for name in names if isinstance(one := visit[name], Image)]
            yield study.id, Image.stack(images), np.asarray(lesion.data[0] > 0)


def labels_of(task: Segment, image: Image, seconds: list[float]) -> Array:
    begun = time.perf_counter()
    found: Result = task(image)
    seconds.append(time.perf_counter() - begun)
    return np.asarray(found.image.data[0])


def structures(task: Segment, count: int, real: int) -> tuple[str, list[float]]:
    """Return the table of all structures, and the seconds of each head."""
    rows, seconds = {name: Row() for name in GROUPS[1:]}, list[float]()
    for index, (image, truth) in enumerate(painted(count)):
        found = labels_of(task, image, seconds)
        for label, name in enumerate(GROUPS):
            if label and (truth == label).sum() > 10:
                rows[name].painted.append(dice(found == label, truth == label))
        say(f"painted {index + 1} of {count}")
    for patient, image, labels in ixi(real):
        found = labels_of(task, image, seconds)
        voxel = float(np.prod(image.geometry.spacing)) / 1000
        for name, members in MUSE.items():
            one, other = found == GROUPS.index(name), np.isin(labels, list(members))
            rows[name].real.append(dice(one, other))
            rows[name].volumes.append((float(one.sum()) * voxel, float(other.sum()) * voxel))
        say(f"IXI {patient}")
    lines = [[name, *row.cells()] for name, row in rows.items()]
    large = [rows[name].painted for name in MUSE if rows[name].painted]
    means = [float(np.mean(one)) for one in large]
    lines.append(["mean of the twelve above", f"{np.mean(means):.2f}" if means else "", "", "", ""])
    return table(COLUMNS, lines), seconds


def lesions(task: Segment, count: int) -> str:
    """Return the table of lesions."""
    lines = []
    for patient, image, truth in sclerosis(count):
        found = labels_of(task, image, []) == GROUPS.index("lesion")
        voxel = float(np.prod(image.geometry.spacing)) / 1000
        lines.append(
            [
                patient,
                "+".join(image.channels),
                f"{dice(found, truth):.2f}",
                f"{found.sum() * voxel:.1f}",
                f"{truth.sum() * voxel:.1f}",
                f"{100 * (found & truth).sum() / truth.sum():.0f}",
            ]
        )
        say(f"openMS {patient}")
    return table(LESIONS, lines)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--patients", type=int, default=8, help="painted ones")
    given = parsed(parser)
    task = Segment(weights=given.weights, device="cpu")
    found, seconds = structures(task, *((2, 1) if given.quick else (given.patients, 10)))
    print(found)
    print()
    print(lesions(task, 1 if given.quick else 2))
    print()
    print(f"{spread(seconds[1:] or seconds, 1)} s a head on {given.threads} thread(s)")


if __name__ == "__main__":
    main()
