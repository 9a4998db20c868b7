"""What every model must keep."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from veridical.conditioning.request import Request
from veridical.models.base import (
    DoseModel,
    EmbeddingModel,
    ImageModel,
    LabelModel,
    MeasurementModel,
    Model,
)
from veridical.models.dose_anatomy import PlanAnatomy
from veridical.models.problem import Problem
from veridical.phantoms.neck import neck
from veridical.provenance import digest
from veridical.testing.subjects import disc, measured
from veridical.types import Geometry, Image


def check_model(model: Model) -> None:
    """Check a model: the same seed gives the same finite draws, different ones differ where it is
    stochastic, one where it is not, probabilities sum to 1, and what was measured stays as it was.

    Args:
        model: an instance with its settings; a `MeasurementModel`, an `ImageModel`, a
            `LabelModel`, a `DoseModel` or an `EmbeddingModel`.

    Raises:
        AssertionError: a promise is broken.
    """
    assert model.name, "a model has a name"
    assert len(model.weights_hash) == 64 or model.weights_hash == "none", (
        "weights_hash is a SHA-256 or `none`"
    )
    if isinstance(model, MeasurementModel):
        _solver(model, measured())
    elif isinstance(model, ImageModel):
        _maker(model)
    elif isinstance(model, LabelModel):
        _labeller(model)
    elif isinstance(model, DoseModel):
        _planner(model)
    elif isinstance(model, EmbeddingModel):
        _embedder(model)
    else:
        raise AssertionError(
            "a model solves measurements, makes images, labels them, predicts doses or compares: "
            "derive from MeasurementModel, ImageModel, LabelModel, DoseModel or EmbeddingModel"
        )


def _embedder(model: EmbeddingModel) -> None:
    rng = np.random.default_rng(0)
    grid = Geometry((40, 48, 40), np.diag([4.0, 4.0, 4.0, 1.0]))
    heads = []
    for _ in range(2):
        data = np.zeros((1, 40, 48, 40), np.float32)
        data[:, 5:35, 6:42, 4:36] = 1 + 0.3 * rng.random((1, 30, 36, 32), np.float32)
        heads.append({"T1w": Image(data, grid, "a.u.", ("T1w",))})
    first, again, other = (model.of_images(head) for head in (heads[0], heads[0], heads[1]))
    assert first.ndim == 1, "a visit has one vector"
    assert abs(float(np.linalg.norm(first)) - 1) < 1e-4, "vectors have unit length"
    assert np.array_equal(first, again), "the same visit has another vector"
    assert not np.array_equal(first, other), "two visits have one vector"


def _solver(model: MeasurementModel, every: Sequence[Problem]) -> None:
    accepted = [problem for problem in every if model.accepts(problem.operator)]
    assert accepted, f"{model.name} accepts no operator at all"
    for problem in accepted:
        before = [digest(tensor.numpy()) for tensor in (problem.data, problem.start)]
        first, again = (model.solve(problem, 2, 3) for _ in range(2))
        assert [digest(t.numpy()) for t in (problem.data, problem.start)] == before, (
            "what was measured was changed"
        )
        assert len(first) == (2 if model.stochastic else 1), f"{len(first)} images for 2 draws"
        assert first.shape[1:] == problem.operator.domain, "images are not of the operator's domain"
        assert torch.isfinite(first.abs()).all(), "images are not finite"
        assert torch.equal(first, again), "the same seed gave other numbers"
        assert len(model.solve(problem, 1, 3)) == 1, "one draw was asked for"
        if model.stochastic:
            assert not torch.equal(first[0], first[1]), "two draws are the same"
            assert not torch.equal(first, model.solve(problem, 2, 4)), (
                "another seed gave the same draws"
            )


def _maker(model: ImageModel) -> None:
    known = model.contrasts
    support = (disc() > 0).astype(np.float32)
    shown = {name: np.stack([disc()] * 3) for name in known[1:2]}
    requests = [
        Request(known[0], 0.4 * support, 0.2, support, shown),
        Request(known[0], 0.4 * support, 0.2, support),
    ]
    noise = np.random.default_rng(0).standard_normal((2, 3, *support.shape), np.float32)
    first, again = (model.make(requests, 3, noise) for _ in range(2))
    assert first.shape == (2, 3 if model.stochastic else 1, *support.shape), (
        f"3 draws of 2 slices have shape {first.shape}"
    )
    assert np.isfinite(first).all(), "images are not finite"
    assert np.array_equal(first, again), "the same noise gave other numbers"
    if model.stochastic:
        assert not np.array_equal(first[:, 0], first[:, 1]), "two draws are the same"


def _labeller(model: LabelModel) -> None:
    assert len(set(model.labels)) == len(model.labels) > 1, "two labels have one name"
    assert model.spacing > 0, "its grid has no spacing"
    volume = np.repeat(disc().T[..., None], 12, 2)
    before = volume.copy()
    first, again = (model.probabilities(volume) for _ in range(2))
    assert np.array_equal(volume, before), "what was measured was changed"
    assert first.shape == (len(model.labels), *volume.shape), (
        f"{len(model.labels)} labels of a volume {volume.shape} have shape {first.shape}"
    )
    assert np.isfinite(first).all(), "probabilities are not finite"
    assert first.min() >= 0, "a probability lies below 0"
    assert np.allclose(first.sum(0), 1, atol=1e-4), "probabilities do not sum to 1"
    assert np.array_equal(first, again), "the same volume gave other numbers"


def _planner(model: DoseModel) -> None:
    anatomy = PlanAnatomy.of(neck(spacing=(8.0, 8.0, 6.0)))
    before = anatomy.ct.copy()
    (dose, spread), again = (model.predict(anatomy) for _ in range(2))
    assert np.array_equal(anatomy.ct, before), "the CT was changed"
    assert dose.shape == spread.shape == before.shape, "dose or spread lie on another grid"
    assert np.isfinite(dose).all(), "the dose is not finite"
    assert dose.min() >= 0, "a dose lies below 0"
    assert (spread[anatomy.inside] > 0).all(), "somewhere the dose is called certain"
    assert not dose[~anatomy.inside].any(), "there is dose where none may be"
    assert np.array_equal(dose, again[0]), "the same patient gave other numbers"
