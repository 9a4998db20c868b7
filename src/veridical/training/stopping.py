"""When a training has learned what its data can teach: the best line of its log, and how long ago
that was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from veridical.errors import SettingError

BEST = "best.safetensors"
"""The averaged weights of the best line of the log, in the folder of a run that may stop early."""


def quality(line: Mapping[str, Any]) -> float:
    """Return the mean of the network's scores in a line of the log, in dB; higher is better.

    Raises:
        SettingError: it has none, so that nobody can say when to stop.
    """
    scores = [float(line[name]) for name in line if name.endswith("net_db")]
    if not scores:
        raise SettingError(
            "The recipe's patience needs held-out patients with a score in dB, and there is none. "
            "Hold patients out (held_out or validate_on), or set patience = 0."
        )
    return float(np.mean(scores))


def best(lines: Sequence[Mapping[str, Any]]) -> int:
    """Return the place of the best line; the first of equal ones."""
    return int(np.argmax([quality(line) for line in lines]))


def stale(lines: Sequence[Mapping[str, Any]]) -> int:
    """Return how many lines were written since the best one."""
    return len(lines) - 1 - best(lines)
