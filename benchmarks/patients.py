"""Real patients that the shipped weights were never trained on, scores and tables: shared by the
benchmarks beside this file.

Held out: IXI049 and IXI051 (T1w, 2 mm), STS_042 (T1w, CT and PET of a limb), OpenKBP pt_20* (CT of
head and neck in steps of 16 HU), TCGA-FG-6692 (four raw contrasts, thick slices) and lgg_tcga (8
bits, benchmarks only). Others are marked "trained on". Of visits with all their contrasts, also
longitudinal_patient03 of openMS, STS_025 and STS_032, whom only the denoiser was trained on. Label
maps head14 to head16 train nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from veridical.io.assemble import stacked
from veridical.io.files import read
from veridical.layouts.discovery import studies
from veridical.metrics.psnr import psnr
from veridical.phantoms.label_heads import LabelHeads
from veridical.phantoms.rendering import render
from veridical.preprocessing.preprocessing import Preprocessing
from veridical.tasks.segment import Segment
from veridical.training.digital_patients import painted_heads
from veridical.types import Array, Geometry, Image

DATA = Path(os.environ.get("VERIDICAL_DATA", "../shared/data"))
TRAINING = Path(os.environ.get("VERIDICAL_TRAINING_DATA", DATA.parent / "training_data"))
HELD_OUT = ("IXI049", "IXI051", "STS_042", "pt_20", "TCGA")
FOREGROUND = 0.1
"""Share of the 99th percentile of the foreground above which a voxel is foreground."""


@dataclass(frozen=True)
class Volume:
    """One channel of a patient, `(x, y, z)`."""

    group: str
    patient: str
    image: Image

    @property
    def data(self) -> Array:
        return np.asarray(self.image.data[0], np.float32)

    @property
    def channel(self) -> str:
        return self.image.channels[0]

    @property
    def trained_on(self) -> bool:
        return not self.patient.startswith(HELD_OUT)


def ixi() -> list[Volume]:
    files = [next((DATA / "ixi_t1_2mm/nifti").glob(f"{name}*")) for name in ("IXI049", "IXI051")]
    return [Volume("IXI T1w 2 mm", path.name[:6], _image(path, "T1w")) for path in files]


def sarcoma(channel: str = "T1w", patients: Sequence[str] = ("STS_042",)) -> list[Volume]:
    file, units = {"T1w": ("MR_T1", "a.u."), "CT": ("CT", "HU"), "PET": ("PET", "SUV")}[channel]
    root = DATA / "sts_mr_ct_pet/nifti"
    images = {
        name: _image(root / name / f"{file}_image.nii.gz", channel, units) for name in patients
    }
    return [Volume(f"sarcoma {channel}", name, image) for name, image in images.items()]


def tcga() -> list[Volume]:
    """Four raw contrasts of one glioma patient."""
    named = {
        "T1_AX_Other": "T1w",
        "MRHR_T2": "T2w",
        "MRHR_FLAIR": "FLAIR",
        "MRHR_T1_AX_POST": "T1c",
    }
    found = []
    for start, channel in named.items():
        path = next((DATA / "tcga_fg_6692/raw").glob(f"{start}*"))
        found.append(Volume("tcga, raw", f"TCGA-FG-6692 {channel}", _image(path, channel)))
    return found


def lgg(count: int = 6) -> list[Volume]:
    """FLAIR of patients of site DU, 8 bits; no voxel size is known."""
    found = []
    for path in sorted((DATA / "lgg_tcga").glob("TCGA_DU*"))[:count]:
        data = np.load(path)["image"][:, 1].astype(np.float32).transpose(2, 1, 0)[None]
        found.append(
            Volume(
                "lgg, 8 bits",
                path.name[:12],
                Image(data, Geometry.index(data.shape[1:]), "a.u.", ("FLAIR",)),
            )
        )
    return found


def openkbp(count: int = 6) -> list[Volume]:
    """CT of head and neck, HU in steps of 16, on a coarse grid."""
    found = []
    for path in sorted((TRAINING / "openkbp/validation").glob("pt_20*.npz"))[:count]:
        stored = np.load(path)
        grid = Geometry(tuple(stored["shape"]), np.diag([*stored["voxel_mm"].astype(float), 1.0]))
        data = np.maximum(16.0 * stored["ct"].astype(np.float32) - 1024, -1000)[None]
        found.append(Volume("OpenKBP CT", path.stem, Image(data, grid, "HU", ("CT",))))
    return found


def head_ct() -> list[Volume]:
    image = read(DATA / "ct_head_ge", slices=(16, 27))
    assert isinstance(image, Image)
    data = np.maximum(image.data[:1], -1000.0)
    return [Volume("head CT, trained on", "ct_head_ge", Image(data, image.geometry, "HU", ("CT",)))]


@dataclass(frozen=True)
class Visit:
    """All contrasts of a visit on one grid, the mask of its lesion `(x, y, z)` where one was drawn,
    and of its brain where more than that is shown.
    """

    group: str
    patient: str
    image: Image
    lesion: Array | None
    brain: Array | None = None


def brain_of(whole: Image, slices: int) -> Array:
    """Return the brain of a T1w head as the segmenter finds it, of the middle slices."""
    found = Segment(what="brain")(whole.channel("T1w"))
    return np.asarray(middle(found.image, slices).data[0] > 0)


def visits(
    group: str,
    folder: Path,
    patients: tuple[str, ...],
    contrasts: Sequence[str],
    lesion: str,
    slices: int,
) -> Iterator[Visit]:
    """Yield the visits with all of these contrasts, of patients whose names begin so; the first
    contrast gives the grid.
    """
    for study in studies(folder):
        for day in study.days if study.id.startswith(patients) else ():
            there: Mapping[str, object] = study.visits[day]
            images = [
                one for name in contrasts if name in there and isinstance(one := there[name], Image)
            ]
            if len(images) < len(contrasts):
                continue
            drawn = there.get(lesion)
            every = stacked(images, drawn if isinstance(drawn, Image) else None)
            whole, brain = middle(every, slices), None
            if group == "openms":
                brain = brain_of(every, slices)
            mask = np.asarray(whole["lesions"] > 0) if "lesions" in whole.channels else None
            named = study.id if len(study.days) == 1 else f"{study.id}, day {day:g}"
            shown = Image.stack([whole.channel(one.channels[0]) for one in images])
            yield Visit(group, named, shown, mask, brain)


def middle(image: Image, count: int) -> Image:
    """Return the middle slices; all of them where there are no more, or the count is 0."""
    grid = image.geometry
    axis = 2 if grid.frame == "index" else 2 - int(np.argmax(np.round(grid.spacing, 2)[::-1]))
    if not 0 < count < grid.shape[axis]:
        return image
    first = (grid.shape[axis] - count) // 2
    data = np.take(image.data, range(first, first + count), axis + 1)
    affine = grid.affine.copy()
    affine[:3, 3] += first * affine[:3, axis]
    return Image(
        data,
        Geometry(data.shape[1:], affine, grid.frame),
        image.units,
        image.channels,
        image.header,
    )


def openms_visits(slices: int) -> Iterator[Visit]:
    yield from visits(
        "openms", DATA / "openms", ("longitudinal_patient03",), ("FLAIR", "T1w", "T2w"), "", slices
    )


def tcga_visits(slices: int) -> Iterator[Visit]:
    whole = stacked([volume.image for volume in tcga()])
    brain = brain_of(whole, slices)
    yield Visit("tcga", "TCGA-FG-6692", middle(whole, slices), None, brain)


def lgg_visits(slices: int) -> Iterator[Visit]:
    yield from visits(
        "lgg", DATA / "lgg_tcga", ("TCGA_DU",), ("T1w", "FLAIR", "T1c"), "lesion", slices
    )


def sarcoma_visits(slices: int) -> Iterator[Visit]:
    patients, folder = ("STS_025", "STS_032", "STS_042"), DATA / "sts_mr_ct_pet/nifti"
    yield from visits("sarcoma", folder, patients, ("T1w", "CT", "PET"), "T1w_tumour", slices)


def unseen_heads() -> LabelHeads:
    """Return heads of the three label maps that train nothing."""
    return painted_heads(77, ("head14", "head15", "head16"), True)


def possible(index: int, name: str, slices: int, count: int) -> Array:
    """Return a contrast of a painted head as its scanner could have shown it, by so many sequences,
    `(count, x, y, z)` in network units: what is possible where all tissues are known.
    """
    heads, found = unseen_heads(), []
    whole = heads.volume(index, 2.0, fine=2)
    for number in range(count):
        site = heads.site(1000 * (index + 1) + number)
        data = render(whole, name, site, np.random.default_rng((index, number)))
        image = Image(data[None], whole.geometry, "a.u.", (name,))
        found.append(middle(image, slices).data[0] / Preprocessing()(image).scales[name])
    return np.stack(found)


def painted_visits(slices: int) -> Iterator[Visit]:
    """Yield heads painted from the three label maps that train nothing, at 2 mm."""
    heads = unseen_heads()
    names = ("T1w", "T2w", "FLAIR", "T1c", "CT", "PET")
    for index in range(6):
        whole = heads.volume(index, 2.0, fine=2)
        images = []
        for name in names:
            data = render(whole, "FDG" if name == "PET" else name)
            data = ndimage.gaussian_filter(data, 1.2) / 16 if name == "PET" else data
            units = {"CT": "HU", "PET": "SUV"}.get(name, "a.u.")
            images.append(Image(data[None], whole.geometry, units, (name,)))
        lesion = Image(whole.lesions[None] * 1.0, whole.geometry, "label", ("lesions",))
        cut = middle(Image.stack([*images, lesion]), slices)
        mask = np.asarray(cut["lesions"] > 0)
        name = f"{heads.head(index).name}, {whole.pathology}"
        kept = Image.stack([cut.channel(n) for n in names])
        yield Visit("painted", name, kept, mask if mask.any() else None)


def _image(path: Path, channel: str, units: str = "a.u.") -> Image:
    found = read(path, contrast=channel, units=units)
    assert isinstance(found, Image)
    return found


def single(
    array: Array,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    channel: str = "T1w",
    units: str = "a.u.",
) -> Image:
    """Return `(x, y, z)` as an image."""
    return Image(
        np.ascontiguousarray(array)[None],
        Geometry(array.shape, np.diag([*spacing, 1.0])),
        units,
        (channel,),
    )


def views(volume: Volume, count: int, every: bool = True) -> list[Array]:
    """Return `count` slices of each of three views (of the slice axis alone where voxels are long),
    scaled to a peak of 1.

    The peak is the 99th percentile of the foreground of the volume.
    """
    data = np.maximum(volume.data, 0)
    data, size = data / peak_of(data), volume.image.geometry.spacing
    cubic = every and volume.image.geometry.frame != "index" and max(size) < 1.3 * min(size)
    found = []
    for axis in (
        (0, 1, 2)
        if cubic
        else (int(np.argmax(size)) if volume.image.geometry.frame != "index" else 2,)
    ):
        for position in np.linspace(0.3, 0.7, count) * (data.shape[axis] - 1):
            found.append(np.take(data, round(float(position)), axis).T.copy())
    return [one for one in found if (one > FOREGROUND).mean() > 0.02]


def peak_of(truth: Array) -> float:
    """Return the 99th percentile of what lies above a tenth of the 99th percentile of the whole."""
    return float(np.percentile(truth[truth > FOREGROUND * np.percentile(truth, 99)], 99))


def scores(made: Array, truth: Array, peak: float | None = None) -> tuple[float, float]:
    """Return PSNR over the foreground and over everything; the peak is the 99th percentile of the
    truth's foreground.
    """
    peak = peak or peak_of(truth)
    inside = truth > FOREGROUND * peak
    return psnr(made[None], truth[None], data_range=peak, mask=inside[None]), psnr(
        made[None], truth[None], data_range=peak
    )


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Return mean and standard deviation over patients."""
    deviation = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{deviation}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)


def arguments(about: str | None) -> argparse.ArgumentParser:
    """Return a parser with what all of these benchmarks take."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--weights",
        default=os.environ.get("VERIDICAL_WEIGHTS", ""),
        help="of the denoiser; empty: shipped",
    )
    parser.add_argument(
        "--quick", action="store_true", help="one patient of each set and few slices"
    )
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "1")))
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line and set the threads."""
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    return given


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
