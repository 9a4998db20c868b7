"""Laws of adding a finding: it lies where the text says, all else stays as it was, and evidence
says which is which.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import segmenters
from veridical.errors import InputError, SettingError
from veridical.io.dicom_objects import synthesized
from veridical.models import head_segmenter
from veridical.tasks.add_finding import AddFinding
from veridical.tasks.synthesize import Synthesize
from veridical.types import Image, Result

TEXT = "left frontal 3 cm enhancing tumour with oedema"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head_segmenter, "SPACING", 6.0)
        yield segmenters.weights(tmp_path_factory.mktemp("adding"))


@pytest.fixture(scope="module")
def scan() -> Image:
    return segmenters.head((5.0, 5.0, 5.0))[0]


@pytest.fixture(scope="module")
def done(weights: str, scan: Image) -> Result:
    return AddFinding(text=TEXT, weights=weights)(scan, seed=3)


def test_what_was_changed_has_no_evidence_and_all_else_is_as_it_was(
    done: Result, scan: Image
) -> None:
    assert done.evidence is not None
    share = np.asarray(done.evidence.map)
    changed = np.asarray(done.image.data) != np.asarray(scan.data)
    assert changed.any()
    assert (share[changed] == 0).all()
    assert set(np.unique(share)) == {0.0, 1.0}
    assert share.mean() > 0.9


def test_it_lies_on_the_side_that_the_text_names(done: Result) -> None:
    labels = np.asarray(done.also["added"].image.data[0])
    at = np.argwhere(labels > 0) @ done.image.geometry.affine[:3, :3].T
    middle = (at + done.image.geometry.affine[:3, 3]).mean(0)
    assert middle[0] < 5 - 4, "the middle of this head lies at x = 5 mm"


def test_it_is_marked_as_synthetic_and_repeats_the_text(done: Result) -> None:
    assert "tumour" in done.image.header["synthetic"]["added"]
    assert synthesized(done) == ["T1w"]
    assert done.steps[-1].settings["text"] == TEXT


def test_other_seeds_give_other_places(weights: str, scan: Image, done: Result) -> None:
    other = AddFinding(text=TEXT, weights=weights)(scan, seed=4)
    assert (np.asarray(other.image.data) != np.asarray(done.image.data)).any()


def test_what_cannot_be_added_is_refused(weights: str, scan: Image) -> None:
    with pytest.raises(SettingError, match="text is empty"):
        AddFinding(weights=weights)(scan)
    with pytest.raises(SettingError, match="atrophy"):
        AddFinding(text="brain atrophy")
    with pytest.raises(SettingError, match="haemorrhage"):
        AddFinding(text="left frontal haemorrhage")
    with pytest.raises(InputError, match="no MR contrast"):
        AddFinding(text=TEXT, weights=weights)(
            segmenters.head((6.0, 6.0, 6.0), size=0.8, channel="CT")[0]
        )


def test_synthesize_makes_what_a_text_says_and_refuses_what_it_cannot() -> None:
    made = Synthesize(text="right parietal 4 cm enhancing tumour, T2w", spacing=8.0)(seed=2)
    assert made.image.channels == ("T2w",)
    assert made.image.header["synthetic"]["pathology"] == "tumour"
    (said,) = (one for one in made.findings if one.check == "text")
    assert said.verdict == "pass"
    labels = np.asarray(made.also["labels"].image.data[0])
    at = np.argwhere(labels >= 25)
    assert (at[:, 0] > labels.shape[0] / 2).mean() > 0.9, "RAS+: right is where x is large"
    with pytest.raises(SettingError, match="cyst"):
        Synthesize(text="left frontal cyst")(seed=0)
    with pytest.raises(SettingError, match="Florbic"):
        Synthesize(text="Florbic")(seed=0)
    with pytest.raises(SettingError, match="Leave one of them out"):
        Synthesize(text=TEXT, pathology="ms")
    with pytest.raises(SettingError, match="Say one"):
        Synthesize(text="No tumour. There is a tumour in the left frontal lobe.")(seed=0)
