"""The same server and sites over Flower: messages within this process, masks, and real processes on
loopback.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ |= {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
pytest.importorskip("flwr", reason="needs the extra federated")

from flwr.app import Context, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

import federations
from veridical.apps.federate import ports as free_ports
from veridical.errors import SettingError
from veridical.training.federated import Server, initial
from veridical.training.site import SiteAnswer, SiteTrainer
from veridical.workflow.federate import SITES, LocalSites
from veridical.workflow.flower_apps import FlowerSites, client_app, packed, unpacked
from veridical.workflow.flower_processes import Safety
from veridical.workflow.flower_run import on_loopback

MASKED = ("secure_aggregation = true", "[defence]\nscreen = false")
Spoil = Callable[[Message], Message | None]


def context(node: int, told: dict[str, Any]) -> Context:
    return Context(run_id=1, node_id=node, node_config=told, state=RecordDict(), run_config={})


@pytest.fixture(autouse=True)
def _identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be a task of Flower, as its processes are."""
    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


class Within(Grid):
    """Carries messages to the apps of sites within this process."""

    def __init__(self, file: Path, out: Path, secure: bool = False) -> None:
        self.app = client_app(secure)
        self.spoil: dict[str, Spoil] = {}
        self.nodes = {
            number: context(number, {"federation": str(file), "site": site, "out": str(out / site)})
            for number, site in enumerate(federations.SITES, 1)
        }

    def get_node_ids(self) -> Iterable[int]:
        return list(self.nodes)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        replies = []
        for message in messages:
            message.content = deepcopy(message.content)  # as if it had travelled
            node = self.nodes[message.metadata.dst_node_id]
            reply: Message | None = self.app(message, node)
            if (spoil := self.spoil.get(str(node.node_config["site"]))) and reply is not None:
                reply = spoil(reply)
            replies += [reply] if reply is not None else []
        return replies

    def set_run(self, run: Any) -> None: ...

    @property
    def run(self) -> Any:
        return None

    def create_message(self, *args: Any, **more: Any) -> Message:
        raise NotImplementedError

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        raise NotImplementedError

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        raise NotImplementedError


def test_arrays_arrive_as_they_were_sent_and_nothing_is_unpickled() -> None:
    sent = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros((), np.float32)}
    record = packed(sent)
    for name, value in unpacked(record).items():
        assert np.array_equal(value, sent[name])
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        packed({"a": np.array([object()])})


def test_over_flower_the_weights_are_those_of_one_process(tmp_path: Path) -> None:
    file = federations.written(tmp_path)
    plan = federations.federation(tmp_path)
    grid = Within(file, tmp_path / "flower")
    over = Server(plan, tmp_path / "a").run(FlowerSites(grid, context(0, {}), plan))
    here = Server(plan, tmp_path / "b").run(LocalSites(plan, tmp_path / "b"))
    for name, value in here.average.items():
        assert np.array_equal(value, over.average[name])


def test_what_a_site_refuses_and_what_nobody_can_read_is_told_in_words(tmp_path: Path) -> None:
    plan = federations.federation(tmp_path)
    grid = Within(federations.written(tmp_path), tmp_path / "flower")
    sites = FlowerSites(grid, context(0, {}), plan)

    def empty(reply: Message) -> Message:
        reply.content["said"]["facts"] = "no json"
        return reply

    def impostor(reply: Message) -> Message:
        reply.content["said"]["site"] = "east"
        return reply

    grid.spoil = {"north": empty, "west": lambda _: None}
    found = sites.train(1, initial(plan), list(federations.SITES))
    assert isinstance(found["east"], SiteAnswer)
    assert str(found["north"]).startswith("garbage: its message cannot be read")
    assert str(found["west"]).startswith("no answer")
    grid.spoil = {"north": impostor}
    again = sites.train(1, initial(plan), list(federations.SITES))
    assert "says that it is another site" in str(again["north"])
    del sites.federation.sites["west"]  # another federation than that of the sites
    refused = sites.train(2, initial(plan), ["east", "north"])
    assert "not that of site 'east'" in str(refused["east"])


def test_under_masks_the_server_learns_the_mean_and_no_update(tmp_path: Path) -> None:
    file = federations.written(tmp_path, *MASKED)
    plan = federations.federation(tmp_path, *MASKED)
    grid = Within(file, tmp_path / "flower", secure=True)
    seen: list[Message] = []
    grid.spoil = {name: lambda reply: seen.append(reply) or reply for name in federations.SITES}
    sites, shared = FlowerSites(grid, context(0, {}), plan), initial(plan)
    found = sites.masked(1, shared, list(federations.SITES))
    assert found.took_part == federations.SITES
    answers = [
        SiteTrainer(plan, name, tmp_path / "b" / name).train(1, shared, plan.fingerprint())
        for name in federations.SITES
    ]
    for name, value in found.update.items():
        expected = np.mean([one.update[name] for one in answers], 0)
        np.testing.assert_allclose(value, expected, atol=2e-6)
    sent = [array for reply in seen for array in reply.content.array_records.values()]
    assert sent
    assert not any(record.keys() for record in sent)  # only masked integers travelled


def test_tls_is_asked_for_over_a_network() -> None:
    assert Safety().of_link("127.0.0.1:9000") == ["--insecure"]
    with pytest.raises(SettingError, match="--certificate"):
        Safety().of_link("10.0.0.1:9000")
    with pytest.raises(SettingError, match="--authority"):
        Safety().of_node("hospital.example:9000")
    assert Safety(authority="ca.pem").of_node("hospital.example:9000")[0] == "--root-certificates"


@pytest.mark.peers
def test_processes_on_loopback_train_and_report(tmp_path: Path) -> None:
    file = federations.written(tmp_path)
    whole = file.read_text().replace("rounds = 2", "rounds = 1")
    file.write_text(whole[: whole.index("[sites.west]")])
    out, ports = tmp_path / "out", list(free_ports(3))
    weights = on_loopback(file, out, ports)
    assert weights.is_file()
    report = json.loads((out / "report.json").read_text())
    assert list(report["sites"]) == ["east", "north"]
    assert (out / SITES / "north" / "answer.safetensors").is_file()
    assert "telemetry" not in (out / "flower" / "superlink.log").read_text().lower()
