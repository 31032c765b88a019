"""The pictures of a folder, and the size of one from its header."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import noise
from PIL import Image

from chain_of_zoom.errors import BadInputError
from chain_of_zoom.imaging.decode import peek_size
from chain_of_zoom.imaging.folder import pictures_in
from chain_of_zoom.imaging.images import load
from chain_of_zoom.imaging.reading import Limits


def test_pictures_by_extension_in_order(tmp_path):
    for name in ("b.JPG", "c.mpo", "a.png", "notes.txt", ".c.png", "in/d.webp", ".git/e.png", "in/deep/f.tiff"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    assert [path.name for path in pictures_in(tmp_path)] == ["a.png", "b.JPG", "c.mpo"]
    found = [path.relative_to(tmp_path).as_posix() for path in pictures_in(tmp_path, recursive=True)]
    assert found == ["a.png", "b.JPG", "c.mpo", "in/d.webp", "in/deep/f.tiff"]
    with pytest.raises(BadInputError, match="cannot be read"):
        pictures_in(tmp_path / "absent")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "AVIF"])
def test_the_size_is_read_without_the_pixels(tmp_path, kind):
    path = tmp_path / "picture"
    Image.fromarray(noise(300, 200)).save(path, kind)
    assert peek_size(path) == (200, 300)
    whole = path.read_bytes()
    if kind in ("PNG", "JPEG", "GIF"):  # their pixels come last
        path.write_bytes(whole[: len(whole) // 2])
        assert peek_size(path) == (200, 300)


def test_what_pillow_cannot_tell_is_decoded():
    pytest.importorskip("pillow_heif", reason="the extra [heif] is not installed")
    path = Path(__file__).parent / "data" / "ten_bits.heic"
    assert peek_size(path) == load(path).size


def test_what_has_no_size_says_why(tmp_path):
    path = tmp_path / "picture"
    path.write_bytes(b"nothing")
    with pytest.raises(BadInputError, match="not a picture"):
        peek_size(path)
    Image.fromarray(noise(10, 30)).save(path, "PNG")
    with pytest.raises(BadInputError, match="30x10 pixels"):
        peek_size(path, limits=Limits(pixels=100))
    with pytest.raises(BadInputError, match="no such file"):
        peek_size(Path("absent.png"))
