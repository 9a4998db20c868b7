"""From results to scores: one function for every metric, since a metric's parameters say what it
needs.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any

from veridical import registry
from veridical.errors import GeometryError, InputError, UnitsError
from veridical.metrics.about import Facts
from veridical.types import Array, Image, Result, Score


def facts(name: str) -> Facts:
    """Return what the metric called `name` says of itself.

    Raises:
        SettingError: no metric is called so.
        InputError: a third party's metric has no `ABOUT` in its file.
    """
    module = sys.modules[registry.get("metric", name).__module__]
    about = getattr(module, "ABOUT", None)
    if not isinstance(about, Facts):
        raise InputError(
            f"The metric {name!r} does not say its units; its file {module.__name__} needs ABOUT = "
            "Facts(...)."
        )
    return about


def score(
    name: str,
    candidate: Result | Image,
    reference: Image,
    *,
    data_range: float | None = None,
    mask: Array | None = None,
    region: str = "image",
    case: str = "",
    **settings: Any,
) -> Score:
    """Score a result against the truth.

    Args: name: of the metric, as the registry knows it: `psnr`, `ssim`, `nmse`, `coverage`,
        `rank-correlation`. candidate: what is judged; a `Result` where the metric needs an
        interval. reference: the truth, on the same grid, in the same units, with the same channels.
        data_range: peak to peak of the signal in these units; needed by `psnr` and `ssim`. mask:
        bool, `(x, y, z)` or with channels; None counts all voxels. region: the mask's name. case:
        the patient's name. settings: further arguments of the metric, e.g. `window="gaussian"`.

    Raises: GeometryError: the grids differ. UnitsError: the units differ, or the metric needs a
        data range and none was given. InputError: the channels differ, the metric needs an interval
        and there is none, or as the metric says. SettingError: no metric is called so.
    """
    about, metric = facts(name), registry.get("metric", name)
    image = candidate.image if isinstance(candidate, Result) else candidate
    if not image.geometry.matches(reference.geometry):
        raise GeometryError(
            f"The candidate is {image.geometry}, the reference is {reference.geometry}, at another "
            "place or size. Resample one."
        )
    if image.units != reference.units:
        raise UnitsError(
            f"The candidate is in {image.units}, the reference in {reference.units}; convert one "
            "first."
        )
    if image.channels != reference.channels:
        raise InputError(
            f"The candidate's channels are {image.channels}, the reference's {reference.channels}; "
            "pick the same."
        )
    wanted = inspect.signature(metric).parameters
    given: dict[str, Any] = {"candidate": image.data, "reference": reference.data, "mask": mask}
    if "data_range" in wanted:
        if data_range is None:
            raise UnitsError(
                f"{name} needs a data range: data_range=..., in {image.units}, one for all cases "
                "compared."
            )
        given["data_range"] = data_range
    given["spacing"] = (*[1.0] * (image.data.ndim - 3), *image.geometry.spacing)
    for companion in ("interval", "draws"):
        if companion in wanted:
            given[companion] = _companion(name, companion, candidate)
    value = metric(**{key: item for key, item in given.items() if key in wanted}, **settings)
    return Score(name, about.level, value, about.units, about.better, region=region, case=case)


def _companion(name: str, companion: str, candidate: Result | Image) -> Any:
    found = getattr(candidate, companion, None)
    if found is not None:
        return found
    why = (
        candidate.absent.get(companion, "none was computed")
        if isinstance(candidate, Result)
        else "an image has none"
    )
    raise InputError(
        f"{name} needs {companion}, and there is none: {why}. Score a result that has it."
    )
