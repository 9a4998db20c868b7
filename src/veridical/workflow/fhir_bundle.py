"""FHIR resources checked and put together as one transaction, which a server does whole or not at
all.

The types of fhir.resources check structure and formats, but let any word pass as a code; the value
sets that FHIR requires are therefore checked here, in every element that has one.
"""

from __future__ import annotations

import importlib
import json
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from veridical.errors import MissingExtra, SettingError, nearest
from veridical.workflow.fhir_resources import NAMESPACE, Resource, Version

FURTHER = {
    "Observation.status": {"corrected", "cancelled", "entered-in-error", "unknown"},
    "DiagnosticReport.status": {
        "amended", "corrected", "appended", "cancelled", "entered-in-error", "unknown"
    },
    "Quantity.comparator": {"<", "<=", ">=", ">", "ad"},
}  # fmt: skip
"""Codes that fhir.resources does not list, of elements that are sent; `+` stands there for some."""


def known(version: str) -> Version:
    """Return a version of FHIR that is known.

    Raises:
        SettingError: it is another one.
    """
    versions: tuple[Version, ...] = get_args(Version)
    for one in versions:
        if one == version:
            return one
    raise SettingError(f"FHIR version {version!r}. {nearest(version, versions)}")


def transaction(resources: Sequence[Resource], version: Version) -> Resource:
    """Return a transaction Bundle that puts every resource under its own id, so that a resend
    replaces and never doubles.

    Args:
        resources: as `fhir_resources.resources` makes them; None stands for an absent element.
        version: of FHIR.

    Raises:
        SettingError: a code lies outside of its value set.
        MissingExtra: fhir.resources is not installed.
    """
    entries = []
    for resource in resources:
        whole = checked(
            {key: value for key, value in resource.items() if value is not None}, version
        )
        url = f"{whole['resourceType']}/{whole['id']}"
        entries.append({"resource": whole, "request": {"method": "PUT", "url": url}})
    name = "/".join([version, *(entry["request"]["url"] for entry in entries)])
    bundle = {
        "resourceType": "Bundle",
        "id": str(uuid.uuid5(NAMESPACE, name)),
        "type": "transaction",
        "entry": entries,
    }
    return checked(bundle, version)


def checked(resource: Resource, version: Version) -> Resource:
    """Return a resource as fhir.resources writes it.

    Raises:
        SettingError: it is none of this version of FHIR, or a code lies outside of its value set.
        MissingExtra: fhir.resources is not installed.
    """
    kind = str(resource.get("resourceType"))
    model = _model(kind, version)
    from pydantic import ValidationError

    try:
        made = model.model_validate(resource)
    except ValidationError as error:
        places = sorted({".".join(map(str, one["loc"])) for one in error.errors()})
        raise SettingError(
            f"This is no {kind} of FHIR {version}: {', '.join(places)} "
            "does not fit. Expected what the standard says of it."
        ) from error
    wrong = list(_strangers(made, kind))
    if wrong:
        raise SettingError(f"{'; '.join(wrong)}. Take a code of the value set.")
    found: Resource = json.loads(made.model_dump_json())
    return found


def _model(kind: str, version: Version) -> Any:
    place = "fhir.resources" + (".R4B" if version == "R4B" else "")
    try:
        importlib.import_module(place)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "FHIR needs fhir.resources. Install it: pip install 'veridical[clinical]'"
        ) from error
    try:
        return getattr(importlib.import_module(f"{place}.{kind.lower()}"), kind)
    except (ModuleNotFoundError, AttributeError) as error:
        raise SettingError(f"FHIR {version} has no resource {kind!r}.") from error


def _strangers(element: Any, path: str) -> Iterator[str]:
    """Yield a sentence about every code that its required value set does not have."""
    kind = type(element).__name__
    for name, field in type(element).model_fields.items():
        value = getattr(element, name)
        if value is None:
            continue
        said = field.json_schema_extra or {}
        allowed = set(said.get("enum_values") or ()) | FURTHER.get(f"{kind}.{name}", set())
        for one in value if isinstance(value, list) else [value]:
            if hasattr(type(one), "model_fields"):
                inner = type(one).__name__ if name == "resource" else f"{path}.{name}"
                yield from _strangers(one, inner)
            elif allowed and str(one) not in allowed - {"+"}:
                known = ", ".join(sorted(allowed - {"+"}))
                yield f"{path}.{name} is {str(one)!r}; the value set has {known}"
