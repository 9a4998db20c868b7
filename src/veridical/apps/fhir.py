"""FHIR: what a result says, for the hospital's record system; to a folder or to a server.

`send(result, source, target, *, version="R5", derived=(), patient="", scores=(), terms=None) ->
list[str]` does it in one call: `result` in memory or the folder of a stored one, `source` the DICOM
files that it was made from, `target` a folder or the base address of a server. It asks the policy
first. A resend replaces: the ids follow from source and job.
"""

from __future__ import annotations

import json as encoding
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from cyclopts import Group, Parameter

from veridical.errors import InputError, SettingError
from veridical.terms import ENVIRONMENT, Terms

if TYPE_CHECKING:
    from veridical.types import Result, Score

TOKEN = "VERIDICAL_FHIR_TOKEN"
"""Environment variable with the bearer token of the server, where it asks for one."""
TIMEOUT = 60.0
"""Seconds to wait for a server."""
LARGEST_ANSWER = 16 * 2**20
"""Bytes of an answer that are read; a server that sends more is not believed."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
TERMS = Group("Terms: what may be written, and where it is noted", sort_key=2)


def send(
    result: Result | str | Path,
    source: str | Path | Sequence[Path],
    target: str | Path,
    *,
    version: str = "R5",
    derived: str | Path | Sequence[Path] = (),
    patient: str = "",
    scores: Sequence[Score] = (),
    terms: Terms | None = None,
) -> list[str]:
    """Tell a folder or a server of a result: ImagingStudy, Observations, DiagnosticReport,
    Provenance and Device, in one transaction.

    Args:
        result: in memory, or the folder of a stored one.
        source: DICOM files of the series that it was made from: a folder, a file or a list.
        target: a folder, which then gets one Bundle file, or the base address of a FHIR server.
        version: `R5` or `R4B`.
        derived: DICOM files that were written of the result; the ImagingStudy lists them too.
        patient: reference of the patient on the server, `Patient/123`; the identifier of the DICOM
            files when empty.
        scores: of the result against a reference; an Observation each.
        terms: policy and ledger; those of the environment when None.

    Returns:
        The file, or the address of every resource on the server.

    Raises:
        PolicyError: the policy blocks the result; nothing is sent.
        InputError: the source is no DICOM study, or the server refuses or does not answer.
        SettingError: a version or an address that cannot be.
        MissingExtra: fhir.resources is not installed.
    """
    bundle = _bundle(result, source, version, derived, patient, scores, terms or ENVIRONMENT)
    if "://" in str(target):
        return post(bundle, str(target))
    from veridical.io.guards import write_text

    path = Path(target) / f"Bundle-{bundle['id']}.json"
    write_text(path, encoding.dumps(bundle, indent=2, ensure_ascii=False) + "\n")
    return [str(path)]


def fhir(
    result: Annotated[Path, Parameter(help="Folder of a result of Veridical.")],
    /,
    *,
    source: Path,
    to: str,
    derived: Path | None = None,
    version: str = "R5",
    patient: str = "",
    json: Annotated[bool, Parameter(negative=())] = False,
    terms: Annotated[Terms, Parameter(name="*", group=TERMS)] = ENVIRONMENT,
) -> None:
    """Tell a FHIR server, or a folder, of a result: study, findings, report, provenance.

    Ids follow from source and job: sent again, a result replaces itself. Everything is marked as
    asserted by an algorithm and as research only. A server that asks for a bearer token gets that
    of VERIDICAL_FHIR_TOKEN.

    Args:
        source: DICOM file or folder of the series that the result was made from.
        to: folder, or base address of a server: https://fhir.example.org/r5.
        derived: folder of the DICOM files that were written of the result.
        version: of FHIR: R5 or R4B.
        patient: reference of the patient on the server: Patient/123.
        json: print one JSON object.
    """
    written = send(
        result, source, to, version=version, derived=derived or (), patient=patient, terms=terms
    )
    print(encoding.dumps({"written": written}, indent=2) if json else "\n".join(written))


def _bundle(
    result: Result | str | Path,
    source: str | Path | Sequence[Path],
    version: str,
    derived: str | Path | Sequence[Path],
    patient: str,
    scores: Sequence[Score],
    terms: Terms,
) -> dict[str, Any]:
    from veridical.governance.admission import admit
    from veridical.governance.stored import standing
    from veridical.io.bids import PROVENANCE, load_provenance
    from veridical.io.stored_results import stored_result
    from veridical.workflow import fhir_resources
    from veridical.workflow.dicom_index import index
    from veridical.workflow.fhir_bundle import known, transaction

    asked = known(version)
    made = datetime.now(UTC)
    if isinstance(result, str | Path):
        folder = Path(result)
        standing(load_provenance(folder), terms)
        made = datetime.fromtimestamp((folder / PROVENANCE).stat().st_mtime, UTC)
        result = stored_result(folder)
    else:
        admit(result, "fhir", terms)
    told = index(source)
    whole = index(source, derived) if derived else told
    recorded = made.isoformat(timespec="seconds")
    about = fhir_resources.job(result, told, whole, asked, patient, recorded)
    return transaction(list(fhir_resources.resources(result, about, scores)), asked)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would take patient data and the token to an address that nobody named."""

    def redirect_request(self, *_: Any) -> None:
        return None


def post(bundle: dict[str, Any], base: str) -> list[str]:
    """Post a transaction and return the addresses of its resources."""
    host = _checked(base)
    kind = "application/fhir+json"
    headers = {"Content-Type": f"{kind}; charset=utf-8", "Accept": kind}
    token = os.environ.get(TOKEN)
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(base, encoding.dumps(bundle).encode(), headers, method="POST")
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT) as answer:
            content = answer.read(LARGEST_ANSWER)
    except urllib.error.HTTPError as error:
        with error:
            said = _issues(error.read(LARGEST_ANSWER))
        raise InputError(
            f"The FHIR server {host} refused the result: {error.code} {error.reason}{said}. "
            "Nothing was stored. Ask its administrator, or try the other version: R5, R4B."
        ) from error
    except OSError as error:
        raise InputError(
            f"The FHIR server {host} does not answer ({getattr(error, 'reason', error)}). Check "
            "the address; sent again, the result replaces itself."
        ) from error
    return _stored(content, base, host, len(bundle["entry"]))


def _checked(base: str) -> str:
    """Return the host of an address.

    Raises:
        SettingError: it is no address of the web, holds a password, or a token would travel in the
            clear.
    """
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise SettingError(
            f"The address of a FHIR server is https://HOST/PATH; of this one the scheme is "
            f"{parts.scheme!r}. Passwords stay out of it: {TOKEN} holds a token."
        )
    if os.environ.get(TOKEN) and parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise SettingError(f"{TOKEN} would go to {parts.hostname} unencrypted. Use https.")
    return parts.netloc


def _stored(content: bytes, base: str, host: str, expected: int) -> list[str]:
    """Return the addresses that a server gave to the resources.

    Raises:
        InputError: it did not store all of them.
    """
    try:
        answer = encoding.loads(content)
        entries = [one["response"] for one in answer["entry"]]
        good = [one for one in entries if str(one["status"]).startswith("2")]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"The FHIR server {host} answered something else than a transaction's response. Is the "
            "address its base?"
        ) from error
    if len(good) != expected:
        raise InputError(
            f"The FHIR server {host} stored {len(good)} of {expected} resources. Ask its "
            "administrator; sent again, the result replaces itself."
        )
    root = base.rstrip("/")
    return [
        place if "://" in (place := str(one.get("location", ""))) else f"{root}/{place.lstrip('/')}"
        for one in good
    ]


def _issues(content: bytes) -> str:
    """Return the codes and places of an OperationOutcome; its words may quote patient data."""
    try:
        issues = encoding.loads(content)["issue"]
        said = [
            " ".join(
                str(part) for part in (one.get("code"), *(one.get("expression") or ())) if part
            )
            for one in issues[:5]
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    return f" ({'; '.join(said)})" if said else ""
