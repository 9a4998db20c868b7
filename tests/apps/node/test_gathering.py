"""From objects to jobs: quiet times, versions, routes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from veridical.apps.node import gathering
from veridical.apps.node.gathering import Gatherer
from veridical.apps.node.job_store import JobStore
from veridical.apps.node.landing import Land
from veridical.apps.node.phantom_series import phantom_series
from veridical.apps.node.receiver import Reception
from veridical.apps.node.settings import NodeSettings

Said = Callable[..., NodeSettings]
PEER = '[peer.pacs]\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 104\n'
ROUTE = PEER + '[[route]]\nname = "{}"\ntask = "enhance"\nsend = ["pacs"]\n{}\n'


@pytest.fixture
def node(said: Said, store: JobStore, land: Land) -> Callable[..., Gatherer]:
    def made(text: str = ROUTE.format("mr", ""), **more: Any) -> Gatherer:
        more = {"series_quiet": 10, "study_quiet": 20, **more}
        return Gatherer(said(text, **more), store, land, lambda uid: f"#{uid[-4:]}")

    return made


def arrive(node: Gatherer, files: list[Path]) -> None:
    """Receive copies of files, and read their headers."""
    taking = Reception(node.settings, node.store, node.land, node.hashed)
    for file in files:
        import pydicom

        one = pydicom.dcmread(file, stop_before_pixels=True)
        copy = node.land.arriving / file.name
        copy.write_bytes(file.read_bytes())
        sop, kind = str(one.SOPInstanceUID), str(one.SOPClassUID)
        assert taking.take(copy, sop, kind, str(one.file_meta.TransferSyntaxUID), "CT1") == 0
    while node.step():
        pass


def runs(store: JobStore) -> list[Any]:
    return [job for job in store.jobs() if job.kind == "run"]


def test_a_series_becomes_one_job_when_it_has_been_quiet_and_not_before(
    node: Callable[..., Gatherer], store: JobStore, tmp_path: Path
) -> None:
    one = node()
    arrive(one, phantom_series(tmp_path / "in", shape=(8, 8, 3)))
    one.gather(time.time() + 9)
    assert store.jobs() == []
    for _ in range(3):
        one.gather(time.time() + 11)
    (job,) = store.jobs()
    assert [len(files) for files in job.payload["series"]] == [3]
    (line,) = store.happened(9)
    expected = {"objects": 3, "routes": ["mr"], "version": 1, "jobs": [job.key[:16]]}
    assert line.details == expected


def test_late_slices_make_a_new_version_and_resent_ones_make_nothing(
    node: Callable[..., Gatherer], store: JobStore, tmp_path: Path
) -> None:
    one, files = node(), phantom_series(tmp_path / "in", shape=(8, 8, 3))
    arrive(one, files[:2])
    one.gather(time.time() + 11)
    arrive(one, files[:2])
    one.gather(time.time() + 11)
    assert len(runs(store)) == 1, "the same again is no news"
    arrive(one, files)
    one.gather(time.time() + 11)
    first, second = runs(store)
    assert [len(job.payload["series"][0]) for job in (first, second)] == [2, 3]
    assert [line.details["version"] for line in store.happened(9)] == [1, 2]


def test_a_series_that_never_falls_quiet_is_taken_after_the_longest_wait(
    node: Callable[..., Gatherer], store: JobStore, tmp_path: Path
) -> None:
    one = node(series_quiet=1000, longest_wait=50)
    arrive(one, phantom_series(tmp_path / "in", shape=(8, 8, 2)))
    one.gather(time.time() + 49)
    assert runs(store) == []
    one.gather(time.time() + 51)
    assert len(runs(store)) == 1


def test_the_first_route_that_fits_takes_a_series(
    node: Callable[..., Gatherer], store: JobStore, tmp_path: Path
) -> None:
    text = PEER + "".join(
        f'[[route]]\nname = "{name}"\ntask = "enhance"\nsend = ["pacs"]\nwhen = {when}\n'
        for name, when in (
            ("ct", '{modality = "CT"}'),
            ("thick", '{modality = "MR", thickness = [3, 9], description = ["T1*", "T2*"]}'),
            ("rest", "{}"),
        )
    )
    one = node(text)
    for seed, description in enumerate(("t1 axial", "PD", "T2 sag")):
        arrive(
            one,
            phantom_series(
                tmp_path / description, shape=(8, 8, 2), seed=seed, description=description
            ),
        )
    arrive(one, phantom_series(tmp_path / "ct", "CT", shape=(8, 8, 2)))
    one.gather(time.time() + 11)
    assert sorted(job.payload["route"] for job in runs(store)) == ["ct", "rest", "thick", "thick"]


def test_a_study_is_one_job_of_a_route_that_takes_studies(
    node: Callable[..., Gatherer], store: JobStore, tmp_path: Path
) -> None:
    one = node(ROUTE.format("all", 'group = "study"\nwhen = {modality = "MR"}'))
    for seed in (1, 2):
        arrive(one, phantom_series(tmp_path / f"{seed}", shape=(8, 8, 2), seed=seed, study="1.2.3"))
    arrive(one, phantom_series(tmp_path / "ct", "CT", shape=(8, 8, 2), study="1.2.3"))
    one.gather(time.time() + 11)
    assert runs(store) == []
    assert [line.what for line in store.happened(9)] == ["series without a route"], "the CT"
    one.gather(time.time() + 21)
    (job,) = runs(store)
    assert [len(files) for files in job.payload["series"]] == [2, 2]


def test_originals_are_sent_on_beside_the_result_or_without_any_task(
    node: Callable[..., Gatherer], store: JobStore, tmp_path: Path
) -> None:
    text = PEER + '[[route]]\nname = "pass on"\nsend_original = ["pacs"]\n'
    one = node(text)
    arrive(one, phantom_series(tmp_path / "in", shape=(8, 8, 2)))
    one.gather(time.time() + 11)
    (job,) = store.jobs()
    assert (job.kind, job.lane, len(job.payload["files"])) == ("send", "peer:pacs", 2)


def test_other_settings_of_a_route_make_another_job_of_the_same_series(
    node: Callable[..., Gatherer], store: JobStore, tmp_path: Path
) -> None:
    files = phantom_series(tmp_path / "in", shape=(8, 8, 3))
    one = node()
    arrive(one, files[:1])
    members = store.members(
        "study", store.members("series", one.store.quiet("series", 9e9, 0)[0][0])[0].study
    )
    keys = {
        gathering.jobs_of(node(ROUTE.format("mr", more)).settings.routes[0], "1.2", members)[0].key
        for more in ("", "seed = 1", "mark = true", "settings = {draws = 2}")
    }
    assert len(keys) == 4


def test_results_of_veridical_go_in_no_circles(
    node: Callable[..., Gatherer], store: JobStore, tmp_path: Path
) -> None:
    import pydicom

    one, files = node(), phantom_series(tmp_path / "in", shape=(8, 8, 2))
    for file in files:
        made = pydicom.dcmread(file)
        made.Manufacturer = "Veridical"
        made.save_as(file)
    arrive(one, files)
    one.gather(time.time() + 11)
    assert store.jobs() == []
    assert store.happened(1)[0].what == "series without a route"


def test_what_cannot_be_read_is_put_aside_and_the_rest_goes_on(
    node: Callable[..., Gatherer], store: JobStore, tmp_path: Path
) -> None:
    one = node()
    files = phantom_series(tmp_path / "in", shape=(8, 8, 3))
    taking = Reception(one.settings, store, one.land, str)
    junk = one.land.arriving / "junk"
    junk.write_bytes(b"no DICOM" * 100)
    assert taking.take(junk, "1.2.3", "1.2", "1.2.840.10008.1.2.1", "CT1") == 0
    arrive(one, files)
    assert store.counts()["objects unreadable"] == 1
    assert store.counts()["objects read"] == 3
    assert "cannot be read (InvalidDicomError)" in store.happened(9)[0].details["reason"]
    assert len(list(one.land.objects.glob("*/*"))) == 4, "it is kept"


def test_an_object_that_ends_its_reader_again_and_again_is_put_aside(
    node: Callable[..., Gatherer],
    store: JobStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Killed(BaseException):
        """Stands for the end of the process."""

    one = node()
    good = gathering.examined
    files = phantom_series(tmp_path / "in", shape=(8, 8, 3))
    taking = Reception(one.settings, store, one.land, str)
    for number, file in enumerate(files):
        copy = one.land.arriving / "x"
        copy.write_bytes(file.read_bytes())
        taking.take(copy, f"1.2.{number}", "1.2", "1.2.840.10008.1.2.1", "CT1")
    poison = store.unread(9)[1][1].sop

    def examined(path: Path, received: Any, largest: float) -> Any:
        if received.sop == poison:
            raise Killed
        return good(path, received, largest)

    monkeypatch.setattr(gathering, "examined", examined)
    for _ in range(gathering.DEADLY):
        with pytest.raises(Killed):
            one.step()
    assert json.loads((one.land.folder / "reading").read_text()) == [2, gathering.DEADLY]
    one.step()
    assert store.unread(9) == []
    assert f"{gathering.DEADLY} times" in json.dumps([h.details for h in store.happened(9)])
