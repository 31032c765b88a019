"""Pages: escaped, strict about what they are given, and without a request to anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from chain_of_zoom.pages.render import render


@pytest.mark.browser
@pytest.mark.slow
def test_the_base_page_opens_from_the_file_system_and_fetches_nothing(tmp_path: Path, browser: Browser) -> None:
    file = tmp_path / "page.html"
    file.write_text(render("base.html"))
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    assert page.locator("main").count() == 1
    assert asked == [file.as_uri()]
    page.close()
