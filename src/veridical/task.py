"""The base of all tasks: settings are dataclass fields, `apply` does the work, `__call__` records
what was done.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import re
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from veridical import provenance, registry
from veridical.errors import SettingError, nearest
from veridical.types import Finding, Image, Measurement, Result, Study

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, steps done, steps in all); the command line draws a bar from it.
"""


Takes = Literal["image", "visit", "raw", "study", "sequence", "nothing"]


def silent(what: str, done: int, total: int) -> None:
    """Report no progress."""


@dataclass(frozen=True)
class Task(ABC):
    """A job on the imaging pathway. A subclass is a frozen dataclass; its fields are its only list
    of settings.
    """

    name: ClassVar[str] = ""
    takes: ClassVar[Takes] = "image"
    """Of a folder of patients: one image at a time, all images of a visit together, raw data, or
    whole studies over time. `sequence`: a reference sequence and measurements of frames. `nothing`:
    it makes patients and takes a label map at most.
    """
    objects: ClassVar[bool] = False
    """Whether it takes structure sets and doses of a DICOM folder beside its images."""
    results: ClassVar[bool] = False
    """Whether it takes the folder of a result, with its evidence."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()
        explained(cls)

    @abstractmethod
    def apply(self, study: Study, seed: int, progress: Progress) -> Result:
        """Do the work; everything random comes from `seed`. Must not change `study`."""

    @abstractmethod
    def model_and_weights(self) -> tuple[str, str]:
        """Return the model's name and the hash of its weights (`none` when it has none), for
        provenance.
        """

    def __call__(
        self, subject: Study | Image | Measurement, seed: int = 0, progress: Progress = silent
    ) -> Result:
        """Run the task and return the result with the findings of all audits and its provenance
        step.

        Args:
            subject: a study; an image or a measurement is a study of one.
            seed: same seed, machine kind and thread count: same bytes.
            progress: called as work goes on.

        Raises:
            InputError: the subject does not fit the task.
        """
        study = Study.of(subject)
        result = self.apply(study, seed, progress)
        result = dataclasses.replace(
            result, findings=(*result.findings, *audited(study, result)), study=study
        )
        return result.with_step(provenance.step(self, study, result, seed))

    def of_visit(self, names: tuple[str, ...]) -> tuple[Task, tuple[str, ...], tuple[str, ...]]:
        """Return the task for a visit (or study) that has these images, those that it takes, and
        the channels that it makes.

        It takes none where there is nothing to do.
        """
        return self, names, names

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Task:
        """Build the task from a plain mapping; unknown keys are refused with the nearest known
        one.
        """
        known = {f.name for f in dataclasses.fields(cls)}
        for key in settings:
            if key not in known:
                raise SettingError(f"{cls.name} has no setting {key!r}. {nearest(key, known)}")
        return cls(**settings)


def audited(study: Study, result: Result) -> tuple[Finding, ...]:
    """Return what every registered audit says; one that does not apply to such a result returns
    None.
    """
    found = (entry.load()(study, result) for entry in registry.entries("audit").values())
    return tuple(finding for finding in found if finding is not None)


def explained(cls: type[Any]) -> type[Any]:
    """Add what the settings do to the docstring of a settings class, so that `help` shows it;
    return the class.
    """
    about = inspect.cleandoc(cls.__doc__ or "")
    lines = [f"    {name}: {' '.join(text.split())}" for name, text in setting_docs(cls).items()]
    cls.__doc__ = "\n".join([about, "", "Args:", *lines]) if lines else about
    return cls


def setting_docs(cls: type[Any]) -> dict[str, str]:
    """Return the docstring under each field of a settings class, those of base classes first."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base.__module__ == "builtins":
            continue
        try:
            body = registry.syntax_tree(textwrap.dedent(inspect.getsource(base))).body[0]
        except (OSError, TypeError):  # typed into an interpreter: there is no source
            continue
        statements = body.body if isinstance(body, ast.ClassDef) else []
        for first, second in itertools.pairwise(statements):
            if (
                isinstance(first, ast.AnnAssign)
                and isinstance(first.target, ast.Name)
                and not ast.unparse(first.annotation).startswith("ClassVar")
                and isinstance(second, ast.Expr)
                and isinstance(second.value, ast.Constant)
                and isinstance(second.value.value, str)
            ):
                docs[first.target.id] = inspect.cleandoc(second.value.value)
    return docs


def form(cls: type[Any]) -> dict[str, Any]:
    """Return the settings of a class as a JSON Schema (draft 2020-12), from which a form can be
    drawn.
    """
    kinds = {str: "string", int: "integer", float: "number", bool: "boolean", tuple: "array"}
    docs, hints = setting_docs(cls), get_type_hints(cls)
    properties: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        hint, default = hints[field.name], field.default
        said = {"description": " ".join(docs.get(field.name, "").split()), "default": default}
        choices = {"enum": list(get_args(hint))} if get_origin(hint) is Literal else {}
        properties[field.name] = {"type": kinds[type(default)], **choices, **said}
    summary = (inspect.getdoc(cls) or "").partition("\n\n")[0]
    return {
        "title": getattr(cls, "name", cls.__name__),
        "description": summary,
        "type": "object",
        "properties": properties,
    }
