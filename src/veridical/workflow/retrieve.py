"""Find what resembles: images of a folder for a description, a patient's images or clinical
variables, and descriptions for images; each with the chance that something unrelated is as alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from veridical.errors import FormatError, InputError, SettingError, VeridicalError
from veridical.language.reader import read_report
from veridical.layouts.discovery import studies
from veridical.models import weights
from veridical.models.joint_embedding import JointEmbedding
from veridical.task import Progress, explained, silent
from veridical.tasks.from_text import words
from veridical.types import Array, Image

MADE = "runs/embedding/embedding.safetensors"
"""Where `veridical train embedding` puts weights."""


@explained
@dataclass(frozen=True)
class Retrieve:
    """Which of many resemble."""

    best: int = 5
    """How many are listed."""
    level: float = 0.05
    """Chance up to which something counts as alike: that the best of as many unrelated ones would
    be at least as similar.
    """
    weights: str = MADE
    """Of a joint embedding: path of a .safetensors file with its card beside it. None ship:
    `veridical train embedding` makes them.
    """

    def __post_init__(self) -> None:
        if self.best < 1 or not 0 < self.level < 1:
            raise SettingError(
                f"best = {self.best}, level = {self.level}; expected at least 1, and a chance "
                "between 0 and 1."
            )

    def _model(self) -> JointEmbedding:
        """Return the model; weights that are not there are told before anything is looked at."""
        weights.find(self.weights)
        return JointEmbedding(self.weights)

    def images_of(self, folder: str | Path, progress: Progress = silent) -> Library:
        """Return the visits of a folder as vectors.

        Args:
            folder: of any known layout.
            progress: called as work goes on.

        Raises:
            InputError: there are no weights, or none of the visits can be compared.
        """
        model, names, vectors, left = self._model(), [], [], list[str]()
        for study in studies(folder):
            for day in study.days:
                name = study.id + (f", day {day:g}" if len(study.days) > 1 else "")
                try:
                    visit = study.visit(day)
                    shown = {k: image for k, image in visit.items() if isinstance(image, Image)}
                    vectors.append(model.of_images(shown))
                    names.append(name)
                except VeridicalError as error:
                    left.append(f"{name}: {error}")
                progress("looking at images", len(names) + len(left), len(names) + len(left))
        if not vectors:
            raise InputError(
                f"No visit of {folder} can be compared. {left[0] if left else 'It holds none.'}"
            )
        return Library("image", tuple(names), np.stack(vectors), tuple(left))

    def reports_of(self, file: str | Path) -> Library:
        """Return the reports of a text file as vectors; one a line.

        Raises:
            FormatError: the file cannot be read.
            InputError: no line says anything that is known.
        """
        try:
            lines = Path(file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise FormatError(f"The reports {file} cannot be read: {error}.") from error
        model, names, vectors, left = self._model(), [], [], list[str]()
        for line in filter(None, map(str.strip, lines)):
            facts = read_report(line).facts
            if facts:
                names.append(line)
                vectors.append(model.of_facts(facts))
            else:
                left.append(f"{line!r} names no finding that is known")
        if not vectors:
            raise InputError(
                f"No line of {file} names a finding that is known: tumour, oedema, white matter "
                "lesions, infarct, atrophy. Write one report a line."
            )
        return Library("text", tuple(names), np.stack(vectors), tuple(left))

    def by_text(self, text: str, library: Library) -> Retrieved:
        """Return what in a library of images resembles a description.

        Raises:
            SettingError: the text names no finding that is known.
            InputError: the library holds texts.
        """
        said = read_report(text)
        if not said.facts:
            raise SettingError(
                f"{text!r} names no finding that is known: tumour, oedema, white matter lesions, "
                "infarct, atrophy, each with side, lobe, size and number."
            )
        asked = "; ".join(map(words, said.facts))
        vector = JointEmbedding(self.weights).of_facts(said.facts)
        return self._found(vector, "text", asked, (*said.unread, *said.unknown), library)

    def by_images(self, visit: Mapping[str, Image], library: Library) -> Retrieved:
        """Return what in a library, of images or of texts, resembles a visit."""
        vector = JointEmbedding(self.weights).of_images(visit)
        return self._found(vector, "image", ", ".join(visit), (), library)

    def by_variables(self, known: Mapping[str, str | float], library: Library) -> Retrieved:
        """Return what in a library of images resembles patients with clinical variables.

        Args:
            known: age in years, sex, grade, IDH; those that are known.
            library: of images.

        Raises:
            InputError: nothing is known, a state is none that is, or the library holds texts.
        """
        if not known:
            raise InputError("No clinical variable was given; expected age, sex, grade or IDH.")
        vector = JointEmbedding(self.weights).of_variables(known)
        said = ", ".join(f"{name} {state}" for name, state in known.items())
        return self._found(vector, "genes", said, (), library)

    def _found(
        self, vector: Array, kind: str, asked: str, unread: Sequence[str], library: Library
    ) -> Retrieved:
        if kind != "image" and library.kind != "image":
            raise InputError(
                f"A library of texts was given for a query by {kind}; expected images: a folder."
            )
        pair = library.kind if kind == "image" else kind
        alike, model = library.vectors @ vector, JointEmbedding(self.weights)
        order = np.argsort(-alike, kind="stable")[: self.best]
        count = len(library.names)
        hits = tuple(
            Hit(library.names[n], float(alike[n]), model.chance(float(alike[n]), pair, count))
            for n in map(int, order)
        )
        return Retrieved(asked, tuple(unread), hits, count, self.level)


@dataclass(frozen=True, eq=False)
class Library:
    """What is searched.

    Args:
        kind: `image` or `text`.
        names: of each.
        vectors: `(one, size)` of unit length.
        left: what could not be compared, and why.
    """

    kind: str
    names: tuple[str, ...]
    vectors: Array
    left: tuple[str, ...]


@dataclass(frozen=True)
class Hit:
    """One that was found.

    Args:
        name: of the patient and visit, or the report.
        similarity: cosine.
        chance: that the best of as many unrelated ones would be at least as similar.
    """

    name: str
    similarity: float
    chance: float


@dataclass(frozen=True)
class Retrieved:
    """What was found.

    Args:
        asked: the query, as it was understood.
        unread: what of it was not understood.
        hits: the nearest first.
        among: how many were compared.
        level: chance up to which one counts as alike.
    """

    asked: str
    unread: tuple[str, ...]
    hits: tuple[Hit, ...]
    among: int
    level: float

    @property
    def alike(self) -> tuple[Hit, ...]:
        """Those that resemble more than chance explains."""
        return tuple(hit for hit in self.hits if hit.chance <= self.level)

    def lines(self) -> Iterator[str]:
        """Yield what a person reads."""
        yield f"asked: {self.asked}; compared: {self.among}"
        if self.unread:
            yield f"not understood: {', '.join(self.unread)}"
        if not self.alike:
            yield f"Nothing alike: unrelated ones are as similar by chance (level {self.level:g})."
        yield "similarity  chance  "
        for hit in self.hits:
            mark = "" if hit.chance <= self.level else "  (not alike)"
            yield f"{hit.similarity:10.2f}  {hit.chance:6.3f}  {hit.name}{mark}"
