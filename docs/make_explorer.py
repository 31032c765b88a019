"""Draw the pictures of the explorer in the docs: a real zoom on the page, in a real browser, from 1x to 256x.

    python docs/make_explorer.py [BACKBONE]

The photo is by Clemens Engelhardt (CC0), of the Debian package lomiri-wallpapers-16.04. Tiles are made before the
frames are taken, so the animation shows no waiting. Needs Chromium and the extra [dev].
"""

from __future__ import annotations

import io
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from chain_of_zoom.datasets.photos import find_photos

DOCS = Path(__file__).parent
PHOTO = find_photos("photos")["seeding_by_Clements_Engelhardt"]
SPOT = {"x": 0.3525, "y": 0.2945}  # where the hairs of a seed meet
DEEPEST = 256
FRAMES, TICK, HOLD = 72, 80, 1200  # milliseconds of a frame, and of those at which it stands
SMALL, LARGE = {"width": 720, "height": 560}, {"width": 1280, "height": 800}
LIMIT = 1_500_000


@contextmanager
def opened_page(address: str, size: dict[str, int]) -> Iterator[Page]:
    """Open the page in Chromium."""
    with sync_playwright() as playwright:
        path = os.environ.get("CHROMIUM") or shutil.which("chromium")
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        options = {"viewport": size, "reduced_motion": "reduce", "color_scheme": "dark"}
        page = chromium.new_context(**options).new_page()
        page.goto(address)
        wait_for(page, "Boolean(window.explorer && explorer.view.look())")
        yield page
        chromium.close()


def wait_for(page: Page, condition: str, seconds: float = 3600) -> None:
    """Wait until an expression holds; the page's own policy forbids Playwright's way."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        if time.monotonic() > end:
            raise TimeoutError(condition)
        time.sleep(0.05)


def show(page: Page, magnification: float) -> None:
    """Show the spot at a magnification, with all its tiles."""
    spot = "explorer.view.inside({...spot, zoom: spot.zoom * explorer.view.homeZoom})"
    page.evaluate(f"(spot) => explorer.view.goTo({spot}, true)", {**SPOT, "zoom": magnification})
    page.wait_for_timeout(150)
    wait_for(page, "explorer.view.look().missing === 0 && explorer.view.viewer.world.getItemAt(0).getFullyLoaded()")
    page.wait_for_timeout(100)


def take_frames(page: Page) -> Iterator[Image.Image]:
    """Zoom in at a steady pace; one frame for each step of it."""
    for magnification in (4 ** (step / 2) for step in range(9)):  # tiles first
        show(page, magnification)
        print(f"{magnification:g}x", flush=True)
    for number in range(FRAMES):
        share = (1 - math.cos(math.pi * number / (FRAMES - 1))) / 2
        show(page, DEEPEST**share)
        yield Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def write_animation(page: Page) -> None:
    """Write explorer.webp, as good as the limit of its size allows."""
    first, *later = take_frames(page)
    durations = [HOLD, *[TICK] * (FRAMES - 2), 2 * HOLD]
    for quality in (70, 60, 50, 40, 30):
        options = {"quality": quality, "method": 6, "duration": durations, "loop": 0}
        first.save(DOCS / "explorer.webp", save_all=True, append_images=later, **options)
        size = (DOCS / "explorer.webp").stat().st_size
        print(f"explorer.webp: quality {quality}, {size} bytes")
        if size < LIMIT:
            return
    raise SystemExit("explorer.webp is too large")


def write_screenshots(page: Page) -> None:
    """Write the page at 1x, 16x and 256x."""
    for magnification in (1, 16, DEEPEST):
        show(page, magnification)
        if magnification == 16:
            page.keyboard.press("w")
        page.wait_for_timeout(600)
        picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        picture.save(DOCS / f"explorer_{magnification}x.webp", quality=80, method=6)
        if magnification == 16:
            page.keyboard.press("w")


def main(backbone: list[str]) -> None:
    """Start the explorer, and draw."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "chain_of_zoom", "explore", str(PHOTO), "--no-browser", "--quiet"]
        options = ["--cache", os.environ.get("COZ_CACHE", cache), *(["--backbone", *backbone] if backbone else [])]
        server = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        try:
            with opened_page(address, LARGE) as page:
                write_screenshots(page)
            with opened_page(address, SMALL) as page:
                write_animation(page)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main(sys.argv[1:])
