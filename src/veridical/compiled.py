"""The compiler of loops, with a cache on disk wherever there is a place for one."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numba


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return numba's `njit` that keeps what it compiled: beside the source file, else in the user's
    cache folder.

    Where neither can be written (a read-only installation without a home: containers, clusters),
    every process compiles again, which takes seconds and changes no result. NUMBA_CACHE_DIR names
    another folder.

    Args:
        options: of `numba.njit`.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        if _has_home():
            with suppress(RuntimeError):  # numba's "no locator available"
                return numba.njit(cache=True, **options)(function)
        return numba.njit(**options)(function)

    return decorate


def _has_home() -> bool:
    """Whether a cache folder can be named; a user without HOME and password entry would get one
    called `~` right here.
    """
    named = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    return bool(named) or os.path.expanduser("~") != "~"
