"""What files are read, and how the others are refused: the table behind docs/formats.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cases import FLAT, saved
from formats_table import OTHERS, VARIANTS, canvas
from PIL import Image, UnidentifiedImageError

from chain_of_zoom.errors import BadInputError
from chain_of_zoom.imaging import decode as decoding
from chain_of_zoom.imaging.decode import decode_bytes
from chain_of_zoom.imaging.images import Picture, render
from chain_of_zoom.imaging.reading import Limits


def load(data: bytes, name: str = "picture.bin", **options: object) -> Picture:
    return render(decode_bytes(data, Path(name), **options))


def said(data: bytes, **options: object) -> str:
    with pytest.raises(BadInputError) as error:
        load(data, **options)
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix("picture.bin: ")


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: f"{variant.group} {variant.name}")
def test_variants_are_read_or_refused_as_the_page_says(variant):
    if not variant.is_read:
        assert variant.says in said(variant.data())
        return
    picture = load(variant.data())
    assert variant.says in "; ".join(picture.notes)
    assert variant.says or not picture.notes
    if variant.expected is not None:
        np.testing.assert_array_equal(picture.pixels, variant.expected)


@pytest.mark.parametrize(("data", "name"), OTHERS, ids=range(len(OTHERS)))
def test_other_files_are_called_by_their_names_and_not_damaged(data, name):
    message = said(data)
    assert message.startswith(f"{name}, which is not read; accepted: JPEG, PNG")
    assert message.count("; ") == 2
    assert "damaged" not in message


@pytest.mark.parametrize(
    ("data", "says"),
    [(b"BMW makes cars, and this is a text about them.\n", "not a picture"), (bytes(99), "nothing but zeros")],
)
def test_what_is_no_picture_is_called_that(data, says):
    assert says in said(data)


@pytest.mark.parametrize("size", [(65535, 6000), (20000, 20000), (16383, 4000)])
def test_a_large_canvas_out_of_nothing_is_refused_before_it_takes_memory(monkeypatch, size):
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda image: pytest.fail("decoded"))
    assert "pixels in 35 bytes; accepted: density up to 100,000" in said(canvas(*size))


def test_the_limit_of_density_can_be_raised_and_leaves_small_pictures_alone():
    small = canvas(7000, 7000)
    assert len(small) * 100_000 < 7000 * 7000
    image = decoding._open(small, "a", Limits())
    assert image.size == (7000, 7000)
    assert decoding._open(canvas(9000, 9000), "a", Limits(density=10**7)).size == (9000, 9000)


def test_an_avif_of_wild_sides_is_refused_before_libvips_sees_it(capfd):
    """It would write of it to stderr."""
    data = saved(FLAT, "RGB", "AVIF")
    at = data.index(b"ispe") + 8
    assert "2130706464x32 pixels" in said(data[:at] + (0x7F000020).to_bytes(4) + (32).to_bytes(4) + data[at + 8 :])
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("mode", "bands"), [("RGB", 3), ("RGBA", 4), ("L", 1)])
def test_an_avif_beyond_the_limit_of_libavif_is_read_by_libvips(tmp_path, monkeypatch, mode, bands):
    """Pillow refuses more than 2^28 pixels, which would take a minute to make."""
    y, x = np.mgrid[0:64, 0:96]
    pixels = np.dstack([x * 2, y * 3, x * 0 + 90, x + 100])[..., :bands].astype(np.uint8).squeeze()
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    path = tmp_path / "a.avif"
    Image.fromarray(pixels, mode).save(path, quality=100, subsampling="4:4:4", exif=exif, icc_profile=b"")
    data = path.read_bytes()
    known = load(data)

    def refuse(*args: object, **options: object) -> None:
        raise UnidentifiedImageError

    monkeypatch.setattr("PIL.Image.open", refuse)
    raster = decode_bytes(data, path)
    np.testing.assert_allclose(render(raster).pixels.astype(int), known.pixels, atol=1)
    assert b"Camera" in raster.exif
    with pytest.raises(BadInputError, match="accepted: pixels up to 100"):
        decode_bytes(data, path, limits=Limits(pixels=100))
