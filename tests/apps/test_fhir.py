"""FHIR over a real connection: a small server that checks what it gets, stores it whole or not at
all, and counts versions.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import veridical
from veridical.apps.cli import main
from veridical.apps.fhir import TOKEN, send
from veridical.errors import InputError, PolicyError, SettingError
from veridical.terms import Terms
from veridical.types import Evidence, Finding, Interval, Result, Score, Step

sys.path.insert(0, str(Path(__file__).parents[1] / "io"))
import rawfiles

STATUS = {
    "ImagingStudy": {"registered", "available", "cancelled", "entered-in-error", "unknown"},
    "Observation": {
        *("registered", "preliminary", "final", "amended", "corrected", "cancelled"),
        *("entered-in-error", "unknown"),
    },
    "DiagnosticReport": {
        *("registered", "partial", "preliminary", "final", "amended", "corrected", "appended"),
        *("cancelled", "entered-in-error", "unknown"),
    },
}
"""Required value sets, R5 and R4B in common, written out from the standard."""
KINDS = {"ImagingStudy", "Observation", "DiagnosticReport", "Provenance", "Device"}
BLOCKING = """
name = "ward"
[[rule]]
name = "no contradiction"
check = "consistency"
verdict = "warn"
then = "block"
"""


@dataclass
class Store:
    """What the server holds: address -> versions; and how it shall behave."""

    version: str = "R5"
    held: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)
    answer: Callable[[dict[str, Any]], tuple[int, dict[str, str], Any]] | None = None

    def take(self, bundle: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        """Validate a transaction and store it."""
        place = "fhir.resources" + (".R4B" if self.version == "R4B" else "")
        importlib.import_module(f"{place}.bundle").Bundle.model_validate(bundle)
        assert bundle["type"] == "transaction"
        addresses = {entry["request"]["url"] for entry in bundle["entry"]}
        assert len(addresses) == len(bundle["entry"])
        answers = []
        for entry in bundle["entry"]:
            resource, request = entry["resource"], entry["request"]
            kind, address = resource["resourceType"], request["url"]
            model = getattr(importlib.import_module(f"{place}.{kind.lower()}"), kind)
            model.model_validate(resource)
            assert kind in KINDS
            assert request["method"] == "PUT"
            assert address == f"{kind}/{resource['id']}"
            assert re.fullmatch(r"[A-Za-z0-9.-]{1,64}", resource["id"])
            assert kind not in STATUS or resource["status"] in STATUS[kind]
            assert set(references(resource)) <= addresses | {"Patient/7"}
            versions = self.held.setdefault(address, [])
            versions.append(resource)
            said = {"status": "201 Created" if len(versions) == 1 else "200 OK"}
            answers.append({"response": said | {"location": f"{address}/_history/{len(versions)}"}})
        return 200, {}, {"resourceType": "Bundle", "type": "transaction-response", "entry": answers}


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


@pytest.fixture
def server() -> Iterator[tuple[str, Store]]:
    store = Store()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            store.asked.append({"path": self.path, **dict(self.headers)})
            bundle = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            code, headers, content = (store.answer or store.take)(bundle)
            body = json.dumps(content).encode()
            self.send_response(code)
            for key, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/fhir", store
        http.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fhir") / "series"
    rawfiles.write_series(
        folder,
        [(0, 0, 3.0 * k) for k in range(4)],
        StudyInstanceUID="1.2.840.99.7",
        PatientID="P<7>",
        PatientName="<script>alert(1)</script>^JANE",
        AccessionNumber="A1",
        StudyDate="20200102",
        StudyTime="101112.5",
        TimezoneOffsetFromUTC="+0100",
    )
    return folder


def made(source: Path, taken: str = "T1w") -> Result:
    image = veridical.read(source)
    assert isinstance(image, veridical.Image)
    step = Step(
        "translate",
        {"model": "/data/DOE^JANE/brain.safetensors", "draws": 4},
        {taken: "ab" * 32},
        "brain",
        "f" * 64,
        {"veridical": "0.1.0"},
        7,
    )
    findings = (
        Finding("consistency", "warn", "Off by <b>2</b> & more.", {"misfit": 1.25, "fits": True}),
        Finding("memorization", "not_run", "No training images were given."),
    )
    return Result(
        image,
        "posterior mean",
        interval=Interval(image.data - 2, image.data + 2, 0.9, 12, "a method", "a promise"),
        evidence=Evidence(np.full(image.data.shape, 0.95, np.float32)),
        findings=findings,
        steps=(step,),
    )


@pytest.mark.parametrize("version", ["R5", "R4B"])
def test_a_server_that_validates_takes_all_resources_in_one_transaction(
    server: tuple[str, Store], source: Path, version: str
) -> None:
    base, store = server
    store.version = version
    written = send(made(source), source, base, version=version, patient="Patient/7")
    assert len(store.asked) == 1
    assert store.asked[0]["Content-Type"].startswith("application/fhir+json")
    assert {address.split("/")[0] for address in store.held} == KINDS
    assert len(written) == len(store.held)
    assert all(one.startswith(f"{base}/") and "/_history/1" in one for one in written)


@pytest.mark.parametrize("version", ["R5", "R4B"])
def test_a_resend_makes_new_versions_and_no_new_resource(
    server: tuple[str, Store], source: Path, version: str
) -> None:
    base, store = server
    store.version = version
    result = made(source)
    send(result, source, base, version=version)
    before = set(store.held)
    send(result, source, base, version=version)
    assert set(store.held) == before
    assert {len(versions) for versions in store.held.values()} == {2}


def test_another_seed_is_another_result(source: Path, tmp_path: Path) -> None:
    result = made(source)
    step = result.steps[0]
    other = veridical.types.replace(result, steps=(veridical.types.replace(step, seed=8),))
    names = [send(one, source, tmp_path)[0] for one in (result, other, result)]
    assert names[0] == names[2] != names[1]


def bundle_of(source: Path, folder: Path, result: Result | None = None, **more: Any) -> Any:
    (written,) = send(result or made(source), source, folder, **more)
    return json.loads(Path(written).read_text(encoding="utf-8"))


def held(bundle: Any, kind: str) -> list[dict[str, Any]]:
    every = [entry["resource"] for entry in bundle["entry"]]
    return [one for one in every if one["resourceType"] == kind]


def test_a_folder_gets_the_same_transaction_as_a_file(source: Path, tmp_path: Path) -> None:
    bundle = bundle_of(source, tmp_path)
    Store().take(bundle)
    assert [path.name for path in tmp_path.iterdir()] == [f"Bundle-{bundle['id']}.json"]


def test_the_study_lists_the_series_and_the_derived_ones(source: Path, tmp_path: Path) -> None:
    derived = tmp_path / "derived"
    rawfiles.write_series(derived, [(0, 0, 0), (0, 0, 3)], StudyInstanceUID="1.2.840.99.7")
    (study,) = held(bundle_of(source, tmp_path, derived=derived), "ImagingStudy")
    assert study["identifier"][0] == {"system": "urn:dicom:uid", "value": "urn:oid:1.2.840.99.7"}
    assert study["identifier"][1]["value"] == "A1"
    assert study["started"] == "2020-01-02T10:11:12+01:00"
    assert study["subject"]["identifier"] == {"value": "P<7>"}
    assert sorted(len(one["instance"]) for one in study["series"]) == [2, 4]
    assert study["numberOfInstances"] == 6


def test_findings_and_measures_are_observations(source: Path, tmp_path: Path) -> None:
    found = {
        one["code"]["coding"][0]["code"]: one
        for one in held(bundle_of(source, tmp_path), "Observation")
    }
    assert found["consistency"]["valueCodeableConcept"]["coding"][0]["code"] == "warn"
    assert [c["code"]["text"] for c in found["consistency"]["component"]] == ["misfit"]
    absent = found["memorization"]["dataAbsentReason"]["coding"][0]["code"]
    assert absent == "not-performed"
    assert "valueCodeableConcept" not in found["memorization"]
    width = found["interval-half-width"]["valueQuantity"]
    assert (width["value"], width["code"]) == (2.0, "[hnsf'U]")
    assert found["measured-share"]["valueQuantity"]["value"] == 100.0


def test_scores_are_observations_with_their_interval(source: Path, tmp_path: Path) -> None:
    score = Score("psnr", "pixel", 31.5, "dB", "higher", (30.0, 33.0), "brain")
    found = held(bundle_of(source, tmp_path, scores=(score,)), "Observation")
    (one,) = [o for o in found if o["code"]["coding"][0]["code"] == "psnr"]
    assert one["valueQuantity"]["value"] == 31.5
    assert [c["valueQuantity"]["value"] for c in one["component"]] == [30.0, 33.0]


@pytest.mark.parametrize(("taken", "expected"), [("T1w", True), ("CT", False)])
def test_every_resource_is_marked_and_nothing_is_final(
    source: Path, tmp_path: Path, taken: str, expected: bool
) -> None:
    bundle = bundle_of(source, tmp_path, made(source, taken))
    for entry in bundle["entry"]:
        meta = entry["resource"]["meta"]
        tags = {one["code"] for one in meta["tag"]}
        assert "research-only" in tags
        assert ("synthetic" in tags) is expected
        assert [one["code"] for one in meta["security"]] == ["AIAST"]
        assert entry["resource"].get("status") != "final"


def test_what_was_made_from_synthetic_data_is_marked_as_synthetic(tmp_path: Path) -> None:
    folder = tmp_path / "series"
    rawfiles.write_series(
        folder, [(0, 0, 0), (0, 0, 3)], StudyInstanceUID="1.2.3", SyntheticData="YES"
    )
    bundle = bundle_of(folder, tmp_path / "out", made(folder, "CT"))
    tags = [one["code"] for one in held(bundle, "DiagnosticReport")[0]["meta"]["tag"]]
    assert tags == ["research-only", "synthetic"]


def test_text_is_escaped_and_names_of_patients_and_folders_stay_out(
    source: Path, tmp_path: Path
) -> None:
    bundle = bundle_of(source, tmp_path)
    (report,) = held(bundle, "DiagnosticReport")
    assert "Off by &lt;b&gt;2&lt;/b&gt; &amp; more." in report["text"]["div"]
    assert "JANE" not in json.dumps(bundle)
    (record,) = held(bundle, "Provenance")
    assert "brain.safetensors" in record["text"]["div"]
    assert "seed 7" in record["text"]["div"]


def test_what_the_policy_blocks_is_not_sent(
    server: tuple[str, Store], source: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(BLOCKING, encoding="utf-8")
    with pytest.raises(PolicyError, match="no contradiction"):
        send(made(source), source, server[0], terms=Terms(policy=policy))
    assert not server[1].asked


def test_a_refusal_names_codes_and_places_and_no_patient(
    server: tuple[str, Store], source: Path
) -> None:
    issue = {"code": "invalid", "expression": ["Patient.name"], "diagnostics": "DOE^JANE"}
    server[1].answer = lambda _: (422, {}, {"resourceType": "OperationOutcome", "issue": [issue]})
    with pytest.raises(InputError, match=r"422 .*invalid Patient\.name") as caught:
        send(made(source), source, server[0])
    assert "JANE" not in str(caught.value)


def test_a_redirect_is_not_followed(server: tuple[str, Store], source: Path) -> None:
    base, store = server
    store.answer = lambda _: (307, {"Location": f"{base}/elsewhere"}, {})
    with pytest.raises(InputError, match="307"):
        send(made(source), source, base)
    assert [one["path"] for one in store.asked] == ["/fhir"]


def test_a_partial_answer_is_an_error(server: tuple[str, Store], source: Path) -> None:
    said = {"response": {"status": "201 Created", "location": "Device/1"}}
    server[1].answer = lambda _: (200, {}, {"entry": [said]})
    with pytest.raises(InputError, match=r"stored 1 of \d+"):
        send(made(source), source, server[0])


@pytest.mark.parametrize("answer", [{}, [], {"entry": [{}]}])
def test_an_answer_that_is_none_is_an_error(
    server: tuple[str, Store], source: Path, answer: Any
) -> None:
    server[1].answer = lambda _: (200, {}, answer)
    with pytest.raises(InputError, match="something else"):
        send(made(source), source, server[0])


def test_a_server_that_is_not_there_is_an_error(source: Path) -> None:
    with pytest.raises(InputError, match="does not answer"):
        send(made(source), source, "http://127.0.0.1:9/fhir")


def test_a_token_goes_with_the_request_and_never_in_the_clear(
    server: tuple[str, Store], source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN, "secret")
    send(made(source), source, server[0])
    assert server[1].asked[0]["Authorization"] == "Bearer secret"
    with pytest.raises(SettingError, match="unencrypted"):
        send(made(source), source, "http://fhir.invalid/r5")


@pytest.mark.parametrize("address", ["ftp://host/a", "file:///etc", "http://u:p@host/"])
def test_only_addresses_of_the_web_without_passwords_are_taken(source: Path, address: str) -> None:
    with pytest.raises(SettingError, match="https://HOST/PATH") as caught:
        send(made(source), source, address)
    assert "u:p" not in str(caught.value)


def test_the_command_sends_a_stored_result(
    server: tuple[str, Store], source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(source).save(tmp_path / "out", "sub-1")
    words = ["fhir", str(tmp_path / "out"), "--source", str(source), "--to", server[0], "--json"]
    assert main(words) == 0
    first = json.loads(capsys.readouterr().out)["written"]
    assert main(words) == 0
    assert {len(versions) for versions in server[1].held.values()} == {2}
    versions = [same[0] == same[1] for same in server[1].held.values()]
    assert all(versions), "a stored result sent again is the same to the byte"
    assert len(first) == len(server[1].held)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"version": "R6"}, "R6"), ({"version": "r5"}, "R5")],
)
def test_an_unknown_version_is_refused(
    source: Path, tmp_path: Path, change: dict[str, str], said: str
) -> None:
    with pytest.raises(SettingError, match=said):
        send(made(source), source, tmp_path, **change)
    assert not list(tmp_path.iterdir())
