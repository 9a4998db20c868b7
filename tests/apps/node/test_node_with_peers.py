"""The whole way with real peers: dcmtk sends, the node enhances, Orthanc gets what came of it."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pydicom
import pytest

from pacs import (
    Orthanc,
    free_port,
    needs_dcmtk,
    needs_orthanc,
    node,
    orthanc,
    storescu,
    until,
    write_toml,
)
from veridical.apps.node.phantom_series import phantom_series
from veridical.apps.node.settings import NodeSettings
from veridical.apps.node.worker import produce

pytestmark = [pytest.mark.peers, needs_orthanc, needs_dcmtk]
ROOT = Path(__file__).parents[3]
STS = "sts_mr_ct_pet/dicom/STS_002/MR_T1/image"
ENHANCE = """[[route]]
name = "mr"
task = "enhance"
when = {modality = "MR"}
settings = {job = "denoise", draws = 2}
contrast = "T1w"
send = ["one", "two"]
"""


def retrieved(pacs: Orthanc, study: str) -> list[Any]:
    """All objects of a study, found by QIDO-RS and retrieved by WADO-RS."""
    from dicomweb_client.api import DICOMwebClient

    client = DICOMwebClient(pacs.web)
    client.set_http_retry_params(retry=False)
    found = client.search_for_instances(study)
    uids = [[item[tag]["Value"][0] for tag in ("0020000E", "00080018")] for item in found]
    return [client.retrieve_instance(study, *each) for each in uids]


def valid(one: Any, folder: Path) -> bool:
    """Whether dciodvfy finds no error."""
    one.save_as(folder / "one.dcm", enforce_file_format=True)
    tool = Path(sys.executable).parent / "dciodvfy"
    done = subprocess.run([tool, folder / "one.dcm"], capture_output=True, text=True)
    return not [line for line in done.stderr.splitlines() if line.startswith("Error")]


def whole_way(files: list[Path], folder: Path) -> None:
    """Send a series through a node to two PACS, by C-STORE and by STOW-RS alone."""
    source = pydicom.dcmread(files[0])
    with orthanc(folder / "one") as one, orthanc(folder / "two") as two:
        text = f"[peer.one]\n{one.peer()}[peer.two]\n{two.peer(web=True)}{ENHANCE}"
        with node(folder / "node", text) as ours:
            assert storescu(ours.port, *files) == 0
            store = ours.store()
            until(lambda: store.jobs(("dead", "held")) or sent(store), 280)
            assert store.jobs(("dead", "held")) == []
            store.close()
            assert ours.stop() == 0
            settings = NodeSettings.read(ours.file)
        got = [retrieved(pacs, str(source.StudyInstanceUID)) for pacs in (one, two)]
    (folder / "series-1").mkdir()
    for number, file in enumerate(files, 1):
        (folder / "series-1" / f"{number:05}.dcm").symlink_to(file)
    produce(settings, settings.routes[0], [folder / "series-1"], folder / "again")
    here = [pydicom.dcmread(file) for file in (folder / "again").rglob("*.dcm")]
    for arrived in got:
        kinds = Counter(str(one.SOPClassUID.name) for one in arrived)
        assert kinds.pop("MR Image Storage") == len(files)
        assert kinds.pop("Parametric Map Storage") == 2, "interval width and evidence"
        assert [(name.endswith("SR Storage"), count) for name, count in kinds.items()] == [
            (True, 1)
        ]
        by_uid = {one.SOPInstanceUID: one for one in arrived}
        assert set(by_uid) == {one.SOPInstanceUID for one in here}, "the same under the same UIDs"
        for one in here:
            for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"):
                assert by_uid[one.SOPInstanceUID].get(name) == one.get(name), name
    assert all(valid(one, folder) for one in got[0])


def sent(store: Any) -> bool:
    counts = store.counts()
    return "peer:one done" in counts and "peer:two done" in counts


def test_a_series_comes_back_enhanced_with_maps_and_report_equal_to_the_result_in_process(
    tmp_path: Path,
) -> None:
    whole_way(phantom_series(tmp_path / "in", shape=(24, 24, 3)), tmp_path)


@pytest.mark.real
def test_a_series_of_a_patient_comes_back_too(tmp_path: Path, real_data: Path) -> None:
    files = (real_data / STS).glob("*.dcm")
    slices = sorted(files, key=lambda f: pydicom.dcmread(f).ImagePositionPatient[2])
    whole_way(slices[10:15], tmp_path)


def test_nothing_is_lost_and_nothing_comes_twice_when_the_node_is_killed() -> None:
    """The short version of `make soak`."""
    words = [sys.executable, ROOT / "benchmarks" / "soak.py", "--kills", "2", "--longest", "2"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing lost, every series processed once, no orphan file" in done.stdout


def test_on_a_full_disk_objects_are_refused_and_taken_when_there_is_room(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", disk])
    if mounted.returncode:
        pytest.skip("this user may not mount a small disk")
    try:
        files = phantom_series(tmp_path / "in", "CT", shape=(512, 512, 30))
        with node(tmp_path / "node", "", folder=str(disk / "n"), free=0.0) as ours:
            assert storescu(ours.port, *files) != 0
            store = ours.store()
            kept = set(store.paths())
            assert 0 < len(kept) < 30
            for path in kept:
                whole = pydicom.dcmread(disk / "n" / path)
                assert len(whole.PixelData) == 2 * 512 * 512
            subprocess.run(["mount", "-o", "remount,size=60m", disk], check=True)
            assert storescu(ours.port, *files) == 0
            until(lambda: len(store.paths()) == 30, 10)
            store.close()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_health_and_metrics_are_on_loopback_and_say_what_there_is(tmp_path: Path) -> None:
    port = free_port()

    def asked(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    files = phantom_series(tmp_path / "in", shape=(8, 8, 3))
    with node(tmp_path / "node", "", monitor=port, series_quiet=60) as ours:
        assert storescu(ours.port, *files) == 0
        until(lambda: 'veridical_node_items{of="objects",state="read"} 3' in asked("/metrics")[1])
        until(lambda: asked("/health")[0] == 200)
        assert asked("/elsewhere")[0] == 404
        said = asked("/metrics")[1]
        assert "veridical_node_well 1" in said
        assert str(pydicom.dcmread(files[0]).StudyInstanceUID) not in said
    with node(tmp_path / "full", "", monitor=port, free=1e6):
        until(lambda: asked("/health")[0] == 503)


def test_check_says_what_will_not_work(tmp_path: Path) -> None:
    dead = f'[peer.dead]\nae_title = "X"\nhost = "127.0.0.1"\nport = {free_port()}\n'
    with orthanc(tmp_path / "pacs") as pacs:
        text = f"[peer.pacs]\n{pacs.peer()}[peer.web]\n{pacs.peer(True)}{dead}"
        ours = write_toml(tmp_path / "node", text)
        words = [sys.executable, "-m", "veridical.apps.cli", "node", "check", str(ours.file)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert "ok    peer pacs: C-ECHO" in done.stdout
    assert "ok    peer web: QIDO-RS" in done.stdout
    assert "FAIL  peer dead: The peer X does not answer" in done.stdout
    assert "1 of these will not work" in done.stderr
