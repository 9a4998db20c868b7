"""Find images that resemble a description or other images, and descriptions that fit images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from veridical.apps import show
from veridical.errors import SettingError
from veridical.task import explained

Switch = Annotated[bool, Parameter(negative=())]


@explained
@dataclass(frozen=True)
class Query:
    """What is asked for."""

    text: str = ""
    """A description: left frontal 2 cm enhancing tumour with oedema."""
    image: tuple[Path, ...] = ()
    """Images of one visit, T1w, T2w, FLAIR or T1c of a head; repeat the flag."""
    idh: str = ""
    """mutated or wild type."""
    grade: str = ""
    """WHO grade of a tumour, 2 to 4."""
    age: float = 0.0
    """Years."""
    sex: str = ""
    """female or male."""

    @property
    def known(self) -> dict[str, Any]:
        """Clinical variables that were given."""
        given = {"IDH": self.idh, "grade": self.grade, "age": self.age, "sex": self.sex}
        return {name: value for name, value in given.items() if value}


def retrieve(
    library: Path,
    /,
    *,
    asked: Annotated[Query, Parameter(name="*", negative_iterable=())] | None = None,
    best: int = 5,
    level: float = 0.05,
    weights: str = "",
    json: Switch = False,
    quiet: Switch = False,
) -> None:
    """Find the images of a folder that resemble a description, other images or a patient's genes,
    and the reports of a file that fit images. Says so where nothing is alike.

    Args:
        library: folder of images of any known layout, or a text file of reports, one a line.
        asked: one of a description, images and clinical variables.
        best: how many are listed.
        level: chance up to which something counts as alike.
        weights: of a joint embedding; those of `veridical train embedding` in runs/embedding when
            not given. None ship.
        json: print everything as JSON.
        quiet: draw no progress bar.
    """
    from dataclasses import asdict
    from json import dumps

    from veridical.workflow.retrieve import MADE, Retrieve

    query = asked or Query()
    if sum(map(bool, (query.text, query.image, query.known))) != 1:
        raise SettingError(
            "Ask by one of: --text, --image, or clinical variables (--idh, --grade, --age, --sex)."
        )
    search = Retrieve(best, level, weights or MADE)
    with show.progress(quiet) as progress:
        many = (
            search.images_of(library, progress) if library.is_dir() else search.reports_of(library)
        )
    if query.text:
        found = search.by_text(query.text, many)
    elif query.image:
        found = search.by_images(_visit(query.image), many)
    else:
        found = search.by_variables(query.known, many)
    if json:
        print(dumps({**asdict(found), "left_out": list(many.left)}, indent=2))
        return
    print("\n".join(found.lines()))
    if many.left:
        print(f"left out: {len(many.left)}, the first: {many.left[0]}")


def _visit(files: tuple[Path, ...]) -> dict[str, Any]:
    from veridical.io.assemble import read_together

    together = read_together(list(files))
    return {name: together.channel(name) for name in together.channels}
