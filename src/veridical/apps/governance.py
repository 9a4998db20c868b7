"""The commands that govern: policy, card, claims."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from veridical.errors import InputError

Switch = Annotated[bool, Parameter(negative=())]


def policy(path: Path, /, *, check: Switch = False, overwrite: Switch = False) -> None:
    """Write a policy file to edit: which findings block, warn or pass, and who may override.

    Args:
        path: of the file.
        check: read it instead, and print what its rules do.
        overwrite: replace a file that is there.
    """
    from veridical.governance import policy as policies
    from veridical.io.guards import write_text

    if check:
        found = policies.load(path)
        print(f"policy {found.name}, {len(found.rules)} rules, SHA-256 {found.sha256}")
        for rule in found.rules:
            print(f"  {rule}")
        return
    if path.exists() and not overwrite:
        raise InputError(
            f"{path} is there already. Give another name, --overwrite, or --check to read it."
        )
    write_text(path, policies.TEMPLATE.read_text(encoding="utf-8"))
    print(path)


def card(
    weights: str,
    /,
    *,
    out: Path = Path(),
    check: Switch = False,
    recipe: str = "",
    audit: Path | None = None,
) -> None:
    """Write the page of a model card: intended use, limits, failures, data, scores, calibration.

    Args:
        weights: shipped name, or path of a .safetensors file with its card beside it.
        out: folder for NAME-card.html.
        check: write nothing, and name what the card lacks; exit code 2 where it lacks something.
        recipe: first add to the card what this recipe says, by which the weights were trained, and
            scores on its held-out patients. For weights older than the schema of cards.
        audit: first note on the card what this audit of its images found about copies of training
            images: the report.json of `veridical audit IMAGES --training DIR`, or its folder.
    """
    from veridical.models.model_card import lacking
    from veridical.models.weights import find, stored_card
    from veridical.report.card_page import write

    if recipe:
        from veridical.training.card_scores import complete_card

        print(complete_card(weights, recipe))
    if audit is not None:
        from veridical.workflow.card_audit import add_audit

        print(add_audit(weights, audit))
    if not check:
        print(write(weights, out))
        return
    lacks = lacking(stored_card(weights))
    file = find(weights).with_suffix(".json")
    if lacks:
        raise InputError(f"{file} is not complete; it lacks: {'; '.join(lacks)}. Write them there.")
    print(f"complete: {file}")


def claims(
    weights: str,
    /,
    *,
    audit: Path | None = None,
    evaluation: Path | None = None,
    ledger: Path | None = None,
    checklist: str = "",
    out: Path = Path("claims"),
) -> None:
    """Fill checklists of regulators and journals from evidence: EU AI Act, FDA, CLAIM, TRIPOD+AI,
    FUTURE-AI, METRICS.

    What the evidence does not answer is marked as yours to state.

    Args:
        weights: shipped name, or path of a .safetensors file, whose model card counts.
        audit: report.json of veridical audit, or its folder.
        evaluation: report.json of veridical evaluate, or its folder.
        ledger: file of a ledger.
        checklist: beginning of the name of one checklist; all when not given.
        out: folder for claims.html and claims.json; made when missing.
    """
    from veridical.report import claims_page

    evidence = claims_page.gather(weights, audit, evaluation, ledger)
    for one in claims_page.write(weights, evidence, out, checklist):
        counts = ", ".join(f"{count} {state}" for state, count in one.counts.items())
        print(f"{one.name}: {counts}")
    print(f"{out / claims_page.PAGE}\n{out / claims_page.DOCUMENT}")
