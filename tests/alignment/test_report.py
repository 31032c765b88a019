"""The report: curves by hand, hostile texts, and a page that fetches nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser
from tiny_alignment import make_pairs

from chain_of_zoom.alignment.pairs.read import read_pairs
from chain_of_zoom.alignment.training.config import resolve
from chain_of_zoom.alignment.training.report import (
    UNKNOWN,
    ReportData,
    draw_curve,
    find_base_licence,
    format_card,
    render_report,
    write_report,
)
from chain_of_zoom.alignment.training.run_folder import Answer, HeldOutSample, UnscoredText
from chain_of_zoom.pages.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH

pytestmark = [pytest.mark.torch, pytest.mark.slow]


EVIL = '<script>alert(1)</script> & "fur" \''


@pytest.fixture
def facts(tmp_path: Path) -> ReportData:
    pairs = read_pairs(make_pairs(tmp_path / "pairs", train=2, held_out=2))
    parts = {"rewards/critic/mean": 0.5, "rewards/phrase/mean": 1.0, "texts/words": 7.0, "texts/unscored": 0.25}
    samples = [
        HeldOutSample(
            pair="view2",
            before=Answer(text=EVIL, rewards={"critic": None, "phrase": 1.0}),
            after=Answer(text="red fur", rewards={"critic": 0.8, "phrase": 1.0}),
        ),
        HeldOutSample(pair="view3", before=Answer(text="", rewards={"critic": 0.2, "phrase": 0.0})),
    ]
    return ReportData(
        config=resolve("paper", {"data": "pairs", "model": EVIL, "critic": {"name": EVIL}}),
        history=[{"step": step, "reward": step / 50, **parts} for step in range(1, 51)],
        samples=samples,
        unscored=[UnscoredText(step=i, reward="critic", pair=EVIL, text=EVIL, why=EVIL) for i in range(1, 26)],
        skipped=[(EVIL, EVIL)],
        pairs={pair.name: pair for pair in pairs.pairs},
        trained_on=2,
    )


def test_a_curve_by_hand():
    """Ten steps from 0 to 0.9: a tenth is one step, and the smooth line averages a point and none beside it."""
    found = draw_curve("reward", "r", "", [{"step": i, "r": (i - 1) / 10} for i in range(1, 11)])
    assert found
    assert (found.first, found.last) == (0, 0.9)
    points = [tuple(map(float, point.split(","))) for point in found.chart.lines[0].points.split()]
    assert points[-1] == (WIDTH - RIGHT, pytest.approx(TOP + 0.1 * (HEIGHT - TOP - BOTTOM), abs=0.06))
    assert points[0] == (pytest.approx(LEFT + 0.1 * (WIDTH - LEFT - RIGHT), abs=0.06), HEIGHT - BOTTOM)
    assert draw_curve("kl", "kl", "", [{"step": 1, "r": 0}]) is None


def test_a_flat_curve_and_a_single_point():
    for history in ([{"step": i, "r": 0.0} for i in range(1, 9)], [{"step": 1, "r": 0.0}]):
        found = draw_curve("empty", "r", "", history)
        assert found
        assert [text for _, text in found.chart.y_labels][::5] == ["0", "1"]
        assert all(0 <= float(point.split(",")[1]) <= HEIGHT for point in found.chart.lines[0].points.split())


def test_many_steps_become_few_points():
    found = draw_curve("r", "r", "", [{"step": i, "r": float(i % 2)} for i in range(1, 10_001)])
    assert found
    assert len(found.chart.lines[0].points.split()) <= 240
    assert found.first == found.last == 0.5


def test_what_is_said(facts):
    text = render_report(facts)
    assert "50 of 10000 steps" in text
    assert "25 texts without a score" in text
    assert "(25.0% of late texts)" in text
    assert "The latest 20 of 25" in text
    assert "<script>alert" not in text
    assert "(empty)" in text
    assert "critic none → 0.800" in text.replace("\n", "")
    assert "not yet" in text


def test_before_the_first_step(facts):
    empty = ReportData(**{**facts.__dict__, "history": [], "samples": [], "unscored": [], "skipped": []})
    text = render_report(empty)
    assert "No step is done yet" in text
    assert "the pairs have no held-out split" in text


@pytest.mark.browser
def test_the_page_shows_its_pictures_and_fetches_nothing(facts, tmp_path, browser: Browser):
    file = write_report(facts, tmp_path / "report.html")
    opened = browser.new_page()
    asked: list[str] = []
    troubles: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("pageerror", lambda error: troubles.append(str(error)))
    opened.on("dialog", lambda dialog: troubles.append(dialog.message))
    opened.goto(file.as_uri())
    assert opened.locator("figure svg").count() == 5  # reward, critic, phrase, words, without a score; not repetition
    assert opened.evaluate("[...document.images].filter(i => i.naturalWidth > 0).length") == 4
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert troubles == []
    opened.close()


@pytest.mark.parametrize(
    ("front", "licence"),
    [
        ("---\nlicense: apache-2.0\n---\n# Model", "apache-2.0"),
        ("---\nlicense: other\nlicense_name: tongyi-qianwen\n---\n", "tongyi-qianwen"),
        ("# No front matter\nlicense: mit", UNKNOWN),
        ("---\nlicense: [a, b]\n---\n", UNKNOWN),
    ],
)
def test_the_licence_is_what_the_base_models_card_says(tmp_path, front, licence):
    (tmp_path / "README.md").write_text(front)
    assert find_base_licence(str(tmp_path)) == licence


def test_the_papers_base_model_is_for_research(tmp_path):
    pairs = read_pairs(make_pairs(tmp_path / "pairs", train=2, held_out=1))
    base = {"data": str(tmp_path / "pairs"), "model": "Qwen/Qwen2.5-VL-3B-Instruct", "critic": {"name": "judge"}}
    text = format_card(resolve("paper", base), pairs, 2)
    assert "base_model: Qwen/Qwen2.5-VL-3B-Instruct" in text
    assert "**Qwen Research License (non-commercial)**" in text
    assert "The critic is judge." in text
    assert str(tmp_path) not in text
    assert find_base_licence("nowhere/at-all") == UNKNOWN
