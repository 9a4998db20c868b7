"""The signature of an evaluation or an audit: a chain of hashes over what went in, what was
declared, what was found and the page.

Link 0 is SHA-256 of the format's name, link k is SHA-256 of link k-1 and the SHA-256 of part k,
both in hexadecimal. Each link holds the hash of all before it, so that nothing can be changed, left
out or put in afterwards without breaking it. The chain cannot stop one who changes the report and
signs it again: keep its head, the last hash, somewhere else.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from veridical.errors import InputError, ProvenanceError

FORMAT, AUDIT = "veridical-report-1", "veridical-audit-1"
PARTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    FORMAT: {
        "inputs": ("title", "settings", "inputs", "versions"),
        "protocol": ("protocol",),
        "cases": ("integrity", "cases", "about"),
        "results": (
            "levels",
            "endpoints",
            "curves",
            "conflicts",
            "findings",
            "subgroups",
            "checklists",
        ),
    },
    AUDIT: {
        "inputs": ("title", "settings", "inputs", "versions"),
        "subject": ("about",),
        "results": ("findings", "promises", "policy"),
    },
}
"""Format -> link of the chain -> entries of the report that it covers, in order; the page is the
last link.
"""
PAGE = "report.html"
REPORT = "report.json"


def canonical(value: Any) -> bytes:
    """Return a value as JSON in its one canonical form: keys sorted, finite numbers only, a newline
    at the end.
    """
    return (
        json.dumps(_plain(value), sort_keys=True, ensure_ascii=False, indent=1, allow_nan=False)
        + "\n"
    ).encode()


def links(
    document: Mapping[str, Any], page: bytes | None = None, form: str = FORMAT
) -> list[dict[str, str]]:
    """Return the chain over a report's parts, and over its page where it is given.

    Raises:
        ProvenanceError: an entry that no part covers, since it could be changed unseen.
    """
    parts = PARTS[form]
    covered = {entry for entries in parts.values() for entry in entries}
    loose = set(document) - covered - {"format", "signature"}
    if loose:
        raise ProvenanceError(
            f"The report holds {', '.join(sorted(loose))}, which no link of the chain covers."
        )
    contents = {
        part: canonical({e: document[e] for e in entries if e in document})
        for part, entries in parts.items()
    }
    contents |= {} if page is None else {"page": page}
    last = hashlib.sha256(form.encode()).hexdigest()
    chain = []
    for part, content in contents.items():
        own = hashlib.sha256(content).hexdigest()
        last = hashlib.sha256(f"{last}{own}".encode()).hexdigest()
        chain.append({"part": part, "sha256": own, "head": last})
    return chain


def sign(document: Mapping[str, Any], page: bytes, form: str = FORMAT) -> bytes:
    """Return the bytes of the signed report.json; `form` is a key of `PARTS`."""
    return canonical({**document, "format": form, "signature": links(document, page, form)})


def head(path: Path) -> str:
    """Return the last hash of a report's chain, as it was signed."""
    return str(json.loads(path.read_bytes())["signature"][-1]["head"])


def scored(path: Path) -> bool:
    """Say whether there is a report with scores; one that the integrity gate refused may be written
    over.
    """
    try:
        return bool(json.loads(path.read_bytes()).get("cases", True))
    except OSError:
        return False
    except ValueError:
        return True


def verify(path: Path, head: str | None = None, inputs: bool = True) -> tuple[str, ...]:
    """Return what does not match; empty when a report is as it was signed.

    Args: path: of the report.json, its page beside it. head: the last hash of the chain, kept
        elsewhere; None: the chain is checked against itself only. inputs: also hash the input
        files; one that is gone is said to be.

    Raises:
        InputError: there is no such file.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}). Give the report.json of an evaluation."
        ) from error
    page = path.with_name(PAGE)
    wrong = changes(raw, page.read_bytes() if page.is_file() else None, head)
    if not inputs or any(REPORT in each for each in wrong):
        return wrong
    return (*wrong, *_inputs(json.loads(raw)["inputs"], path.parent))


def changes(report: bytes, page: bytes | None, head: str | None = None) -> tuple[str, ...]:
    """Return what does not match in the bytes of a report.json and of its page, None where that is
    not there.
    """
    try:
        document = json.loads(report)
        same_form = (
            document["format"] in PARTS
            and isinstance(document["inputs"], dict)
            and canonical(document) == report
        )
        if not same_form:
            return (f"{REPORT} was changed: it is not in the form in which it was written",)
        signed = document.pop("signature")
        found = links(document, page or b"", document["format"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ProvenanceError):
        return (f"{REPORT} was changed: it is no signed report",)
    wrong = _broken(found, signed, page is not None, PARTS[document["format"]])
    if head is not None and head != found[-1]["head"]:
        wrong.append(f"the head of the chain is {found[-1]['head']}, not {head}")
    return tuple(wrong)


def _broken(
    found: list[dict[str, str]], signed: Any, paged: bool, parts: Iterable[str]
) -> list[str]:
    """Return which links are not those that were signed."""
    if found == signed:
        return []
    if not isinstance(signed, list) or [
        isinstance(link, dict) and link.get("part") for link in signed
    ] != [*parts, "page"]:
        return ["the signature was changed"]
    wrong = [
        now["part"]
        for now, then in zip(found, signed, strict=True)
        if now["sha256"] != then.get("sha256")
    ]
    if not wrong:
        return ["the signature was changed"]
    return [
        f"{part} was changed"
        if part != "page"
        else f"{PAGE} {'was changed' if paged else 'is not there'}"
        for part in wrong
    ]


def _inputs(recorded: Mapping[str, str], folder: Path) -> list[str]:
    """Hash every input file again; what was in memory cannot be."""
    from veridical.evaluation.sources import Source

    wrong = []
    for name, digest in recorded.items():
        if name.startswith("memory:"):
            continue
        path = folder / name
        if not path.exists():
            wrong.append(f"the input {name} is not there")
            continue
        try:
            changed = Source(name, path).sha256() != digest
        except (OSError, InputError) as error:
            wrong.append(f"the input {name} cannot be read ({error})")
            continue
        if changed:
            wrong.append(f"the input {name} was changed")
    return wrong


def _plain(value: Any) -> Any:
    """Return plain values: tuples as lists, what is not finite as null, floats to 12 digits."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return float(f"{value:.12g}") if math.isfinite(value) else None
    return str(value)
