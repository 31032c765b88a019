"""Photos that programs have in memory."""

from __future__ import annotations

import io

import numpy as np
import pytest
from conftest import noise
from PIL import Image

from chain_of_zoom import UsageError, upscale, zoom
from chain_of_zoom.errors import BadInputError, OutputError
from chain_of_zoom.imaging.decode import read_photo
from chain_of_zoom.imaging.images import render
from chain_of_zoom.imaging.reading import Limits, Reading

FAST = {"backbone": "bicubic", "size": (16, 16), "magnification": 4}


def file_of(image: Image.Image, **more: object) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, "PNG", **more)
    return file  # at its end, where people leave it


def test_every_form_of_a_photo_gives_the_same_states(tmp_path):
    pixels = noise(40, 60)
    file = file_of(Image.fromarray(pixels))
    (tmp_path / "a.png").write_bytes(file.getvalue())
    forms = (tmp_path / "a.png", str(tmp_path / "a.png"), file.getvalue(), bytearray(file.getvalue()), file, pixels)
    with (tmp_path / "a.png").open("rb") as opened:
        results = [zoom(photo, **FAST).states[-1].image for photo in (*forms, opened, Image.fromarray(pixels))]
    assert all(np.array_equal(image, results[0]) for image in results)
    assert upscale(Image.fromarray(pixels), 2, backbone="bicubic").image.shape == (80, 120, 3)
    assert upscale(file, 2, backbone="bicubic").image.shape == (80, 120, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_picture_of_pillow_is_read_as_its_file_is(mode):
    noisy = Image.fromarray(noise(8, 12))
    image = Image.fromarray(noise(8, 12)[..., 0].astype(np.uint16) * 200) if mode == "I;16" else noisy.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.getexif()[0x0112] = 6
    theirs = render(read_photo(file_of(image, exif=exif).getvalue()))
    ours = render(read_photo(image))
    np.testing.assert_array_equal(ours.pixels, theirs.pixels)
    assert ours.notes == ("a picture of Pillow, from memory", *theirs.notes)
    assert ours.size == (8, 12)


@pytest.mark.parametrize(
    "photo",
    [
        None, 7, [[1, 2], [3, 4]], {"a": 1}, Image.new("CMYK", (8, 8)), Image.new("F", (8, 8)), np.zeros((8, 8)),
        noise(8, 8)[..., 0], np.zeros((8, 8, 4), np.uint8), io.StringIO("text"), object(),
    ],
)  # fmt: skip
def test_what_is_no_photo_is_refused_with_what_to_do(photo):
    with pytest.raises(UsageError, match="accepted: .*; for example|convert it first, for example"):
        zoom(photo, **FAST)


def test_a_folder_of_no_name_is_no_crash():
    with pytest.raises(OutputError, match="NUL"):
        zoom(noise(8, 8), out="a\0b", **FAST)


def test_what_is_no_picture_is_bad_input(tmp_path):
    closed = Image.open(file_of(Image.fromarray(noise(8, 8))))
    closed.close()
    for photo in (b"", b"junk", io.BytesIO(), closed, "", "a\0b", tmp_path, tmp_path / ("x" * 300)):
        with pytest.raises(BadInputError):
            zoom(photo, **FAST)
    for photo in (noise(8, 8), Image.fromarray(noise(8, 8)), file_of(Image.fromarray(noise(8, 8)))):
        with pytest.raises(BadInputError, match="pixels up to 9"):
            read_photo(photo, Reading(limits=Limits(pixels=9)))
