"""Browsing: the catalog of data sets, and the ledger where one is kept."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool

from veridical.terms import LEDGER, Terms

router = APIRouter()
LAST = 500
"""Lines of the ledger that are shown."""


@router.get("/datasets")
async def datasets(words: Annotated[str, Query(max_length=200)] = "") -> dict[str, Any]:
    """List the public data sets of the catalog; those that fit some words, the best first."""
    return await run_in_threadpool(_datasets, words)


@router.get("/ledger")
async def ledger(request: Request) -> dict[str, Any]:
    """Return the last lines of the ledger, the newest first, and whether the chain is whole."""
    return await run_in_threadpool(_ledger, request.app.state.terms)


def _datasets(words: str) -> dict[str, Any]:
    from veridical.layouts import catalog

    found = catalog.search(words) if words.strip() else catalog.select()
    return {"datasets": [{**one.as_dict(), "name": one.name} for one in found]}


def _ledger(terms: Terms) -> dict[str, Any]:
    from veridical.governance.chain import broken
    from veridical.governance.stored import kept

    if terms.ledger_file() is None:
        how = f"No ledger is kept. Start with --ledger FILE, or set {LEDGER}=FILE, to keep one."
        return {"kept": False, "said": how, "lines": [], "wrong": []}
    lines = list(kept(terms).lines())
    shown = [
        {"number": one.number, "time": one.time, "kind": one.kind, "sha256": one.sha256,
         "says": one.says}
        for one in reversed(lines[-LAST:])
    ]  # fmt: skip
    wrong = list(broken(lines))
    said = f"{len(lines)} lines; " + ("the chain is broken" if wrong else "the chain is whole")
    return {"kept": True, "said": said, "lines": shown, "wrong": wrong}
