"""The trust map against the true error, in numbers and on the page of the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser

from chain_of_zoom.datasets.manifest import read_data
from chain_of_zoom.errors import BadInputError
from chain_of_zoom.evaluation.arena.results import read_arena
from chain_of_zoom.evaluation.arena.run import Arena, run_arena
from chain_of_zoom.evaluation.evaluate import Benchmark, evaluate
from chain_of_zoom.evaluation.methods import parse_method, parse_methods
from chain_of_zoom.evaluation.page import write_page
from chain_of_zoom.evaluation.results import Results, read_results
from chain_of_zoom.evaluation.true_zoom import TrueZoom
from chain_of_zoom.evaluation.trust import measure_auroc, measure_difference
from chain_of_zoom.imaging.images import decode_png
from chain_of_zoom.json_bytes import format_json


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> tuple[Results, Path]:
    home, out = tmp_path_factory.mktemp("set"), tmp_path_factory.mktemp("out")
    Image.fromarray(astronaut[:320, 100:420]).save(home / "face.png")
    methods = parse_methods("span,bicubic,span:0.5")
    benchmark = Benchmark(data=read_data(home), methods=methods, protocol=TrueZoom([4]), metrics=("psnr",), jobs=1)
    results = evaluate(benchmark, out)
    arena = Arena(methods=parse_methods("bicubic"), scenes=("checkers",), depth=4, side=64, seeds=1)
    (out / "arena").mkdir()
    (out / "arena" / "arena.json").write_bytes(format_json(run_arena(arena)[0]))
    write_page(results, out, read_arena(out / "arena"))
    return results, out


@pytest.mark.slow
def test_maps_are_compared_where_there_are_some_and_a_truth(made):
    results, out = made
    (check,) = results.trust
    assert (check.method, check.depth, check.pictures) == ("span", 4, 1)
    assert sum(blocks for blocks, _ in check.tenths) == check.blocks
    assert sum(right for _, right in check.tenths) == round(check.blocks * (1 - check.differ))
    assert check.auroc > 0.8
    assert read_results(out).trust == results.trust
    shown = {file.method: decode_png((out / file.file).read_bytes()) for file in results.shown}
    trust, error = (shown[f"span: {about}"][::16, ::16, 0].astype(float) for about in ("trust", "true error"))
    assert np.corrcoef(trust.ravel(), error.ravel())[0, 1] > 0.5
    assert (shown["span: marked"] != shown["span"]).any(axis=2).mean() == pytest.approx(check.flagged, abs=0.02)


@pytest.mark.slow
@pytest.mark.browser
def test_the_page_has_the_calibration_the_maps_and_the_table_of_the_arena(made, browser: Browser):
    _, out = made
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    troubles: list[str] = []
    opened.on("pageerror", lambda error: troubles.append(str(error)))
    opened.goto((out / "index.html").as_uri())
    assert opened.locator("#trust").inner_text() == "Trust"
    assert "said" in opened.locator("svg[aria-label*='probability said by span'] title").first.text_content()
    pictures = opened.locator(".beside img")
    assert pictures.count() == 5
    pictures.first.scroll_into_view_if_needed()
    opened.wait_for_function("() => [...document.querySelectorAll('.beside img')].every(i => i.naturalWidth > 0)")
    assert "checkers" in opened.locator("#arena ~ .scroll").first.inner_text()
    opened.select_option("#left", "span: trust")
    opened.wait_for_function("() => document.querySelector('.over').src.endsWith('trust.png')")
    assert troubles == []


def test_only_what_a_network_makes_by_itself_has_a_map():
    names = ("span", "animevideo", "zoom", "span:direct", "span:0.5", "span:faithful", "bicubic", "fake")
    assert [name for name in names if parse_method(name).has_trust] == ["span", "animevideo", "zoom"]


def test_auroc_counts_ties_half_and_needs_both_kinds():
    positive = np.array([True, False, True, False])
    assert measure_auroc(np.array([2, 1, 4, 3], np.float32), positive) == 0.75
    assert measure_auroc(np.zeros(4, np.float32), positive) == 0.5
    assert measure_auroc(np.zeros(4, np.float32), ~np.zeros(4, bool)) is None


def test_differences_are_root_mean_squares_of_whole_blocks():
    truth = np.zeros((40, 32), np.uint8)
    state = truth.copy()
    state[:16, 16:] = 6
    state[16:24, :16] = 8
    np.testing.assert_allclose(measure_difference(state, truth), [[0, 6], [np.sqrt(32), 0]], rtol=1e-6)


def test_a_folder_without_an_arena_is_named(tmp_path):
    with pytest.raises(BadInputError, match="coz eval arena"):
        read_arena(tmp_path)
