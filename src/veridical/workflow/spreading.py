"""Cases one after the other, in several processes of this machine, or on a Ray cluster: the same
function, the same results.

A case whose process or node dies is run again elsewhere. Results are written whole or not at all
and are the same bytes whoever writes them, so that a case that runs twice leaves one result. Few
cases wait in the cluster at a time: its memory holds descriptions of cases, never images.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from veridical.errors import InputError, MissingExtra, SettingError

Case = TypeVar("Case")
Made = TypeVar("Made")

AGAIN = 10
"""How often a case is run again whose process or node died."""
WAITING = 2
"""Cases that are handed out for each processor: one at work, one next."""
STORE = 100 * 2**20
"""Bytes of shared memory of Ray on this machine; only descriptions of cases go through it."""


@dataclass(frozen=True)
class Spreading:
    """Where cases run.

    Args:
        workers: processes on this machine, each with one thread; 1 is this very process.
        cluster: address of a Ray cluster that runs already, `auto` or `ray://host:10001`, whose
            nodes see input and output under the same paths; empty: this machine.
    """

    workers: int = 1
    cluster: str = ""

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise SettingError(f"workers = {self.workers}; expected 1 or more processes.")
        if self.cluster and self.workers > 1:
            raise SettingError(
                f"--workers {self.workers} with --cluster {self.cluster}; a cluster has "
                "workers of its own. Give one of the two."
            )

    def over(
        self,
        function: Callable[[Case], Made],
        cases: Sequence[Case],
        lost: Callable[[Case, str], Made],
    ) -> Iterator[Made]:
        """Yield what a function makes of each case: in order in this process, else as they come.

        Args:
            function: of one case; importable on every node.
            cases: what it takes.
            lost: what stands for a case whose process died again and again, and why.

        Raises:
            MissingExtra: Ray is needed and not installed.
            InputError: no cluster answers at that address.
        """
        if self.workers == 1 and not self.cluster:
            yield from map(function, cases)
            return
        ray = _started(self)
        try:
            yield from _spread(ray, function, cases, lost)
        finally:
            ray.shutdown()


def _started(where: Spreading) -> Any:
    """Return Ray, connected to the cluster or to processes of its own."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is sent to anyone
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError as error:
        raise MissingExtra(
            "Several workers need Ray, which is not installed. Install it: "
            "pip install 'veridical[cluster]', or leave --workers and --cluster out."
        ) from error
    quiet = {"log_to_driver": False, "logging_level": "error"}
    own = {"num_cpus": where.workers, "include_dashboard": False, "object_store_memory": STORE}
    try:
        ray.init(**({"address": where.cluster} if where.cluster else own), **quiet)
    except Exception as error:  # Ray raises bare ones where its processes do not start in time
        raise InputError(
            f"No Ray cluster answers at {where.cluster or 'this machine'}: {error}. Start one with "
            "`ray start --head`, or use --workers."
        ) from error
    return ray


def _one(function: Callable[[Case], Made], case: Case) -> Made:
    return function(case)


def _spread(
    ray: Any,
    function: Callable[[Case], Made],
    cases: Sequence[Case],
    lost: Callable[[Case, str], Made],
) -> Iterator[Made]:
    """Hand out a few cases at a time and yield what comes back."""
    far, shared = ray.remote(num_cpus=1, max_retries=AGAIN)(_one), ray.put(function)
    most = WAITING * max(1, int(ray.cluster_resources().get("CPU", 1)))
    left, at_work = iter(cases), dict[Any, Case]()
    while True:
        for case in left:
            at_work[far.remote(shared, case)] = case
            if len(at_work) >= most:
                break
        if not at_work:
            return
        (ready,), _ = ray.wait(list(at_work), num_returns=1)
        case = at_work.pop(ready)
        try:
            yield ray.get(ready)
        except ray.exceptions.RayError as error:
            yield lost(case, f"Its process died {AGAIN + 1} times ({type(error).__name__}).")


HERE = Spreading()
"""One case after the other, in this process."""
