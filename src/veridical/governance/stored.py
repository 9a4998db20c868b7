"""Results that were stored before: what the policy of today says of them, who releases them, and
those that no ledger has noted yet.
"""

from __future__ import annotations

from pathlib import Path

from veridical.errors import InputError, PolicyError, ProvenanceError
from veridical.governance.admission import content_of, file_hash, judged_content, lines_of
from veridical.governance.gate import Decision, decided
from veridical.governance.ledger import Ledger, Line
from veridical.governance.policy import OTHER, load
from veridical.io.bids import PROVENANCE, Record, load_provenance
from veridical.terms import LEDGER, Terms, user


def to_be_overridden(record: Record, terms: Terms) -> bool:
    """Say whether a stored result must be written again, so that its override is on record.

    Args:
        record: of the result.
        terms: of today.

    Returns:
        False where the policy lets it pass, or where it was overridden under this very policy.

    Raises:
        PolicyError: the policy blocks it, and nobody who may has overridden that.
    """
    decision = standing(record, terms)
    return decision is not None and bool(decision.of("overridden"))


def standing(record: Record, terms: Terms) -> Decision | None:
    """Return what the policy of today decides about a stored result; None without a policy, and
    where the result was overridden under this very one.

    Raises:
        PolicyError: it blocks the result.
    """
    path, before = terms.policy_file(), record.policy or {}
    if path is None:
        return None
    if before.get("verdict") == "overridden" and before.get("sha256") == load(path).sha256:
        return None
    decision = decided(record.findings, _task(record), terms)
    if decision is not None and decision.of("blocked"):
        raise PolicyError(f"It was written before. {decision.refusal()}")
    return decision


def add(folder: str | Path, terms: Terms) -> Line:
    """Note a stored result that was written without this ledger.

    Raises:
        InputError: no ledger is kept, or it has the result already.
        ProvenanceError: the result is not whole.
    """
    ledger, place = kept(terms), Path(folder)
    record = whole(place)
    known = [line.number for line in lines_of(ledger, place / PROVENANCE) if line.kind == "result"]
    if known:
        raise InputError(f"{place} is line {known[0]} of the ledger already. Nothing was added.")
    about = {"record": file_hash(place / PROVENANCE), "added": True}
    content = content_of(ledger, _case(place, record), record.steps, record.findings, None)
    return ledger.append("result", content | about)


def release(folder: str | Path, reason: str, terms: Terms) -> Line:
    """Note that a person releases a stored result.

    Args:
        folder: of the result.
        reason: for what it is released; name no patient.
        terms: ledger, policy and override.

    Raises:
        InputError: no ledger is kept, it does not have the result, or there is no reason.
        ProvenanceError: a file of the result is missing or was changed.
        PolicyError: the policy blocks it.
    """
    if not reason.strip():
        raise InputError("A release needs a reason: for what, and after which review.")
    ledger, place = kept(terms), Path(folder)
    record = whole(place)
    noted = [line.number for line in lines_of(ledger, place / PROVENANCE) if line.kind == "result"]
    if not noted:
        raise InputError(
            f"{place} is not in the ledger {ledger.path}. Add it first: veridical ledger add "
            f"{place}"
        )
    about = {
        "record": file_hash(place / PROVENANCE),
        "line": noted[0],
        "by": user(),
        "reason": reason.strip(),
    }
    judged = judged_content(record.findings, standing(record, terms))
    return ledger.append("release", about | judged)


def kept(terms: Terms) -> Ledger:
    """Return the ledger that is kept.

    Raises:
        InputError: none is.
    """
    path = terms.ledger_file()
    if path is None:
        raise InputError(f"No ledger is kept. Name one: --ledger FILE, or {LEDGER}=FILE.")
    return Ledger(path, create=False)


def whole(folder: Path) -> Record:
    """Return the record of a result whose files are all as they were written.

    Raises:
        ProvenanceError: one is missing or was changed.
    """
    record = load_provenance(folder)
    for entry in record.files.values():
        file = folder / entry["path"]
        if not file.is_file() or file_hash(file) != entry["sha256"]:
            raise ProvenanceError(
                f"{file} is missing or was changed since the result was written. Make the result "
                "again, or fetch the file."
            )
    return record


def _task(record: Record) -> str:
    return record.steps[-1].task if record.steps else OTHER


def _case(folder: Path, record: Record) -> str:
    """Return how the names of the files of a result start."""
    first = Path(next(iter(record.files.values()))["path"]).name
    return (
        first.split("_desc-")[0].removesuffix("_ce-gadolinium")
        if "_desc-" in first
        else folder.name
    )
