"""Going through the slices of an image or a result in a notebook, where ipywidgets is installed."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING, Any

from veridical.errors import MissingExtra

if TYPE_CHECKING:
    from veridical.report.view import PlanesRow
    from veridical.types import Image, Result, Study


def possible() -> bool:
    """Say whether this runs in a notebook that has ipywidgets."""
    shell = sys.modules.get("IPython")
    running = shell.get_ipython() if shell is not None else None
    return hasattr(running, "kernel") and importlib.util.find_spec("ipywidgets") is not None


def display(shown: Image | Study | Result) -> None:
    """Show the slider in the notebook that runs this."""
    importlib.import_module("IPython.display").display(slider(shown))


def slider(shown: Image | Study | Result) -> Any:
    """Return a widget with a picture, what it shows, across which axis and which slice.

    Args:
        shown: an image; a study, of which the last visit is shown; a result, with its interval and
            evidence.

    Raises:
        MissingExtra: ipywidgets is not installed.
    """
    try:
        import ipywidgets
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "A slider needs ipywidgets. Install it: pip install 'veridical[notebook]'"
        ) from error
    from veridical.report import view

    every = {row.title: row for row in view.rows(shown)}
    first = next(iter(every.values()))
    what = ipywidgets.Dropdown(options=list(every), description="show")
    axes = [(one.said.partition(", ")[2], place) for place, one in enumerate(first.views)]
    across = ipywidgets.ToggleButtons(options=axes, description="across")
    place = ipywidgets.IntSlider(first.views[0].index, 0, 1, description="slice")
    picture = ipywidgets.HTML()

    def draw(_: Any = None) -> None:
        row, chosen = every[what.value], min(across.value, len(every[what.value].views) - 1)
        place.max = row.views[chosen].geometry.shape[row.views[chosen].along] - 1
        picture.value = _picture(row, chosen, min(place.value, place.max))

    def turned(_: Any) -> None:
        row = every[what.value]
        place.value = row.views[min(across.value, len(row.views) - 1)].index
        draw()

    place.max = first.views[0].geometry.shape[first.views[0].along] - 1
    for widget, act in ((what, draw), (across, turned), (place, draw)):
        widget.observe(act, "value")
    draw()
    return ipywidgets.VBox([what, across, place, picture])


def _picture(row: PlanesRow, chosen: int, index: int) -> str:
    """Return one slice as HTML."""
    view = replace(row.views[chosen], index=index)
    drawn, said = row.picture(view), escape(f"{row.title}, {view.said}")
    return f'<img src="{drawn.uri}" width="{drawn.width}" alt="{said}"><br><small>{said}</small>'
