"""Veridical: generative medical imaging that says what was measured and what was imagined.

Importing this package imports no numerical library; each name loads its part when first used.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Geometry": "types",
    "Image": "types",
    "Measurement": "types",
    "Noise": "types",
    "Study": "types",
    "Result": "types",
    "Finding": "types",
    "Score": "types",
    "Step": "types",
    "Terms": "terms",
    "VeridicalError": "errors",
    "read": "io.files",
    "read_study": "io.dicom_study",
    "read_together": "io.assemble",
    "write": "io.files",
    "Reconstruct": "tasks.reconstruct",
    "Enhance": "tasks.enhance",
    "Complete": "tasks.complete",
    "Translate": "tasks.translate",
    "Harmonize": "tasks.harmonize",
    "Segment": "tasks.segment",
    "Synthesize": "tasks.synthesize",
    "style": "tasks.harmonize",
    "Evaluate": "workflow.evaluate",
    "evaluate": "workflow.evaluate",
    "compare": "workflow.compare",
    "rerun": "workflow.rerun",
    "train": "training.train",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(
            f"module 'veridical' has no attribute {name!r}; it has: {', '.join(__all__)}"
        )
    return getattr(importlib.import_module(f"veridical.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
