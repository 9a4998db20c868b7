"""Does the twin find what is hidden, know how sure it is, and choose well?

python benchmarks/twin.py PART [--patients 40] [--first 0] [--out twin.jsonl]
python benchmarks/twin.py table [--out twin.jsonl]

Simulated patients (2 mm grid, hidden biology and thresholds, contours with errors), a twin on a 4
mm grid that sees the contours only. Parts: `follow`, standard treatment and scans on days 0, 20,
80, 150 and 220; `mismatch`, the same on patients who have what the model does not know; `value`, 60
Gy on the schedule that the twin chooses after day 20, against the standard; `coarse`, the twin's
grid against a finer one. Rows go to a file, so that a run goes on where it was; `table` prints what
is in it. Intervals are 95 % by bootstrap over patients.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from veridical.models.twin import Twin
from veridical.models.world import Observed, WorldModel
from veridical.phantoms.glioma import Glioma, Mismatch
from veridical.phantoms.glioma_biology import NAMES
from veridical.physics import tumour
from veridical.physics.treatment import Treatment, equal_doses, radiotherapy, standard
from veridical.workflow.twin_demo import START, brain_of, true_progression

COHORT = 15_151
SCANS = (0.0, 20.0, 80.0, 150.0, 220.0)
LATER = (280.0, 340.0, 400.0)
EFFECT = 260.0
"""Day on which effects of treatments are compared."""
KINDS: tuple[Mismatch, ...] = ("mass effect", "two clones", "delay")


def actions() -> dict[str, Treatment]:
    """Return the treatments whose effects are compared with no treatment."""
    return {
        "none": Treatment(),
        "30 Gy": replace(radiotherapy(START, 15, 2.0), name="30 Gy"),
        "60 Gy": radiotherapy(START, 30, 2.0, name="60 Gy"),
        "60 Gy and drug": standard(START),
    }


def known(patient: Glioma, model: WorldModel) -> dict[float, Twin]:
    """Return the twin after each scan of a patient."""
    seen = patient.extents(list(SCANS), noisy=True)
    twin = Twin.begun(model, Observed(SCANS[0], seen[0]), brain_of(patient), dict(patient.genes))
    twins = {SCANS[0]: twin}
    for day, one in zip(SCANS[1:], seen[1:], strict=True):
        twins[day] = twin = twin.told(Observed(day, one), patient.treatment)
    return twins


def forecasts(patient: Glioma, twins: dict[float, Twin]) -> dict[str, Any]:
    """Return medians and intervals on later days, of the population and after each scan."""
    first, treatment = twins[SCANS[0]], patient.treatment
    unseen = first.model.prior(first.scans[0], first.belief.brain)
    every = {"population": replace(first, belief=unseen)}
    every |= {f"{day:g}": twin for day, twin in twins.items()}
    found = {}
    for name, twin in every.items():
        fan = twin.forecast(treatment, list(LATER))
        found[name] = {
            "median": fan.median().tolist(),
            **{f"{level:.0%}": [e.tolist() for e in fan.interval(level)] for level in (0.5, 0.9)},
        }
    return found


def follow(index: int, mismatch: Mismatch = "none") -> dict[str, Any]:
    """Return all about one patient under the standard."""
    patient = Glioma(COHORT, index, mismatch=mismatch, treatment=standard(START))
    twins = known(patient, WorldModel(48, seed=index))
    last, truth = twins[SCANS[-1]], patient.biology
    prior = last.model.prior(last.scans[0], last.belief.brain, dict(patient.genes))
    row: dict[str, Any] = {
        "true": [one.visible for one in patient.extents(list(LATER))],
        "forecasts": forecasts(patient, twins),
        "surprises": last.belief.surprises,
        "widening": last.belief.widening,
    }
    row["parameters"] = {
        name: {
            "true": getattr(truth, name),
            "prior": quantiles(prior.posterior(name)),
            "now": quantiles(last.belief.posterior(name)),
        }
        for name in NAMES
    }
    front = 2 * np.sqrt(last.belief.posterior("diffusion") * last.belief.posterior("proliferation"))
    before = 2 * np.sqrt(prior.posterior("diffusion") * prior.posterior("proliferation"))
    row["parameters"]["speed"] = {
        "true": truth.speed, "prior": quantiles(before), "now": quantiles(front),
    }  # fmt: skip
    return row if mismatch != "none" else row | effects(patient, twins[20.0])


def quantiles(values: Any) -> list[float]:
    """Return the 5th, 25th, 50th, 75th and 95th percentile."""
    return [float(q) for q in np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95))]


def effects(patient: Glioma, twin: Twin) -> dict[str, Any]:
    """Return true and expected visible radii under each action, and the laws of the transition."""
    true, expected = {}, {}
    for name, action in actions().items():
        seen = replace(patient, treatment=action).extents([EFFECT])[0]
        true[name] = float(np.cbrt(seen.visible * 750 / np.pi))
        radii = twin.model.rollout(twin.belief, action, [EFFECT])[:, 0, 1]
        expected[name] = float(radii.mean())
    still = replace(twin.model, drift=0.0)
    at_once = still.decode(still.step(twin.belief, standard(START), 120.0))
    half = still.step(twin.belief, standard(START), 50.0)
    in_two = still.decode(still.step(half, standard(START), 70.0))
    zero = still.decode(still.step(twin.belief, standard(START), 0.0))
    doses = [radiotherapy(START, n, 2.0) for n in (0, 10, 20, 30, 40)]
    ladder = [float(still.rollout(twin.belief, one, [120.0])[:, 0, 1].mean()) for one in doses]
    return {
        "effects": {"true": true, "expected": expected},
        "laws": {
            "two steps": float(np.abs(at_once[:, :2] - in_two[:, :2]).max()),
            "no step": float(np.abs(zero - still.decode(twin.belief)).max()),
            "dose": ladder,
        },
    }


def value(index: int) -> dict[str, Any]:
    """Return what the schedule that was chosen came to."""
    patient = Glioma(COHORT + 1, index)
    seen = patient.extents([0.0, 20.0], noisy=True)
    model = WorldModel(32, seed=index)
    twin = Twin.begun(model, Observed(0.0, seen[0]), brain_of(patient), dict(patient.genes))
    twin = twin.told(Observed(20.0, seen[1]), Treatment())
    options = equal_doses(START)
    choice = twin.choose(options)
    came = {one.name: true_progression(replace(patient, treatment=one)) for one in options}
    return {"chosen": choice.name, "expected": choice.values, "came": came}


def coarse(index: int) -> dict[str, Any]:
    """Return radii of the hidden patient's own tumour on the twin's grid and on the finer one."""
    patient = Glioma(COHORT, index, treatment=standard(START))
    brain, place = brain_of(patient), patient.place()
    p = np.zeros(10)
    biology = patient.biology
    p[:4] = np.log([getattr(biology, name) for name in NAMES])
    p[8:] = patient.levels
    fine = patient.extents([0.0, 150.0, 300.0])
    p[7] = np.log(fine[0].enhancing)
    p[4:7] = place.seed - np.array(fine[0].centre)
    from veridical.models.world import _extent as shown
    from veridical.models.world import _radii, born

    state = born(p, brain, Observed(0.0, fine[0]))
    found = [
        _radii(shown(p, one, brain))
        for one in tumour.grown(state, biology, patient.treatment, [0.0, 150.0, 300.0])
    ]
    true = [_radii(one) for one in fine]
    return {"coarse": found, "fine": true}


PARTS: dict[str, Callable[[int], dict[str, Any]]] = {
    "follow": follow,
    **{kind: (lambda index, kind=kind: follow(index, kind)) for kind in KINDS},
    "value": value,
    "coarse": coarse,
}


def rows(out: Path) -> Iterator[dict[str, Any]]:
    """Yield what a file holds."""
    if out.exists():
        for line in out.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


def run(part: str, patients: int, first: int, out: Path) -> None:
    """Run the patients of a part that are not in the file."""
    done = {(row["part"], row["patient"]) for row in rows(out)}
    for index in range(first, first + patients):
        if (part, index) in done:
            continue
        begun = time.perf_counter()
        row = {"part": part, "patient": index, **PARTS[part](index)}
        row["seconds"] = round(time.perf_counter() - begun, 1)
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(part, index, row["seconds"], flush=True)


def spread(values: Any, statistic: Callable[[Any], float] = np.mean) -> str:
    """Return a statistic with its 95 % interval over patients."""
    data, rng = np.asarray(values, float), np.random.default_rng(0)
    drawn = [statistic(data[rng.integers(len(data), size=len(data))]) for _ in range(2000)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return f"{statistic(data):.3g} ({low:.3g} to {high:.3g})"


def radius(volume: Any) -> Any:
    """Return the radius in mm of a ball of so many ml."""
    return np.cbrt(np.maximum(volume, 0) * 750 / np.pi)


def inside(found: list[dict[str, Any]], name: str, level: str) -> list[float]:
    """Return the share of later days of each patient on which the truth lies inside."""
    shares = []
    for row in found:
        low, high = row["forecasts"][name][level]
        true = row["true"]
        pairs = zip(low, true, high, strict=True)
        shares.append(float(np.mean([a - 1e-6 <= t <= b + 1e-6 for a, t, b in pairs])))
    return shares


def table(out: Path) -> None:
    """Print all parts."""
    every = list(rows(out))
    found = [row for row in every if row["part"] == "follow"]
    if found:
        print(f"## follow, n = {len(found)}\n")
        print("| forecast | error of the radius, mm | 50 % holds | 90 % holds | width 90 %, mm |")
        print("|---|---|---|---|---|")
        for name in found[0]["forecasts"]:
            print(_forecast_line(found, name))
        _compared(found)
        _parameters(found)
        _effects(found)
        alarms = [any(p < 0.005 for p in row["surprises"].values()) for row in found]
        print(f"\nfalse alarms: {sum(alarms)} of {len(found)} patients, 4 judged scans each")
    for kind in KINDS:
        some = [row for row in every if row["part"] == kind]
        if some:
            fired = [any(p < 0.005 for p in row["surprises"].values()) for row in some]
            wide = [row["widening"] for row in some]
            print(f"\n## {kind}, n = {len(some)}: alarm in {sum(fired)}, widening {spread(wide)}")
            print(_forecast_line(some, "220"))
            for label, chosen in (("alarm", True), ("no alarm", False)):
                part = [row for row, fire in zip(some, fired, strict=True) if fire is chosen]
                if part:
                    print(label, len(part), _forecast_line(part, "220"))
    _value([row for row in every if row["part"] == "value"])
    _coarse([row for row in every if row["part"] == "coarse"])


def _errors(found: list[dict[str, Any]], name: str) -> list[float]:
    return [
        float(np.mean(np.abs(radius(row["forecasts"][name]["median"]) - radius(row["true"]))))
        for row in found
    ]


def _forecast_line(found: list[dict[str, Any]], name: str) -> str:
    widths = []
    for row in found:
        low, high = (radius(end) for end in row["forecasts"][name]["90%"])
        widths.append(float(np.mean(high - low)))
    held = [spread(inside(found, name, level)) for level in ("50%", "90%")]
    return f"| {name} | {spread(_errors(found, name))} | {held[0]} | {held[1]} | {spread(widths)} |"


def _compared(found: list[dict[str, Any]]) -> None:
    last = np.array(_errors(found, "220"))
    for name in ("population", "0", "20"):
        print(f"\nerror {name} - error 220: {spread(np.array(_errors(found, name)) - last)} mm")


def _parameters(found: list[dict[str, Any]]) -> None:
    print("\n| parameter | correlation of logs | 50 % holds | 90 % holds | learned |")
    print("|---|---|---|---|---|")
    for name in found[0]["parameters"]:
        said = [row["parameters"][name] for row in found]
        true = np.log([one["true"] for one in said])
        now = np.log([one["now"][2] for one in said])
        held = [
            [one["now"][low] <= one["true"] <= one["now"][high] for one in said]
            for low, high in ((1, 3), (0, 4))
        ]
        widths = [
            [np.log(one[when][4] / one[when][0]) for one in said] for when in ("prior", "now")
        ]
        learned = 1 - (np.array(widths[1]) / np.array(widths[0])) ** 2
        print(
            f"| {name} | {np.corrcoef(true, now)[0, 1]:.2f} | {spread(held[0])} | "
            f"{spread(held[1])} | {spread(learned)} |"
        )


def _effects(found: list[dict[str, Any]]) -> None:
    names = [name for name in actions() if name != "none"]
    true = np.array(
        [[r["effects"]["true"][n] - r["effects"]["true"]["none"] for n in names] for r in found]
    )
    made = np.array(
        [
            [r["effects"]["expected"][n] - r["effects"]["expected"]["none"] for n in names]
            for r in found
        ]
    )
    rng = np.random.default_rng(0)
    mixed = np.stack([rng.permutation(row) for row in np.pad(made, ((0, 0), (0, 1)))])[:, :3]
    others = np.broadcast_to(true.mean(0), true.shape)
    print("\n| effect on the radius of day 260 | true, mm | expected, mm | PEHE, mm | same sign |")
    print("|---|---|---|---|---|")
    for place, name in enumerate(names):
        off = (made - true)[:, place]
        print(
            f"| {name} | {true[:, place].mean():.2f} | {made[:, place].mean():.2f} | "
            f"{spread(off, lambda d: float(np.sqrt(np.mean(d**2))))} | "
            f"{np.mean(np.sign(made[:, place]) == np.sign(true[:, place])):.2f} |"
        )
    for label, other in (("actions shuffled", mixed), ("mean effect of the others", others)):
        print(f"\nPEHE, all actions, {label}: {np.sqrt(np.mean((other - true) ** 2)):.2f} mm")
    print(f"\nPEHE, all actions: {np.sqrt(np.mean((made - true) ** 2)):.2f} mm")
    kinds = np.array(
        [
            [
                r["effects"]["true"]["60 Gy and drug"] - r["effects"]["true"]["60 Gy"],
                r["effects"]["expected"]["60 Gy and drug"] - r["effects"]["expected"]["60 Gy"],
            ]
            for r in found
        ]
    )
    print(f"\ndrug beside 60 Gy: correlation {np.corrcoef(kinds.T)[0, 1]:.2f}")
    laws = [row["laws"] for row in found]
    print(
        f"\ntwo steps against one: {max(law['two steps'] for law in laws):.2g} mm at most; no "
        f"step: {max(law['no step'] for law in laws):.2g} mm; dose ladder falls in "
        f"{sum(bool((np.diff(law['dose']) <= 1e-6).all()) for law in laws)} of {len(laws)}"
    )


def _value(found: list[dict[str, Any]]) -> None:
    if not found:
        return
    chosen = np.array([row["came"][row["chosen"]] for row in found])
    usual = np.array([row["came"]["standard"] for row in found])
    best = np.array([max(row["came"].values()) for row in found])
    print(f"\n## value, n = {len(found)}, days to progression\n")
    print(
        f"chosen - standard: mean {spread(chosen - usual)}, median "
        f"{spread(chosen - usual, lambda d: float(np.median(d)))}"
    )
    print(
        f"oracle - standard: mean {spread(best - usual)}; regret {spread(best - chosen)}; regret "
        f"of the standard {spread(best - usual)}"
    )
    print(
        f"worse than the standard in {int((chosen < usual - 0.5).sum())}, better in "
        f"{int((chosen > usual + 0.5).sum())}"
    )
    for name in found[0]["came"]:
        gain = [row["came"][name] - row["came"]["standard"] for row in found]
        count = sum(row["chosen"] == name for row in found)
        print(f"| {name} | {count} | {spread(gain)} |")


def _coarse(found: list[dict[str, Any]]) -> None:
    if not found:
        return
    print(f"\n## coarse grid, n = {len(found)}: radius on 4 mm - on 2 mm, mm")
    off = np.array([np.array(row["coarse"]) - np.array(row["fine"]) for row in found])
    size = np.array([row["fine"] for row in found])
    for place, day in enumerate((0, 150, 300)):
        for part, name in enumerate(("enhancing", "visible")):
            d = off[:, place, part]
            true, error = size[:, place, part].mean(), f"{d.mean():+.2f} ± {d.std():.2f}"
            print(f"| day {day} | {name} | {true:.1f} | {error} |")


def main() -> None:
    """Run a part, or print all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=[*PARTS, "table"])
    parser.add_argument("--patients", type=int, default=40)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("twin.jsonl"))
    given = parser.parse_args()
    if given.part == "table":
        table(given.out)
    else:
        run(given.part, given.patients, given.first, given.out)


if __name__ == "__main__":
    main()
