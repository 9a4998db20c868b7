"""Model cards: what they must say, and that nothing ships or is used without."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import cards
import toys
from veridical.audit.model_card import model_card
from veridical.errors import FormatError
from veridical.models import weights
from veridical.models.model_card import FORMAT, lacking, read
from veridical.testing import check_audit
from veridical.testing.subjects import image
from veridical.types import Result, Study

SHIPPED = sorted(weights.SHIPPED.glob("*.safetensors"))
DOCS = Path(__file__).parents[2]
WHOLE = cards.complete({"model": "denoiser", "net": {}})


def result(card: dict[str, Any]) -> Result:
    return Result(image(), "point estimate", facts={"card": card})


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_nothing_ships_without_a_complete_card(path: Path) -> None:
    assert lacking(weights.card(path.stem)) == ()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_scores_of_shipped_cards_come_from_a_page_of_measurements_or_the_training(
    path: Path,
) -> None:
    for score in read(weights.card(path.stem)).scores:
        if score.source != "validation of the training":
            assert f"{score.value:g}" in (DOCS / score.source).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "key",
    [
        "format", "intended_use", "limits", "known_failures", "data", "licences", "scores",
        "uncalibrated", "scope", "audits", "may_ship",
    ],
)  # fmt: skip
def test_each_entry_that_is_missing_is_named(key: str) -> None:
    assert lacking(WHOLE) == ()
    card = {name: value for name, value in WHOLE.items() if name != key}
    named = "data.sources" if key == "data" else "scores" if key == "scores" else key
    assert any(named in one for one in lacking(card))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"limits": "none"}, "limits"),
        ({"known_failures": ["none"]}, "known_failures"),
        ({"known_failures": "It is good at everything, as far as anybody can see."}, "failures"),
        ({"data": {"sources": {"a": 1.0, "toy": 1.0}}}, "licences of a"),
        ({"licences": {"toy": " "}}, "licences of toy"),
        ({"scores": [{**WHOLE["scores"][0], "interval": None}]}, "scores with intervals"),
        ({"scores": [{**WHOLE["scores"][0], "interval": [31.0, 32.0]}]}, "scores"),
        ({"scores": [{**WHOLE["scores"][0], "n": 0}]}, "scores"),
        ({"may_ship": "yes"}, "may_ship"),
        ({"format": "1"}, "format"),
        ({"scope": None}, "scope"),
    ],
)
def test_an_entry_that_says_nothing_counts_as_missing(change: dict[str, Any], named: str) -> None:
    (found,) = lacking(WHOLE | change)
    assert named in found


def test_a_calibration_and_described_images_stand_for_words() -> None:
    card = {k: v for k, v in WHOLE.items() if k not in ("uncalibrated", "scope")}
    assert len(lacking(card)) == 2
    assert lacking(card | {"calibration": {"a": {}}, "training_data": {"name": "toy"}}) == ()


def test_incomplete_shipped_weights_are_refused_with_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = toys.weights("denoiser")
    for path in (source, source.with_suffix(".json")):
        shutil.copy(path, tmp_path / path.name)
    file = tmp_path / source.name
    card = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
    del card["limits"], card["scores"]
    file.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")
    assert weights.card(str(file))["model"] == "denoiser", "one's own weights may be incomplete"
    monkeypatch.setattr(weights, "SHIPPED", tmp_path)
    with pytest.raises(FormatError, match=r"lacks: limits.*; scores with intervals"):
        weights.card(str(file))
    assert weights.stored_card(str(file)) == card


def test_results_of_incomplete_weights_say_so() -> None:
    card = {key: value for key, value in WHOLE.items() if key != "limits"}
    finding = check_audit(model_card, Study.of(image()), result(card))
    assert finding is not None
    assert finding.verdict == "warn"
    assert "limits: what it is not for" in finding.reason
    assert model_card(Study.of(image()), result(WHOLE)) is None
    assert model_card(Study.of(image()), result({})) is None


def test_training_writes_what_it_knows_and_the_recipe_the_rest(tmp_path: Path) -> None:
    from veridical.training.train import train

    recipe = toys.recipe(tmp_path / "toy.toml", validate=6)
    words = {key: WHOLE[key] for key in ("intended_use", "limits")}
    said = "".join(f"{key} = {json.dumps(value)}\n" for key, value in words.items())
    said += f"known_failures = {json.dumps(WHOLE['known_failures'])}\n"
    recipe.write_text(said + recipe.read_text(encoding="utf-8"), encoding="utf-8")
    card = weights.card(str(train(recipe, tmp_path / "run")))
    (left,) = lacking(card)
    assert left.startswith("audits.copies"), "which takes images that it made"
    assert card["format"] == FORMAT
    (score, *_) = read(card).scores
    assert (score.job, score.units, score.source) == ("missing", "dB", "validation of the training")
    assert score.interval[0] < score.value < score.interval[1]
    assert score.baseline is not None


def test_cards_of_older_weights_are_completed_from_their_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from veridical.apps.cli import main

    for suffix in (".safetensors", ".json"):
        source = toys.weights("generator").with_suffix(suffix)
        shutil.copy(source, tmp_path / f"old{suffix}")
    old = json.loads((tmp_path / "old.json").read_text(encoding="utf-8"))
    for key in ("format", "limits", "scores"):
        old.pop(key, None)
    old["audits"] = WHOLE["audits"]
    (tmp_path / "old.json").write_text(json.dumps(old), encoding="utf-8")
    recipe = toys.recipe(tmp_path / "toy.toml", validate=6)
    said = "".join(
        f"{key} = {json.dumps(WHOLE[key])}\n"
        for key in ("intended_use", "limits", "known_failures")
    )
    recipe.write_text(said + recipe.read_text(encoding="utf-8"), encoding="utf-8")
    weights_file = str(tmp_path / "old.safetensors")
    assert main(["card", weights_file, "--check"]) == 2
    assert "it lacks: format" in capsys.readouterr().err
    assert main(["card", weights_file, "--recipe", str(recipe), "--out", str(tmp_path)]) == 0
    assert main(["card", weights_file, "--check"]) == 0
    page = (tmp_path / "old-card.html").read_text(encoding="utf-8")
    for said in (WHOLE["intended_use"], WHOLE["limits"], *WHOLE["known_failures"]):
        assert said in page
    assert "not complete" not in page
