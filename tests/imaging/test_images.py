from __future__ import annotations

import io
from fractions import Fraction

import numpy as np
import pytest
from conftest import PHOTO, noise
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from chain_of_zoom.errors import BadInputError, OutputError
from chain_of_zoom.files import write_atomic
from chain_of_zoom.imaging import images
from chain_of_zoom.imaging.encode import encode_png
from chain_of_zoom.imaging.geometry import Box, Size
from chain_of_zoom.imaging.images import area_reduce, enlarge_part, load, resize, to_uint8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    upright = noise(6, 10)
    stored = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    picture = load(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.pixels, upright)
    assert picture.notes == ((f"EXIF orientation {orientation} applied",) if orientation != 1 else ())


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    Image.fromarray(np.array([[0, 257, 32896, 65535]], np.uint16)).save(tmp_path / "a.png")
    assert load(tmp_path / "a.png").pixels[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize(
    ("values", "top", "grey"),
    [
        (np.array([[0.0, 0.5, 1.0]], np.float32), 1, [0, 128, 255]),
        (np.array([[0.0, 128.0, 255.0]], np.float32), 255, [0, 128, 255]),
        (np.array([[0.0, np.nan, 65535.0]], np.float32), 65535, [0, 0, 255]),
        (np.array([[0, 100_000, 200_000]], np.int32), 200_000, [0, 128, 255]),
    ],
)
def test_deep_grey_is_scaled_from_what_it_holds_and_says_so(tmp_path, values, top, grey):
    Image.fromarray(values).save(tmp_path / "a.tif")
    picture = load(tmp_path / "a.tif")
    assert picture.pixels[0, :, 0].tolist() == grey
    assert f"grey from 0 to {top:g} scaled to 16 bits" in picture.notes


def test_what_is_no_ordinary_file_is_not_read():
    with pytest.raises(BadInputError, match="no ordinary file"):
        load("/dev/zero")


def test_alpha_is_laid_on_white_and_noted(tmp_path):
    Image.fromarray(np.array([[[200, 0, 0, 0], [200, 0, 0, 255]]], np.uint8)).save(tmp_path / "a.png")
    picture = load(tmp_path / "a.png")
    assert picture.pixels.tolist() == [[[255, 255, 255], [200, 0, 0]]]
    assert "alpha laid on white" in picture.notes


def test_a_profile_is_converted_and_noted(tmp_path):
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ"))
    Image.fromarray(noise(4, 4)).save(tmp_path / "a.png", icc_profile=lab.tobytes())
    assert any("profile" in note for note in load(tmp_path / "a.png").notes)
    Image.fromarray(noise(4, 4)).save(tmp_path / "b.png", icc_profile=b"nonsense")
    picture = load(tmp_path / "b.png")
    np.testing.assert_array_equal(picture.pixels, noise(4, 4))
    assert picture.notes == ("unusable colour profile ignored",)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    name = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.fromarray(noise(5, 7)).convert(mode).save(name)
    assert load(name).pixels.shape == (5, 7, 3)


def _png_header(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (1, 1)).save(buffer, "PNG")
    data = bytearray(buffer.getvalue())
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    import zlib

    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"just some text", "not a picture"),
        (PHOTO.read_bytes()[:20000], "cut short: 10 of 512 rows are there"),
        (_png_header(100_000, 100_000), "100000x100000"),
    ],
)
def test_bad_files_are_one_typed_error(tmp_path, data, says):
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(BadInputError, match=says):
        load(tmp_path / "a.png")


def test_a_missing_file_a_folder_and_a_nul_byte_are_bad_input(tmp_path):
    for path in (tmp_path / "none.png", tmp_path, "a\0b.png"):
        with pytest.raises(BadInputError):
            load(path)


def test_the_pixel_limit_of_pillow_is_left_alone():
    before = Image.MAX_IMAGE_PIXELS
    load(PHOTO)
    assert before == Image.MAX_IMAGE_PIXELS


def test_resize_of_a_fractional_box_is_where_it_should_be():
    ramp = np.tile(np.arange(100, dtype=np.uint8)[None, :, None], (10, 1, 3))
    box = Box(Fraction(41, 2), Fraction(0), Fraction(61, 2), Fraction(10))
    middle = resize(ramp, Size(5, 5), "bicubic", box)[2, :, 0]
    assert middle.tolist() == [21, 23, 25, 27, 29]


def test_area_reduce_is_the_exact_mean_of_the_area():
    pixels = np.random.default_rng(0).random((9, 7, 3)).astype(np.float32)
    # On a grid fine enough to hold both pixel edges and output edges, the mean is a plain mean.
    fine = np.repeat(np.repeat(pixels, 12, 0), 12, 1)
    box = Box(Fraction(1, 2), Fraction(3, 4), Fraction(13, 2), Fraction(33, 4))
    expected = fine[9:99, 6:78].reshape(5, 18, 4, 18, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(area_reduce(pixels, box, Size(4, 5)), expected, atol=1e-5)


def test_rounding_and_truncation():
    values = np.array([[[-0.1, 0.5, 1.5]]], np.float32)
    assert to_uint8(values).tolist() == [[[0, 128, 255]]]
    assert to_uint8(values, "truncate").tolist() == [[[0, 127, 255]]]


def test_the_same_picture_gives_the_same_file_and_its_texts_can_be_read():
    data = encode_png(noise(3, 3), {"Description": "größer"}, "<x/>")
    assert data == encode_png(noise(3, 3), {"Description": "größer"}, "<x/>")
    with Image.open(io.BytesIO(data)) as image:
        assert image.info["Description"] == "größer"
        assert image.info["xmp"] == b"<x/>"


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(images.os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_atomic(tmp_path / "a", b"data")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    edges=st.tuples(*[st.floats(0, 1)] * 4),
    factor=st.sampled_from([2, 4]),
)
def test_a_part_of_the_enlargement_is_that_of_the_whole(size, edges, factor):
    picture = noise(*size)
    whole = resize(picture, Size(size[1] * factor, size[0] * factor), "lanczos")
    rows, columns = (
        slice(int(min(a, b) * (side - 1)) * factor, int(max(a, b) * (side - 1)) * factor + 1)
        for side, (a, b) in zip(size, (edges[:2], edges[2:]), strict=True)
    )
    np.testing.assert_array_equal(enlarge_part(picture, factor, rows, columns), whole[rows, columns])
