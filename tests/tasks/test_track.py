"""Laws of tracking: the moving image and its motion in mm with their companions, better than what
does not look, and honest about what the reference has not shown.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import cines
from veridical.apps.cli import main
from veridical.errors import InputError, SettingError, UnitsError
from veridical.io.cine import write_measurements
from veridical.io.files import write
from veridical.phantoms.cine_scan import CineScan
from veridical.phantoms.moving_body import NAMES
from veridical.tasks.track import Track, spread
from veridical.types import Finding, Image, Measurement, Result, Study


@cache
def tracked(means: str, number: int = 1) -> Result:
    return Track().apply(cines.study(means, number), 0, lambda *_: None)


def truth(means: str, result: Result) -> tuple[np.ndarray, np.ndarray]:
    """True motion `(frame, 2, x, y, z)` in mm along y and z, and where the lesion is."""
    scan = cines.scan("CT" if means == "projections" else "bSSFP")
    rest = float(cines.BEFORE[result.facts["model"].rest])
    moved = np.stack([scan.motion(scan.later, rest, float(s)) for s in cines.SECONDS])
    points = scan.body.points([37], 1, 0)
    tissue = scan.body.tissue(scan.body.at_rest(points, rest)).reshape(1, 40, 40)
    return np.moveaxis(moved[..., 1:], -1, 1), tissue == NAMES.index("lesion")


def said(result: Result, check: str) -> Finding:
    return next(one for one in result.findings if one.check == check)


@pytest.mark.parametrize(("means", "number"), [("spokes", 2), ("projections", 2), ("surrogate", 1)])
def test_the_target_is_followed_better_than_by_not_looking(means: str, number: int) -> None:
    result = tracked(means, number)
    motion = result.also["motion"].image
    assert motion.units == "mm"
    assert motion.channels[:2] == ("frame-0001-y", "frame-0001-z")
    true, lesion = truth(means, result)
    value = motion.data.reshape(len(cines.SECONDS), 2, *motion.geometry.shape)
    off = np.linalg.norm(value - true, axis=1)[:, lesion].mean()
    still = np.linalg.norm(true, axis=1)[:, lesion].mean()
    assert off < 0.5 * still
    assert off < 3.0, "mm, half a voxel of 6 mm"


def test_images_are_nearer_to_the_truth_than_the_frame_at_rest_and_mostly_inside() -> None:
    result, scan = tracked("spokes", 2), cines.scan()
    true = scan.truth(cines.SECONDS).data
    rest = result.facts["model"].template[None]
    bright, moves = true.mean(0) > 0.1 * true.max(), true.std(0) > 0.3 * true.std(0).max()
    off, still = (np.abs(one - true)[:, moves].mean() for one in (result.image.data, rest))
    assert off < 0.75 * still
    assert result.interval is not None
    inside = (true >= result.interval.lower) & (true <= result.interval.upper)
    assert 0.75 < inside[:, bright].mean() <= 1


def test_the_frames_own_measurements_count_where_there_is_motion() -> None:
    result = tracked("spokes", 2)
    assert result.evidence is not None
    shares, model = result.evidence.map, result.facts["model"]
    moves = np.abs(model.rendered(model.course[0])[1]).max(0)
    assert (
        shares[:, moves > np.quantile(moves, 0.95)].mean()
        > shares[:, moves < np.quantile(moves, 0.2)].mean()
    )
    assert "earlier frames" in result.evidence.about


def test_a_body_that_breathes_deeper_than_the_reference_is_noticed() -> None:
    usual = cines.scan()
    deep = replace(usual.later, seed=1)
    breaths = replace(deep.breaths, depths=3.0 * deep.breaths.depths)
    deep.__dict__["breaths"] = breaths
    study = CineScan(usual.body, deep, 37, 0).study(cines.BEFORE, cines.SECONDS, "spokes", 4, 0.01)
    found = Track().apply(study, 0, lambda *_: None)
    assert said(tracked("spokes", 2), "motion range").verdict == "pass"
    assert said(found, "motion range").verdict in ("warn", "fail")
    assert "new reference" in said(found, "motion range").reason


def test_another_body_is_not_explained() -> None:
    study = cines.study("spokes", 2)
    scan = study.visit()["frames"]
    assert isinstance(scan, Measurement)
    turned = replace(scan, data=scan.data[..., ::-1] * np.complex64(1.5))
    found = Track().apply(Study("", {0.0: {**study.visit(), "frames": turned}}), 0, lambda *_: None)
    assert said(found, "motion residual").verdict == "fail"
    assert said(tracked("spokes", 2), "motion residual").verdict == "pass"


def test_latency_and_model_are_told() -> None:
    result = tracked("spokes", 2)
    assert said(result, "latency").evidence["coefficients_ms"] > 0
    assert said(result, "motion model").evidence["frames"] == len(cines.BEFORE)
    assert said(result, "motion model").evidence["explained"] > 0.8


def test_samples_spread_as_the_posterior_says() -> None:
    rng = np.random.default_rng(0)
    basis, root = rng.standard_normal((3, 50)).astype(np.float32), rng.standard_normal((3, 3))
    drawn = (root @ rng.standard_normal((3, 20000))).T @ basis
    assert spread(basis, root @ root.T) == pytest.approx(drawn.var(0), rel=0.05)


def test_what_cannot_be_tracked_is_refused() -> None:
    study = cines.study("projections", 1)
    reference, scan = study.visit()["reference"], study.visit()["frames"]
    assert isinstance(reference, Image)

    def refused(error: type[Exception], match: str, **parts: Image | Measurement) -> None:
        with pytest.raises(error, match=match):
            Track()(Study("", {0.0: dict(parts)}))

    refused(InputError, "reference sequence and measurements", reference=reference)
    wrong = replace(reference, units="a.u.")
    refused(UnitsError, "expected CT in HU", reference=wrong, frames=scan)
    timeless = replace(reference, header={})
    refused(InputError, "0 times", reference=timeless, frames=scan)
    still = replace(reference, data=np.repeat(reference.data[:1], len(reference.channels), 0))
    refused(InputError, "Nothing moves", reference=still, frames=scan)
    with pytest.raises(SettingError, match="expected 1 or more"):
        Track(modes=0)
    with pytest.raises(SettingError, match="three numbers"):
        Track(point=(1.0, 2.0))


def test_the_command_writes_images_motion_and_report_and_can_be_rerun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, out = cines.study("surrogate"), tmp_path / "out"
    reference, scan = study.visit()["reference"], study.visit()["frames"]
    assert isinstance(reference, Image)
    assert isinstance(scan, Measurement)
    files = write(reference, tmp_path / "ref.nii.gz"), tmp_path / "frames.npz"
    write_measurements(scan, reference, files[1])
    assert main(["track", *map(str, files), str(out), "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert written["motion/estimate"].endswith(".nii.gz")
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Motion over time" in page
    assert main(["rerun", str(out / "provenance.json")]) == 0
