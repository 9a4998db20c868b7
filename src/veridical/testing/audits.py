"""What every audit must keep."""

from __future__ import annotations

import json
from collections.abc import Callable

from veridical.provenance import inputs, outputs
from veridical.testing.subjects import image
from veridical.types import SEVERITY, Finding, Result, Study

Audit = Callable[[Study, Result], Finding | None]


def check_audit(
    audit: Audit, study: Study | None = None, result: Result | None = None
) -> Finding | None:
    """Check an audit: it leaves study and result as they are, says the same twice, gives reasons,
    passes nothing where nothing was measured, and its numbers are JSON.

    Args:
        audit: a function `(study, result) -> Finding | None`.
        study, result: for which it applies; None: a point estimate of a small image.

    Returns:
        Its finding.

    Raises:
        AssertionError: a promise is broken.
    """
    absent = dict.fromkeys(("draws", "interval", "evidence"), "there is no model")
    subject, made = (
        study or Study.of(image()),
        result or Result(image(), "point estimate", absent=absent),
    )
    before = inputs(subject), outputs(made)
    finding = audit(subject, made)
    assert (inputs(subject), outputs(made)) == before, "study or result were changed"
    assert finding == audit(subject, made), "the same result is judged differently the second time"
    _sound(finding)
    nothing = Study("", {0.0: {}})
    of_nothing = audit(nothing, Result(image(), "one draw", absent=absent, facts={"measured": ()}))
    _sound(of_nothing)
    passed = of_nothing is not None and of_nothing.verdict == "pass"
    assert not passed, f"it passes an image that nothing was measured for: {of_nothing}"
    return finding


def _sound(finding: Finding | None) -> None:
    if finding is not None:
        assert finding.verdict in SEVERITY, f"{finding.verdict!r} is no verdict"
        assert len(finding.reason) > 10, "a finding has no reason"
        json.dumps(dict(finding.evidence), default=float)
