"""What every metric must keep."""

from __future__ import annotations

import dataclasses
import inspect
from functools import cache
from typing import Any

import numpy as np

from veridical import registry
from veridical.errors import GeometryError, InputError, UnitsError, VeridicalError
from veridical.metrics.scores import facts, score
from veridical.types import Array, Geometry, Image, Interval, Result


def check_metric(name: str) -> None:
    """Check a registered metric: it says what it is, gives one finite number, the same twice,
    leaves its input, says so when a result is better, and refuses other grids, other units, NaN and
    empty regions.

    Raises:
        AssertionError: a promise is broken.
    """
    about, metric = facts(name), registry.get("metric", name)
    assert about.label, "it has no label"
    assert about.units, "it has no units"
    if "reference" in inspect.signature(metric).parameters:
        _of_images(name)
    else:
        _of_arrays(metric)


def _of_images(name: str) -> None:
    result, truth, mask = compared()
    before = result.image.data.tobytes(), truth.data.tobytes()
    value = scored(name, result, truth, mask)
    assert np.isfinite(value), f"its value is {value}"
    assert value == scored(name, result, truth, mask), (
        "the same images have another score the second time"
    )
    assert before == (result.image.data.tobytes(), truth.data.tobytes()), "the images were changed"
    about = facts(name)
    if about.level == "pixel":
        data = truth.data + 0.5 * (result.image.data - truth.data)
        better = scored(
            name,
            dataclasses.replace(result, image=dataclasses.replace(result.image, data=data)),
            truth,
            mask,
        )
        rises = better > value if about.better == "higher" else better < value
        nearer = about.ideal is not None and abs(better - about.ideal) < abs(value - about.ideal)
        assert nearer if about.ideal is not None else rises, "half the error is not scored better"
    elsewhere = dataclasses.replace(
        truth, geometry=Geometry(truth.geometry.shape, np.diag([2.0, 1, 1, 1]))
    )
    broken = truth.data.copy()
    broken[0, 10, 10, 10] = np.nan
    _refuses(GeometryError, "another grid", name, result, elsewhere, mask)
    _refuses(UnitsError, "other units", name, result, dataclasses.replace(truth, units="HU"), mask)
    _refuses(InputError, "an empty region", name, result, truth, np.zeros_like(mask))
    _refuses(InputError, "NaN", name, result, dataclasses.replace(truth, data=broken), mask)


def _refuses(
    error: type[VeridicalError], what: str, name: str, result: Result, truth: Image, mask: Array
) -> None:
    try:
        scored(name, result, truth, mask)
    except error:
        return
    raise AssertionError(f"{what} was not refused; expected {error.__name__}")


def _of_arrays(metric: Any) -> None:
    given = arguments(metric)
    before = {key: np.array(value).tobytes() for key, value in given.items()}
    value = metric(**given)
    assert isinstance(value, float), f"it returns {type(value).__name__}; expected float"
    assert np.isfinite(value), f"its value is {value}"
    assert value == metric(**given), "the same input has another score the second time"
    assert before == {key: np.array(v).tobytes() for key, v in given.items()}, (
        "the input was changed"
    )
    first = next(key for key in given if isinstance(given[key], np.ndarray))
    wrong = [{**given, first: given[first][..., :-1]}]
    if given[first].dtype != bool:
        broken = given[first].copy()
        broken.flat[3] = np.nan
        wrong.append({**given, first: broken})
    for bad in wrong:
        try:
            metric(**bad)
        except InputError:
            continue
        raise AssertionError(
            "an array of another shape, or with NaN, was not refused; expected an InputError"
        )


def scored(name: str, candidate: Result, reference: Image, mask: Array) -> float:
    """Return the score of a result against the truth in a region."""
    return score(name, candidate, reference, data_range=1.0, mask=mask).value


@cache
def compared() -> tuple[Result, Image, Array]:
    """Return a result with an interval, the truth, and the region that counts; wide enough for five
    scales of MS-SSIM.
    """
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 1, (1, 180, 176, 16)).astype(np.float32)
    grid = Geometry((180, 176, 16), np.eye(4))
    error = rng.normal(0, rng.uniform(0.01, 0.2, truth.shape), truth.shape).astype(np.float32)
    band = 1.5 * np.abs(error).mean() * rng.uniform(0.5, 1.5, truth.shape).astype(np.float32)
    estimate = truth + error
    interval = Interval(estimate - band, estimate + band, 0.9, 20, "given", "nothing")
    draws = estimate + rng.normal(0, 0.1, (5, *truth.shape)).astype(np.float32)
    mask = np.zeros(truth.shape[1:], bool)
    mask[2:-2, 2:-2, 2:-2] = True
    result = Result(Image(estimate, grid, "a.u.", ("T1w",)), "posterior mean", draws, interval)
    return result, Image(truth, grid, "a.u.", ("T1w",)), mask


def arguments(metric: Any) -> dict[str, Any]:
    """Return arguments by the names that metrics without images take; see `metrics/about.py`."""
    rng = np.random.default_rng(0)
    x, y, z = np.mgrid[:24, :20, :16]
    ball = (x - 12) ** 2 + (y - 10) ** 2 + (z - 8) ** 2 < 36
    truth = np.arange(40) % 2 == 0
    dose = 60 * np.exp(-((x - 12) ** 2 + (y - 10) ** 2 + (z - 8) ** 2) / 60)
    known = {
        "candidate_structure": np.roll(ball, 1, 0),
        "reference_structure": ball,
        "spacing": (1.0, 1.5, 2.0),
        "seed": 0,
        "candidate_features": rng.normal(0.2, 1, (40, 6)),
        "reference_features": rng.normal(0, 1, (50, 6)),
        "candidate_dose": 1.01 * dose,
        "reference_dose": dose,
        "predicted": truth + rng.normal(0, 0.7, 40),
        "truth": truth,
        "mask": ball,
    }
    wanted = inspect.signature(metric).parameters
    return {key: value for key, value in known.items() if key in wanted}
