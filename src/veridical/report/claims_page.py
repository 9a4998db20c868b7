"""Checklists of regulators and journals, filled from evidence: a page and the same as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from veridical.errors import FormatError, InputError, SettingError, nearest
from veridical.evaluation import signature
from veridical.evaluation.results import Evaluation
from veridical.governance.chain import verify
from veridical.governance.ledger import Ledger
from veridical.governance.promises import PROMISES
from veridical.io.guards import write_text
from veridical.models import weights
from veridical.report import paper
from veridical.report.crosswalk import Checklist, ClaimSources, claims

PAGE, DOCUMENT = "claims.html", "claims.json"


def gather(
    name: str,
    audit: str | Path | None = None,
    evaluation: str | Path | None = None,
    ledger: str | Path | None = None,
) -> ClaimSources:
    """Read the evidence that claims may rest on; reports that are not as they were signed are none.

    Args:
        name: of the weights, shipped or a path, whose card counts.
        audit, evaluation: report.json or its folder.
        ledger: file of a ledger.

    Raises:
        InputError: a file is not there, or is not as it was written.
        FormatError: a report is of another kind.
    """
    found = None if evaluation is None else _signed(Path(evaluation), signature.FORMAT)
    return ClaimSources(
        None if found is None else Evaluation.from_dict(found),
        weights.stored_card(name),
        None if audit is None else _signed(Path(audit), signature.AUDIT),
        None if ledger is None else _ledger(Path(ledger)),
    )


def write(name: str, evidence: ClaimSources, folder: Path, only: str = "") -> tuple[Checklist, ...]:
    """Write claims.html and claims.json and return the checklists.

    Args:
        name: of the weights.
        evidence: by `gather`.
        folder: made when missing.
        only: beginning of the name of one checklist; empty for all.

    Raises:
        SettingError: there is no such checklist.
    """
    found = chosen(claims(evidence), only)
    stem = weights.find(name).stem
    content = {
        "title": f"Claims: {stem}",
        "rests_on": _rests_on(evidence),
        "checklists": found,
        "promises": PROMISES,
    }
    paper.write(
        folder / PAGE, paper.render("claims.html.j2", ("page.css", "judgement.css"), content)
    )
    document = {
        "weights": stem,
        "sha256": weights.fingerprint(name),
        "rests_on": content["rests_on"],
        "checklists": [asdict(one) for one in found],
        "promises": PROMISES,
    }
    write_text(folder / DOCUMENT, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return found


def chosen(found: Sequence[Checklist], only: str) -> tuple[Checklist, ...]:
    """Return the checklists whose names begin so, whatever the case of letters."""
    kept = tuple(one for one in found if one.name.lower().startswith(only.lower()))
    if not kept:
        names = [one.name for one in found]
        raise SettingError(f"There is no checklist {only!r}. {nearest(only, names)}")
    return kept


def _signed(path: Path, form: str) -> Mapping[str, Any]:
    """Return the document of a signed report."""
    file = path / signature.REPORT if path.is_dir() else path
    wrong = signature.verify(file, inputs=False)
    if wrong:
        raise InputError(
            f"{file} is not as it was signed: {'; '.join(wrong)}. Nothing can be claimed from it."
        )
    document: dict[str, Any] = json.loads(file.read_bytes())
    if document["format"] != form:
        raise FormatError(
            f"{file} is a {document['format']}; expected a {form}. Give the other one."
        )
    return document


def _ledger(path: Path) -> dict[str, Any]:
    """Return how many lines of each kind a ledger holds, and its head."""
    wrong = verify(path)
    if wrong:
        raise InputError(f"{path} is not as it was written: {'; '.join(wrong)}.")
    ledger = Ledger(path, create=False)
    return {"counts": Counter(line.kind for line in ledger.lines()), "head": ledger.head()[1]}


def _rests_on(evidence: ClaimSources) -> list[str]:
    given = {
        "the model card": evidence.card,
        "a signed evaluation": evidence.evaluation,
        "a signed audit": evidence.audit,
        "a ledger": evidence.ledger,
    }
    return [name for name, one in given.items() if one is not None]
