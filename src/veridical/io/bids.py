"""A result as files: NIfTI maps under BIDS-derivative names, `provenance.json`,
`dataset_description.json`.

Everything is made in a temporary folder and moved in at the end, the record last: a folder with a
`provenance.json` holds a whole result. Read back, the record is enough to run the same steps again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from veridical import __version__
from veridical.errors import InputError, ProvenanceError, SettingError
from veridical.io.guards import move, permit, replacing
from veridical.io.nifti import write_nifti
from veridical.types import Array, Finding, Image, Result, Step

PROVENANCE = "provenance.json"
DESCRIPTION = "dataset_description.json"
FORMAT = "veridical-provenance-1"
LABELS = frozenset({"mask", "dseg", "probseg", "seg"})
"""Suffixes of label maps."""
SUFFIX = {
    "T1w": "T1w",
    "T2w": "T2w",
    "FLAIR": "FLAIR",
    "PD": "PDw",
    "T1c": "T1w",
    "CT": "CT",
    "PET": "pet",
}
MAPS = {"structures": "dseg", "tissues": "dseg", "brain": "mask"}
"""Label map that a task makes -> its suffix."""


@dataclass(frozen=True)
class Record:
    """What a `provenance.json` says.

    Args:
        kind: what the estimate is.
        steps: all tasks that were run, in order.
        findings: verdicts of the checks.
        absent: companion -> why it is missing.
        interval: level, patients, method and promises, or None.
        image: units, channels, shape, affine and frame of the estimate.
        files: role -> `path` beside the record and `sha256`.
        policy: what the policy decided, and who overrode it; None without one.
    """

    kind: str
    steps: tuple[Step, ...]
    findings: tuple[Finding, ...]
    absent: Mapping[str, str]
    interval: Mapping[str, Any] | None
    image: Mapping[str, Any]
    files: Mapping[str, Mapping[str, str]]
    policy: Mapping[str, Any] | None = None


def save(
    derived: Result,
    folder: str | Path,
    name: str,
    *,
    overwrite: bool = False,
    described: bool = True,
    policy: Mapping[str, Any] | None = None,
    seal: Callable[[Path], None] | None = None,
) -> dict[str, Path]:
    """Write a result with all its companions.

    Args: derived: the result. folder: where; made when missing. name: of the case, e.g. `sub-01` or
        `scan`; letters, digits and BIDS entities. `sub-` is put before it when missing. overwrite:
        replace an earlier result in this folder. described: put `dataset_description.json` beside
        it; not where the folder is part of a data set (see `describe`). policy: what the policy
        decided, for the record. seal: called with the finished `provenance.json` before anything
        appears in the folder; what it raises leaves nothing behind.

    Returns: Role -> file: `estimate`, `lower`, `upper`, `evidence`, `measured`, `unmeasured`,
        `draws` (the fourth axis runs over draws, channels fastest), `provenance`, `description`.
        Complex arrays are written as magnitude, under the role `<role>_magnitude`.

    Raises:
        SettingError: the name cannot be a file name.
        InputError: the folder already holds a result.
        FormatError: the result holds NaN or infinities.
    """
    target = Path(folder)
    if target.exists() and not target.is_dir():
        raise InputError(
            f"{target} is a file; expected a folder to write the result to. Give another one."
        )
    images = dict(_real(role, image) for role, image in _images(derived).items())
    names = {role: _file_name(name, role, derived.image.channels) for role in images}
    taken = [file for file in (*names.values(), PROVENANCE) if (target / file).exists()]
    if taken and not overwrite:
        raise InputError(
            f"{target} already holds {', '.join(sorted(taken))}. Give another folder, or "
            "overwrite=True (--overwrite)."
        )
    beside = target if target.exists() else target.parent
    beside.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=beside, prefix=f".{target.name[:40]}.", suffix=".part"))
    try:
        for role, image in images.items():
            write_nifti(image, temporary / names[role])
        dump(record(derived, names, temporary, policy), temporary / PROVENANCE)
        if described and not (target / DESCRIPTION).exists():
            dump(_description(), temporary / DESCRIPTION)
        if seal is not None:
            seal(temporary / PROVENANCE)
        _move_in(temporary, target, taken)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    roles = {
        **names,
        "provenance": PROVENANCE,
        **({"description": DESCRIPTION} if described else {}),
    }
    return {role: target / file for role, file in roles.items()}


def describe(root: Path) -> Path:
    """Make a folder a BIDS data set of derivatives: write its `dataset_description.json` where
    there is none.
    """
    file = root / DESCRIPTION
    if not file.exists():
        dump(_description(), file)
    return file


def is_whole(folder: Path, record: Record) -> bool:
    """Say whether every file of a result is there with the bytes that its record names."""
    for entry in record.files.values():
        file = folder / Path(entry["path"]).name
        if not file.is_file() or _hash(file.read_bytes()) != entry["sha256"]:
            return False
    return True


def result_files(record: Path) -> dict[str, str] | None:
    """Return role -> file name of the maps that a `provenance.json` names; nothing where it is not
    ours, None where damaged.
    """
    try:
        return {
            role: Path(entry["path"]).name for role, entry in load_provenance(record).files.items()
        }
    except (ProvenanceError, KeyError, TypeError):
        pass
    try:
        return None if FORMAT in record.read_text(encoding="utf-8") else {}
    except (OSError, ValueError):
        return {}


def load_provenance(path: str | Path) -> Record:
    """Read a `provenance.json`, or the one in a folder.

    Raises:
        ProvenanceError: it is missing, not JSON, or not a record of this format.
    """
    file = Path(path) / PROVENANCE if Path(path).is_dir() else Path(path)
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProvenanceError(
            f"{file} cannot be read ({error}). Give the provenance.json of a result, or its folder."
        ) from error
    except ValueError as error:
        raise ProvenanceError(
            f"{file} is damaged: it is not JSON ({error}). Take it from the result again."
        ) from error
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        got = said.get("format") if isinstance(said, dict) else type(said).__name__
        raise ProvenanceError(
            f"{file} is {got!r}; expected a record of the format {FORMAT!r}. Is it of another "
            "version or tool?"
        )
    try:
        steps = tuple(Step(**_tuples(step)) for step in said["steps"])
        findings = tuple(Finding(**_tuples(finding)) for finding in said["findings"])
        rest = {
            field.name: said[field.name]
            for field in dataclasses.fields(Record)
            if field.name not in ("steps", "findings", "policy")
        }
        return Record(steps=steps, findings=findings, policy=said.get("policy"), **rest)
    except (KeyError, TypeError) as error:
        raise ProvenanceError(
            f"{file} is not a whole record: {error}. Take it from the result again."
        ) from error


def plain(value: Any) -> Any:
    """Return `value` in JSON's own types; a number that is not finite becomes null, for it is not
    known.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray | list | tuple | set | frozenset):
        return [
            plain(entry) for entry in (value.tolist() if isinstance(value, np.ndarray) else value)
        ]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, bool | int | str) or value is None:
        return value
    return str(value)


def _images(derived: Result) -> dict[str, Image]:
    """Return every array of a result as an image, by role."""
    image, interval, evidence = derived.image, derived.interval, derived.evidence
    each = {channel: image.units_of(channel) for channel in image.channels}
    arrays: dict[str, tuple[Array | None, str]] = {"estimate": (image.data, image.units)}
    if interval is not None:
        arrays |= {"lower": (interval.lower, image.units), "upper": (interval.upper, image.units)}
    if evidence is not None:
        arrays |= {"evidence": (evidence.map, "1")}
        arrays |= {
            "measured": (evidence.measured, image.units),
            "unmeasured": (evidence.unmeasured, image.units),
        }
    found = {
        role: Image(array, image.geometry, units, image.channels, {"units": each})
        for role, (array, units) in arrays.items()
        if array is not None
    }
    if derived.draws is not None:
        draws = np.asarray(derived.draws)
        channels = tuple(
            f"{channel}:draw-{number}"
            for number in range(1, len(draws) + 1)
            for channel in image.channels
        )
        units = {channel: each[channel.partition(":")[0]] for channel in channels}
        found["draws"] = Image(
            draws.reshape(-1, *draws.shape[2:]),
            image.geometry,
            image.units,
            channels,
            {"units": units},
        )
    return found


def _real(role: str, image: Image) -> tuple[str, Image]:
    """Return a complex image as its magnitude, and a role that says so."""
    if image.data.dtype.kind != "c":
        return role, image
    return f"{role}_magnitude", dataclasses.replace(image, data=np.abs(image.data))


def record(
    derived: Result,
    names: Mapping[str, str],
    where: Path,
    policy: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what a `provenance.json` says of a result.

    Args:
        derived: the result.
        names: role -> file, from the folder of the record.
        where: that folder, in which the files are.
        policy: what the policy decided; None without one, and nothing is then said of it.
    """
    interval, image = derived.interval, derived.image
    geometry = image.geometry
    return {
        "format": FORMAT,
        "kind": derived.kind,
        "steps": [dataclasses.asdict(step) for step in derived.steps],
        "findings": [dataclasses.asdict(finding) for finding in derived.findings],
        "absent": derived.absent,
        "interval": None
        if interval is None
        else {key: getattr(interval, key) for key in ("level", "patients", "method", "promises")},
        "image": {
            "units": image.units
            if image.units != "mixed"
            else {name: image.units_of(name) for name in image.channels},
            "channels": image.channels,
            "shape": geometry.shape,
            "affine": geometry.affine,
            "frame": geometry.frame,
        },
        "files": {
            role: {"path": file, "sha256": _hash((where / file).read_bytes())}
            for role, file in names.items()
        },
        **({} if policy is None else {"policy": policy}),
    }


def _description() -> dict[str, Any]:
    return {
        "Name": "Veridical results",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "Veridical", "Version": __version__}],
    }


def _move_in(temporary: Path, target: Path, taken: list[str]) -> None:
    """Move finished files to `target`: at once when it is new, else the old files away first and
    the new record in last.
    """
    if not target.exists():
        permit(temporary, 0o777)
        try:
            temporary.rename(target)
            return
        except OSError:  # a drive that renames no folders
            target.mkdir(exist_ok=True)
    for file in {*_written_before(target / PROVENANCE), *taken}:
        with suppress(OSError):
            (target / file).unlink(missing_ok=True)
    for part in sorted(temporary.iterdir(), key=lambda part: part.name == PROVENANCE):
        move(part, target / part.name)


def _written_before(record: Path) -> list[str]:
    """Return the file names of the maps of an earlier result, which may have other roles than the
    new one.
    """
    try:
        paths = [Path(entry["path"]).name for entry in load_provenance(record).files.values()]
    except (ProvenanceError, KeyError, TypeError):
        return []
    return [path for path in paths if "_desc-" in path and path.endswith(".nii.gz")]


def label(name: str) -> str:
    """Return the BIDS start of the file names."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name) or len(name) > 120:
        raise SettingError(
            f"{name!r} cannot start a file name; expected letters, digits, '_', '-' and '.', e.g. "
            "'sub-01'."
        )
    if re.fullmatch(r"sub-[A-Za-z0-9]+(_[a-z]+-[A-Za-z0-9]+)*", name):
        return name
    return "sub-" + re.sub(r"[^A-Za-z0-9]", "", name)


def _file_name(name: str, role: str, channels: tuple[str, ...]) -> str:
    """Return `sub-01_ce-gadolinium_desc-estimate_T1w.nii.gz`: the case, the agent, the role, the
    contrast.
    """
    first, *rest = role.split("_")
    description = first + "".join(word.capitalize() for word in rest)
    contrast = channels[0] if len(channels) == 1 else "multi"
    suffix = (SUFFIX | MAPS).get(contrast) or re.sub(r"[^A-Za-z0-9]", "", contrast) or "image"
    agent = "_ce-gadolinium" if contrast == "T1c" else ""
    return f"{label(name)}{agent}_desc-{description}_{suffix}.nii.gz"


def dump(content: Mapping[str, Any], path: Path) -> None:
    """Write JSON; the file appears whole or not at all."""
    with replacing(path) as temporary:
        text = json.dumps(plain(content), indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def _tuples(value: Any) -> Any:
    """Turn JSON's lists back into the tuples that settings hold."""
    if isinstance(value, dict):
        return {key: _tuples(entry) for key, entry in value.items()}
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list) else value


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
