"""The server and the sites of a federation as apps of Flower (arXiv 2007.14390).

The same `Server` and `SiteTrainer` as within one process; Flower carries the messages. Weights
travel as arrays of numpy, which are never unpickled. Loaded only by the processes of Flower.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Context,
    Message,
    MessageType,
    RecordDict,
)
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from veridical.errors import VeridicalError
from veridical.io.guards import write_text
from veridical.training.federated import Masked
from veridical.training.federation import Federation
from veridical.training.screening import Arrays
from veridical.training.site import SiteAnswer, SiteTrainer
from veridical.training.site_report import received, site_report
from veridical.workflow import flower_masks
from veridical.workflow.federate import federate
from veridical.workflow.flower_processes import OUTCOME

PAUSE = 0.2
"""Seconds between two looks at who has come."""


def server_app() -> ServerApp:
    """Return the app of the server; its run configuration says `federation`, `out`, `resume` and
    `wait`, the seconds in which sites must come.
    """
    app = ServerApp()

    def main(grid: Grid, context: Context) -> None:
        told = context.run_config
        out = Path(str(told["out"]))
        try:
            federation = Federation.read(str(told["federation"]))
            sites = FlowerSites(grid, context, federation)
            sites.gather(float(told["wait"]))
            path = federate(federation, out, bool(told["resume"]), sites=sites)
            outcome = {"weights": str(path), "error": ""}
        except VeridicalError as error:
            outcome = {"weights": "", "error": str(error)}
        write_text(out / OUTCOME, json.dumps(outcome) + "\n")

    app.main()(main)
    return app


def client_app(secure: bool = False) -> ClientApp:
    """Return the app of a site; its node configuration says `federation`, `site` and `out`.

    Args:
        secure: answer masked (SecAgg+).
    """
    app = ClientApp(mods=flower_masks.mods() if secure else [])

    def train(message: Message, context: Context) -> Message:
        if secure:
            return flower_masks.trained(message, context, site_of(context))
        asked = message.content["asked"]
        site = site_of(context)
        answer = site.train(
            int(asked["round"]), unpacked(message.content["arrays"]), str(asked["fingerprint"])
        )
        said = {"site": site.name, "patients": answer.patients, "facts": json.dumps(answer.facts)}
        content = RecordDict({"arrays": packed(answer.update), "said": ConfigRecord(said)})
        return Message(content, reply_to=message)

    def evaluate(message: Message, context: Context) -> Message:
        site = site_of(context)
        found = site_report(site, unpacked(message.content["arrays"]))
        said = ConfigRecord({"site": site.name, "report": json.dumps(found)})
        return Message(RecordDict({"said": said}), reply_to=message)

    app.train()(train)
    app.evaluate()(evaluate)
    return Telling(app)


class Telling(ClientApp):  # type: ignore[misc]
    """An app that answers errors of ours in words, with the name of the site; Flower itself says
    only that there was one.
    """

    def __init__(self, app: ClientApp) -> None:
        super().__init__()
        self.app = app

    def __call__(self, message: Message, context: Context) -> Message:
        try:
            return self.app(message, context)
        except VeridicalError as error:
            said = {"site": str(context.node_config["site"]), "problem": str(error)}
            return Message(RecordDict({"said": ConfigRecord(said)}), reply_to=message)


def site_of(context: Context) -> SiteTrainer:
    """Return the site that a node is."""
    told = context.node_config
    return SiteTrainer(
        Federation.read(str(told["federation"])), str(told["site"]), str(told["out"])
    )


class FlowerSites:
    """The sites of a federation, reached through Flower.

    Args:
        grid: of the run.
        context: of the server's app.
        federation: as the server knows it.
    """

    def __init__(self, grid: Grid, context: Context, federation: Federation) -> None:
        self.grid, self.context, self.federation = grid, context, federation
        self.known: dict[int, str] = {}

    def gather(self, seconds: float) -> None:
        """Wait until all sites have come, or for so many seconds."""
        until = monotonic() + seconds
        while len(self._nodes()) < len(self.federation.sites) and monotonic() < until:
            sleep(PAUSE)

    def train(
        self, number: int, shared: Arrays, names: Sequence[str]
    ) -> dict[str, SiteAnswer | str]:
        """Let sites train for a round."""
        asked = ConfigRecord({"round": number, "fingerprint": self.federation.fingerprint()})
        content = RecordDict({"arrays": packed(shared), "asked": asked})
        said, found = self._ask(content, MessageType.TRAIN, names, str(number)), {}
        for name, one in said.items():
            found[name] = one if isinstance(one, str) else _answer(one)
        return found

    def report(self, shared: Arrays, names: Sequence[str]) -> dict[str, dict[str, Any] | str]:
        """Let sites judge weights."""
        content = RecordDict({"arrays": packed(shared)})
        said = self._ask(content, MessageType.EVALUATE, names, "report")
        return {
            name: one if isinstance(one, str) else received(str(one["said"].get("report", "")))
            for name, one in said.items()
        }

    def masked(self, number: int, shared: Arrays, names: Sequence[str]) -> Masked:
        """Let sites train for a round and learn the mean of their updates only."""
        return flower_masks.masked(
            self.grid, self.context, self.federation, shared, number, self._nodes()
        )

    def _nodes(self) -> list[int]:
        return list(self.grid.get_node_ids())

    def _ask(
        self, content: RecordDict, kind: str, names: Sequence[str], group: str
    ) -> dict[str, RecordDict | str]:
        """Ask the nodes of these sites, and those whose site is not known yet."""
        if not names:
            return {}
        nodes = [node for node in self._nodes() if self.known.get(node, names[0]) in names]
        messages = [
            Message(content, dst_node_id=node, message_type=kind, group_id=group) for node in nodes
        ]
        replies = self.grid.send_and_receive(messages, timeout=self.federation.settings.timeout)
        found: dict[str, RecordDict | str] = {}
        for reply in replies:
            name, said = self._said(reply)
            if name in names and name not in found:
                found[name] = said
            elif name in found:
                found[name] = f"two nodes say that they are {name}; neither counts"
        silent = "no answer: its node is gone, failed or did not answer in time"
        return {name: found.get(name, silent) for name in names}

    def _said(self, reply: Message) -> tuple[str, RecordDict | str]:
        """Return which site a reply is of and what it says."""
        node = reply.metadata.src_node_id
        if reply.has_error():
            return self.known.get(node, ""), f"no answer: error {reply.error.code} of its node"
        try:
            said = reply.content["said"]
            name = self.known.setdefault(node, str(said["site"]))
        except (KeyError, TypeError):
            return self.known.get(node, ""), "garbage: its message has no site"
        if name != str(said["site"]):
            return name, f"garbage: the node of {name} now says that it is another site"
        return name, f"no answer: {said['problem']}" if "problem" in said else reply.content


def _answer(content: RecordDict) -> SiteAnswer | str:
    try:
        said = content["said"]
        facts = {str(k): float(v) for k, v in json.loads(str(said["facts"])).items()}
        return SiteAnswer(unpacked(content["arrays"]), int(said["patients"]), facts)
    except (KeyError, TypeError, ValueError, EOFError, AttributeError) as error:
        return f"garbage: its message cannot be read ({type(error).__name__})"


def packed(arrays: Arrays) -> ArrayRecord:
    """Return arrays as Flower sends them."""
    return ArrayRecord(OrderedDict((name, Array(value)) for name, value in arrays.items()))


def unpacked(record: Mapping[str, Array]) -> dict[str, Any]:
    """Return received arrays; numpy reads them without unpickling anything."""
    return {name: np.asarray(value.numpy()) for name, value in record.items()}
