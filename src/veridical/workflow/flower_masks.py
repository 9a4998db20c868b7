"""Secure aggregation by Flower's SecAgg+ (Bell et al. 2020, arXiv 2009.05354): sites mask their
updates with secrets that they share in pairs, and only the sum is free of them.

Flower has it for its older strategies only, so a strategy that chooses nothing carries the updates.
Every site counts alike, since numbers of patients are hidden too. One site may drop out of a round.
The server cannot compare updates: a site that poisons is not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Context, Message
from flwr.client.mod import secaggplus_mod
from flwr.common import (
    Code,
    FitIns,
    FitRes,
    Parameters,
    Status,
    ndarrays_to_parameters,
    parameters_to_ndarrays,
)
from flwr.compat.common import recorddict_compat
from flwr.server import ClientManager, LegacyContext
from flwr.server.client_proxy import ClientProxy
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.server.strategy import Strategy
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD, Key
from flwr.serverapp import Grid

from veridical.training.federated import Masked
from veridical.training.federation import Federation
from veridical.training.screening import Arrays
from veridical.training.site import SiteTrainer

LARGEST = 1.0
"""Size of one number of an update above which it is cut off, before it becomes an integer."""
SILENT = "no answer: its node is gone, failed or did not answer in time"


class MaskedRound(Strategy):  # type: ignore[misc]
    """Asks all nodes the same and keeps what comes back.

    Args:
        asked: of every node.
        proxies: of the nodes.
    """

    def __init__(self, asked: FitIns, proxies: Sequence[ClientProxy]) -> None:
        self.asked, self.proxies = asked, proxies
        self.took_part: tuple[str, ...] = ()
        self.mean: list[Any] = []

    def configure_fit(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, FitIns]]:
        return [(proxy, self.asked) for proxy in self.proxies]

    def aggregate_fit(
        self, server_round: int, results: list[tuple[ClientProxy, FitRes]], failures: Any
    ) -> tuple[None, dict[str, Any]]:
        self.took_part = tuple(sorted(str(one.metrics["site"]) for _, one in results))
        self.mean = parameters_to_ndarrays(results[0][1].parameters) if results else []
        return None, {}

    def initialize_parameters(self, client_manager: ClientManager) -> None:
        return None  # the server has them

    def configure_evaluate(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[Any]:
        return []  # sites are asked for their report at the end, without masks

    def aggregate_evaluate(
        self, server_round: int, results: Any, failures: Any
    ) -> tuple[None, dict[str, Any]]:
        return None, {}

    def evaluate(self, server_round: int, parameters: Parameters) -> None:
        return None


class Nodes(ClientManager):  # type: ignore[misc]
    """How many nodes there are; they are chosen elsewhere."""

    def __init__(self, count: int) -> None:
        self.count = count

    def num_available(self) -> int:
        return self.count

    def register(self, client: ClientProxy) -> bool:
        return False

    def unregister(self, client: ClientProxy) -> None:
        return None

    def all(self) -> dict[str, ClientProxy]:
        return {}

    def wait_for(self, num_clients: int, timeout: int = 0) -> bool:
        return self.count >= num_clients

    def sample(self, num_clients: int, min_num_clients: Any = None, criterion: Any = None) -> Any:
        return []


def mods() -> list[Callable[..., Message]]:
    """Return what masks the answers of a site's app."""
    return [secaggplus_mod]


def trained(message: Message, context: Context, site: SiteTrainer) -> Message:
    """Let a site train, and answer in the form that is masked next."""
    asked = recorddict_compat.recorddict_to_fitins(message.content, keep_input=True)
    names = list(site.run.net.state_dict())
    shared = dict(zip(names, parameters_to_ndarrays(asked.parameters), strict=True))
    answer = site.train(int(asked.config["round"]), shared, str(asked.config["fingerprint"]))
    update = ndarrays_to_parameters([np.asarray(answer.update[name]) for name in names])
    said = FitRes(Status(Code.OK, ""), update, 1, {"site": site.name})
    content = recorddict_compat.fitres_to_recorddict(said, keep_input=False)
    return Message(content, reply_to=message)


def masked(
    grid: Grid,
    context: Context,
    federation: Federation,
    shared: Arrays,
    number: int,
    nodes: Sequence[int],
) -> Masked:
    """Return the mean of updates of a round, and who took part.

    Args:
        grid, context: of the server's app.
        federation: what is trained.
        shared: weights.
        number: of the round.
        nodes: that are asked.
    """
    everyone = list(federation.sites)
    if len(nodes) < len(everyone) - 1 or len(nodes) < 3:
        return Masked({}, (), dict.fromkeys(everyone, f"only {len(nodes)} nodes have come"))
    parameters = ndarrays_to_parameters([np.asarray(one) for one in shared.values()])
    asked = FitIns(parameters, {"round": number, "fingerprint": federation.fingerprint()})
    proxies = [GridClientProxy(node, grid, context.run_id) for node in nodes]
    strategy = MaskedRound(asked, proxies)
    legacy = LegacyContext(context, strategy=strategy, client_manager=Nodes(len(nodes)))
    legacy.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({Key.CURRENT_ROUND: number})
    legacy.state.array_records[MAIN_PARAMS_RECORD] = recorddict_compat.parameters_to_arrayrecord(
        parameters, keep_input=True
    )
    workflow = SecAggPlusWorkflow(
        1.0,
        (len(nodes) - 1) / len(nodes),
        max_weight=1.0,
        clipping_range=LARGEST,
        timeout=federation.settings.timeout,
    )
    workflow(grid, legacy)
    failed = {name: SILENT for name in everyone if name not in strategy.took_part}
    update = dict(zip(shared, (np.asarray(one, np.float32) for one in strategy.mean), strict=False))
    return Masked(update, strategy.took_part, failed)
