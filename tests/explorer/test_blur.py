"""The page's frames follow the blur of the photo at the spot, as zooms do."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from explorer.sessions import PlainFake, connect, make_server, opened_session, served
from explorer.test_page import go_to, opened_page, until
from PIL import Image, ImageFilter
from playwright.sync_api import Browser

from chain_of_zoom.explorer.tree import OpenPhoto
from chain_of_zoom.imaging.images import RGB8, Picture

SHARP, SOFT = (0.25, 0.3), (0.8, 0.7)


class Proven(PlainFake):
    """A quick backbone with evidence up to 16x."""

    info = replace(PlainFake.info, evidence_limit=16.0)


@pytest.fixture(scope="module")
def photo(astronaut: RGB8) -> RGB8:
    """A photo whose right half is out of focus."""
    pixels = astronaut.copy()
    pixels[:, 256:] = np.asarray(Image.fromarray(astronaut).filter(ImageFilter.GaussianBlur(4)))[:, 256:]
    return pixels


def test_the_server_says_how_blurred_a_photo_is(photo, tmp_path):
    with opened_session(tmp_path, photo) as session:
        client = connect(make_server(session))
        tree = client.plant(client.read_session().photos[0].id)
        rows = client.read_blur(tree.id).blur
    assert len(rows) == len(rows[0]) == 12
    blur = np.array([[cell or inf for cell in row] for row in rows])
    assert np.median(blur[:, :5]) < 2 < 4 < np.median(blur[:, 8:])


@pytest.mark.slow
@pytest.mark.browser
def test_a_frame_is_beyond_evidence_sooner_where_the_photo_is_soft(photo, tmp_path, browser: Browser):
    origins = {}
    with opened_session(tmp_path, photo, Proven()) as session, served(session) as address:
        for spot in (SHARP, SOFT):
            with opened_page(browser, address) as page:
                go_to(page, 8, *spot)
                until(page, "explorer.view.look().tiles.length > 0")
                page.wait_for_timeout(300)
                origins[spot] = (
                    page.evaluate("explorer.view.look().origin"),
                    page.evaluate("explorer.view.look().scale"),
                )
    assert origins[SHARP][0] == "generated"
    assert origins[SOFT][0] == "beyond"
    assert origins[SHARP][1] == origins[SOFT][1] < 16


def test_the_blur_of_a_photo_is_measured_once(photo):
    opened = OpenPhoto(Picture.of_pixels(photo))
    assert opened.blur is opened.blur
