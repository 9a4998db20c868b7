from __future__ import annotations

import base64
import hashlib
import io
import itertools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from outline import Outline
from page_example import case, phantom
from PIL import Image as Drawing

from veridical.errors import GeometryError, InputError
from veridical.evaluation.regions import Region
from veridical.report.page import Story, render, write
from veridical.report.words import Lesion
from veridical.types import Evidence, Finding, Geometry, Image, Interval, Result, Score

Case = tuple[Image, dict[str, Result], dict[str, list[Score]], Story]
EVIL = '<script>alert("1")</script>'


@pytest.fixture(scope="module")
def example() -> Case:
    return case(*phantom())


@pytest.fixture(scope="module")
def page(example: Case) -> str:
    return render("A scan at 4x", *example)


@pytest.fixture(scope="module")
def parsed(page: str) -> Outline:
    return Outline(page)


def test_nothing_outside_the_page_is_named(page: str, parsed: Outline) -> None:
    assert not re.search(
        r"https?:|//[a-z]|url\(|@import|@font-face", re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    )
    assert all(value.startswith("data:image/png;base64,") for value in parsed.values("src"))
    assert not {"script", "link", "iframe", "object", "form"} & set(parsed.tags)


def test_the_page_keeps_its_own_strict_content_security_policy(page: str, parsed: Outline) -> None:
    policy = next(value for value in parsed.values("content") if "default-src" in value)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    styles = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert len(styles) == 1
    digest = base64.b64encode(hashlib.sha256(styles[0].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert not [
        name for _, name, _ in parsed.attributes if name == "style" or name.startswith("on")
    ]


def test_the_same_input_gives_the_same_bytes(example: Case, page: str, tmp_path: Path) -> None:
    first = write(tmp_path / "a" / "report.html", "A scan at 4x", *example)
    assert (
        first.read_bytes() == page.encode() == write(first, "A scan at 4x", *example).read_bytes()
    )
    assert [path.name for path in first.parent.iterdir()] == ["report.html"]


def test_a_page_that_cannot_be_made_leaves_the_old_one_and_no_leftovers(
    example: Case, tmp_path: Path
) -> None:
    truth, results, scores, story = example
    path = write(tmp_path / "report.html", "first", *example)
    before = path.read_bytes()
    with pytest.raises(InputError, match="Did you mean 'wavelet'"):
        write(path, "second", truth, results, scores, replace(story, main="wavlet"))
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_all_text_is_escaped(example: Case) -> None:
    truth, results, scores, story = example
    evil = replace(
        results["generator"],
        findings=(Finding(EVIL, "warn", EVIL),),
        absent={EVIL: EVIL},
        interval=replace(results["generator"].interval, promises=EVIL, method=EVIL),  # type: ignore[type-var]
        steps=(replace(results["generator"].steps[0], model=EVIL, settings={EVIL: EVIL}),),
    )
    named = replace(
        story, lead=EVIL, facts={EVIL: EVIL}, rerun=EVIL, lesion=Lesion(story.lesion.mask, EVIL)
    )  # type: ignore[union-attr]
    html = render(
        EVIL, truth, {EVIL: results["zero-filled"], "b": evil}, {EVIL: scores["zero-filled"]}, named
    )
    assert "<script" not in html
    assert "script" not in Outline(html).tags
    assert html.count("&lt;script&gt;") > 10


def test_every_finding_stands_with_its_verdict_and_its_reason(
    parsed: Outline, example: Case
) -> None:
    for derived in example[1].values():
        for finding in derived.findings:
            assert f"{finding.check} {finding.reason}" in parsed.text
    for verdict in ("✓ pass", "! warning", "✕ fail", "– not run"):
        assert verdict in parsed.text


def test_what_is_absent_says_why_and_for_whom(parsed: Outline) -> None:
    assert "evidence: a method without draws has no spread (zero-filled and wavelet)" in parsed.text
    assert "explain: no part of this version computes it (generator)" in parsed.text
    assert parsed.text.count("not there a method without draws has no spread") == 4


def test_what_was_filled_in_is_shown_for_every_method_that_knows_it(parsed: Outline) -> None:
    shown = [image["alt"] for image in parsed.images if image["alt"].startswith("filled in by")]
    assert shown == [
        "filled in by wavelet: 1.2% of the energy",
        "filled in by generator: 0.3% of the energy",
    ]
    assert "not there no exact split was computed zero-filled" in parsed.text


def test_the_headline_is_the_main_results_not_the_worst_of_all(parsed: Outline) -> None:
    assert (
        "Read this image with care. Out-of-distribution warns; consistency passes; memorization "
        "was not run." in parsed.text
    )
    assert "Do not rely" not in parsed.text


def test_scores_stand_with_units_and_direction_and_only_the_best_is_marked(
    page: str, example: Case
) -> None:
    table = page[page.index('<h2 id="scores">') : page.index('<h2 id="findings">')]
    scores = example[2]
    for name, found in scores.items():
        for score in found:
            unit = "" if score.units == "1" else f" {score.units}"
            marked = re.search(re.escape(f"{score.value:.4g}{unit}") + r"( <em>best</em>)?", table)
            assert marked is not None
            others = [
                s.value
                for n, row in scores.items()
                for s in row
                if s.metric == score.metric and n != name
            ]
            best = others and (
                score.value > max(others) if score.better == "higher" else score.value < min(others)
            )
            assert bool(marked[1]) is bool(best), (name, score.metric)
    assert table.count("↑ higher is better") == 3
    assert table.count("↓ lower is better") == 2
    assert "→ at or just above the interval&#39;s level" in table


def test_every_picture_can_be_read_aloud_and_headings_go_down_by_one(parsed: Outline) -> None:
    assert parsed.images
    assert all(image["alt"].strip() for image in parsed.images)
    levels = [int(tag[1]) for tag in parsed.tags if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))
    identifiers = parsed.values("id")
    assert len(identifiers) == len(set(identifiers))
    assert set(parsed.values("aria-labelledby")) <= set(identifiers)


def test_text_colours_have_enough_contrast() -> None:
    style = (Path(render.__code__.co_filename).parent / "page.css").read_text(encoding="utf-8")

    def luminance(colour: str) -> float:
        parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    themes = [
        dict(re.findall(r"--(\w+): (#\w{6})", block))
        for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    ]
    assert len(themes) == 3
    for theme in themes:
        for text in ("ink", "soft", "accent", "pass", "warn", "fail", "not_run"):
            for ground in ("card", "ground"):
                low, high = sorted((luminance(theme[text]), luminance(theme[ground])))
                assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)


def test_provenance_holds_models_weights_seeds_hashes_settings_and_how_to_rerun(
    parsed: Outline,
) -> None:
    for said in (
        "d4" * 32,
        "a1" * 32,
        "c3" * 32,
        "weight 0.002",
        "x86_64",
        "path scan.h5",
        "make demo",
        "8 coils",
        "3 T",
    ):
        assert said in parsed.text, said


def pixels(image: dict[str, str]) -> np.ndarray:
    data = base64.b64decode(image["src"].split(",")[1])
    return np.asarray(Drawing.open(io.BytesIO(data)).convert("RGB")).astype(int)


def test_all_images_share_the_truths_window(parsed: Outline, example: Case) -> None:
    truth, results, _, story = example
    low, high = (
        np.percentile(truth.data, 0.5),
        np.percentile(truth.data[0][story.region.mask], 99.5),
    )  # type: ignore[union-attr]
    for name in ("the true image", "zero-filled: point estimate, PSNR"):
        image = next(found for found in parsed.images if found["alt"].startswith(name))
        data = (truth if "true" in name else results["zero-filled"].image).data[0, :, :, 0].T
        want = np.clip((data - low) / (high - low), 0, 1) * 255
        assert np.abs(pixels(image)[..., 0] - want).max() <= 1


def test_orange_covers_what_was_imagined_and_nothing_else(example: Case) -> None:
    truth, results, scores, story = example
    known = np.ones(truth.data.shape)
    known[0, 40:50, 40:50] = 0.0
    found = replace(results["generator"], evidence=Evidence(known))
    parsed = Outline(render("a", truth, results | {"generator": found}, scores, story))
    drawn = pixels(next(image for image in parsed.images if "orange" in image["alt"])).transpose(
        1, 0, 2
    )
    coloured = drawn.max(-1) - drawn.min(-1) > 20
    assert coloured[40:50, 40:50].all()
    assert coloured.sum() == 100


def test_without_a_truth_there_are_no_errors_and_the_page_still_stands(example: Case) -> None:
    _, results, _, story = example
    text = Outline(
        render("Real scan", None, results, {}, replace(story, lesion=None, region=None))
    ).text
    assert "What each method made of the scan" in text
    assert "The distance from the truth" not in text
    assert "It holds the truth" not in text
    assert "Foreground: voxels above a tenth of the way" in text
    assert "after zero-filled" in text


def test_a_classical_result_alone_makes_a_page_that_says_what_is_not_known(example: Case) -> None:
    truth, results, _, _ = example
    alone = {"wavelet": replace(results["wavelet"], findings=(), steps=())}
    text = Outline(render("a", truth, alone, {}, Story("One method."))).text
    assert (
        "How much of each voxel was measured and how much imagined is not known: a method without "
        "draws has no spread." in text
    )
    assert "No check was run on this image." in text
    assert "no step was recorded" in text
    assert "Bright is unsure" not in text
    assert "rather than to the prior" not in text


def test_complex_images_are_shown_as_magnitudes(example: Case) -> None:
    truth, results, _, story = example
    turned = replace(truth, data=truth.data * np.complex64(1j))
    simple = replace(results["zero-filled"], image=turned)
    plain = replace(results["zero-filled"], image=truth)
    assert render("a", truth, {"m": simple}, {}, story) == render(
        "a", truth, {"m": plain}, {}, story
    )


def test_a_volume_shows_the_slice_with_most_of_the_lesion(example: Case) -> None:
    truth, brain, lesion = phantom(48)
    grid = Geometry((48, 48, 5), np.diag([1.0, 1.0, 3.0, 1.0]))
    stack = Image(np.repeat(truth[None, ..., None], 5, -1), grid, "a.u.", ("T1w",))
    mask = np.zeros(grid.shape, dtype=bool)
    mask[..., 3] = lesion
    story = Story(
        "", region=Region("brain", np.repeat(brain[..., None], 5, -1)), lesion=Lesion(mask)
    )
    text = Outline(render("a", stack, {"m": Result(stack, "point estimate")}, {}, story)).text
    assert "T1w, slice 4 of 5, axial, patient's right on the left" in text


def test_the_close_up_is_about_the_largest_lesion(example: Case) -> None:
    truth, results, scores, story = example
    mask = np.zeros(truth.geometry.shape, dtype=bool)
    mask[20:26, 60:64] = True
    mask[80, 80] = True
    parsed = Outline(
        render("a", truth, results, scores, replace(story, lesion=Lesion(mask, "spot")))
    )
    close = pixels(next(image for image in parsed.images if image["alt"] == "spot in truth"))
    whole = pixels(next(image for image in parsed.images if image["alt"] == "the true image"))
    np.testing.assert_array_equal(close, whole[62 - 11 : 62 + 11, 23 - 11 : 23 + 11])


def test_grids_that_differ_are_refused(example: Case) -> None:
    truth, results, scores, story = example
    moved = replace(truth, geometry=Geometry(truth.geometry.shape, np.diag([2.0, 1, 1, 1])))
    with pytest.raises(GeometryError, match="the truth is"):
        render("a", moved, results, scores, story)
    with pytest.raises(GeometryError, match="mask of the brain"):
        render(
            "a",
            truth,
            results,
            scores,
            replace(story, region=Region("brain", np.ones((3, 3, 1), dtype=bool))),
        )
    with pytest.raises(GeometryError, match="0 voxels"):
        render(
            "a",
            truth,
            results,
            scores,
            replace(story, lesion=Lesion(np.zeros(truth.geometry.shape, dtype=bool))),
        )
    with pytest.raises(InputError, match="at least one result"):
        render("a", truth, {}, {}, story)
    with pytest.raises(InputError, match="No channel is called 'T1'"):
        render("a", truth, results, scores, replace(story, channel="T1"))


def test_an_interval_that_is_known_for_one_of_two_channels_shown_by_name(example: Case) -> None:
    grid = Geometry.index((32, 32, 1))
    data = np.random.default_rng(0).random((2, 32, 32, 1))
    image = Image(data, grid, "a.u.", ("T1w", "T2w"))
    derived = Result(
        image, "posterior mean", interval=Interval(data - 1, data + 1, 0.9, 20, "given", "nothing")
    )
    text = Outline(render("a", None, {"m": derived}, {}, Story("", channel="T2w"))).text
    assert "Shown: T2w, slice 1 of 1" in text
