"""The page: opened, dragged, and found to fetch nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from conftest import PHOTO
from PIL import Image
from playwright.sync_api import Browser

from chain_of_zoom.datasets.manifest import DIV2K_TRAIN, read_data
from chain_of_zoom.evaluation.evaluate import Benchmark, evaluate
from chain_of_zoom.evaluation.markdown import format_markdown, format_plain
from chain_of_zoom.evaluation.methods import parse_methods
from chain_of_zoom.evaluation.page import (
    choose_examples,
    draw_charts,
    explain_absence,
    find_published,
    render_page,
    style_methods,
    write_page,
)
from chain_of_zoom.evaluation.results import MethodNote, Results, ZoomFailure
from chain_of_zoom.evaluation.true_zoom import TrueZoom

pytestmark = [pytest.mark.torch, pytest.mark.slow]


NAME = "50% <b>a&b #1 'é'"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Path]:
    home, out = tmp_path_factory.mktemp("set"), tmp_path_factory.mktemp("out")
    with Image.open(PHOTO) as photo:
        for name, box in {NAME: (0, 0, 300, 300), "b": (150, 100, 450, 400), "c": (100, 0, 400, 300)}.items():
            photo.crop(box).save(home / f"{name}.png")
    benchmark = Benchmark(
        data=read_data(home),
        methods=parse_methods("bicubic,fake,fake:direct,fake+wrong"),
        protocol=TrueZoom([4, 64]),
        metrics=("detail", "psnr", "musiq"),
        jobs=1,
    )
    results = evaluate(benchmark, out)
    write_page(results, out)
    return results, out


@pytest.mark.browser
def test_the_page_opens_moves_and_fetches_nothing_from_elsewhere(made, browser: Browser):
    _, out = made
    opened = browser.new_page(viewport={"width": 1280, "height": 1600})
    asked: list[str] = []
    troubles: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("pageerror", lambda error: troubles.append(str(error)))
    opened.on("console", lambda message: troubles.append(message.text))
    opened.goto((out / "index.html").as_uri())
    loaded = "() => [...document.images].every(i => i.src && i.complete && i.naturalWidth > 0)"
    opened.wait_for_function(loaded)
    slider = opened.locator(".pair input").first
    assert "bicubic on the left, truth on the right" in slider.get_attribute("aria-label")

    slider.focus()
    opened.keyboard.press("ArrowRight")
    assert slider.input_value() == "51"
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    opened.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50)
    opened.mouse.down()
    opened.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 50, steps=4)
    opened.mouse.up()
    assert 15 <= int(slider.input_value()) <= 25
    cut = opened.locator(".pair").first.evaluate("pair => getComputedStyle(pair).getPropertyValue('--cut')")
    assert cut == f"{slider.input_value()}%"
    seen = opened.locator(".pair .over").first.evaluate("image => getComputedStyle(image).clipPath")
    assert "%" in seen

    for case in range(3):
        opened.select_option("#case", str(case))
        for left in ("fake", "fake:direct", "fake+wrong"):
            opened.select_option("#left", left)
            opened.wait_for_function(loaded)
    opened.locator("button[data-case]").first.click()
    assert opened.locator("button[data-case]").first.get_attribute("aria-pressed") == "true"
    opened.click("#full")
    assert opened.locator(".pair").first.bounding_box()["width"] == 256, "as many pixels as the states have"
    assert troubles == []
    assert len(asked) > 10
    assert all(url.startswith("file://") for url in asked)
    opened.close()


def test_no_image_lies_in_the_page_and_names_are_escaped(made):
    results, out = made
    html = (out / "index.html").read_text()
    assert "data:image" not in html
    assert "<b>a&b" not in html
    assert "50% &lt;b&gt;a&amp;b" in html
    assert len(html) < 200_000
    for shown in results.shown:
        assert (out / shown.file).is_file()


def test_gaps_and_failures_are_on_the_page(made):
    results, _ = made
    failed = msgspec.structs.replace(
        results, failures=(ZoomFailure(picture="b", method="fake", error="it <broke>"),), shown=(), values=()
    )
    html = render_page(failed)
    assert "it &lt;broke&gt;" in html
    assert "no truth at 64x" in html
    assert "chain-of-zoom[eval-research]" in html
    assert "No picture was made" in html


def test_best_and_worst_are_by_the_first_metric_of_the_best_method(made):
    results, _ = made
    best, worst, ranking = choose_examples(results)
    leading = next(c.method for c in results.cells if c.metric == "detail" and c.best)
    assert ranking == f"detail of {leading} at 4x"
    of = {(v.picture, v.spot): v.value for v in results.values if (v.method, v.metric) == (leading, "detail")}
    assert best == [max(of, key=of.get)]
    assert worst == [min(of, key=of.get)]


def test_tables_for_documents_and_terminals(made):
    results, _ = made
    text = format_markdown(results)
    assert text.splitlines()[0] == "| at 4x | detail ↑ | psnr ↑ |"
    cell = next(c for c in results.cells if c.metric == "psnr" and c.best)
    assert f"**{cell.interval.mean:.1f}** ({cell.interval.low:.1f} to {cell.interval.high:.1f})" in text
    assert f"*{cell.interval.mean:.1f}" in format_plain(results)


def test_charts_keep_higher_numbers_higher(made):
    results, _ = made
    metric, chart = draw_charts(results)[1]
    assert metric.name == chart.title == "psnr"
    means = {c.method: c.interval.mean for c in results.cells if c.metric == "psnr"}
    order = sorted(chart.lines, key=lambda line: -line.marks[0].y)
    assert [line.name for line in order] == sorted(means, key=means.get)
    for line in chart.lines:
        for mark in line.marks:
            assert 0 <= mark.high <= mark.y <= mark.low <= chart.height
    drawn = style_methods(results.methods)
    assert drawn["fake"].colour == drawn["fake:direct"].colour != drawn["bicubic"].colour
    assert [drawn[name].dashed for name in ("fake", "fake:direct")] == [False, True]


def method(backbone: str, mode: str, writer: str | None, **prompter: str) -> MethodNote:
    return MethodNote(
        name="m",
        backbone=backbone,
        mode=mode,
        writer=writer,
        licence="",
        text_aware=True,
        weights_sha256=None,
        options={"prompter": prompter},
        software={},
        seconds={},
    )


def test_the_published_table_stands_beside_its_own_pictures_only(made):
    results, _ = made
    theirs = msgspec.structs.replace(results, protocol="paper", known=DIV2K_TRAIN)
    aligned = method("osediff-sd3", "chain", "vlm-adapter")
    # Table 1, as the paper has it.
    assert find_published(theirs, aligned, 256, "niqe") == 9.83
    assert find_published(theirs, method("osediff-sd3", "direct", "dape"), 64, "musiq") == 22.54
    assert find_published(theirs, method("osediff-sd3", "chain", "null"), 16, "clipiqa") == 0.669
    assert find_published(theirs, method("nearest", "chain", None), 4, "maniqa-pipal") == 0.340
    assert find_published(theirs, aligned, 256, "piqe") is None
    assert find_published(theirs, method("osediff-sd3", "chain", "vlm-adapter", multi_scale="False"), 4, "niqe") is None
    assert find_published(theirs, method("realsr", "chain", None), 4, "niqe") is None
    for other in (None, "DIV2K validation", "DIV8K"):
        assert find_published(msgspec.structs.replace(theirs, known=other), aligned, 256, "niqe") is None
    assert explain_absence(theirs) is None
    assert "800 pictures" in explain_absence(msgspec.structs.replace(theirs, known=None)).why
    assert explain_absence(results) is None
