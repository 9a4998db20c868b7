"""Checks that every task, model, metric, operator, audit, family, backbone, condition and
degradation must pass.

Veridical's own parts run through them in its tests; run yours through the same ones:

    from veridical.testing import check_operator
    check_operator(MyOperator)

Each check raises an AssertionError that says which promise was broken. What is checked follows from
the tags that a part declares: whether it is stochastic, what it takes, which operators it accepts.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "check_task": "tasks",
    "check_model": "models",
    "check_metric": "metrics",
    "check_operator": "operators",
    "check_audit": "audits",
    "check_family": "generators",
    "check_backbone": "generators",
    "check_condition": "generators",
    "check_degradation": "degradations",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(
            f"module 'veridical.testing' has no attribute {name!r}; it has: {', '.join(__all__)}"
        )
    return getattr(importlib.import_module(f"veridical.testing.{_HOME[name]}"), name)
