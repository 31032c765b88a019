"""The page in a real browser, with the fake backbone: what a person does, and what is on the screen then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from conftest import PHOTO
from explorer.sessions import opened_session, served, wait_for
from playwright.sync_api import Browser, Page

from chain_of_zoom.imaging.images import load

pytestmark = pytest.mark.browser


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
    until(page, "explorer.view.look()?.missing === 0")


@pytest.fixture
def address(tmp_path) -> Iterator[str]:
    with opened_session(tmp_path / "tiles", load(PHOTO).pixels) as session, served(session) as url:
        yield url


def test_scrolling_in_goes_on_past_the_last_pixel(browser: Browser, address):
    with opened_page(browser, address) as page:
        until(page, "Boolean(window.explorer && explorer.view.tree)")
        wait_until_made(page)
        assert "measured" in page.inner_text("#line") or "interpolated" in page.inner_text("#line")
        page.mouse.move(450, 300)
        end = time.monotonic() + 60
        while page.evaluate("explorer.view.look().magnification") < 64:
            page.mouse.wheel(0, -400)
            page.wait_for_timeout(60)
            assert time.monotonic() < end
        wait_until_made(page)
        assert page.evaluate("explorer.view.look().scale") > 50
        assert "beyond evidence made by fake" in page.inner_text("#line")
        assert page.get_attribute("#stage", "data-origin") == "beyond"
        assert page.evaluate("explorer.view.look().tiles.every((tile) => tile.origin === 'beyond' && tile.isThere)")
