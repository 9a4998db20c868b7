from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from judgement_example import FAILED, HEAD, endpoint, evaluation, exhibits, refused
from outline import Outline
from PIL import Image as Drawing

from veridical.errors import GeometryError
from veridical.evaluation.results import CaseRow, Conflict, Curve, Judgement, LevelVerdict
from veridical.report import firstpage, rows
from veridical.report.judgement import render
from veridical.report.methods import methods
from veridical.types import Finding, Geometry

EVIL = '<script>alert("1")</script>'
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


@pytest.fixture(scope="module")
def page() -> str:
    return render(evaluation(), exhibits(), HEAD)


@pytest.fixture(scope="module")
def parsed(page: str) -> Outline:
    return Outline(page)


def test_nothing_outside_the_page_is_named_and_nothing_runs(page: str, parsed: Outline) -> None:
    assert not re.search(
        r"https?:|//[a-z]|url\(|@import|@font-face", re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    )
    assert all(value.startswith("data:image/png;base64,") for value in parsed.values("src"))
    assert not {"script", "link", "iframe", "object", "form"} & set(parsed.tags)
    assert all(value.startswith("#") for value in parsed.values("href"))
    assert {value[1:] for value in parsed.values("href")} <= set(parsed.values("id"))


def test_the_content_policy_allows_the_pages_own_style_only(page: str, parsed: Outline) -> None:
    policy = next(value for value in parsed.values("content") if "default-src" in value)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'" in policy
    assert not [
        name for _, name, _ in parsed.attributes if name == "style" or name.startswith("on")
    ]


def test_the_same_input_gives_the_same_bytes(page: str) -> None:
    assert render(evaluation(), exhibits(), HEAD) == page


def test_all_text_is_escaped() -> None:
    whole = evaluation()
    evil = replace(
        whole,
        title=EVIL,
        settings={EVIL: EVIL},
        inputs={EVIL: EVIL},
        versions={EVIL: EVIL},
        integrity=(Finding(EVIL, "warn", EVIL, {EVIL: EVIL}),),
        levels=tuple(replace(level, reason=EVIL) for level in whole.levels),
        endpoints=tuple(
            replace(e, label=EVIL, note=EVIL, floor_is=EVIL, units=EVIL) for e in whole.endpoints
        ),
        cases=(*whole.cases, CaseRow(EVIL, EVIL, failed=EVIL, groups={"site": EVIL})),
        curves=(
            Curve(
                EVIL, "pixel", "line", EVIL, EVIL, EVIL, (0, 1), {EVIL: (0, 1)}, {EVIL: 0.5}, EVIL
            ),
        ),
        conflicts=(Conflict(EVIL, EVIL, ()),),
        findings=(Finding(EVIL, "fail", EVIL),),
        about={**whole.about, "notes": [EVIL], "dropped": {EVIL: EVIL}},
    )
    shown = [replace(e, case=EVIL, metric=EVIL) for e in exhibits()]
    html = render(evil, shown, EVIL)
    assert "<script" not in html
    assert "script" not in Outline(html).tags


def test_the_first_screen_says_what_was_judged_on_how_many_and_what_came_out(
    parsed: Outline,
) -> None:
    first = parsed.text[: parsed.text.index("Before any score")]
    assert "Falls short in task relevance. Not decided: feature realism." in first
    assert (
        "Judged: synthetic-ct against planning-ct, on 38 of 40 patients. 2 cases could not be "
        "analysed and count" in first
    )
    for said in (
        "✓ pass Pixel fidelity",
        "? inconclusive Feature realism",
        "✕ fail Task relevance",
        "✓ pass Trust",
    ):
        assert said in first
    assert (
        "58 % of the way from a simple baseline to real images; likely 52 % to 64 %; asked for: 80 "
        "%" in first
    )
    for jargon in ("bootstrap", "Holm", "p-value", "BCa", "normalis", "endpoint"):
        assert jargon not in first


GOOD, SHORT, OPEN = "Good enough in ", "Falls short in ", "Not decided in "


@pytest.mark.parametrize(
    ("verdicts", "verdict", "title"),
    [
        ("pppp", "pass", f"{GOOD}pixel fidelity, feature realism, task relevance and trust."),
        (
            "pnpn",
            "pass",
            f"{GOOD}pixel fidelity and task relevance; feature realism and trust not judged.",
        ),
        ("pinp", "inconclusive", f"{OPEN}feature realism. Pixel fidelity and trust pass."),
        (
            "fifp",
            "fail",
            f"{SHORT}pixel fidelity and task relevance. Not decided: feature realism.",
        ),
        ("nnnn", "not_run", "Nothing was decided."),
    ],
)
def test_the_headline_is_the_worst_verdict_and_what_was_not_run_is_no_pass(
    verdicts: str, verdict: str, title: str
) -> None:
    named: dict[str, Judgement] = {"p": "pass", "f": "fail", "i": "inconclusive", "n": "not_run"}
    whole = evaluation()
    levels = tuple(
        LevelVerdict(level.level, named[v], "why")
        for level, v in zip(whole.levels, verdicts, strict=True)
    )
    found = firstpage.opening(replace(whole, levels=levels))
    assert (found.verdict, found.title) == (verdict, title)


def test_the_tile_shows_the_weakest_endpoint_with_the_verdict_of_the_level() -> None:
    tile = firstpage.tiles(evaluation())[0]
    assert tile.decided == "Decided by SSIM, foreground, the weakest of 2, 38 of 40 cases."
    assert tile.result == "91 %"


def test_an_interval_that_clears_the_limit_but_not_after_correction_is_explained() -> None:
    e = endpoint(
        "pixel/ssim/a",
        "SSIM",
        0.92,
        0.01,
        floor=1.0,
        bad=0.0,
        primary=True,
        limit=0.9,
        verdict="inconclusive",
    )
    whole = replace(
        evaluation(), endpoints=(e,), levels=(LevelVerdict("pixel", "inconclusive", ""),)
    )
    assert (
        "not after the correction for the number of endpoints" in firstpage.tiles(whole)[0].sentence
    )


def test_what_was_not_covered_is_said_and_grows_with_what_is_missing() -> None:
    whole = evaluation()
    bare = replace(whole, subgroups=(), about={**whole.about, "training": 0, "roles": []}, cases=())
    said = " ".join(firstpage.uncovered(bare))
    assert set(firstpage.uncovered(whole)) < set(firstpage.uncovered(bare))
    for what in (
        "no second scan",
        "no subgroups",
        "no training set",
        "Other sites",
        "not clinical thresholds",
    ):
        assert what in said


def test_a_refused_evaluation_gives_no_number_says_why_and_what_to_do() -> None:
    text = Outline(render(refused(), (), HEAD)).text
    assert "No score was given." in text
    assert "38 of 40 pairs lie on different grids" in text
    assert "Resample the candidates to the grid of their references." in text
    assert "What to do" in text
    assert "Run the same command again." in text
    assert HEAD in text
    for absent in ("Pixel fidelity", "asked for", "Methods", "Cases"):
        assert absent not in text


def test_every_number_stands_with_its_interval_its_counts_and_its_verdict(
    page: str, parsed: Outline
) -> None:
    for e in evaluation().endpoints:
        row = rows.row(e)
        if e.value is None:
            assert f"{row.name} {row.region} not there" in parsed.text
            continue
        assert (
            f"{row.name} {row.region} {row.value} {row.interval} {row.n} {row.cases}" in parsed.text
        )
    assert "AUC, class: No column class in the table" in parsed.text
    assert (
        page.index('<h2 id="pixel">')
        < page.index('<h2 id="feature">')
        < page.index('<h2 id="task">')
        < page.index('<h2 id="trust">')
    )


def test_sections_come_in_their_order(parsed: Outline) -> None:
    order = [
        "verdict",
        "before",
        "uncovered",
        "pixel",
        "feature",
        "task",
        "trust",
        "cases",
        "subgroups",
        "audits",
        "methods",
        "checklists",
        "provenance",
    ]
    found = [value for tag, name, value in parsed.attributes if tag == "h2" and name == "id"]
    assert found == order


def test_numbers_have_the_digits_that_their_interval_bears() -> None:
    assert rows.number(0.93412, "1", (0.92, 0.95)) == "0.934"
    assert rows.number(-3.2, "HU", (-4.3, -2.1)) == "−3.2 HU"
    assert rows.number(12345.6, "mm") == "12,346 mm"
    assert rows.number(21.44, "unit of the images") == "21.4"
    assert rows.number(None, "1") == ""
    assert [rows.p_value(p) for p in (0.0, 0.0004, 0.0421, None)] == [
        "< 0.001",
        "< 0.001",
        "0.042",
        "",
    ]


def test_failed_cases_stand_with_their_reasons_and_every_case_has_a_row(parsed: Outline) -> None:
    for case, reason in FAILED.items():
        assert f"{case}: {reason}" in parsed.text
        assert f"failed: {reason}" in parsed.text
    for case in evaluation().cases:
        assert case.case in parsed.text
    assert "There is no lesion in the reference." in parsed.text
    assert "sub-41 no reference" in parsed.text


def test_subgroups_stand_beside_all_and_their_largest_gap_is_named() -> None:
    found = {(forest.title, forest.column): forest for forest in rows.forests(evaluation())}
    assert set(found) == {
        (title, column)
        for title in ("SSIM, foreground", "Dice, lesion")
        for column in ("site", "sex")
    }
    dice = found["Dice, lesion", "site"]
    assert [name for name, *_ in dice.rows] == ["all", "CS", "DU"]
    assert dice.gap == "Largest gap: 0.22, CS above DU; their 95 % intervals lie apart."
    assert "overlap" in found["SSIM, foreground", "sex"].gap


def test_conflicts_and_findings_stand_with_their_reasons(parsed: Outline) -> None:
    whole = evaluation()
    for conflict in whole.conflicts:
        assert conflict.reason in parsed.text
    for finding in (*whole.findings, *whole.integrity):
        assert f"{finding.check} {finding.reason}" in parsed.text


def test_the_methods_cite_every_reference_in_order_and_say_what_was_done() -> None:
    found = methods(evaluation())
    text = " ".join(found.paragraphs)
    numbers = [int(n) for n in re.findall(r"\[(\d+)\]", text)]
    assert list(dict.fromkeys(numbers)) == list(range(1, len(found.references) + 1))
    for said in (
        "40 patients", "2 cases failed", "inside the masks given", "data range of 2400",
        "within each site (2000 resamples, seed 0)",
        "a second scan of the same patients", "Holm", "protocol 'trial-7'", "score ≥ 0.8", "0.9 ± 0.03", "Veridical 0.1.0",
    ):  # fmt: skip
        assert said in text, said
    assert any("Holm" in reference for reference in found.references)


def test_the_methods_claim_nothing_that_was_not_done() -> None:
    whole = evaluation()
    few = tuple(
        replace(e, primary=False, p=None, p_adjusted=None, limit=None, verdict="exploratory")
        for e in whole.endpoints[:2]
    )
    about = {**whole.about, "roles": [], "strata": ""}
    text = " ".join(
        methods(replace(whole, endpoints=few, subgroups=(), findings=(), about=about)).paragraphs
    )
    for absent in (
        "masks given",
        "within each",
        "Holm",
        "permutations",
        "Audits",
        "discovery",
        "KID",
        "by sex",
    ):
        assert absent not in text
    assert "all numbers are exploratory" in text
    assert "tenth of the way from its 1st to its 99th percentile" in text
    assert "scored" in " ".join(methods(refused()).paragraphs)


def test_provenance_holds_settings_protocol_hashes_and_how_to_check(parsed: Outline) -> None:
    whole = evaluation()
    assert HEAD in parsed.text
    assert "veridical verify report.json" in parsed.text
    assert all(f"{path} {digest}" in parsed.text for path, digest in whole.inputs.items())
    for said in ("labels ../lesions", "resamples 2000", "pixel/ssim/foreground", "torch 2.13.0"):
        assert said in parsed.text, said


def test_pictures_can_be_read_aloud_ids_are_unique_and_headings_go_down_by_one(
    parsed: Outline,
) -> None:
    assert parsed.images
    assert all(image["alt"].strip() for image in parsed.images)
    levels = [int(tag[1]) for tag in parsed.tags if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))
    identifiers = parsed.values("id")
    assert len(identifiers) == len(set(identifiers))
    assert set(parsed.values("aria-labelledby")) <= set(identifiers)


def pixels(image: dict[str, str]) -> np.ndarray:
    data = base64.b64decode(image["src"].split(",")[1])
    return np.asarray(Drawing.open(io.BytesIO(data)).convert("L")).astype(int)


def test_slices_are_turned_so_that_the_patients_right_is_on_the_left_and_the_front_above(
    parsed: Outline,
) -> None:
    first = exhibits()[0]
    image = next(image for image in parsed.images if image["alt"] == "sub-05, real")
    want = np.clip(first.reference[::-1, ::-1].T, 0, 1) * 255
    assert np.abs(pixels(image) - want).max() <= 1


def test_error_maps_of_all_cases_share_one_scale(parsed: Outline) -> None:
    tops = [
        image["alt"]
        for image in parsed.images
        if image["alt"].startswith("colour scale from 0 to") and "more" in image["alt"]
    ]
    assert len(tops) == 3
    assert len(set(tops)) == 1


def test_a_slice_of_another_grid_is_refused() -> None:
    first = exhibits()[0]
    with pytest.raises(GeometryError, match=r"expected \(64, 112\)"):
        replace(first, geometry=Geometry((64, 112, 1), np.eye(4)))


def test_maps_and_baselines_that_are_not_there_are_left_out() -> None:
    bare = [replace(e, baseline=None, error=None, ssim=None) for e in exhibits()]
    parsed = Outline(render(evaluation(), bare, HEAD))
    assert [image["alt"] for image in parsed.images] == [
        f"{e.case}, {side}" for e in bare for side in ("real", "candidate")
    ]


def test_an_evaluation_without_pairs_plots_or_subgroups_still_makes_a_page() -> None:
    whole = evaluation()
    bare = replace(
        whole,
        cases=(),
        curves=(),
        subgroups=(),
        conflicts=(),
        findings=(),
        integrity=(),
        endpoints=whole.endpoints[2:3],
    )
    text = Outline(render(bare, (), HEAD)).text
    assert "No case is shown" in text
    assert "No audit was run." in text
    assert "Subgroups" not in text


def test_colours_of_lines_have_enough_contrast_in_both_themes() -> None:
    folder = Path(render.__code__.co_filename).parent
    text = (
        (folder / "page.css").read_text(encoding="utf-8"),
        (folder / "judgement.css").read_text(encoding="utf-8"),
    )

    def luminance(colour: str) -> float:
        parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        return float(
            np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
            @ [0.2126, 0.7152, 0.0722]
        )

    themes = [
        [
            dict(re.findall(r"--(\w+): (#\w{6})", b))
            for b in re.findall(r":root \{(.*?)\}", t, re.DOTALL)
        ]
        for t in text
    ]
    assert [len(found) for found in themes] == [3, 3]
    for ground, lines in zip(*themes, strict=True):
        for name in ("second", "third", "fourth"):
            low, high = sorted((luminance(lines[name]), luminance(ground["card"])))
            assert (high + 0.05) / (low + 0.05) >= 4.5, name


PROBE = """<script>
const seen = [];
for (const input of document.querySelectorAll('.exhibit:first-child input')) {
  input.checked = true;
  seen.push([...document.querySelectorAll('.exhibit:first-child .viewer img')].map(i => getComputedStyle(i).visibility));
}
const root = document.documentElement;
const folded = document.querySelectorAll('details');
folded.forEach(d => d.open = true);
root.setAttribute('data-said', JSON.stringify({seen, over: root.scrollWidth - root.clientWidth, height: root.scrollHeight}));
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser_images_change_in_place_and_nothing_sticks_out(
    page: str, width: int, tmp_path: Path
) -> None:
    policy = re.search(r'<meta http-equiv="Content-Security-Policy"[^>]*>', page)
    assert policy is not None
    path = tmp_path / "page.html"
    path.write_text(
        page.replace(policy[0], "").replace("</body>", f"{PROBE}</body>"), encoding="utf-8"
    )
    command = [
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    done = subprocess.run(
        [*command, f"--window-size={width},900", "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = re.search(r'data-said="([^"]*)"', done.stdout)
    assert found is not None
    said = json.loads(found[1].replace("&quot;", '"'))
    assert said["over"] <= 0
    real, candidate, baseline = (
        ["visible" if i == j else "hidden" for i in range(3)] for j in range(3)
    )
    assert said["seen"] == [real, candidate, baseline, ["visible", "visible", "hidden"]]


def test_every_exhibit_stands_with_its_role_and_its_numbers(parsed: Outline) -> None:
    for shown in exhibits():
        assert f"{shown.role} {shown.case} {shown.metric}" in parsed.text
