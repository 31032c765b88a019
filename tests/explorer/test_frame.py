"""Zooming into a frame, in a real browser: dragged, by keyboard, on a phone, and what can be saved of it."""

from __future__ import annotations

import io
import zipfile

import pytest
from conftest import PHOTO
from explorer.sessions import HeldTiles, Namer, opened_session, served, wait_for
from explorer.test_page import READY, address, opened_page, until  # noqa: F401 - a fixture
from playwright.sync_api import Browser

from chain_of_zoom.chain.record import Record
from chain_of_zoom.imaging.images import load

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CAPTIONS = "[...document.querySelectorAll('#states b')].map((caption) => caption.textContent)"
WORDS = "[...document.querySelectorAll('#states span')].map((words) => words.textContent)"


def test_a_dragged_frame_shows_the_states_with_their_words_and_saves_them(browser: Browser, tmp_path):
    with (
        opened_session(tmp_path / "tiles", load(PHOTO).pixels, prompter=Namer()) as session,
        served(session) as url,
        opened_page(browser, url) as page,
    ):
        until(page, READY)
        page.click("#zoom-to")
        page.mouse.move(430, 200)
        page.mouse.down()
        page.mouse.move(470, 225, steps=4)
        assert 15 < float(page.inner_text("#frame-text").rstrip("×")) < 25
        page.mouse.up()
        until(page, "!document.getElementById('strip-zip').hidden")
        captions = page.evaluate(CAPTIONS)
        assert captions[0].startswith("1× ")
        assert captions[-1].endswith("beyond evidence")
        words = page.evaluate(WORDS)
        assert words[0] == ""  # the photo itself
        assert words[-1].startswith("shade ")
        with page.expect_download() as download:
            page.click("#strip-zip")
        with zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes())) as archive:
            record = Record.from_json(archive.read(next(name for name in archive.namelist() if "record" in name)))
        assert len(record.states) == len(captions) == 3  # the same, but for the first, which shows all of the photo
        assert record.states[-1].prompt == words[-1]
        page.click("#states li:first-child button")
        until(page, "explorer.view.look().magnification < 1.01")
        with page.expect_download() as download:
            page.click("#strip-sheet")
        assert download.value.suggested_filename.endswith("_sheet.png")
        page.click("#strip-close")
        assert not page.is_visible("#strip")


def test_a_frame_by_keyboard_and_a_way_out(browser: Browser, address):  # noqa: F811
    with opened_page(browser, address) as page:
        until(page, READY)
        page.keyboard.press("f")
        assert page.evaluate("document.activeElement.id") == "framing"
        for key in ("+", "+", "-", "ArrowLeft", "ArrowUp", "ArrowUp"):
            page.keyboard.press(key)
        assert page.inner_text("#frame-text").endswith("×")
        before = page.evaluate("explorer.view.look().magnification")
        page.keyboard.press("Escape")
        assert not page.is_visible("#framing")
        assert page.evaluate("document.activeElement.id") == "viewer"
        assert page.evaluate("explorer.view.look().magnification") == before
        page.keyboard.press("f")
        page.keyboard.press("Enter")
        until(page, "!document.getElementById('strip-zip').hidden")
        assert len(page.evaluate(CAPTIONS)) >= 2
        assert 3.9 < page.evaluate("explorer.view.look().magnification") < 4.3


def test_whoever_takes_the_picture_into_their_own_hands_ends_the_way(browser: Browser, tmp_path):
    backbone = HeldTiles()
    with (
        opened_session(tmp_path / "tiles", load(PHOTO).pixels, backbone) as session,
        served(session) as url,
        opened_page(browser, url) as page,
    ):
        try:
            until(page, READY)
            page.keyboard.press("f")
            for _ in range(5):
                page.keyboard.press("+")
            page.keyboard.press("Enter")
            until(page, "document.querySelector('.coming b')?.textContent.includes('to come')")
            page.mouse.move(450, 250)
            page.mouse.wheel(0, 200)
            until(page, "document.querySelectorAll('.coming').length === 0")
            assert not page.is_visible("#strip-zip")
        finally:
            backbone.go.set()
        wait_for(lambda: session.count_waiting() == 0)


def test_a_frame_on_a_phone(browser: Browser, address):  # noqa: F811
    phone = {"viewport": {"width": 360, "height": 640}, "has_touch": True, "is_mobile": True}
    with opened_page(browser, address, **phone) as page:
        until(page, READY)
        page.tap("#zoom-to")
        page.tap("#framing", position={"x": 200, "y": 120})  # a tap frames a quarter
        until(page, "!document.getElementById('strip-zip').hidden")
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        assert page.evaluate("document.getElementById('viewer').clientHeight") > 200
        box = page.locator("#strip-zip").bounding_box()
        assert box
        assert box["x"] + box["width"] <= 360
