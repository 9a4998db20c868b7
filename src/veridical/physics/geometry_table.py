"""The values of a geometry file, checked: each operator's `from_geometry` reads its own keys
through a `Table`.

Errors name the operator, the key, what was given and what was expected, so that a file can be
corrected without the source.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from veridical.errors import SettingError, nearest

ANGLES = ("angles", "start", "arc")
"""Keys that `Table.angles` reads, besides the one that holds their number."""


@dataclass(frozen=True)
class GeometryTable:
    """Keys and values of one operator.

    Args:
        operator: its name, for messages.
        values: plain values of a TOML table; arrays where the reader has loaded a `.npy` file.
    """

    operator: str
    values: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        operator: str,
        values: Mapping[str, Any],
        required: Iterable[str],
        optional: Iterable[str],
    ) -> GeometryTable:
        """Return the table, all of whose keys are known and none of whose required keys is missing.

        Raises:
            SettingError: a key is unknown or missing.
        """
        needed = tuple(required)
        known = {*needed, *optional}
        for key in values:
            if key not in known:
                raise SettingError(
                    f"{operator}: a geometry file has no key {key!r}. {nearest(key, known)}"
                )
        missing = [key for key in needed if key not in values]
        if missing:
            raise SettingError(
                f"{operator}: the geometry file does not give {', '.join(missing)}; expected "
                f"{', '.join(needed)}. "
                "Add what is missing."
            )
        return cls(operator, values)

    def number(
        self,
        key: str,
        default: float | None = None,
        *,
        above: float = -math.inf,
        least: float = -math.inf,
    ) -> float:
        """Return one finite number above `above` and not below `least`; `default` when the key is
        not given.
        """
        value = self.values.get(key, default)
        limit = (
            f" above {above:g}"
            if above > -math.inf
            else f" of at least {least:g}"
            if least > -math.inf
            else ""
        )
        if not _is_number(value) or not float(value) > above or not float(value) >= least:
            raise self.wrong(key, value, f"a number{limit}")
        return float(value)

    def whole(self, key: str, default: int | None = None) -> int | None:
        """Return one whole number of at least 1; `default` when the key is not given."""
        value = self.values.get(key, default)
        if value is None:
            return None
        if not _is_number(value) or value != int(value) or value < 1:
            raise self.wrong(key, value, "a whole number of at least 1")
        return int(value)

    def count(self, key: str) -> int:
        """Return one whole number of at least 1 that has no default."""
        value = self.whole(key)
        if value is None:
            raise self.wrong(key, value, "a whole number of at least 1")
        return value

    def pair(self, key: str) -> tuple[float, float]:
        """Return two numbers above 0, in the order of the image's axes `(y, x)`."""
        value = self.values.get(key)
        parts = list(value) if isinstance(value, list | tuple | np.ndarray) else []
        if len(parts) != 2 or not all(_is_number(part) and part > 0 for part in parts):
            raise self.wrong(key, value, "two numbers above 0, [y, x]")
        return float(parts[0]), float(parts[1])

    def grid(self, key: str = "shape") -> tuple[int, int]:
        """Return two whole numbers of at least 1, `(rows, columns)`."""
        rows, columns = self.pair(key)
        if rows != int(rows) or columns != int(columns):
            raise self.wrong(key, self.values[key], "two whole numbers, [rows, columns]")
        return int(rows), int(columns)

    def tensor(self, key: str, shape: tuple[int, ...]) -> Tensor | None:
        """Return the numbers of a key as float32 of `shape`; one number fills it; None when the key
        is not given.
        """
        value = self.values.get(key)
        if value is None:
            return None
        what = (
            f"one number or an array {shape}: a list, or the name of a .npy file beside the "
            "geometry file"
        )
        if isinstance(value, str):
            raise self.wrong(key, value, what)
        array = _real(value)
        if array is None or array.shape not in ((), shape):
            raise self.wrong(key, value if array is None else f"an array {array.shape}", what)
        return torch.from_numpy(np.broadcast_to(array, shape).astype(np.float32))

    def angles(self, arc: float | None, count: str = "views") -> Tensor:
        """Return `(angle,)` in radians: those listed, or as many as `count` says at `start + i *
        arc / count`.

        Args:
            arc: degrees that the views cover when the file does not say it; None: it must say it.
            count: key that holds the number of angles.

        Raises: SettingError: neither or both of `angles` and `count` are given, or they are not
            numbers.
        """
        listed, number = self.values.get("angles"), self.whole(count)
        if (listed is None) == (number is None):
            raise SettingError(
                f"{self.operator}: the geometry file gives "
                f"{'neither' if listed is None else 'both'} of angles and {count}; "
                f"expected angles = [...] in degrees, or {count} = N, if need be with start and "
                "arc in degrees."
            )
        if number is not None:
            start, covered = self.number("start", 0.0), self.number("arc", arc)
            return torch.deg2rad(
                start + covered / number * torch.arange(number, dtype=torch.float64)
            ).float()
        array = None if isinstance(listed, str) else _real(listed)
        if (
            array is None
            or array.ndim != 1
            or not len(array)
            or {"start", "arc"} & set(self.values)
        ):
            raise self.wrong(
                "angles", listed, f"a list of degrees, without start and arc, which go with {count}"
            )
        return torch.deg2rad(torch.from_numpy(array)).float()

    def wrong(self, key: str, value: Any, expected: str) -> SettingError:
        """Return the error for a value that cannot be used."""
        given = "nothing" if value is None else str(value)[:60]
        return SettingError(
            f"{self.operator}: {key} = {given}; expected {expected}. Correct it in the geometry "
            "file."
        )


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, int | float | np.number)
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


def _real(value: Any) -> Any:
    """Return a value as a float64 array, or None when it is not real, finite numbers."""
    try:
        array = np.asarray(value)
    except ValueError:
        return None
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        return None
    return array.astype(np.float64)
