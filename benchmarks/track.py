"""How well are bodies tracked from a few measurements a frame, and are the intervals right?

python benchmarks/track.py PART [--bodies 6] [--first 0] [--out track.jsonl]
python benchmarks/track.py table [--out track.jsonl]

Parts: `abdomen` and `heart`, a slice of 96 pixels across, tracked in another session than that of
the reference: irregular breathing that drifts by 3 mm a minute, irregular beats; `volume`, an
abdomen in three dimensions from projections; `calibrate`, slimmer bodies with regular breathing,
other voxels and other planes, from which the widths of the intervals come; `between`, temporal
super-resolution of one breath and one beat. Rows go to a file, so that a run goes on where it was;
`table` prints what is in it. Intervals are 95 % by bootstrap over bodies.

`last frame` and `linear` are told the true motion of the frames before: no tracker has that.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from skimage.registration import optical_flow_tvl1

from veridical.models.time_interpolation import TimeInterpolation
from veridical.models.warped import warped
from veridical.phantoms.beating_heart import BeatingHeart
from veridical.phantoms.breathing_abdomen import BreathingAbdomen
from veridical.phantoms.cine_scan import CineScan
from veridical.phantoms.moving_body import NAMES
from veridical.task import silent
from veridical.tasks.track import WIDTHS, Track
from veridical.types import Result, Study

TESTED, CALIBRATED = 7000, 100
"""First seeds."""
STILL = ("air", "lung")
"""What does not count as body: nothing is seen there."""
ORGANS = ("liver", "spleen", "kidney", "lesion", "myocardium", "blood")


@dataclass(frozen=True, eq=False)
class Slim(BreathingAbdomen):
    """Another anatomy: a slimmer body, whose organs are smaller and lie elsewhere."""

    def tissue(self, points: Any) -> Any:
        wide = np.array([1.0, 1.0, 1.0]) / np.array([0.88, 0.85, 0.9])
        return super().tissue(points * wide + np.array([4.0, -3.0, 6.0]))


def abdomen_scan(index: int, look: Any) -> CineScan:
    """Return one body in the sagittal plane of its lesion."""
    body = BreathingAbdomen(TESTED + index, 2.5)
    later = replace(body, session=1 + index, irregular=2.0, drift=3.0)
    place = round(float((body.target(0.0)[0] - body.geometry.affine[0, 3]) / body.spacing))
    return CineScan(body, later, place, 0, look, 20.0 if look == "CT" else 0.03)


def heart_scan(index: int) -> CineScan:
    """Return one heart along its long axis."""
    body = BeatingHeart(TESTED + index, 2.0)
    middle = round(float(-body.geometry.affine[0, 3] / body.spacing))
    return CineScan(body, replace(body, session=1 + index, irregular=0.12), middle, 0)


def calibration_scan(index: int, look: Any) -> CineScan:
    """Return one body that intervals are calibrated on."""
    if index % 2 and look != "CT":
        heart = BeatingHeart(CALIBRATED + index, 4.0)
        return CineScan(heart, replace(heart, session=3, irregular=0.05), 15, 2, look, 0.04)
    slim = Slim(CALIBRATED + index, 4.0)
    later = replace(slim, session=5, irregular=1.0)
    place = round(float((50.0 - slim.geometry.affine[0, 3]) / slim.spacing))
    return CineScan(slim, later, place, 0, look, 30.0 if look == "CT" else 0.04)


def clocks(scan: CineScan, frames: int) -> tuple[Any, Any]:
    """Return the times of a reference of 32 frames, and of the frames to be tracked."""
    gap = 0.05 if isinstance(scan.body, BeatingHeart) else 0.25
    return gap * np.arange(32), 0.4 + gap * np.arange(frames)


def judged(scan: CineScan, result: Result, before: Any, seconds: Any, truth: Any) -> dict[str, Any]:
    """Return errors, coverage and latency of one tracked sequence."""
    rest = float(before[result.facts["model"].rest])
    tissue = _tissue(scan, rest)
    body = ~np.isin(tissue, [NAMES.index(name) for name in STILL])
    regions = {"body": body, "organs": np.isin(tissue, [NAMES.index(one) for one in ORGANS])}
    regions["target"] = tissue == NAMES.index(
        "lesion" if isinstance(scan.body, BreathingAbdomen) else "myocardium"
    )
    axes = [axis for axis in range(3) if tissue.shape[axis] > 1]
    true = np.stack([scan.motion(scan.later, rest, float(s))[..., axes] for s in seconds])
    moved = result.also["motion"]
    shape = (len(seconds), len(axes), *tissue.shape)
    value, low, high = (
        np.moveaxis(np.asarray(one).reshape(shape), 1, -1)
        for one in (moved.image.data, moved.interval.lower, moved.interval.upper)
    )
    earlier = np.concatenate([true[:1], true[:-1]])
    straight = 2 * earlier - np.concatenate([true[:1], earlier[:-1]])
    row: dict[str, Any] = {"error": {}, "coverage": {}}
    for name, where in regions.items():
        row["error"][name] = {
            kind: float(np.linalg.norm(one - true, axis=-1)[2:, where].mean())
            for kind, one in {
                "tracked": value, "last": earlier, "linear": straight, "none": 0 * true
            }.items()
        }  # fmt: skip
        inside = (true >= low) & (true <= high)
        row["coverage"][name] = float(inside[:, where].mean())
    sd = (high - low) / 2
    row["z motion"] = WIDTHS["motion"] * _needed(value - true, sd, body)
    shown = result.image.data
    dynamic = body | (np.abs(truth).mean(0) > 0.1 * np.percentile(np.abs(truth), 99))
    off, width = shown - truth, (result.interval.upper - result.interval.lower) / 2
    row["z image"] = WIDTHS["image"] * _needed(off[..., None], width[..., None], dynamic)
    row["coverage"]["image"] = float((np.abs(off) <= width)[:, dynamic].mean())
    latency = np.array(result.facts["latency_ms"])
    row["ms"] = [float(np.median(latency[:, 0])), float(np.median(latency[:, 1]))]
    row["findings"] = {one.check: one.verdict for one in result.findings}
    return row


def _needed(off: Any, half: Any, where: Any) -> float:
    """Return how many half-widths 90 % need to lie inside."""
    return float(np.quantile((np.abs(off) / np.maximum(half, 1e-9))[:, where], 0.9))


def _tissue(scan: CineScan, rest: float) -> Any:
    points = scan.body.points([scan.index] if scan.index is not None else None, 1, scan.along)
    shape = list(scan.body.geometry.shape)
    if scan.index is not None:
        shape[scan.along] = 1
    return scan.body.tissue(scan.body.at_rest(points, rest)).reshape(shape)


def followed(scans: dict[str, CineScan], means: Any, frames: int) -> dict[str, Any]:
    """Return rows by means: `(look, kind, number)`."""
    row: dict[str, Any] = {}
    for look, scan in scans.items():
        before, seconds = clocks(scan, frames)
        truth, reference = np.asarray(scan.truth(seconds).data), scan.reference(before)
        for kind, number in means[look]:
            noise = {"spokes": 0.02, "projections": 0.003, "surrogate": 0.02}[kind]
            made = scan.measured(before, seconds, kind, number, noise)
            study = Study("", {0.0: {"reference": reference, "frames": made}})
            result = Track().apply(study, 0, silent)
            row[f"{kind} {number}"] = judged(scan, result, before, seconds, truth)
    return row


MR = [("spokes", 1), ("spokes", 2), ("spokes", 4), ("surrogate", 1)]
CT = [("projections", 1), ("projections", 2)]


def abdomen(index: int) -> dict[str, Any]:
    """Track one abdomen by all means."""
    scans = {look: abdomen_scan(index, look) for look in ("bSSFP", "CT")}
    return followed(scans, {"bSSFP": MR, "CT": CT}, 40)


def heart(index: int) -> dict[str, Any]:
    """Track one heart by all means of MR."""
    return followed({"bSSFP": heart_scan(index)}, {"bSSFP": MR}, 40)


def calibrate(index: int) -> dict[str, Any]:
    """Return what widths one calibration body needs."""
    looks = ("bSSFP",) if index % 2 else ("bSSFP", "CT")
    scans = {look: calibration_scan(index, look) for look in looks}
    return followed(scans, {"bSSFP": [MR[1], MR[3]], "CT": CT[:1]}, 24)


def volume(index: int) -> dict[str, Any]:
    """Track an abdomen in three dimensions from projections."""
    body = BreathingAbdomen(TESTED + 50 + index, 6.0)
    later = replace(body, session=1 + index, irregular=2.0, drift=3.0)
    return followed({"CT": CineScan(body, later, look="CT", noise=20.0)}, {"CT": CT}, 12)


def flow(one: Any, other: Any, bright: float) -> Any:
    """Return the optical flow (TV-L1 of scikit-image) from one frame to another, `(3, x, y, z)`."""
    across = [axis for axis in range(3) if one.shape[axis] > 1]
    pair = [np.squeeze(each / bright).astype(np.float32) for each in (one, other)]
    field = np.zeros((3, *one.shape), np.float32)
    field[across] = optical_flow_tvl1(*pair).reshape(len(across), *one.shape)
    return field


def between(index: int) -> dict[str, Any]:
    """Make frames between those of one beat and one breath, 2x and 4x."""
    heart, count = BeatingHeart(TESTED + 20 + index, 3.0), 12
    abdomen = BreathingAbdomen(TESTED + 20 + index, 4.0, irregular=0.0)
    place = round(float((abdomen.target(0.0)[0] - abdomen.geometry.affine[0, 3]) / 4.0))
    found: dict[str, Any] = {}
    for name, scan, period in (
        ("beat", CineScan(heart, heart, 18, 2, noise=0.01), heart.beat.period),
        ("breath", CineScan(abdomen, abdomen, place, 0, noise=0.01), abdomen.breaths.starts[1]),
    ):
        times = period * np.arange(4 * count) / (4 * count)
        truth = np.asarray(scan.truth(times).data)
        frames = np.asarray(scan.reference(times[::4]).data)
        made = TimeInterpolation.of(frames, True)
        moves, bright = truth.std(0) > 0.1 * truth.std(0).max(), np.percentile(truth, 99)
        off: dict[str, list[float]] = {}
        for start in range(count):
            pair = frames[start], frames[(start + 1) % count]
            ahead, back = flow(*pair, bright), flow(*pair[::-1], bright)
            for quarter in (1, 2, 3):
                share, true = quarter / 4, truth[4 * start + quarter]
                ways = {
                    "linear": made.linear(start + share),
                    "optical flow": (1 - share) * warped(pair[0], -share * ahead)
                    + share * warped(pair[1], -(1 - share) * back),
                    "motion": made.frame(start + share)[0],
                }
                for way, image in ways.items():
                    error = float(np.mean((image - true)[moves] ** 2))
                    off.setdefault(f"{way} 4x", []).append(error)
                    if quarter == 2:
                        off.setdefault(f"{way} 2x", []).append(error)
        found[name] = {
            way: float(20 * np.log10(bright) - 10 * np.log10(np.mean(one)))
            for way, one in off.items()
        }
    return found


PARTS: dict[str, Callable[[int], dict[str, Any]]] = {
    "abdomen": abdomen, "heart": heart, "calibrate": calibrate, "volume": volume,
    "between": between,
}  # fmt: skip


def rows(out: Path) -> Iterator[dict[str, Any]]:
    """Yield what a file holds."""
    if out.exists():
        for line in out.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


def run(part: str, bodies: int, first: int, out: Path) -> None:
    """Run the bodies of a part that are not in the file."""
    done = {(row["part"], row["body"]) for row in rows(out)}
    for index in range(first, first + bodies):
        if (part, index) in done:
            continue
        begun = time.perf_counter()
        row = {"part": part, "body": index, "means": PARTS[part](index)}
        row["seconds"] = round(time.perf_counter() - begun, 1)
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(part, index, row["seconds"], flush=True)


def spread(values: Any) -> str:
    """Return the mean with its 95 % interval over bodies."""
    data, rng = np.asarray(values, float), np.random.default_rng(0)
    drawn = [data[rng.integers(len(data), size=len(data))].mean() for _ in range(2000)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return f"{data.mean():.2f} ({low:.2f} to {high:.2f})"


def table(out: Path) -> None:
    """Print all parts."""
    every = list(rows(out))
    for part in ("abdomen", "heart", "volume"):
        found = [row["means"] for row in every if row["part"] == part]
        if found:
            _table(part, found)
    found = [row["means"] for row in every if row["part"] == "between"]
    if found:
        print(f"\n## between, n = {len(found)}\n\n| PSNR where it moves, dB | 2x | 4x |")
        print("|---|---|---|")
        for what in ("beat", "breath"):
            for way in ("linear", "optical flow", "motion"):
                cells = [spread([row[what][f"{way} {n}x"] for row in found]) for n in (2, 4)]
                print(f"| {what}, {way} | {' | '.join(cells)} |")
    found = [row["means"] for row in every if row["part"] == "calibrate"]
    if found:
        for what in ("z image", "z motion"):
            needed = [one[what] for row in found for one in row.values()]
            print(f"\ncalibrate, n = {len(found)}: {what} {spread(needed)}")


def _table(part: str, found: list[dict[str, Any]]) -> None:
    print(f"\n## {part}, n = {len(found)}\n")
    print(
        "| means | target, mm | organs, mm | body, mm | 90 % of target | of body | of image | ms |"
    )
    print("|---|---|---|---|---|---|---|---|")
    names = list(found[0])
    for base in ("none", "last", "linear"):
        cells = [
            spread([row[names[0]]["error"][where][base] for row in found])
            for where in ("target", "organs", "body")
        ]
        print(f"| {base} | {' | '.join(cells)} | | | | |")
    for name in names:
        got = [row[name] for row in found if name in row]
        cells = [
            spread([one["error"][where]["tracked"] for one in got])
            for where in ("target", "organs", "body")
        ]
        cells += [
            spread([one["coverage"][where] for one in got]) for where in ("target", "body", "image")
        ]
        waits = np.median([one["ms"] for one in got], axis=0)
        print(f"| {name} | {' | '.join(cells)} | {waits[0]:.0f}, all {waits[1]:.0f} |")


def main() -> None:
    """Run a part, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=[*PARTS, "table"])
    parser.add_argument("--bodies", type=int, default=6)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("track.jsonl"))
    given = parser.parse_args()
    if given.part == "table":
        table(given.out)
    else:
        run(given.part, given.bodies, given.first, given.out)


if __name__ == "__main__":
    main()
