"""Input: what was chosen, assumed or changed while the study was read, repeated beside the
result.
"""

from __future__ import annotations

from veridical.types import Finding, Result, Study

NAME = "input"
ASSUMED = "assum"
"""Part of the words by which a note says that something was assumed that changes numbers."""


def input_notes(study: Study, result: Result) -> Finding | None:
    """List the notes of the study: a warning where something was assumed; None where nothing was
    noted.
    """
    notes = list(dict.fromkeys(note.strip() for note in study.notes if note.strip()))
    if not notes:
        return None
    assumed = [note for note in notes if ASSUMED in note.lower()]
    ordered = [*assumed, *(note for note in notes if note not in assumed)]
    reason = " ".join(note if note.endswith((".", "!", "?")) else f"{note}." for note in ordered)
    return Finding(
        NAME, "warn" if assumed else "pass", reason, {"notes": notes, "assumed": assumed}
    )
