"""The terms on which results are written: what a policy allows, and which ledger notes it."""

from __future__ import annotations

import getpass
import os
from dataclasses import dataclass
from pathlib import Path

from veridical.errors import InputError
from veridical.task import explained

POLICY, LEDGER, USER = "VERIDICAL_POLICY", "VERIDICAL_LEDGER", "VERIDICAL_USER"


@explained
@dataclass(frozen=True)
class Terms:
    """Policy, ledger and override; what is not given is taken from the environment."""

    policy: Path | None = None
    """Policy file that says which findings block a result; that of VERIDICAL_POLICY when not given.
    Without one nothing is blocked.
    """
    ledger: Path | None = None
    """Ledger that notes what is made, audited and released; that of VERIDICAL_LEDGER when not
    given. Without one nothing is noted.
    """
    override: str = ""
    """Reason to write what the policy blocks, where it allows you to. It goes into the provenance
    and the ledger: name no patient. You are who VERIDICAL_USER says, else your login name.
    """

    def policy_file(self) -> Path | None:
        """Return the policy file that holds, None where there is none."""
        return _given(self.policy, POLICY)

    def ledger_file(self) -> Path | None:
        """Return the ledger that holds, None where it is off."""
        return _given(self.ledger, LEDGER)


ENVIRONMENT = Terms()
"""What the environment says alone."""


def user() -> str:
    """Return who is at work, as the environment says; nothing proves it.

    Raises:
        InputError: nobody can be found out.
    """
    try:
        return os.environ.get(USER) or getpass.getuser()
    except (OSError, KeyError) as error:
        raise InputError(f"Your login name is not known ({error}). Set {USER} to it.") from error


def _given(path: Path | None, variable: str) -> Path | None:
    said = path or os.environ.get(variable)
    return Path(said) if said else None
