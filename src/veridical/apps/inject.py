"""The command `inject`: lesions put into phantoms, an image or raw data, and detectors asked for
them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from veridical.apps import show
from veridical.errors import InputError

SETTINGS = Group("Settings", sort_key=1)


def __getattr__(name: str) -> Callable[..., None]:
    if name != "inject":
        raise AttributeError(name)
    from veridical.workflow.inject import Inject

    _inject.__kwdefaults__ = {**(_inject.__kwdefaults__ or {}), "settings": Inject()}
    _inject.__annotations__["settings"] = Annotated[
        Inject, Parameter(name="*", negative_iterable=(), group=SETTINGS)
    ]
    return _inject


def _inject(
    subject: Path | None = None,
    /,
    *,
    out: Annotated[Path, Parameter(name=("--out", "-o"))] = Path("inject.json"),
    axes: str | None = None,
    settings: Any,
    quiet: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Put lesions into images or raw data and ask detectors and reconstructions for them.

    Without a subject test phantoms are scanned. Prints a table of the area under the ROC curve at
    each contrast, with 95 % intervals over patients, and writes all numbers as JSON.

    Args:
        subject: an image, which is scanned by simulated coils, or raw Cartesian MR data.
        out: JSON file to write.
        axes: axes of a bare array in their order, for instance coil,y,x.
        quiet: draw no progress bar.
    """
    if out.exists():
        raise InputError(f"{out} exists. Give another name with --out.")
    from veridical.io.files import read

    given = None if subject is None else read(subject, axes=axes)
    with show.progress(quiet) as progress:
        found = settings(given, progress)
    print(found.table())
    print(f"\nwritten: {found.save(out)}")
