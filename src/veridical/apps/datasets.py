"""Find a public data set in the catalog, or check one on disk."""

from __future__ import annotations

import json as codec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Group, Parameter

from veridical import registry
from veridical.apps import show as printed
from veridical.errors import InputError

if TYPE_CHECKING:
    from veridical.layouts.catalog import Dataset

Switch = Annotated[bool, Parameter(negative=())]
app = App(
    name="datasets",
    help="Find a public data set in the catalog, or check one on disk. Nothing is downloaded.",
    group_commands=Group("Data sets"),
)
WIDEST = 34
"""Characters of a name in a list; a longer one pushes its row to the right."""


@app.command(name="list")
def list_(
    *,
    modality: str | None = None,
    anatomy: str | None = None,
    task: str | None = None,
    access: str | None = None,
    licence: str | None = None,
    layout: str | None = None,
    json: Switch = False,
) -> None:
    """List the public data sets of the catalog. An absent word is unknown, not "none".

    Args: modality: MR, CT, PET, k-space, ... anatomy: brain, knee, heart, ... task: what it can
        serve: a task of the field (translation, segmentation, ...) or a job of Veridical (complete,
        ...). access: open, registration, agreement, challenge or commercial. licence: SPDX name,
        own-terms, own-terms-noncommercial or mixed. layout: how it lies on disk, as `check` calls
        it. json: print one JSON list.
    """
    from veridical.layouts import catalog

    wanted = {
        "modality": modality,
        "anatomy": anatomy,
        "task": task,
        "access": access,
        "licence": licence,
        "layout": layout,
    }
    _print_list(catalog.select(**wanted), json)


@app.command
def search(*words: str, json: Switch = False) -> None:
    """Search all fields of the catalog; the best match comes first.

    Args:
        words: what to look for: parts of a name, a modality, an organ, a task.
        json: print one JSON list.
    """
    from veridical.layouts import catalog

    if not words:
        raise InputError("Nothing to search for. Give a word: veridical datasets search knee.")
    _print_list(catalog.search(" ".join(words)), json)


@app.command
def show(name: str, /, *, json: Switch = False) -> None:
    """Print all that the catalog knows of one data set: terms, split, published numbers, how to
    check and read it.

    Args:
        name: of the set, or another name of it.
        json: print one JSON object.
    """
    from veridical.layouts import catalog

    entry = catalog.get(name)
    if json:
        print(codec.dumps(entry.as_dict(), indent=2, ensure_ascii=False))
        return
    rows = _rows(entry)
    width = max(len(label) for label, _ in rows)
    print(entry.name)
    for label, text in rows:
        print(f"  {label:<{width}}  {text}")


@app.command
def check(
    path: Path,
    /,
    *,
    layout: str = "",
    all: Switch = False,
    json: Switch = False,
    quiet: Switch = False,
) -> None:
    """Recognize the layout of a set on disk, count it, and say what is missing, damaged, there
    twice or mislabelled.

    Exit code 2 when there is an error among the findings.

    Args:
        path: folder or file of the set, or a folder of several sets.
        layout: its name, when you know it: veridical list layout.
        all: read the voxels of all images of a large set, not of some patients only.
        json: print one JSON object.
        quiet: draw no progress bar.
    """
    from veridical.layouts import catalog
    from veridical.layouts.check import check as examine

    with printed.progress(quiet) as progress:
        report = examine(path, layout=layout, everything=all, progress=progress)
    if json:
        print(codec.dumps(printed.plain(report.to_dict()), indent=2, ensure_ascii=False))
    else:
        print("\n".join(report.lines()))
        for name in dict.fromkeys(one.dataset.split(":")[0] for one in report.sets or (report,)):
            if entry := catalog.known(name):
                print(f"its entry in the catalog: veridical datasets show '{entry.name}'")
    if not report.sound:
        raise InputError(f"{path} is not sound; its errors stand in the report.")


def _print_list(entries: list[Dataset], json: bool) -> None:
    if json:
        print(codec.dumps([entry.as_dict() for entry in entries], indent=2, ensure_ascii=False))
        return
    width = min(max((len(entry.name) for entry in entries), default=0), WIDEST)
    for entry in entries:
        words = (
            ", ".join(entry.modality),
            ", ".join(entry.anatomy),
            entry.access or "",
            entry.licence or "",
            entry.size or "",
        )
        known = "; ".join(word for word in words if word)
        print(f"{entry.name:<{width}}  {known}")
    print(f"{len(entries)} data set{'s'[: len(entries) != 1]}")


def _rows(entry: Dataset) -> list[tuple[str, str]]:
    """The lines of `show`: label and text, the unknown named at the end."""
    plain = {one: getattr(entry, one) for one in FIELDS}
    rows = [
        (one, ", ".join(value) if isinstance(value, tuple) else value)
        for one, value in plain.items()
        if value
    ]
    rows += [("published", f"{a.metric} {a.value:g}: {a.what} ({a.source})") for a in entry.anchors]
    commands = registry.entries("task")
    jobs = (
        job if job in commands else f"{job} (no task of that name is installed)"
        for job in entry.jobs
    )
    rows.append(("serves", ", ".join(jobs) or "no job by itself"))
    if entry.layout:
        rows.append(("check it", "veridical datasets check PATH"))
        rows.append(("read it", "veridical.layouts.discovery.studies(PATH)"))
    rows.append(("facts from", entry.source))
    places: dict[str, list[str]] = {}
    for one, at in entry.verified.items():
        places.setdefault(at, []).append(one)
    rows += [("checked", f"{', '.join(ones)} in: {at}") for at, ones in places.items()]
    unknown = [one for one, value in plain.items() if not value and one not in ("aliases", "note")]
    unknown += [] if entry.anchors else ["published numbers"]
    return [*rows, ("unknown", ", ".join(unknown))] if unknown else rows


FIELDS = (
    "aliases",
    "modality",
    "anatomy",
    "tasks",
    "size",
    "url",
    "licence",
    "access",
    "split",
    "layout",
    "note",
    "citation",
)
"""What `show` prints of an entry, in this order."""
