"""Provenance: hashes of what went in and came out, and the record of each step."""

from __future__ import annotations

import dataclasses
import hashlib
import platform
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from veridical.types import Array, Measurement, Result, Step, Study

if TYPE_CHECKING:
    from veridical.task import Task

PACKAGES = ("veridical", "torch", "numpy", "scipy", "onnx", "onnxruntime", "openvino")
"""The last three decide what runs networks on a CPU: see `models/runtime.py`."""


def digest(array: Array) -> str:
    """Return the SHA-256 of an array's type, shape and bytes."""
    whole = np.ascontiguousarray(array)
    found = hashlib.sha256(f"{whole.dtype.str}{whole.shape}".encode())
    found.update(whole.reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def versions() -> dict[str, str]:
    """Return the versions that a result may depend on, the machine kind and the thread count."""
    import torch

    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": str(torch.get_num_threads()),
        **{package: _installed(package) for package in PACKAGES},
    }


@cache
def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def inputs(study: Study) -> dict[str, str]:
    """Return what identifies a study: the hash of every image and measurement, how an image was
    resampled, the operator of a measurement, and the hash of a report.
    """
    found: dict[str, str] = {}
    for day in study.days:
        for name, subject in study.visits[day].items():
            place = name if len(study.visits) == 1 else f"day {day:g}, {name}"
            found[place] = digest(subject.data)
            found |= {
                f"{place}, resampled": str(how)
                for of, how in subject.header.get("resampled", {}).items()
                if of == name
            }
            if isinstance(subject, Measurement):
                found |= {
                    f"{place}, operator {key}": str(value)
                    for key, value in subject.operator.describe().items()
                }
    if study.report:
        found["report"] = hashlib.sha256(study.report.encode()).hexdigest()
    return found


def outputs(derived: Result) -> dict[str, str]:
    """Return the hash of every array of a result by role; of further results below their names."""
    arrays: dict[str, Array | None] = {"estimate": derived.image.data, "draws": derived.draws}
    if derived.interval is not None:
        arrays |= {"lower": derived.interval.lower, "upper": derived.interval.upper}
    if derived.evidence is not None:
        arrays |= {
            "evidence": derived.evidence.map,
            "measured": derived.evidence.measured,
            "unmeasured": derived.evidence.unmeasured,
        }
    found = {role: digest(array) for role, array in arrays.items() if array is not None}
    for name, other in derived.also.items():
        found |= {f"{name}/{role}": value for role, value in outputs(other).items()}
    return found


def step(task: Task, study: Study, result: Result, seed: int) -> Step:
    """Return the record of one run of a task."""
    model, weights = task.model_and_weights()
    settings: dict[str, Any] = dataclasses.asdict(task)
    return Step(
        task.name,
        settings,
        inputs(study),
        model,
        weights,
        versions(),
        seed,
        outputs(result),
        dict(study.source),
    )
