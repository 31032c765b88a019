"""The page in a real browser, with the fake backbone: what a person does, and what is on the screen then."""

from __future__ import annotations

import base64
import io
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from conftest import PHOTO
from explorer.sessions import HeldTiles, opened_session, served, wait_for
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page

from chain_of_zoom.imaging.images import load

pytestmark = [pytest.mark.browser, pytest.mark.slow]
READY = "Boolean(window.explorer && explorer.view.look())"


@contextmanager
def opened_page(browser: Browser, address: str, **options) -> Iterator[Page]:
    """A page of which no complaint and no request to another host is accepted."""
    context = browser.new_context(**{"viewport": {"width": 900, "height": 640}, "reduced_motion": "reduce", **options})
    page = context.new_page()
    complaints: list[str] = []
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url) if not is_own(request.url, address) else None)
    page.goto(address)
    yield page
    assert complaints == []
    context.close()


def is_own(url: str, address: str) -> bool:
    return url.startswith((address.partition("/#")[0], "blob:", "data:"))


def until(page: Page, condition: str, seconds: float = 30) -> None:
    """Wait until an expression holds; the page's own policy forbids Playwright's way, which evaluates texts in it."""
    wait_for(lambda: page.evaluate(condition), seconds)


def wait_until_made(page: Page) -> None:
    until(page, "explorer.view.look()?.missing === 0", 90)


def go_to(page: Page, zoom: float, x: float = 0.45, y: float = 0.28) -> None:
    """Show a spot and wait for its tiles."""
    until(page, READY)
    page.evaluate("(spot) => explorer.view.goTo(spot, true)", {"x": x, "y": y, "zoom": zoom})
    rest(page)


def rest(page: Page) -> None:
    """Wait until the view stands, is told to the server, and all its tiles are drawn."""
    page.wait_for_timeout(130)
    until(page, "explorer.view.viewer.world.getItemCount() <= 1 + explorer.view.isComparing")
    wait_until_made(page)
    page.wait_for_timeout(170)


@pytest.fixture
def address(tmp_path) -> Iterator[str]:
    with opened_session(tmp_path / "tiles", load(PHOTO).pixels) as session, served(session) as url:
        yield url


def test_scrolling_in_goes_on_past_the_last_pixel(browser: Browser, address):
    with opened_page(browser, address) as page:
        until(page, READY)
        wait_until_made(page)
        assert "measured" in page.inner_text("#line") or "interpolated" in page.inner_text("#line")
        page.mouse.move(450, 300)
        end = time.monotonic() + 60
        while page.evaluate("explorer.view.look().magnification") < 256:
            page.mouse.wheel(0, -400)
            page.wait_for_timeout(60)
            assert time.monotonic() < end
        wait_until_made(page)
        assert page.evaluate("explorer.view.look().scale") > 250
        assert "beyond evidence: made by fake" in page.inner_text("#line")
        assert page.get_attribute("#stage", "data-origin") == "beyond"
        assert page.evaluate("explorer.view.look().tiles.every((tile) => tile.origin === 'beyond' && tile.isThere)")


def test_tiles_are_marked_each_by_its_origin_and_the_comparison_shows_both(browser: Browser, address):
    with opened_page(browser, address) as page:
        go_to(page, 24)
        page.click("#trust")
        assert page.get_attribute("#trust", "aria-pressed") == "true"
        wait_for(lambda: count_colour(page, "--beyond") > 500)  # the overlay is drawn with the next frame
        assert count_colour(page, "--measured") == 0
        page.click("#compare")
        until(page, "explorer.view.viewer.world.getItemCount() === 2")
        wait_for(lambda: count_colour(page, "--interpolated") > 100)
        page.locator("#split-slider").press("End")
        wait_for(lambda: count_colour(page, "--beyond") == 0)
        page.click("#trust")
        wait_for(lambda: count_colour(page, "--interpolated") == 0)
        page.click("#compare")
        until(page, "explorer.view.viewer.world.getItemCount() === 1")


def count_colour(page: Page, name: str) -> int:
    """Count the pixels of the overlay that have a colour of the page."""
    return page.evaluate(
        """(name) => {
          const overlay = document.getElementById("overlay"), copy = new OffscreenCanvas(overlay.width, overlay.height);
          const context = copy.getContext("2d", { willReadFrequently: true });
          context.fillStyle = getComputedStyle(overlay).getPropertyValue(name);
          context.fillRect(0, 0, 1, 1);
          const [r, g, b] = context.getImageData(0, 0, 1, 1).data;
          context.clearRect(0, 0, 1, 1);
          context.drawImage(overlay, 0, 0);
          const { data } = context.getImageData(0, 0, copy.width, copy.height);
          const isNear = (i, value) => Math.abs(data[i] - value) < 5;
          let count = 0;
          for (let i = 0; i < data.length; i += 4)
            count += data[i + 3] > 200 && isNear(i, r) && isNear(i + 1, g) && isNear(i + 2, b);
          return count;
        }""",
        name,
    )


def test_a_link_shows_the_same_view_and_a_restart_keeps_the_tiles(browser: Browser, tmp_path):
    pixels = load(PHOTO).pixels
    with (
        opened_session(tmp_path / "tiles", pixels) as session,
        served(session) as url,
        opened_page(browser, url) as page,
    ):
        go_to(page, 40, x=0.31, y=0.62)
        link = page.evaluate("location.hash")
        first = canvas_pixels(page)
        made = len(session.store)
    with (
        opened_session(tmp_path / "tiles", pixels) as session,
        served(session) as url,
        opened_page(browser, url + "/" + link) as page,
    ):
        until(page, READY)
        rest(page)
        assert difference(canvas_pixels(page), first) <= 1
        assert page.evaluate("location.hash") == link
        assert len(session.store) == made  # none was made again


def canvas_pixels(page: Page) -> NDArray[np.int16]:
    """The picture as the screen shows it."""
    url = page.evaluate("document.querySelector('#viewer canvas').toDataURL()")
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB")).astype(np.int16)


def difference(first: NDArray[np.int16], second: NDArray[np.int16]) -> int:
    return int(np.abs(first - second).max())


def test_everything_by_keyboard_alone(browser: Browser, address):
    with opened_page(browser, address) as page:
        until(page, READY)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        for _ in range(6):
            page.keyboard.press("+")
        until(page, "explorer.view.look().magnification > 60")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        until(page, "explorer.view.spot.x > 0.5 && explorer.view.spot.y > 0.5")
        wait_until_made(page)
        assert "beyond evidence" in page.inner_text("#line")
        page.keyboard.press("t")
        assert page.get_attribute("#trust", "aria-pressed") == "true"
        page.keyboard.press("]")
        until(page, "Math.abs(explorer.view.look().scale - 256) < 1e-6")
        page.keyboard.press("?")
        assert page.is_visible("#keys")
        page.keyboard.press("Escape")
        assert not page.is_visible("#keys")
        page.keyboard.press("1")
        until(page, "Math.abs(explorer.view.look().scale - 1) < 1e-9")
        assert "measured" in page.inner_text("#line")
        page.keyboard.press("0")
        until(page, "explorer.view.look().magnification < 1.01")
        names = page.evaluate(
            "[...document.querySelectorAll('button, input, select, [role]')].filter((e) => e.checkVisibility()"
            " && !(e.ariaLabel || e.textContent.trim() || e.labels?.length)).map((e) => e.id)"
        )
        assert names == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone(browser: Browser, address, scheme):
    phone = {"viewport": {"width": 360, "height": 640}, "has_touch": True, "is_mobile": True, "color_scheme": scheme}
    with opened_page(browser, address, **phone) as page:
        go_to(page, 30)
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        outside = page.evaluate(
            """[...document.querySelectorAll('button, #line, #magnification')].filter((e) => e.checkVisibility())
            .filter((e) => e.getBoundingClientRect().right > 361 || e.getBoundingClientRect().bottom > 641)
            .map((e) => e.id)"""
        )
        assert outside == []
        assert page.evaluate("document.getElementById('viewer').clientHeight") > 300
        small = page.evaluate(
            """[...document.querySelectorAll('button')].filter((e) => e.checkVisibility() && e.offsetHeight < 24)
            .map((e) => e.id)"""
        )
        assert small == []


def test_a_photo_is_dropped_stopped_and_saved(browser: Browser, tmp_path):
    with opened_session(tmp_path / "tiles") as session, served(session) as url, opened_page(browser, url) as page:
        until(page, "Boolean(window.explorer)")
        assert page.is_visible("#empty")
        page.set_input_files("#file", PHOTO)
        until(page, READY)
        assert page.inner_text("#title") == "astronaut.png"
        go_to(page, 12)
        page.keyboard.press("e")
        with page.expect_download() as download:
            page.click("[data-kind=zip]")
        assert re.fullmatch(r"astronaut_1[12](\.\d+)?x\.zip", download.value.suggested_filename)
        page.keyboard.press("s")
        until(page, "explorer.isStopped")
        made = len(session.store)
        page.evaluate("explorer.view.goTo({x: 0.8, y: 0.8, zoom: 200}, true)")
        page.wait_for_timeout(500)
        assert len(session.store) == made
        assert "stopped" in page.inner_text("#work")
        assert page.inner_text("#stop") == "Go on"
        page.click("#stop")
        wait_until_made(page)


def test_the_saved_picture_is_what_is_on_the_screen(browser: Browser, address):
    with opened_page(browser, address) as page:
        go_to(page, 20)
        page.keyboard.press("1")
        page.keyboard.press("]")
        page.keyboard.press("]")  # one pixel of a tile on one of the screen
        rest(page)
        page.evaluate(
            """() => {
              const { view } = explorer, { sight, level } = view.look(), { width, height } = view.tree.photo;
              const shift = (edge, side) => Math.round(edge * side) / side - edge; // to whole pixels of the tiles
              const { x, y, zoom } = view.spot, { scale } = view.tree.levels[level];
              view.goTo({ x: x + shift(sight[0], width * scale), y: y + shift(sight[1], height * scale), zoom }, true);
            }"""
        )
        rest(page)
        shown = canvas_pixels(page)
        page.click("#export")
        with page.expect_download() as download:
            page.click("[data-kind=png]")
        saved = load(download.value.path()).pixels.astype(np.int16)
        assert max(abs(a - b) for a, b in zip(saved.shape, shown.shape, strict=True)) <= 1
        # OpenSeadragon draws every tile a pixel larger than it is, against seams: near its corner nothing has moved.
        boxes = page.evaluate("explorer.view.look().tiles.map(({ box }) => box)")
        corners = [(round(y), round(x)) for x, y, *_ in boxes if 0 <= x < 800 and 0 <= y < 400 and (x > 250 or y > 120)]
        assert len(corners) >= 2
        for y, x in corners:
            near = np.s_[y + 1 : y + 24, x + 1 : x + 24]
            assert np.abs(saved[near] - shown[near]).mean() < 1.2  # one level is the canvas's rounding


def test_other_words_make_other_tiles_and_the_first_ones_come_back(browser: Browser, address):
    with opened_page(browser, address) as page:
        go_to(page, 20)
        plain = canvas_pixels(page)
        page.keyboard.press("w")
        page.fill("#words", "a butterfly's wing")
        page.click("#words-everywhere")
        until(page, "explorer.view.tree.words !== ''")
        rest(page)
        assert difference(canvas_pixels(page), plain) > 4
        page.fill("#words", "")
        page.click("#words-everywhere")
        until(page, "explorer.view.tree.words === ''")
        rest(page)
        assert difference(canvas_pixels(page), plain) <= 1


def test_another_version_by_its_key_stands_in_the_link(browser: Browser, address):
    with opened_page(browser, address) as page:
        go_to(page, 20)
        plain = canvas_pixels(page)
        page.keyboard.press("v")
        until(page, "location.hash.includes('version=2')")
        rest(page)
        assert difference(canvas_pixels(page), plain) > 2
        assert page.input_value("#version") == "2"
        page.select_option("#version", "1")
        until(page, "!location.hash.includes('version')")
        rest(page)
        assert difference(canvas_pixels(page), plain) <= 1


def test_a_server_that_went_away_is_said_and_found_again(browser: Browser, tmp_path):
    with opened_session(tmp_path / "tiles", load(PHOTO).pixels) as session:
        with served(session) as url:
            context = browser.new_context(viewport={"width": 600, "height": 500})
            page = context.new_page()
            page.goto(url)
            until(page, READY)
            wait_until_made(page)
        until(page, "document.getElementById('message').textContent.includes('does not answer')")
        with served(session, port=int(url.rpartition(":")[2])):
            until(page, "document.getElementById('message').textContent === ''")
            page.evaluate("explorer.view.goTo({x: 0.5, y: 0.5, zoom: 60}, true)")
            page.wait_for_timeout(300)
            wait_until_made(page)
        context.close()


def test_a_quick_backbone_draws_first_and_gives_way(browser: Browser, tmp_path):
    backbone = HeldTiles()
    with (
        opened_session(tmp_path / "tiles", load(PHOTO).pixels, backbone, draft="bicubic") as session,
        served(session) as url,
        opened_page(browser, url) as page,
    ):
        try:
            until(page, READY)
            page.evaluate("explorer.view.goTo({x: 0.45, y: 0.28, zoom: 12}, true)")
            until(
                page, "explorer.view.look().drafts > 0 && explorer.view.look().drafts === explorer.view.look().missing"
            )
            page.wait_for_timeout(400)
            assert "made by bicubic for now" in page.inner_text("#line")
            draft = canvas_pixels(page)
        finally:
            backbone.go.set()
        rest(page)
        assert page.evaluate("explorer.view.look().drafts") == 0
        assert "for now" not in page.inner_text("#line")
        final = canvas_pixels(page)
        assert difference(final, draft) > 4
        page.reload()
        until(page, READY)
        rest(page)
        assert difference(canvas_pixels(page), final) <= 1


def test_two_fingers_zoom_in_where_they_are(browser: Browser, address):
    phone = {"viewport": {"width": 360, "height": 640}, "has_touch": True, "is_mobile": True}
    with opened_page(browser, address, **phone) as page:
        until(page, READY)
        before = page.evaluate("explorer.view.look().magnification")
        touch = page.context.new_cdp_session(page)
        for kind, apart in (("touchStart", 20), *(("touchMove", apart) for apart in range(30, 100, 10))):
            points = [{"x": 120 + side * apart, "y": 200, "id": number} for number, side in enumerate((-1, 1))]
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
            page.wait_for_timeout(20)
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        until(page, f"explorer.view.look().magnification > 2.5 * {before}")
        assert page.evaluate("explorer.view.spot.x") < 0.45  # left of the middle, as the fingers
