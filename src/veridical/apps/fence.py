"""The folders that a person names, and nothing else: paths that others give stay inside of them.

Symbolic links and `..` are followed first; what counts is where a path leads. For programs that act
on somebody's behalf, whose paths are not to be trusted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from veridical.errors import InputError, SettingError

MOST = 200_000
"""Entries of a folder that are looked at; one with more is refused, since it cannot be checked."""


class Fence:
    """Named folders, each called by its last name.

    Args:
        folders: that exist.

    Raises:
        SettingError: none, one that is no folder, or two of one name.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        found = [Path(one).resolve() for one in folders]
        for one in found:
            if not one.is_dir() or not one.name:
                raise SettingError(f"{one} is no folder that can be named. Give one that exists.")
        self.folders = {one.name: one for one in found}
        if not found or len(self.folders) != len(set(found)):
            raise SettingError(
                f"{len(found)} folders were named; expected one or more, each of another name: "
                "--folder DATA."
            )

    def __str__(self) -> str:
        return ", ".join(self.folders)

    @property
    def home(self) -> Path:
        """The first folder, from which relative paths start that name none."""
        return next(iter(self.folders.values()))

    def path(self, text: str) -> Path:
        """Return where a path leads.

        Args:
            text: `NAME/rest` of a named folder, or absolute.

        Raises:
            InputError: outside of all named folders.
        """
        first, _, rest = text.partition("/")
        start = (
            self.folders[first] / rest.lstrip("/") if first in self.folders else self.home / text
        )
        try:
            found = start.resolve()
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(f"{text!r} is no path ({type(error).__name__}).") from error
        if not self.holds(found):
            raise InputError(
                f"{text!r} leads outside of the named folders, which are: {self}. Paths start with "
                "one of these; whoever started this names more: --folder."
            )
        return found

    def existing(self, text: str) -> Path:
        """Return a file or folder that is there, all of which lies inside.

        Raises:
            InputError: it is not there, or a link in it leads outside.
        """
        found = self.path(text)
        if not found.exists():
            raise InputError(f"{text!r} does not exist. The named folders are: {self}.")
        for number, one in enumerate(_below(found)):
            if number >= MOST:
                raise InputError(f"{text!r} has more than {MOST} entries. Give a part of it.")
            if one.is_symlink() and not self.holds(one.resolve()):
                raise InputError(
                    f"{self.shown(one)} is a link that leads outside of the named folders, which "
                    f"are: {self}."
                )
        return found

    def holds(self, path: Path) -> bool:
        """Say whether a path without links lies inside."""
        return any(path.is_relative_to(folder) for folder in self.folders.values())

    def named(self, text: str) -> str:
        """Return a sentence with the named folders by their names."""
        for name, folder in self.folders.items():
            text = text.replace(str(folder), name)
        return text

    def shown(self, path: Path) -> str:
        """Return a path as `NAME/rest`."""
        for name, folder in self.folders.items():
            if path.is_relative_to(folder):
                return (Path(name) / path.relative_to(folder)).as_posix()
        return path.name


def _below(place: Path) -> Iterator[Path]:
    """Yield all entries of a folder, not following links."""
    for folder, folders, files in os.walk(place):
        yield from (Path(folder) / name for name in (*folders, *files))
