"""The device of a model: one place decides, and what is not there is refused with what is."""

from __future__ import annotations

import pytest
import torch

from veridical.errors import SettingError
from veridical.models.base import pick_device


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(
    ("name", "why"), [("cuda", "0 CUDA GPUs"), ("cuda:1", "0 CUDA GPUs"), ("mps", "no Apple GPU")]
)
def test_a_device_that_is_not_there_is_refused_with_the_next_step(name: str, why: str) -> None:
    with pytest.raises(SettingError, match=f"--device {name}: .*{why}.* Use --device auto"):
        pick_device(name)
    assert pick_device("auto") == pick_device("cpu") == torch.device("cpu")


@pytest.mark.usefixtures("gpus")
def test_of_several_gpus_each_can_be_named_and_auto_takes_the_first() -> None:
    assert pick_device("auto") == pick_device("cuda") == torch.device("cuda")
    assert pick_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(SettingError, match="sees 2 CUDA GPUs"):
        pick_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "", "cuda1", "xla", "meta"])
def test_what_is_no_device_is_refused_with_the_words_that_are(name: str) -> None:
    with pytest.raises(SettingError, match="expected auto, cpu, cuda, cuda:1 or mps"):
        pick_device(name)
