"""The page of a batch, as a browser sees it from the file system."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from batch_files import save
from conftest import PHOTO, noise
from PIL import Image
from playwright.sync_api import Browser, Page

from chain_of_zoom import zoom_many
from chain_of_zoom.imaging import sheet

FAST = {"backbone": "fake", "size": (96, 64), "magnification": 64}
HOSTILE = "<img src=x onerror=alert(1)> #1 100% \"é\" & 'x' a\\b?"


@pytest.fixture(autouse=True)
def small_sheets(monkeypatch):
    monkeypatch.setattr(sheet, "CELL", 96)


@pytest.fixture
def opened(browser: Browser):
    """Opens a page; afterwards there was no error in it and no request but to files."""
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("requestfailed", lambda request: errors.append(request.url))

    def show(file: Path) -> Page:
        page.goto(file.as_uri())
        return page

    yield show
    page.close()
    assert not errors
    assert asked
    assert {urlsplit(url).scheme for url in asked} == {"file"}


@pytest.mark.slow
def test_every_picture_loads_and_every_link_leads_somewhere(tmp_path, opened):
    shutil.copy(PHOTO, tmp_path / "a.png")
    shutil.copy(PHOTO, tmp_path / f"{HOSTILE}.png")
    (tmp_path / "broken.png").write_bytes(PHOTO.read_bytes()[:5000])
    photos = [tmp_path / "a.png", tmp_path / f"{HOSTILE}.png", tmp_path / "broken.png"]
    list(zoom_many(photos, out=tmp_path / "out", prompt="<b>bold</b>", animate=True, **FAST))
    shutil.move(tmp_path / "out", tmp_path / "elsewhere")
    page = opened(tmp_path / "elsewhere" / "index.html")
    assert page.title() == "3 zooms with fake"
    cards = page.locator(".card")
    assert cards.count() == 2
    pictures = page.locator("img")
    assert pictures.count() == 4
    for picture in pictures.all():
        picture.scroll_into_view_if_needed()
        assert picture.evaluate("each => each.decode().then(() => each.naturalWidth)") == 96
    for link in page.locator("a").all():
        address = urlsplit(link.get_attribute("href"))
        assert not address.scheme
        assert address.fragment or (tmp_path / "elsewhere" / unquote(address.path)).is_file(), address
    text = page.inner_text("main")
    assert "2 complete, 1 failed" in text
    assert "broken.png: damaged" in page.inner_text("table")
    assert f"{HOSTILE}.png" in text
    assert "<b>bold</b>" in text
    colours = cards.first.locator(".states span").evaluate_all("all => all.map(each => each.className)")
    assert colours == ["measured", "measured", "measured", "beyond", "beyond"]
    dyed = page.locator("a.beyond").first.evaluate("each => getComputedStyle(each).color")
    assert dyed == "rgb(255, 84, 84)"
    assert page.locator(".card").first.locator("a:text-is('animation')").get_attribute("href") == "a/zoom.webp"
    page.locator("text=sheet").first.click()
    page.wait_for_url("**/sheet.png")


@pytest.mark.slow
def test_the_page_can_be_watched(tmp_path, opened):
    photos = [save(noise(32, 48, seed), tmp_path / f"{seed}.png") for seed in range(3)]
    batch = zoom_many(photos, out=tmp_path / "out", **FAST)
    next(batch)
    page = opened(tmp_path / "out" / "index.html")
    assert "1 complete, 2 waiting · this page reloads itself" in page.inner_text("main")
    assert page.inner_text("#waiting + p") == "1.png, 2.png"
    next(batch)
    page.wait_for_function("document.querySelectorAll('.card').length == 2", timeout=20_000)
    list(batch)
    page.reload()
    assert "reload" not in page.content()


@pytest.mark.slow
def test_thumbnails_are_small_and_say_what_they_are(tmp_path):
    (outcome,) = zoom_many(PHOTO, out=tmp_path / "out", backbone="fake", magnification=16, size=(640, 480))
    folder = tmp_path / "out" / "thumbnails"
    for entry, origin in [(outcome.record.states[0], "interpolated"), (outcome.record.states[-1], "generated")]:
        assert entry.origin == origin
        file = folder / f"{entry.sha256[:16]}.webp"
        with Image.open(file) as image:
            assert image.size == (320, 240)
            assert (b"trainedAlgorithmicMedia" in image.info["xmp"]) == (origin == "generated")
        assert file.stat().st_size < 40_000
