"""A picture that would not fit into the memory is refused by its header."""

from __future__ import annotations

import io
import re

import pytest
from PIL import Image

from chain_of_zoom import resources
from chain_of_zoom.errors import BadInputError
from chain_of_zoom.imaging.decode import decode_bytes
from chain_of_zoom.imaging.reading import DEFAULT_LIMITS


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "megabytes"), [("GIF", 78), ("PNG", 60), ("TIFF", 39), ("WEBP", 108)])
def test_what_does_not_fit_into_memory_is_not_decoded(tmp_path, monkeypatch, kind, megabytes):
    buffer = io.BytesIO()
    Image.new("L", (3000, 2000)).save(buffer, kind)
    monkeypatch.setattr(resources, "available_memory", lambda *_, **__: 20_000_000)
    Image.init()  # which loads small pictures of its own
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("decoded"))
    says = (
        f"a.x: 3000x2000 pixels: not enough memory to decode it, {megabytes} MB needed, 20 MB allowed; reduce it first"
    )
    with pytest.raises(BadInputError, match=re.escape(says)):
        decode_bytes(buffer.getvalue(), tmp_path / "a.x")


def test_formats_may_say_how_much_a_pixel_takes(monkeypatch):
    monkeypatch.setattr(resources, "available_memory", lambda *_, **__: 1_000_000)
    DEFAULT_LIMITS.check_size(300, 300, "a.png")
    with pytest.raises(BadInputError, match="1.1 MB needed, 1 MB allowed"):
        DEFAULT_LIMITS.check_size(300, 300, "a.png", bytes_per_pixel=12)
