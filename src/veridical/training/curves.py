"""The curves of a training as a page that a browser keeps fresh: the loss, and each validation
score against its start.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from veridical.io.guards import write_text
from veridical.training.checkpoints import log_lines

FRESH = 20
"""Seconds after which the browser loads the page again."""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">{refresh}<title>{title}</title>
<style>body {{ font: 15px system-ui, sans-serif; margin: 2em auto; max-width: 62em }}
svg {{ max-width: 100%; height: auto }}</style>
</head><body><h1>{title}</h1><p>{text}</p>
{figure}
</body></html>
"""


def draw(folder: Path, name: str, steps: int) -> Path:
    """Draw the log of a run into `curves.html`; while it lasts, the page asks the browser to load
    it again.

    Args:
        folder: of the run.
        name: of the recipe.
        steps: that the recipe asks for.

    Returns:
        The path of the page.
    """
    lines = log_lines(folder)
    last = lines[-1]
    left = last["seconds"] / max(1, last["step"]) * (steps - last["step"])
    text = f"Step {last['step']} of {steps}, {last['seconds'] / 60:.1f} minutes of training"
    text += f", about {left / 60:.1f} to go." if 0 < last["step"] < steps else "."
    refresh = f'<meta http-equiv="refresh" content="{FRESH}">' if last["step"] < steps else ""
    path = folder / "curves.html"
    write_text(
        path,
        PAGE.format(title=f"Training {name}", text=text, refresh=refresh, figure=_figure(lines)),
    )
    return path


def scores(line: Mapping[str, Any]) -> dict[str, str]:
    """Return the validation scores of a log line: name of the net's -> name of what the data alone
    give.
    """
    return {key: key.replace("net", "start") for key in line if "net" in key.split("_")}


def _figure(lines: Sequence[Mapping[str, Any]]) -> str:
    import matplotlib
    from matplotlib.figure import Figure

    names = scores(lines[-1])
    figure = Figure(figsize=(4.2 * (1 + len(names)), 3.4), layout="constrained")
    axes = figure.subplots(1, 1 + len(names), squeeze=False)[0]
    loss = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    axes[0].plot(*zip(*loss, strict=True) if loss else ([], []), marker=".")
    axes[0].set(title="loss", xlabel="step")
    for axis, (name, start) in zip(axes[1:], names.items(), strict=True):
        steps = [line["step"] for line in lines]
        axis.plot(steps, [line.get(name) for line in lines], marker=".", label="net")
        axis.plot(
            steps, [line.get(start) for line in lines], linestyle="--", color="0.5", label="start"
        )
        axis.set(title=name.replace("_", " ").replace(" db", " (dB)"), xlabel="step")
        axis.legend()
    drawn = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "veridical", "svg.fonttype": "none"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    text = drawn.getvalue()
    return text[text.index("<svg") :]
