"""Weights, card and report of a federation within one process, and its command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import federations
from veridical.apps.cli import main
from veridical.errors import InputError
from veridical.models import weights
from veridical.models.denoiser import denoising_net
from veridical.models.model_card import lacking
from veridical.training.federated_card import YOURS
from veridical.workflow.federate import LocalSites, federate
from veridical.workflow.site_folders import phantom_sites


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run by the command."""
    folder = tmp_path_factory.mktemp("federation")
    path = federations.written(folder)
    assert main(["federate", str(path), "--out", str(folder / "out"), "--quiet"]) == 0
    return folder / "out"


def test_the_weights_are_a_denoiser_with_a_card(trained: Path) -> None:
    import torch

    denoising_net(str(trained / "toy.safetensors"), torch.device("cpu"))
    card = weights.stored_card(str(trained / "toy.safetensors"))
    lacks = [one.split(":")[0] for one in lacking(card)]
    assert lacks == [
        "intended_use",
        "limits",
        "audits.copies",
    ]  # the recipe says neither, and the images must be audited where they are


def test_the_card_names_sites_privacy_and_who_was_left_out(trained: Path) -> None:
    card = json.loads((trained / "toy.json").read_text())
    assert card["patients"] == dict.fromkeys(federations.SITES, 4)
    assert card["licences"] == dict.fromkeys(federations.SITES, YOURS)
    assert card["may_ship"] is False
    assert card["federation"]["left_out"] == []
    assert card["federation"]["privacy"]["epsilon"] is None
    assert [score["n"] for score in card["scores"]] == [1, 1, 1]


def test_neither_card_nor_report_nor_log_names_a_patient_or_a_folder(trained: Path) -> None:
    for name in ("toy.json", "report.json", "report.md", "log.jsonl"):
        text = (trained / name).read_text()
        assert "sub-" not in text
        assert str(federations.folders()) not in text


def test_the_report_has_a_line_for_every_site(trained: Path) -> None:
    page = (trained / "report.md").read_text()
    whole = json.loads((trained / "report.json").read_text())
    for site in federations.SITES:
        assert f"| {site} | 4 | 1 |" in page
        assert 0 <= whole["sites"][site]["coverage"] <= 1
    assert "Nobody in any round." in page


def test_resuming_a_whole_run_changes_nothing(trained: Path) -> None:
    before = (trained / "toy.safetensors").read_bytes()
    path = trained.parent / "fed.toml"
    assert main(["federate", str(path), "--out", str(trained), "--quiet", "--resume"]) == 0
    assert (trained / "toy.safetensors").read_bytes() == before


def test_under_privacy_card_and_report_say_epsilon_delta_and_patient(tmp_path: Path) -> None:
    pytest.importorskip("opacus", reason="needs the extra federated")
    more = "[privacy]\nepsilon = 8.0\npatients = 2\ndelta = 0.01\nseeded = true"
    plan = federations.federation(tmp_path, more=more)
    path = federate(plan, tmp_path / "out")
    said = json.loads(path.with_suffix(".json").read_text())["federation"]["privacy"]
    assert 7 < said["epsilon"] <= 8.001
    assert (said["delta"], said["unit"]) == (0.01, "patient")
    assert "gives no privacy" in said["said"]  # since the noise came from a seed
    assert "delta 0.01" in (tmp_path / "out" / "report.md").read_text()


def test_a_site_whose_folder_is_gone_is_left_out_and_the_others_go_on(tmp_path: Path) -> None:
    path = federations.written(tmp_path)
    path.write_text(path.read_text().replace(str(federations.folders() / "west"), "gone"))
    assert main(["federate", str(path), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    whole = json.loads((tmp_path / "out" / "report.json").read_text())
    assert list(whole["sites"]) == ["east", "north"]
    assert "is not there" in whole["without_report"]["west"]
    assert {one["site"] for one in whole["left_out"]} == {"west"}


def test_masks_within_one_process_are_refused(tmp_path: Path) -> None:
    line, more = "secure_aggregation = true", "[defence]\nscreen = false"
    plan = federations.federation(tmp_path, line, more)
    with pytest.raises(InputError, match="--processes"):
        federate(plan, tmp_path / "out")


def test_a_site_alone_is_trained_for_as_many_steps(tmp_path: Path) -> None:
    plan = federations.federation(tmp_path)
    sites = LocalSites(plan, tmp_path)
    found = sites.alone("north")
    again = LocalSites(plan, tmp_path).alone("north")
    assert found.keys() == sites.site("north").run.weights().keys()
    assert all((found[name] == again[name]).all() for name in found)


def test_phantom_sites_have_scanners_of_their_own_and_the_same_bytes_again(
    tmp_path: Path,
) -> None:
    made = [phantom_sites(tmp_path / name, sites, 1, 32) for name, sites in (("a", 2), ("b", 1))]
    assert [folder.name for folder in made[0]] == ["avon", "brent"]
    images = [sorted(folder.rglob("*.nii.gz")) for folder in (made[0][0], made[1][0])]
    assert [one.name for one in images[0]] == [one.name for one in images[1]]
    from veridical.io.files import read_image

    for first, second in zip(*images, strict=True):
        assert (read_image(first).data == read_image(second).data).all()
