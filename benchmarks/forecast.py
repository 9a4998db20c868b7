"""Does a forecast come closer to what a patient becomes than the last image, a line, or the mean of
the population; and does it know how sure it is?

python benchmarks/forecast.py PART [--kind ageing] [--patients 3] [--out forecast-PART.jsonl]
python benchmarks/forecast.py write --out forecast-calibrate.jsonl
python benchmarks/forecast.py table --out forecast-test.jsonl

Parts: `calibrate` and `test`, simulated patients whose future is known; `laws`, what must hold of
any forecast; `real`, two pairs of real scans (`--data`).

Simulated patients at 4 mm: ageing (three diagnoses), multiple sclerosis, glioma. Patients of
`calibrate` and `test` have other seeds and are cut out of other real heads. Scans are on irregular
days; 1, 2 or 4 of them are given, and the scans 1, 2 and 4 visits later are forecast. The last
visit has a label map at half the voxel size; `real` and the segmenter need none. `write` turns
calibration rows into `models/files/forecast.json`. Rows go to a file, so that a run goes on where
it was. Intervals in the tables are 95 % by bootstrap over patients.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from veridical.audit.interval import CalibrationCase, calibrate
from veridical.models.atrophy_rates import NAMES, REGIONS
from veridical.models.head_segmenter import HeadSegmenter
from veridical.models.shrunk_rates import RateCourse
from veridical.phantoms import head_scan, head_shapes, volume_change
from veridical.phantoms.ageing import RATES, Ageing
from veridical.phantoms.glioma import Glioma
from veridical.phantoms.longitudinal import Life
from veridical.phantoms.multiple_sclerosis import MultipleSclerosis
from veridical.physics.treatment import radiotherapy, standard
from veridical.tasks import forecast_calibration as stored
from veridical.tasks.forecast_conditions import YEAR, Conditions, conditions
from veridical.tasks.forecast_future import Future
from veridical.tasks.forecast_visits import Visits, visits_of
from veridical.types import Image, Study

SEEDS = {"calibrate": 71_001, "test": 82_002}
HEADS = {"calibrate": range(7), "test": range(7, 13)}
"""Of the 13 real heads that patients are cut out of."""
SPACING = 4.0
DAYS = (0.0, 380.0, 700.0, 1100.0)
AHEAD = {1: 365.0, 2: 730.0, 4: 1460.0}
"""Visits ahead -> days."""
TUMOUR_DAYS = (0.0, 20.0, 80.0, 150.0)
TUMOUR_AHEAD = {1: 60.0, 2: 120.0, 4: 240.0}
START = 21.0
GIVEN = (1, 2, 4)
KINDS = ("ageing", "lesions", "tumour")
METHODS = ("personal", "population", "linear", "last")
LEARNED = ("fields", "affines", "stretches", "atrophy", "coarse")
"""What is known of each real head."""
NOTHING = {"age": 0, "sex": "", "diagnosis": "", "genes": "", "treatment": ""}
"""Settings of a forecast where the study says all."""
RAW, FLOOR = np.ones(len(NAMES)), 0.01
"""Rows hold spreads as they are before calibration, which `table` applies."""
BETWEEN = 203.0
"""Days between the real visits of patient 01; those of the other are not stated, and taken as the
same.
"""
KEPT = 4000
"""Voxels of a patient whose errors are kept for calibration."""


def only_heads(wanted: Sequence[int]) -> None:
    """Cut new heads out of these real heads alone."""
    whole, rows = head_shapes.shape_model(), list(wanted)
    part = replace(
        whole,
        names=tuple(whole.names[n] for n in rows),
        **{name: getattr(whole, name)[rows] for name in LEARNED},
        between=whole.between[np.ix_(rows, rows)],
    )
    head_shapes.shape_model = lambda: part  # type: ignore[assignment]


def patients(part: str, kind: str, count: int) -> Iterator[Life]:
    """Yield patients of a kind: `count` of each diagnosis of ageing, three times as many of both
    others to calibrate, twice as many to test.
    """
    seed = SEEDS[part]
    if kind == "ageing":
        for index in range(3 * count):
            yield Ageing(seed, index, SPACING, tuple(RATES)[index % 3])  # type: ignore[arg-type]
        return
    for index in range((3 if part == "calibrate" else 2) * count):
        if kind == "lesions":
            yield MultipleSclerosis(seed, index, SPACING)
        else:
            yield Glioma(seed, index, SPACING, treatment=standard(START))


def study_of(patient: Life, days: Sequence[float], contrasts: Sequence[str]) -> Study:
    """Return visits; ageing heads have their label map at half the voxel size, and at the last
    visit alone.
    """
    study = patient.study(days, contrasts)
    if not isinstance(patient, Ageing):
        return study
    visits = {
        day: {k: v for k, v in study.visits[day].items() if k != "structures"} for day in days
    }
    anatomy, last = patient.anatomy(), days[-1]
    fine = anatomy.geometry.spacing[0]
    back = volume_change.onto(patient._displaced(last, -1.0), SPACING, fine, anatomy.labels.shape)
    labels = volume_change.deformed_labels(anatomy.labels, back, fine)
    visits[last]["structures"] = Image(labels[None], anatomy.geometry, "label", ("structures",))
    return replace(study, visits=visits)


def clean(patient: Life, day: float, contrast: str) -> Any:
    """Return a scan `(x, y, z)` without noise and shading."""
    head, labels = patient.head(day)
    quiet = replace(head, site=replace(head.site, noise=(0.0, 0.0), bias=0.0))
    rng = np.random.default_rng(0)
    return head_scan.scan(quiet, labels, contrast, rng, blurred=False).data


def subset(visits: Visits, given: int) -> Visits:
    """Return the last visits alone."""
    return replace(visits, every=visits.every[-given:])


def futures(
    part: str, kind: str, patient: Life, visits: Visits, who: Conditions, last: float
) -> Iterator[tuple[int, str, Future]]:
    """Yield visits given, method and what it believes."""
    for given in GIVEN:
        some = subset(visits, given)
        for method in METHODS if part == "test" else ("personal",):
            if method == "linear" and not some.changes[0]:
                continue
            if method in ("population", "last") and given > 1:
                continue  # they look at the last visit alone
            first = last + some.every[0].years * YEAR
            yield given, method, Future(some, first, last, who, method, RAW, 1)


def brain_patient(part: str, kind: str, patient: Life) -> dict[str, Any]:
    """Return errors of a patient without a tumour."""
    contrast = "T1w" if kind == "ageing" else "FLAIR"
    study = study_of(patient, DAYS, ("T1w", "FLAIR"))
    last = DAYS[-1]
    visits = visits_of(study, "veridical", HeadSegmenter())
    who = conditions(study, NOTHING)
    inside = visits.flow.inside if visits.flow else np.ones(visits.grid.shape, bool)
    ahead_of = AHEAD if part == "test" else {n: AHEAD[n] for n in (1, 4)}
    truth = {n: np.asarray(patient.image(last + d, contrast).data[0]) for n, d in ahead_of.items()}
    pure = {n: clean(patient, last + d, contrast) for n, d in AHEAD.items() if part == "test"}
    rows = []
    for given, method, future in futures(part, kind, patient, visits, who, last):
        for ahead, days in ahead_of.items():
            estimate, spread, _ = future.images(days, 4 if method == "personal" else 2)
            row = {"given": given, "ahead": ahead, "method": method}
            error = np.abs(estimate[contrast] - truth[ahead])[inside]
            row |= _image_row(part, future, estimate[contrast], spread[contrast], error, inside)
            if ahead in pure:
                row["clean"] = rms((estimate[contrast] - pure[ahead])[inside])
            row |= _volume_row(patient, future, last, days) if kind == "ageing" else {}
            row |= _lesion_row(patient, future, last, days) if kind == "lesions" else {}
            rows.append(row)
        if part == "test" and method == "linear":
            rows += voxelwise(subset(visits, given), contrast, truth, pure, inside, given)
    return {"rows": rows}


def _image_row(
    part: str, future: Future, estimate: Any, spread: Any, error: Any, inside: Any
) -> dict[str, Any]:
    row: dict[str, Any] = {"scan": rms(error)}
    if future.method != "personal":
        return row
    if part == "calibrate":
        take = np.random.default_rng(0).choice(len(error), KEPT // 9)
        row["errors"] = np.round(error[take], 3).tolist()
        row["spreads"] = np.round(spread[inside][take], 4).tolist()
        return row
    ratio = error / np.maximum(spread[inside], FLOOR)
    row["ratios"] = np.round(np.quantile(ratio, np.linspace(0, 1, 201)), 3).tolist()
    row["spread"] = float(spread[inside].mean())
    return row


def _volume_row(patient: Ageing, future: Future, last: float, days: float) -> dict[str, Any]:
    """Return errors of volumes as per cent of today's, and which intervals hold."""
    now, then = regions(patient, last), regions(patient, last + days)
    course, years = future.course, days / YEAR
    assert course is not None, "an ageing head is seen"
    guess = course.change(years)
    sure = np.sqrt(np.diag(course.covariance(years)))
    off = guess - np.log(then / now)
    return {
        "percent": np.round(100 * (np.exp(guess) - then / now), 4).tolist(),
        "z": np.round(off / sure, 4).tolist(),
    }


def _lesion_row(
    patient: MultipleSclerosis, future: Future, last: float, days: float
) -> dict[str, Any]:
    now, then = (patient.scores(day)["new_lesions"] for day in (last, last + days))
    table = future.counts(days).get("new lesions")
    if table is None:
        return {}
    return {"new": then - now, "forecast": table["then"], "ends": [table["lower"], table["upper"]]}


def voxelwise(
    visits: Visits,
    contrast: str,
    truth: dict[int, Any],
    pure: dict[int, Any],
    inside: Any,
    given: int,
) -> Iterator[dict[str, Any]]:
    """Yield the errors of a line through the values of each voxel."""
    if given < 2:
        return
    years = np.array([one.years for one in visits.every])
    values = np.stack([np.asarray(one.images[contrast].data[0]) for one in visits.every])
    slope = np.tensordot(years - years.mean(), values, 1) / ((years - years.mean()) ** 2).sum()
    for ahead, days in AHEAD.items():
        line = values.mean(0) + slope * (days / YEAR - years.mean())
        yield {
            "given": given, "ahead": ahead, "method": "line of each voxel",
            "scan": rms((line - truth[ahead])[inside]), "clean": rms((line - pure[ahead])[inside]),
        }  # fmt: skip


def tumour_patient(part: str, kind: str, patient: Glioma) -> dict[str, Any]:
    """Return errors of a patient with a tumour: the first scans are given, since the twin begins
    before treatment.
    """
    rows = []
    for given in GIVEN:
        days = TUMOUR_DAYS[:given]
        study = study_of(patient, days, ("FLAIR",))
        visits = visits_of(study, "veridical", HeadSegmenter())
        said = {
            "age": 0,
            "sex": "",
            "diagnosis": "",
            "genes": "",
            "treatment": f"standard@{START:g}",
        }
        who = conditions(study, said)
        for method in ("personal", "last") if part == "test" else ("personal",):
            future = Future(visits, 0.0, days[-1], who, method, RAW, 1)  # type: ignore[arg-type]
            for ahead, later in TUMOUR_AHEAD.items():
                rows.append(
                    {"given": given, "ahead": ahead, "method": method}
                    | _tumour_row(part, patient, future, visits, days[-1], later)
                )
    return {"rows": rows}


def _tumour_row(
    part: str, patient: Glioma, future: Future, visits: Visits, last: float, later: float
) -> dict[str, Any]:
    day, inside = last + later, visits.flow.inside if visits.flow else None
    truth = np.asarray(patient.image(day, "FLAIR").data[0])
    (seen,) = patient.extents([day])
    if future.method == "last":
        data = np.asarray(visits.last.images["FLAIR"].data[0])
        (now,) = patient.extents([last])
        found = {"enhancing": now.enhancing, "visible": now.visible}
        return {
            "scan": rms((data - truth)[inside]), "ml": found,
            "true": {"enhancing": seen.enhancing, "visible": seen.visible},
        }  # fmt: skip
    estimate, spread, _ = future.images(later, 16)
    error = np.abs(estimate["FLAIR"] - truth)[inside]
    row = _image_row(part, future, estimate["FLAIR"], spread["FLAIR"], error, inside)
    table = future.extents(later)
    row["ml"] = {name: one["then_ml"] for name, one in table.items()}
    row["ends"] = {name: [one["lower_ml"], one["upper_ml"]] for name, one in table.items()}
    row["true"] = {"enhancing": seen.enhancing, "visible": seen.visible}
    row["alarm"] = bool(future.tumour and future.tumour.twin.alarm)
    return row


def laws() -> Iterator[dict[str, Any]]:
    """Yield what must hold of any forecast, on one patient each."""
    only_heads(HEADS["test"])
    patient = Ageing(SEEDS["test"], 2, SPACING, "Alzheimer")
    study = study_of(patient, DAYS, ("T1w",))
    visits = visits_of(study, "veridical", HeadSegmenter())
    who = conditions(study, NOTHING)
    future = Future(visits, 0.0, DAYS[-1], who, "personal", RAW, 1)
    alone = replace(future, visits=subset(visits, 1))
    same = np.array_equal(alone.images(0.0, 4)[0]["T1w"], visits.last.images["T1w"].data[0])
    yield {"law": "no step changes nothing, one visit", "holds": bool(same)}
    course, flow = future.course, visits.flow
    assert isinstance(course, RateCourse), "a head is seen"
    assert flow is not None, "a head is seen"
    once = flow.displacement(course.change(3.0))
    first = flow.displacement(course.change(1.0))
    second = flow.displacement(course.later(1.0).change(2.0))
    twice = first + volume_change.moved(second, first, SPACING)
    gap = np.linalg.norm(once - twice, axis=-1)[flow.inside]
    moved = np.linalg.norm(once, axis=-1)[flow.inside]
    yield {
        "law": "three years are one year and then two", "mean_mm": float(gap.mean()),
        "largest_mm": float(gap.max()), "moved_mm": float(moved.mean()),
    }  # fmt: skip
    least = min(
        float(volume_change.jacobian(flow.displacement(course.change(y)), SPACING).min())
        for y in (1.0, 5.0, 10.0)
    )
    yield {"law": "the Jacobian stays above 0 for ten years", "least": least}
    yield dose_law()


def dose_law() -> dict[str, Any]:
    """Return the forecast of one glioma under rising dose."""
    patient = Glioma(SEEDS["test"], 1, SPACING)
    study = study_of(patient, TUMOUR_DAYS[:2], ("FLAIR",))
    visits = visits_of(study, "veridical", HeadSegmenter())
    who = conditions(study, NOTHING)
    found, true = {}, {}
    for count in (0, 10, 20, 30):
        treatment = radiotherapy(START, count, 2.0)
        future = Future(visits, 0.0, 20.0, replace(who, treatment=treatment), "personal", RAW, 1)
        found[f"{2 * count} Gy"] = future.extents(100.0)["visible"]["then_ml"]
        (seen,) = replace(patient, treatment=treatment).extents([120.0])
        true[f"{2 * count} Gy"] = seen.visible
    return {
        "law": "more dose, less tumour: visible ml on day 120",
        "forecast": found,
        "truth": true,
    }


def real(data: Path) -> Iterator[dict[str, Any]]:
    """Yield figures of the two pairs of real scans of patients with multiple sclerosis."""
    from veridical.io.files import read
    from veridical.layouts.discovery import studies
    from veridical.tasks.forecast_visits import on_grid

    root = data / "openms" / "longitudinal_raw"
    for study in studies(root):
        first, last = study.days[0], study.days[-1]
        days = BETWEEN if last - first <= 1 else last - first
        known = replace(
            study, visits={first: {k: study.visits[first][k] for k in ("FLAIR", "T2w")}}
        )
        begun = time.perf_counter()
        visits = visits_of(known, "veridical", HeadSegmenter())
        who = conditions(
            known,
            {"age": 35, "sex": "", "diagnosis": "multiple sclerosis", "genes": "", "treatment": ""},
        )
        future = Future(visits, first, first, who, "personal", RAW, 1)
        estimate, spread, _ = future.images(days, 8)
        seconds = time.perf_counter() - begun
        later = study.visits[last]["FLAIR"]
        yield {
            "patient": study.id, "days": days, "seconds": round(seconds, 1),
            **_against(estimate["FLAIR"], spread["FLAIR"], future, later, on_grid, read, root),
        }  # fmt: skip


def _against(
    estimate: Any, spread: Any, future: Future, later: Any, on_grid: Any, read: Any, root: Path
) -> dict[str, Any]:
    from scipy import ndimage

    from veridical.preprocessing.registration import register

    before = future.visits.last.images["FLAIR"]
    found = register(
        np.asarray(before.data[0], np.float32), before.geometry,
        np.asarray(later.data[0], np.float32), later.geometry,
    )  # fmt: skip
    truth = on_grid(later, before.geometry, np.asarray(found.matrix))
    brain = on_grid(
        Image(future.visits.flow.inside[None].astype(np.float32), future.visits.grid, "1", ("b",)),
        before.geometry,
    ) > 0.9  # fmt: skip
    past = np.asarray(before.data[0], np.float32)
    truth = truth * np.float32(np.median(past[brain]) / np.median(truth[brain]))
    smooth = [ndimage.gaussian_filter(np.where(brain, one, 0), 12) for one in (past, truth)]
    truth = truth * np.clip(smooth[0] / np.maximum(smooth[1], 1e-3), 0.7, 1.4)
    every = stored.calibration()["images"]
    by = "lesions" if "lesions" in every else "ageing"
    wide = every[by]["multiplier"] * np.maximum(spread, every[by]["floor"])
    scale = float(np.median(past[brain]))
    changed = np.abs(truth - past) > 0.35 * scale
    said = np.abs(estimate - past) > 0.35 * scale
    both = changed & brain, said & brain
    return {
        "forecast_rmse": rms((estimate - truth)[brain]) / scale,
        "last_rmse": rms((past - truth)[brain]) / scale,
        "inside": float((np.abs(estimate - truth) <= wide)[brain].mean()),
        "calibrated_by": by,
        "inside_last": float((np.abs(past - truth) <= wide)[brain].mean()),
        "changed_voxels": int(both[0].sum()),
        "overlap": 2
        * float((both[0] & both[1]).sum())
        / max(float(both[0].sum() + both[1].sum()), 1),
    }


def regions(patient: Ageing, day: float) -> Any:
    """Return the true ml of each region."""
    volumes = patient.volumes(day)
    return np.array([sum(volumes.get(one, 0.0) for one in REGIONS[name]) for name in NAMES])


def rms(values: Any) -> float:
    """Return the root of the mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def run(part: str, kind: str, count: int, out: Path) -> None:
    """Write a row a patient, those that are not there yet."""
    only_heads(HEADS[part])
    done = {row["patient"] for row in read_rows(out)}
    for patient in patients(part, kind, count):
        name = f"{kind}-{patient.index}"
        if name in done:
            continue
        begun, own = time.perf_counter(), time.process_time()
        call: Callable[..., dict[str, Any]] = tumour_patient if kind == "tumour" else brain_patient
        found = call(part, kind, patient)
        cost = {"seconds": time.perf_counter() - begun, "cpu": time.process_time() - own}
        add(out, {"patient": name, "kind": kind, "diagnosis": patient.diagnosis, **cost, **found})
        print(name, f"{cost['cpu']:.0f} s of CPU", flush=True)


def add(out: Path, row: dict[str, Any]) -> None:
    """Append a row."""
    with out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def read_rows(out: Path) -> list[dict[str, Any]]:
    """Return the rows of a file; none where there is no file."""
    if not out.exists():
        return []
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def write(out: Path) -> None:
    """Write the calibration from its rows."""
    every = read_rows(out)
    images = {}
    for kind in KINDS:
        own = [row for row in every if row["kind"] == kind]
        cases = [_case(row) for row in own]
        said = f"simulated patients, {kind}, 4 mm, one contrast, up to 4 years ahead"
        images[kind] = asdict(calibrate(cases, 0.9, FLOOR, said)) if len(cases) >= 9 else None
    z = np.array([one["z"] for row in every if row["kind"] == "ageing" for one in row["rows"]])
    count = sum(row["kind"] == "ageing" for row in every)
    wide = np.sqrt((z**2).mean(0) * (count + 1) / count)
    volumes = dict(zip(NAMES, np.round(wide, 4).tolist(), strict=True))
    known = stored.calibration()
    kept = {kind: found or known["images"].get(kind) for kind, found in images.items()}
    kept = {kind: found for kind, found in kept.items() if found}
    text = json.dumps({"images": kept, "volumes": volumes}, indent=1)
    stored.FILE.write_text(text + "\n", encoding="utf-8")
    print(text)


def _case(row: dict[str, Any]) -> CalibrationCase:
    error, spread = (
        np.concatenate([one[key] for one in row["rows"]]) for key in ("errors", "spreads")
    )
    return CalibrationCase(error, spread, np.ones(error.shape, bool), row["patient"])


def table(out: Path) -> None:
    """Print what is in the rows of a test."""
    every = read_rows(out)
    for kind in KINDS:
        own = [row for row in every if row["kind"] == kind]
        if not own:
            continue
        print(f"\n{kind}: {len(own)} patients")
        for key in ("scan", "clean", "volume"):
            _errors(own, key)
        _coverage(own, stored.calibration()["images"].get(kind))


def _errors(own: list[dict[str, Any]], key: str) -> None:
    names = dict.fromkeys(one["method"] for row in own for one in row["rows"])
    for method in names:
        for given in GIVEN if method not in ("population", "last") else (1,):
            cells = [_cell(own, method, given, ahead, key) for ahead in AHEAD]
            if all(cells):
                print(f"| {key} | {method} | {given} | {' | '.join(cells)} |")


def _value(one: dict[str, Any], key: str) -> float | None:
    if key == "volume" and "percent" in one:
        return float(np.mean(np.abs(one["percent"])))
    if key == "volume" and "true" in one:
        radii = [np.cbrt(3000 * one[k]["visible"] / (4 * np.pi)) for k in ("ml", "true")]
        return float(abs(radii[0] - radii[1]))
    return one.get(key)


def _cell(own: list[dict[str, Any]], method: str, given: int, ahead: int, key: str) -> str:
    """Return mean and interval over patients."""
    found = [
        value
        for row in own
        for one in row["rows"]
        if (one["method"], one["given"], one["ahead"]) == (method, given, ahead)
        and (value := _value(one, key)) is not None
    ]
    if not found:
        return ""
    rng = np.random.default_rng(0)
    means = [float(np.mean(rng.choice(found, len(found)))) for _ in range(1000)]
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{np.mean(found):.2f} ({low:.2f} to {high:.2f})"


def _coverage(own: list[dict[str, Any]], images: dict[str, Any] | None) -> None:
    for given in GIVEN:
        rows = [
            one
            for row in own
            for one in row["rows"]
            if one["method"] == "personal" and one["given"] == given
        ]
        said = []
        if images:
            inside = [np.mean(np.array(one["ratios"]) <= images["multiplier"]) for one in rows]
            width = 2 * images["multiplier"] * np.mean([one["spread"] for one in rows])
            said.append(f"voxels {np.mean(inside):.3f}, {width:.1f} wide")
        if "z" in rows[0]:
            z = np.array([one["z"] for one in rows]) / stored.widening()
            said.append(f"volumes {(np.abs(z) <= 1.645).mean():.3f} of {z.size}")
        if "forecast" in rows[0]:
            held = [one["ends"][0] <= one["new"] <= one["ends"][1] for one in rows if "new" in one]
            said.append(f"new lesions {np.mean(held):.3f} of {len(held)}")
        if "true" in rows[0]:
            held = [
                one["ends"][k][0] - 1e-6 <= one["true"][k] <= one["ends"][k][1] + 1e-6
                for one in rows
                for k in ("enhancing", "visible")
            ]
            said.append(f"extents {np.mean(held):.3f} of {len(held)}")
        print(f"90 % intervals hold, {given} given: {', '.join(said)}")


def main() -> None:
    """Run a part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("calibrate", "test", "laws", "real", "write", "table"))
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--patients", type=int, default=3)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    out = given.out or Path(f"forecast-{given.part}.jsonl")
    if given.part in SEEDS:
        for kind in given.kind or KINDS:
            run(given.part, kind, given.patients, out)
    elif given.part in ("laws", "real"):
        for row in laws() if given.part == "laws" else real(given.data):
            add(out, row)
            print(json.dumps(row), flush=True)
    elif given.part == "write":
        write(out)
    else:
        table(out)


if __name__ == "__main__":
    main()
