"""What models of images are trained on: digital patients, real sets by name, and folders of any known layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from veridical.errors import InputError, SettingError, nearest
from veridical.phantoms.cohort import Cohort
from veridical.training.lessons import DEGRADED_BY, JOBS
from veridical.training.patient_volumes import held_out_of
from veridical.training.slabs import LOADERS
from veridical.training.training_data import TrainingData

VALIDATION_COHORT = 1_000_000
KNOWN = ("cohort", *LOADERS)
"""Sources by name; any other is a folder."""
YOURS = "data"
"""Source of a recipe that stands for the folder given when it is used."""


@dataclass(frozen=True)
class ImageData(TrainingData):
    """The `[data]` table of a model of images."""

    sources: Mapping[str, float] = field(default_factory=lambda: {"cohort": 1.0})
    """Source -> weight: `cohort` (digital patients), real sets by name, folders of any known layout by their path, and `data`
    for the folder given when the recipe is used."""
    held_out: tuple[str, ...] = ()
    """Patients of the real sets (or beginnings of their names) that are only validated on."""
    validate_on: int = 0
    """Patients of each folder that are held out where none of them is named: chosen by the hash of their name, never all."""
    batch: int = 12
    """Patches a step."""
    patch: int = 96
    """Side of a patch in pixels."""
    jobs: Mapping[str, float] = field(default_factory=lambda: dict(JOBS))
    """Job -> how often it is rehearsed: complete, enhance, harmonize, nothing."""
    degraded_by: Mapping[str, float] = field(default_factory=lambda: dict(DEGRADED_BY))
    """Way -> how often an MR image that is to be enhanced is degraded in it: noise, blur, thick, bias, ghosts."""

    def __post_init__(self) -> None:
        if self.batch < 1 or self.patch < 16 or self.validate_on < 0:
            raise SettingError(
                f"batch = {self.batch}, patch = {self.patch}, validate_on = {self.validate_on}; expected at least 1, at least "
                "16, and 0 or more."
            )
        for what, odds, known in (("jobs", self.jobs, JOBS), ("degraded_by", self.degraded_by, DEGRADED_BY)):
            for name, share in odds.items():
                if name not in known or share < 0:
                    raise SettingError(f"The recipe's {what} rehearse {name!r} with share {share}. {nearest(name, known)}")
            if not sum(odds.values()) > 0:
                raise SettingError(
                    f"The recipe's {what} have no share above 0; for instance {what} = {{ {next(iter(known))} = 1.0 }}."
                )

    def located(self, beside: Path, folder: str | Path | None) -> ImageData:
        """Return the data with sources that are folders as paths: relative ones are beside the recipe, `data` is `folder`."""
        if folder is not None and YOURS not in self.sources:
            raise SettingError(f"A folder {folder} was given, and the recipe has no source {YOURS!r} that it could be.")
        if folder is not None and not Path(folder).exists():
            raise InputError(f"{folder} does not exist; expected a folder of images. Check the path.")
        found: dict[str, float] = {}
        for name, weight in self.sources.items():
            path = Path(folder) if name == YOURS and folder is not None else beside / name
            known = name in KNOWN or (name == YOURS and folder is None) or not path.exists()
            found[name if known else str(path.resolve())] = weight
        return replace(self, sources=found)

    def real(self) -> list[str]:
        """Return the sources beside the cohort, sorted; unknown ones and weights of 0 or less are refused."""
        for name, weight in self.sources.items():
            if name == YOURS:
                raise SettingError("This recipe trains on a folder of yours. Say which: --data FOLDER.")
            if not (name in KNOWN or Path(name).is_absolute()) or not weight > 0:
                raise SettingError(
                    f"The recipe trains on {name!r} with weight {weight}; expected a known source or a folder that exists, "
                    f"and a weight above 0. {nearest(name, KNOWN)}"
                )
        return [name for name in sorted(self.sources) if name != "cohort"]

    def unseen(self) -> tuple[str, ...]:
        """Return the patients that are only validated on: those named, and those chosen of each folder."""
        folders = [name for name in self.sources if name not in KNOWN and name != YOURS]
        chosen = (held_out_of(folder, self.held_out, self.validate_on) for folder in folders)
        return (*self.held_out, *(patient for patients in chosen for patient in patients))


def refuse_testing_only(cohort: Cohort) -> Cohort:
    """Return the cohort, or refuse: what is kept for testing must not train."""
    if cohort.testing_only:
        raise SettingError(f"{type(cohort).__name__} is for testing only. Train on Cohort.")
    return cohort
