"""The page docs/tutorials/adapt.md on real patients: the generator adapted to four of site CS of
the glioma set, a fifth completed.

Writes the five as a ward would have them (BIDS, NIfTI), runs the commands of the page, and prints
how long each took and how far the FLAIR made from T1w and T1c is from the acquired one, before and
after. The set states no spacing; 0.94 x 0.94 x 5 mm is assumed, which only says that slices are
thick. With `--calibrate N`, N further patients calibrate the 90 % interval.

Usage: python benchmarks/new_user.py [WORK] [--steps 500] [--calibrate 0]
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import veridical
from veridical.apps.cli import main as command
from veridical.metrics.scores import score
from veridical.preprocessing.preprocessing import Preprocessing

DATA = Path(os.environ.get("VERIDICAL_DATA", "../shared/data")) / "lgg_tcga"
CONTRASTS = ("T1w", "FLAIR", "T1c")
AFFINE = np.diag([0.94, 0.94, 5.0, 1.0])
SLICES = 8
"""Central slices of the fifth patient that are completed."""
SHOWN, MADE = 10.0, 100.0
"""Where T1w or FLAIR is brighter, there is a head; and what the inner tissue is in what was made.
"""


def patients() -> list[str]:
    """Patients of site CS with all three contrasts, in the order of their names."""
    with (DATA / "index.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if "_CS_" in row["case"]]
    return sorted(
        r["case"] for r in rows if {r["has_t1pre"], r["has_flair"], r["has_t1post"]} == {"1"}
    )


def images(case: str, slices: int = 0) -> dict[str, veridical.Image]:
    """The contrasts of a patient, `(1, x, y, slice)` with what is in front at the end of y; central
    slices if not all.
    """
    with np.load(DATA / f"{case}.npz", allow_pickle=False) as file:
        stored = file["image"]
    first = (len(stored) - slices) // 2 if slices else 0
    stored = stored[first : len(stored) - first if slices else None][: slices or None]
    found = {}
    for place, name in enumerate(CONTRASTS):
        data = np.ascontiguousarray(stored[:, place, ::-1].transpose(2, 1, 0)[None], np.float32)
        found[name] = veridical.Image(
            data, veridical.Geometry(data.shape[1:], AFFINE), "a.u.", (name,)
        )
    return found


def ward(root: Path, cases: list[str]) -> None:
    """Write patients as a BIDS folder."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset_description.json").write_text(
        '{"Name": "our ward", "BIDSVersion": "1.10.0"}', encoding="utf-8"
    )
    for case in cases:
        subject = f"sub-{case.split('_')[2]}"
        for name, image in images(case).items():
            (root / subject / "anat").mkdir(parents=True, exist_ok=True)
            veridical.write(image, root / subject / "anat" / f"{subject}_{name}.nii.gz")


def run(*words: object) -> float:
    """Run one command of the page and return how many seconds it took."""
    print("\n$ veridical", *words, flush=True)
    since = time.perf_counter()
    code = command([str(word) for word in words])
    seconds = time.perf_counter() - since
    print(f"[exit {code}, {seconds:.0f} s]", flush=True)
    return seconds


def complete(work: Path, out: str, *more: object) -> float:
    seen = (
        work / "sub-05_T1w.nii.gz",
        work / out,
        "--beside",
        work / "sub-05_T1c.nii.gz",
        "--to",
        "FLAIR",
        "--quiet",
    )
    return run("complete", *seen, "--overwrite", *more)


def judged(work: Path, out: str, real: dict[str, veridical.Image]) -> str:
    """PSNR and SSIM inside the head, range: the 99th percentile there; and the share inside the
    interval.
    """
    truth, head = scaled(real["FLAIR"]), inside(real)
    made = veridical.read(
        work / out / "sub-05_desc-estimate_FLAIR.nii.gz", contrast="FLAIR", units="a.u."
    )
    said = [
        f"{name} {score(name, made, truth, data_range=peak(truth, head), mask=head).value:.3f}"
        for name in ("psnr", "ssim")
    ]
    ends = [work / out / f"sub-05_desc-{end}_FLAIR.nii.gz" for end in ("lower", "upper")]
    if all(end.exists() for end in ends):
        lower, upper = (veridical.read(end, contrast="FLAIR", units="a.u.").data for end in ends)
        within = (lower <= truth.data) & (truth.data <= upper)
        said.append(
            f"{100 * within[head].mean():.0f} % inside the interval, "
            f"{float((upper - lower)[head].mean()):.0f} wide"
        )
    return ", ".join(said)


def scaled(image: veridical.Image) -> veridical.Image:
    """The image with an inner tissue of 100, as what was made has."""
    preprocessing = Preprocessing()
    tissue = preprocessing.tissue * preprocessing(image).scales[image.channels[0]]
    return replace(image, data=image.data * np.float32(MADE / tissue))


def peak(image: veridical.Image, head: np.ndarray) -> float:
    return float(np.percentile(image.data[head], 99))


def inside(real: dict[str, veridical.Image]) -> np.ndarray:
    return np.logical_or(*(scaled(real[name]).data > SHOWN for name in ("T1w", "FLAIR")))


def constant(cases: list[str], real: dict[str, veridical.Image]) -> float:
    """PSNR of one number everywhere: the mean FLAIR of the four."""
    means = [float(scaled(one["FLAIR"]).data[inside(one)].mean()) for one in map(images, cases)]
    truth = scaled(real["FLAIR"])
    flat = replace(truth, data=np.full_like(truth.data, np.mean(means)))
    return score("psnr", flat, truth, data_range=peak(truth, inside(real)), mask=inside(real)).value


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", nargs="?", type=Path, default=Path("runs/new_user"))
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--calibrate", type=int, default=0)
    given = parser.parse_args()
    work, cases = given.work, patients()
    ward(work / "ours", cases[:4])
    real = images(cases[4], SLICES)
    for name in ("T1w", "T1c"):
        veridical.write(real[name], work / f"sub-05_{name}.nii.gz")
    weights = work / "run" / "brain-adapted.safetensors"
    train = (
        "adapt",
        work / "ours",
        "--out",
        work / "run",
        "--steps",
        given.steps,
        "--quiet",
    )
    took = {
        "check": run("datasets", "check", work / "ours"),
        "complete, as shipped": complete(work, "before"),
        "adapt": run(*train),
        "complete, adapted": complete(work, "after", "--weights", weights),
        "calibrate on the four: refused": run(
            "calibrate", weights, "--data", work / "ours", "--jobs", "complete-FLAIR"
        ),
    }
    total = sum(took.values())
    if given.calibrate:
        ward(work / "others", cases[5 : 5 + given.calibrate])
        took["calibrate on others"] = run(
            "calibrate", weights, "--data", work / "others", "--jobs", "complete-FLAIR", "--quiet"
        )
        took["complete, calibrated"] = complete(work, "calibrated", "--weights", weights)
    print(
        f"\n{given.steps} steps, patients {', '.join(cases[:4])}; completed: {cases[4]}, {SLICES} "
        "slices"
    )
    for line in (work / "run" / "log.jsonl").read_text().splitlines():
        known = json.loads(line)
        print(
            "  log",
            {
                k: known[k]
                for k in ("step", "seconds", "missing_start_db", "missing_net_db")
                if k in known
            },
        )
    for what, seconds in took.items():
        print(f"  {seconds:5.0f} s  {what}")
    print(
        f"  {total:5.0f} s  the page without calibration on others "
        f"({'within' if total < 900 else 'beyond'} 15 minutes)"
    )
    print(f"  a constant (mean FLAIR of the four): psnr {constant(cases[:4], real):.3f}")
    for out in ("before", "after", *(["calibrated"] if given.calibrate else [])):
        print(f"  {out}: {judged(work, out, real)}")


if __name__ == "__main__":
    main()
