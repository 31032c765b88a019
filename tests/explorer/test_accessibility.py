"""The page by the rules of axe-core: no finding that is serious, whatever is open, dark and light, on a phone, too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

import pytest
from conftest import PHOTO
from explorer.sessions import opened_session, served
from explorer.test_page import READY, go_to, opened_page, until
from playwright.sync_api import Browser, Page

from chain_of_zoom.imaging.images import load

pytestmark = [pytest.mark.browser, pytest.mark.slow]
if "CI" not in os.environ and not find_spec("axe_playwright_python"):
    pytest.skip("needs axe-core, of the extra [dev]", allow_module_level=True)


@pytest.fixture(scope="module")
def axe() -> str:
    return (files("axe_playwright_python") / "axe.min.js").read_text("utf-8")


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    with opened_session(tmp_path_factory.mktemp("tiles"), load(PHOTO).pixels) as session, served(session) as url:
        yield url


def list_findings(page: Page, axe: str) -> list[str]:
    """What axe-core finds that is serious or critical: rule, and where."""
    page.evaluate(axe)  # by the debugger: the page's own policy would let no script in
    results: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert len(results["passes"]) > 10
    return [
        f"{finding['id']}: {finding['help']}: {[node['target'] for node in finding['nodes']]}"
        for finding in results["violations"]
        if finding["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize(("scheme", "width", "height"), [("dark", 1100, 800), ("light", 360, 640)])
def test_no_serious_finding_with_a_photo_open(browser: Browser, address, axe, scheme, width, height):
    with opened_page(browser, address, viewport={"width": width, "height": height}, color_scheme=scheme) as page:
        go_to(page, 20)
        assert list_findings(page, axe) == []
        for button in ("#trust", "#compare", "#export", "#help"):
            page.click(button)
            page.wait_for_timeout(100)
            assert list_findings(page, axe) == [], button
            page.keyboard.press("Escape")
        page.click("#tile-open")
        page.click("#alternatives-show")
        until(page, "document.querySelectorAll('#choices canvas[data-made]').length === 4")
        assert list_findings(page, axe) == [], "the tile in the middle"
        page.click("#tile-close")
        page.click("#zoom-to")
        assert list_findings(page, axe) == [], "a frame"
        page.keyboard.press("Enter")
        until(page, "!document.getElementById('strip-zip').hidden")
        assert list_findings(page, axe) == [], "a strip of states"


def test_no_serious_finding_before_a_photo_is_there(browser: Browser, tmp_path, axe):
    with opened_session(tmp_path / "tiles") as session, served(session) as url, opened_page(browser, url) as page:
        until(page, "Boolean(window.explorer)")
        assert list_findings(page, axe) == []


def test_a_serious_fault_would_be_found(browser: Browser, address, axe):
    with opened_page(browser, address) as page:
        until(page, READY)
        page.evaluate("document.getElementById('closer').removeAttribute('aria-label')")
        page.evaluate("Object.assign(document.getElementById('closer'), {textContent: '', title: ''})")
        assert [finding.partition(":")[0] for finding in list_findings(page, axe)] == ["button-name"]
