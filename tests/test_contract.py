"""What every task, model and metric that the registry knows must keep. What lands in its folder is tested with no edit here."""

from __future__ import annotations

import dataclasses
import inspect
import json
from typing import Any

import numpy as np
import pytest
import torch

from veridical import registry
from veridical.apps import run
from veridical.errors import GeometryError, InputError, UnitsError, VeridicalError
from veridical.metrics.scores import facts, score
from veridical.models.base import ImageModel, MeasurementModel
from veridical.models.problem import Problem, prepare, scaled
from veridical.models.problems import problems
from veridical.physics import masks
from veridical.physics.cartesian_mri import CartesianScan
from veridical.provenance import digest, inputs
from veridical.task import Task
from veridical.tasks.complete import Complete
from veridical.tasks.harmonize import Harmonize
from veridical.types import Geometry, Image, Interval, Measurement, Noise, Result

TASKS = list(registry.entries("task"))
MODELS = list(registry.entries("model"))
METRICS = [n for n in registry.entries("metric") if "reference" in inspect.signature(registry.get("metric", n)).parameters]
OTHERS = [name for name in registry.entries("metric") if name not in METRICS]
SIZE = (48, 40)


def disc(size: tuple[int, int]) -> np.ndarray:
    """A bright ellipse with a dark and a bright hole, `(y, x)` in [0, 1]."""
    y, x = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j]
    image = 0.6 * (x**2 + y**2 / 0.8 < 0.7) + 0.3 * ((x - 0.2) ** 2 + y**2 < 0.05) - 0.4 * ((x + 0.3) ** 2 + y**2 < 0.03)
    return np.asarray(image, np.float32)


def coils(size: tuple[int, int], count: int = 4) -> np.ndarray:
    """Smooth sensitivities with unit root sum of squares, `(coil, y, x)`."""
    y, x = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j]
    angles = 2 * np.pi * np.arange(count) / count
    maps = np.stack([np.exp(-((x - np.cos(a)) ** 2) - (y - np.sin(a)) ** 2 + 1j * (a + x * y)) for a in angles])
    return np.asarray(maps / np.sqrt((np.abs(maps) ** 2).sum(0)), np.complex64)


@pytest.fixture(scope="module")
def measurement() -> Measurement:
    """One slice, four coils, 2x, with a fully sampled centre."""
    rng = np.random.default_rng(0)
    images = coils(SIZE) * disc(SIZE)
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(images, (-2, -1)), norm="ortho"), (-2, -1))
    noise = rng.normal(0, 0.005, (*kspace.shape, 2)).astype(np.float64).view(np.complex128)[..., 0]
    mask = masks.uniform(SIZE, 2, acs=20)
    data = ((kspace + noise) * mask).astype(np.complex64)[None]
    return Measurement(data, CartesianScan(mask[None]), Noise("gaussian", 0.005), Geometry.index((SIZE[1], SIZE[0], 1)))


@pytest.fixture(scope="module")
def image() -> Image:
    """The same object as an image with noise."""
    noisy = disc(SIZE) + np.random.default_rng(0).normal(0, 0.05, SIZE).astype(np.float32)
    return Image(noisy.T[None, :, :, None], Geometry((SIZE[1], SIZE[0], 1), np.diag([2.0, 2.0, 3.0, 1.0])), "a.u.", ("T1w",))


@pytest.fixture(scope="module")
def scan(measurement: Measurement) -> Problem:
    """The measurement made ready for a model, with two sets of maps."""
    mask = torch.from_numpy(measurement.operator.mask[0].astype(np.float32))
    maps = torch.from_numpy(coils(SIZE))[None]
    return prepare(torch.from_numpy(measurement.data[0].copy()), mask, torch.cat([maps, torch.zeros_like(maps)]), 0.005)


@pytest.fixture(scope="module")
def measured(scan: Problem) -> list[Problem]:
    """One small problem of each kind that models may solve."""
    found = [scan]
    for name in ("parallel-beam", "fan-beam", "pet", "photoacoustic", "noncartesian-mri"):
        operator: Any = registry.get("operator", name).example(0)
        kind = torch.complex64 if operator.dtype.is_complex else torch.float32
        truth = torch.ones(operator.domain, dtype=kind)
        if name == "noncartesian-mri":
            data = operator.forward(truth)
            found.append(scaled(operator, data, operator.classical(data), 0.01))
            continue
        data = operator.expected(truth) if name == "pet" else operator.forward(truth)
        grid = Geometry.index((operator.domain[-1], operator.domain[-2], 1))
        noise = Noise("poisson") if name == "pet" else Noise("gaussian", 0.01)
        found += problems(Measurement(data.numpy()[None], operator, noise, grid))
    return found


@pytest.fixture(scope="module", params=[(name, by) for name in TASKS for by in ("", "wavelet")], ids=lambda p: " by ".join(p))
def done(request: pytest.FixtureRequest, measurement: Measurement, image: Image) -> tuple[Task, Measurement | Image, Result]:
    """A task by its own and by a classical model, the subject that it takes, and what came of it."""
    name, model = request.param
    cls: type[Task] = registry.get("task", name)
    if model and "model" not in {f.name for f in dataclasses.fields(cls)}:
        pytest.skip(f"{name} has no setting 'model'")
    task = cls.from_settings({"model": model} if model else {})
    if model and issubclass(cls, Complete | Harmonize):
        pytest.skip(f"{name} takes models of images; {model} solves scans")
    refused = []
    for subject in (measurement, image):
        try:
            return task, subject, task(subject, seed=1)
        except InputError as error:
            refused.append(str(error))
    pytest.fail(f"{name} takes neither a measurement nor an image: {refused}")


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_called_as_its_file_and_its_settings_survive_a_record(name: str) -> None:
    cls = registry.get("task", name)
    assert issubclass(cls, Task)
    assert cls.name == name
    stored = json.loads(json.dumps(dataclasses.asdict(cls())))
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()}
    assert cls.from_settings(settings) == cls()


@pytest.mark.parametrize("name", TASKS)
def test_no_setting_takes_the_name_of_a_flag_that_every_task_has(name: str) -> None:
    taken = {f.name for cls in (run.Reading, run.Running) for f in dataclasses.fields(cls)}
    assert not taken & {f.name for f in dataclasses.fields(registry.get("task", name))}


def evidence_map(derived: Result) -> np.ndarray | None:
    return None if derived.evidence is None else derived.evidence.map


def test_the_same_seed_gives_the_same_bytes(done: tuple[Task, Any, Result]) -> None:
    task, subject, first = done
    assert dict(task(subject, seed=1).steps[-1].outputs) == dict(first.steps[-1].outputs)


def test_a_task_leaves_its_subject_as_it_was(done: tuple[Task, Any, Result]) -> None:
    _, subject, derived = done
    assert dict(derived.steps[-1].inputs) == inputs(subject)


def test_the_grid_stays_in_its_frame_and_the_numbers_are_finite(done: tuple[Task, Any, Result]) -> None:
    _, subject, derived = done
    assert derived.image.geometry.frame == subject.geometry.frame
    assert np.isfinite(derived.image.data).all()
    if isinstance(subject, Image) and not isinstance(done[0], Complete):
        assert derived.image.units == subject.units
        assert derived.image.channels == subject.channels


def test_a_task_that_makes_channels_makes_others_than_those_measured(done: tuple[Task, Any, Result]) -> None:
    task, subject, derived = done
    if not isinstance(task, Complete):
        pytest.skip(f"{task.name} keeps the channels")
    assert not set(derived.image.channels) & set(subject.channels)


def test_each_companion_is_there_or_says_why_not(done: tuple[Task, Any, Result]) -> None:
    _, _, derived = done
    computed = {"draws": derived.draws, "interval": derived.interval, "evidence": evidence_map(derived)}
    for companion, value in computed.items():
        there = value is not None
        assert there != (companion in derived.absent), f"{companion}: {derived.absent.get(companion)}"
        assert there or len(derived.absent[companion]) > 10
    assert {finding.check for finding in derived.findings} >= {"consistency", "scope"}
    assert all(len(finding.reason) > 10 for finding in derived.findings)


def test_companions_have_the_shape_of_the_estimate_and_keep_their_promises(done: tuple[Task, Any, Result]) -> None:
    _, _, derived = done
    shape = derived.image.data.shape
    if derived.draws is not None:
        assert derived.draws.shape[1:] == shape
    if derived.interval is not None:
        assert derived.interval.lower.shape == derived.interval.upper.shape == shape
        assert (derived.interval.lower <= derived.interval.upper).all()
        assert 0 < derived.interval.level < 1
    evidence = evidence_map(derived)
    if evidence is not None:
        assert evidence.shape == shape
        assert evidence.min() >= 0
        assert evidence.max() <= 1


def damaged(subject: Measurement | Image) -> list[Measurement | Image]:
    """The subject with NaN in it, and for a measurement with one axis too few and with another matrix."""
    bad = subject.data.copy()
    bad.flat[bad.size // 2] = np.nan
    found = [dataclasses.replace(subject, data=bad)]
    if isinstance(subject, Measurement):
        found += [dataclasses.replace(subject, data=subject.data[0]), dataclasses.replace(subject, data=subject.data[..., :-2])]
    return found


def test_a_damaged_subject_is_refused(done: tuple[Task, Any, Result]) -> None:
    task, subject, _ = done
    for bad in damaged(subject):
        with pytest.raises(VeridicalError):
            task(bad)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_called_as_its_file(name: str) -> None:
    cls = registry.get("model", name)
    assert inspect.isclass(cls)
    assert issubclass(cls, MeasurementModel | ImageModel)
    assert cls.name == name


SOLVERS = [name for name in MODELS if issubclass(registry.get("model", name), MeasurementModel)]


@pytest.mark.parametrize("name", SOLVERS)
def test_a_model_gives_finite_draws_the_same_for_the_same_seed_and_leaves_what_was_measured(
    name: str, measured: list[Problem]
) -> None:
    model: MeasurementModel = registry.get("model", name)()
    accepted = [problem for problem in measured if model.accepts(problem.operator)]
    assert accepted, f"{name} accepts no problem at all"
    for problem in accepted:
        before = [digest(tensor.numpy()) for tensor in (problem.data, problem.start)]
        first, again = (model.solve(problem, 2, 3) for _ in range(2))
        assert [digest(tensor.numpy()) for tensor in (problem.data, problem.start)] == before
        assert first.shape[0] == (2 if model.stochastic else 1)
        assert first.shape[1:] == problem.operator.domain
        assert torch.isfinite(first.abs()).all()
        assert torch.equal(first, again)
        assert len(model.solve(problem, 1, 3)) == 1
        if model.stochastic:
            assert not torch.equal(first[0], first[1])
            assert not torch.equal(first, model.solve(problem, 2, 4))


@pytest.fixture(scope="module")
def compared() -> tuple[Result, Image, np.ndarray]:
    """A result with an interval, the truth, and the region that counts; wide enough for five scales of MS-SSIM."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 1, (1, 180, 176, 16)).astype(np.float32)
    grid = Geometry(truth.shape[1:], np.eye(4))
    error = rng.normal(0, rng.uniform(0.01, 0.2, truth.shape), truth.shape).astype(np.float32)
    band = 1.5 * np.abs(error).mean() * rng.uniform(0.5, 1.5, truth.shape).astype(np.float32)
    estimate = truth + error
    interval = Interval(estimate - band, estimate + band, 0.9, 20, "given", "nothing")
    draws = estimate + rng.normal(0, 0.1, (5, *truth.shape)).astype(np.float32)
    mask = np.zeros(truth.shape[1:], bool)
    mask[2:-2, 2:-2, 2:-2] = True
    result = Result(Image(estimate, grid, "a.u.", ("T1w",)), "posterior mean", draws, interval)
    return result, Image(truth, grid, "a.u.", ("T1w",)), mask


def needed(metric: Any) -> dict[str, Any]:
    """Arguments by the names that metrics without images take; see `metrics/about.py`."""
    rng = np.random.default_rng(0)
    x, y, z = np.mgrid[:24, :20, :16]
    ball = (x - 12) ** 2 + (y - 10) ** 2 + (z - 8) ** 2 < 36
    truth = np.arange(40) % 2 == 0
    dose = 60 * np.exp(-((x - 12) ** 2 + (y - 10) ** 2 + (z - 8) ** 2) / 60)
    known = {
        "candidate_structure": np.roll(ball, 1, 0), "reference_structure": ball, "spacing": (1.0, 1.5, 2.0), "seed": 0,
        "candidate_features": rng.normal(0.2, 1, (40, 6)), "reference_features": rng.normal(0, 1, (50, 6)),
        "candidate_dose": 1.01 * dose, "reference_dose": dose, "predicted": truth + rng.normal(0, 0.7, 40), "truth": truth,
        "mask": ball,
    }  # fmt: skip
    wanted = inspect.signature(metric).parameters
    return {key: value for key, value in known.items() if key in wanted}


@pytest.mark.parametrize("name", OTHERS)
def test_a_metric_without_images_says_what_it_is_gives_one_number_and_leaves_its_input(name: str) -> None:
    about, metric = facts(name), registry.get("metric", name)
    assert about.label
    assert about.units
    given = needed(metric)
    before = {key: np.array(value).tobytes() for key, value in given.items()}
    value = metric(**given)
    assert isinstance(value, float)
    assert np.isfinite(value)
    assert value == metric(**given)
    assert before == {key: np.array(value).tobytes() for key, value in given.items()}


@pytest.mark.parametrize("name", OTHERS)
def test_a_metric_without_images_refuses_other_shapes_and_nan(name: str) -> None:
    metric = registry.get("metric", name)
    given = needed(metric)
    array = next(key for key in given if isinstance(given[key], np.ndarray))
    with pytest.raises(InputError):
        metric(**{**given, array: given[array][..., :-1]})
    if given[array].dtype != bool:
        broken = given[array].copy()
        broken.flat[3] = np.nan
        with pytest.raises(InputError):
            metric(**{**given, array: broken})


def scored(name: str, candidate: Result, reference: Image, mask: np.ndarray) -> float:
    return score(name, candidate, reference, data_range=1.0, mask=mask).value


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_says_what_it_is_and_gives_one_finite_number(name: str, compared: tuple[Result, Image, np.ndarray]) -> None:
    about = facts(name)
    assert about.label
    assert about.units
    before = digest(compared[0].image.data), digest(compared[1].data)
    value = scored(name, *compared)
    assert np.isfinite(value)
    assert value == scored(name, *compared)
    assert before == (digest(compared[0].image.data), digest(compared[1].data))


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_that_sees_a_better_result_says_so(name: str, compared: tuple[Result, Image, np.ndarray]) -> None:
    result, truth, mask = compared
    if facts(name).level != "pixel":
        pytest.skip(f"{name} does not judge the error itself")
    data = truth.data + 0.5 * (result.image.data - truth.data)
    better = scored(name, dataclasses.replace(result, image=dataclasses.replace(result.image, data=data)), truth, mask)
    worse, about = scored(name, result, truth, mask), facts(name)
    if about.ideal is not None:
        assert abs(better - about.ideal) < abs(worse - about.ideal)
    else:
        assert better > worse if about.better == "higher" else better < worse


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_refuses_another_grid_other_units_nan_and_an_empty_region(
    name: str, compared: tuple[Result, Image, np.ndarray]
) -> None:
    result, truth, mask = compared
    elsewhere = dataclasses.replace(truth, geometry=Geometry(truth.geometry.shape, np.diag([2.0, 1, 1, 1])))
    with pytest.raises(GeometryError):
        scored(name, result, elsewhere, mask)
    with pytest.raises(UnitsError):
        scored(name, result, dataclasses.replace(truth, units="HU"), mask)
    with pytest.raises(InputError):
        scored(name, result, truth, np.zeros_like(mask))
    broken = truth.data.copy()
    broken[0, 10, 10, 10] = np.nan
    with pytest.raises(InputError):
        scored(name, result, dataclasses.replace(truth, data=broken), mask)
