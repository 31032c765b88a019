"""The panel about the tile in the middle, in a real browser: words, alternatives, branches."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import PHOTO
from explorer.sessions import Namer, opened_session, served
from explorer.test_page import READY, canvas_pixels, difference, go_to, opened_page, rest, until
from playwright.sync_api import Browser, Page

from chain_of_zoom.imaging.images import load

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def show_tile(page: Page, zoom: float = 20) -> None:
    go_to(page, zoom)
    page.keyboard.press("w")
    until(page, "!document.getElementById('tile-some').hidden")


def differing_share(first, second) -> float:
    return float((np.abs(first - second).max(axis=-1) > 2).mean())


def test_words_of_a_tile_are_read_edited_and_taken_back(browser: Browser, tmp_path):
    with (
        opened_session(tmp_path / "tiles", load(PHOTO).pixels, prompter=Namer()) as session,
        served(session) as url,
        opened_page(browser, url) as page,
    ):
        show_tile(page)
        assert page.input_value("#words").startswith("shade ")
        assert page.inner_text("#words-by") == "written by namer"
        before, first = canvas_pixels(page), page.evaluate("location.hash")
        page.fill("#words", "a butterfly's wing")
        page.keyboard.press("Enter")
        until(page, "explorer.view.tree.branch !== ''")
        rest(page)
        edited = canvas_pixels(page)
        assert 0.01 < differing_share(edited, before) < 0.35  # of the whole view this tile alone
        assert page.inner_text("#words-by") == "yours, for this tile"
        assert "branch=" in page.evaluate("location.hash")
        assert "butterfly" in page.inner_text("#branch")
        page.reload()
        until(page, READY)
        rest(page)
        assert difference(canvas_pixels(page)[:, 320:500], edited[:, 320:500]) <= 1
        page.go_back()
        until(page, "explorer.view.tree.branch === ''")
        rest(page)
        assert difference(canvas_pixels(page), before) <= 1
        assert page.evaluate("location.hash") == first


def test_alternatives_are_shown_side_by_side_and_one_is_chosen(browser: Browser, tmp_path):
    with (
        opened_session(tmp_path / "tiles", load(PHOTO).pixels) as session,
        served(session) as url,
        opened_page(browser, url) as page,
    ):
        show_tile(page)
        before = canvas_pixels(page)
        page.select_option("#alternatives-count", "3")
        page.click("#alternatives-show")
        until(page, "document.querySelectorAll('#choices canvas[data-made]').length === 3")
        assert page.get_attribute(".choice:nth-child(1)", "aria-pressed") == "true"
        page.focus(".choice:nth-child(3)")
        page.keyboard.press("Enter")
        until(page, "explorer.view.tree.branch !== ''")
        rest(page)
        chosen = canvas_pixels(page)
        assert 0.01 < differing_share(chosen, before) < 0.35
        until(page, "document.querySelector('.choice:nth-child(3)')?.getAttribute('aria-pressed') === 'true'")
        page.select_option("#branch", "")
        until(page, "explorer.view.tree.branch === ''")
        rest(page)
        assert difference(canvas_pixels(page), before) <= 1
        page.select_option("#branch", index=1)
        until(page, "explorer.view.tree.branch !== ''")
        rest(page)
        assert difference(canvas_pixels(page), chosen) <= 1
        page.click("#words-back")
        until(page, "explorer.view.tree.branch === ''")


def test_a_backbone_that_ignores_words_says_so_and_the_photo_itself_has_no_tile(browser: Browser, tmp_path):
    with (
        opened_session(tmp_path / "tiles", load(PHOTO).pixels, "bicubic") as session,
        served(session) as url,
        opened_page(browser, url) as page,
    ):
        until(page, READY)
        page.keyboard.press("w")
        assert "Zoom in" in page.inner_text("#tile")
        go_to(page, 20)
        until(page, "!document.getElementById('tile-some').hidden")
        assert "bicubic ignores words" in page.inner_text("#tile")
        assert not page.is_visible("#words")
        assert not page.is_visible("#alternatives")
        page.click("#tile-close")
        assert not page.is_visible("#tile")


def test_the_panel_on_a_phone(browser: Browser, tmp_path):
    phone = {"viewport": {"width": 360, "height": 640}, "has_touch": True, "is_mobile": True}
    with (
        opened_session(tmp_path / "tiles", load(PHOTO).pixels, prompter=Namer()) as session,
        served(session) as url,
        opened_page(browser, url, **phone) as page,
    ):
        show_tile(page)
        box = page.locator("#tile").bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        page.tap("#words")
        page.keyboard.insert_text(" and a leaf")
        page.tap("#words-form button[type=submit]")
        until(page, "explorer.view.tree.branch !== ''")
