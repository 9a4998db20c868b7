"""What a joint embedding learns from: heads are held out whole, reports in other words each time,
partners told among all others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import described
from veridical.errors import SettingError
from veridical.language.fact import Fact
from veridical.language.fact_vectors import KINDS, SIZE, WIDTH, report_vector
from veridical.models.joint_embedding import JointEmbedding
from veridical.nets.joint_towers import contrastive_loss
from veridical.training.embedding_data import EmbeddingData, embedded
from veridical.training.train import train


class Knows(nn.Module):
    """Towers that tell patients by their report, or not at all."""

    def __init__(self, told: bool) -> None:
        super().__init__()
        self.told = told

    def forward(self, images: Any, reports: Any, variables: Any) -> tuple[torch.Tensor, ...]:
        good = nn.functional.normalize(reports + 1e-6, dim=1)
        same = torch.ones_like(good)
        return (good if self.told else same), good, same, reports


def test_heads_are_held_out_whole() -> None:
    seen, unseen = described.course(), described.course(True)
    heads = [set(one.cache.heads[one.numbers]) for one in (seen, unseen)]
    assert heads == [{0}, {1}]
    assert (seen.patients(), unseen.patients()) == ({"phantoms": 4}, {"phantoms": 4})
    assert seen.barred() == []


def test_a_step_gives_its_batch_and_another_one_other_words_and_images() -> None:
    course = described.course()
    first, again, other = course[0], course[0], course[1]
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.reports, again.reports)
    assert not torch.equal(first.images, other.images)
    shown = (first.images.flatten(2).abs().sum(2) > 0).any(1)
    assert shown.all(), "at least one contrast of each"


def test_recall_is_one_where_partners_are_told_and_chance_where_they_are_not() -> None:
    unseen = described.course(True)
    device = torch.device("cpu")
    good = unseen.validate(Knows(True), 1, device)
    assert good["text_recall_at_5"] == good["image_recall_at_5"] == 1.0
    images, reports, _ = embedded(Knows(True), unseen, device)
    assert images.shape == reports.shape == (4, SIZE)
    assert np.allclose(images, reports)


def test_the_card_learns_what_unrelated_similarity_looks_like() -> None:
    unseen = described.course(True)
    net = JointEmbedding.build(described.NET)
    found = unseen.closing(net.eval(), torch.device("cpu"))
    for values in found["null"].values():
        assert values == sorted(values)
        assert -1 <= values[0] <= values[-1] <= 1
    assert "null" in found["uncalibrated"]


def test_training_lowers_the_loss_of_telling_partners() -> None:
    course, torch_device = described.course(), torch.device("cpu")
    torch.manual_seed(0)
    net = JointEmbedding.build(described.NET)
    optimizer, item, losses = torch.optim.Adam(net.parameters(), lr=3e-3), course[0], []
    for _ in range(10):
        optimizer.zero_grad()
        loss = next(course.losses(net, item, torch.Generator(), torch_device))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_the_contrastive_loss_of_what_cannot_be_told_is_the_log_of_how_many_there_are() -> None:
    same = nn.functional.normalize(torch.ones(7, 3), dim=1)
    assert float(contrastive_loss(same, same, torch.tensor(1.0))) == pytest.approx(np.log(7))
    apart = torch.eye(7)
    assert float(contrastive_loss(apart, apart, torch.tensor(4.0))) < 1e-9


def test_a_report_vector_says_what_facts_say_and_is_zero_where_nothing_is_said() -> None:
    assert not report_vector([]).any()
    left, right = (
        report_vector([Fact("tumour", side=side, size=20.0)])  # type: ignore[arg-type]
        for side in ("left", "right")
    )
    assert (left != right).sum() == 2
    rows = report_vector([Fact("infarct", present=False)]).reshape(len(KINDS), WIDTH)
    assert rows[KINDS.index("infarct"), 0] == -1.0
    assert np.count_nonzero(rows) == 1


def test_trained_towers_are_read_again_and_their_card_knows_what_chance_looks_like(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERIDICAL_CACHE", str(described.folder()))
    described.course()
    recipe = tmp_path / "towers.toml"
    recipe.write_text(
        '[model]\nname = "joint-embedding"\nfeatures = 32\nsize = 4\n'
        "[data]\nheads = 2\nvalidate_on = 1\nbatch = 4\n"
        '[training]\nsteps = 2\ncheckpoint = 1\nvalidate = 1\nworkers = 0\ndevice = "cpu"\n',
        encoding="utf-8",
    )
    model = JointEmbedding(str(train(recipe, tmp_path / "run")))
    vector = model.of_facts([Fact("tumour", side="left")])
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)
    assert model.chance(-1.0, "text") == 1.0
    assert model.card["may_ship"]


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(SettingError, match="phantoms"):
        EmbeddingData(sources={"ixi": 1.0})
    with pytest.raises(SettingError, match="validate_on = 450"):
        EmbeddingData(validate_on=450)
    with pytest.raises(SettingError, match="no interval"):
        EmbeddingData.cases("embedding", "all", None, 3, lambda *given: None)
