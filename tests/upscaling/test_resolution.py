"""Pixels per inch are the photo's own, in every format, and none where it gives none."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from chain_of_zoom import upscale, zoom
from chain_of_zoom.imaging.decode import decode, decode_bytes
from chain_of_zoom.upscaling.writers import FORMATS
from upscaling.doubles import Double, picture

FORMAT_SUFFIXES = ["png", "jpg", "webp", "tif"]


def saved(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture(20, 30)).save(buffer, kind, **options)
    return buffer.getvalue()


def exif(**tags: object) -> bytes:
    made = Image.Exif()
    made.update({int(tag[1:], 16): value for tag, value in tags.items()})
    return made.tobytes()


def with_jfif(unit: int, across: int, down: int) -> bytes:
    data = bytearray(saved("JPEG"))
    data[13:18] = struct.pack(">BHH", unit, across, down)
    return bytes(data)


GIVEN = {
    "JFIF": (lambda: saved("JPEG", dpi=(300, 300)), (300, 300)),
    "JFIF by the centimetre": (lambda: with_jfif(2, 100, 50), (254, 127)),
    "JFIF and another in EXIF": (
        lambda: saved("JPEG", dpi=(300, 300), exif=exif(x11A=72.0, x11B=72.0, x128=2)), (300, 300)
    ),
    "EXIF of a JPEG": (lambda: saved("JPEG", exif=exif(x11A=240.0, x11B=240.0, x128=2)), (240, 240)),
    "EXIF by the centimetre": (lambda: saved("WEBP", exif=exif(x11A=100.0, x11B=100.0, x128=3)), (254, 254)),
    "EXIF, lying on its side": (
        lambda: saved("WEBP", exif=exif(x112=6, x11A=300.0, x11B=150.0, x128=2)), (150, 300)
    ),
    "PNG": (lambda: saved("PNG", dpi=(300, 300)), (300, 300)),
    "PNG of odd numbers": (lambda: saved("PNG", dpi=(96.53, 96.53)), (96.52, 96.52)),
    "BMP": (lambda: saved("BMP", dpi=(600, 600)), (600, 600)),
    "TIFF": (lambda: saved("TIFF", dpi=(300, 150)), (300, 150)),
}  # fmt: skip

NOT_GIVEN = {
    "JPEG": lambda: saved("JPEG"),
    "JFIF without a unit": lambda: with_jfif(0, 72, 72),
    "JFIF of nothing": lambda: with_jfif(1, 0, 0),
    "JPEG with EXIF": lambda: saved("JPEG", exif=exif(x110="Camera")),  # Pillow says 72 of it
    "EXIF without a unit": lambda: saved("WEBP", exif=exif(x11A=300.0, x11B=300.0, x128=1)),
    "EXIF of half": lambda: saved("WEBP", exif=exif(x11A=300.0, x128=2)),
    "EXIF by nought": lambda: saved("WEBP", exif=exif(x11A=IFDRational(300, 0), x11B=IFDRational(300, 0), x128=2)),
    "PNG": lambda: saved("PNG"),
    "WebP": lambda: saved("WEBP"),
    "TIFF": lambda: saved("TIFF"),
}


@pytest.mark.parametrize("kind", GIVEN)
def test_what_a_file_says_is_read(kind):
    data, resolution = GIVEN[kind]
    assert decode_bytes(data(), Path("photo")).resolution == pytest.approx(resolution, abs=0.01)


@pytest.mark.parametrize("kind", NOT_GIVEN)
def test_nothing_is_read_where_nothing_is_said(kind):
    assert decode_bytes(NOT_GIVEN[kind](), Path("photo")).resolution is None


@pytest.mark.parametrize("suffix", FORMAT_SUFFIXES)
@pytest.mark.parametrize(("across", "down"), [(300, 300), (300, 150), (72, 72)])
def test_the_photos_resolution_is_that_of_the_output(tmp_path, suffix, across, down):
    (tmp_path / "photo.tif").write_bytes(saved("TIFF", dpi=(across, down)))
    record = upscale(tmp_path / "photo.tif", 2, out=tmp_path / f"a.{suffix}", backbone=Double()).record
    assert record.output.resolution == (across, down)
    assert decode(tmp_path / f"a.{suffix}").resolution == (across, down)
    with Image.open(tmp_path / f"a.{suffix}") as image:  # as other programs see it
        if suffix != "webp":
            assert image.info["dpi"] == pytest.approx((across, down), abs=0.0128)  # PNG: by the metre
        else:
            assert [image.getexif()[tag] for tag in (0x11A, 0x11B, 0x128)] == [across, down, 2]


@pytest.mark.parametrize("suffix", FORMAT_SUFFIXES)
@pytest.mark.parametrize("keep", [False, True])
def test_none_is_made_up(tmp_path, suffix, keep):
    (tmp_path / "photo.png").write_bytes(saved("PNG", exif=exif(x110="Camera")))
    options = {"metadata": "keep"} if keep else {}
    record = upscale(
        tmp_path / "photo.png", 2, out=tmp_path / f"a.{suffix}", backbone=Double(), photo_options=options
    ).record
    assert record.output.resolution is None
    assert decode(tmp_path / f"a.{suffix}").resolution is None
    with Image.open(tmp_path / f"a.{suffix}") as image:
        image.load()
        tags = image.getexif()
        assert tags.get(0x110) == ("Camera" if keep and suffix != "tif" else None)
        if suffix == "tif":
            assert (tags[0x11A], tags[0x11B], tags[0x128]) == (1, 1, 1)  # 1 by 1, without a unit
        else:
            assert not {0x11A, 0x11B, 0x128} & set(tags)
        if suffix == "jpg":
            assert image.info["jfif_unit"] == 0
        if not keep:
            assert "dpi" not in image.info


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_exif_is_the_photos_own_and_nothing_more(tmp_path, suffix):
    (tmp_path / "photo.png").write_bytes(saved("PNG", exif=exif(x110="Camera", x8298="Someone")))
    for scale in (2, 2.1):
        out = tmp_path / f"{scale}.{suffix}"
        upscale(tmp_path / "photo.png", scale, out=out, backbone=Double(), photo_options={"metadata": "keep"})
        with Image.open(out) as image:
            image.load()
            assert set(image.getexif()) == {0x110, 0x8298, 0x10E, 0x131}
            assert b"GENERATED" in image.info["xmp"]


def test_exif_that_a_jpeg_does_not_hold_is_left_out_and_said(tmp_path):
    (tmp_path / "photo.png").write_bytes(saved("PNG", exif=exif(x10F="x" * 70_000)))
    options = {"metadata": "keep"}
    record = upscale(tmp_path / "photo.png", 2, out=tmp_path / "a.jpg", backbone=Double(), photo_options=options).record
    assert record.notes == ("EXIF data left out: JPEG is written without so much",)
    with Image.open(tmp_path / "a.jpg") as image:
        assert not image.getexif()


@pytest.mark.slow
def test_pages_of_a_large_tiff_have_no_unit_either(tmp_path):
    upscale(picture(160, 200), 4, out=tmp_path / "a.tif", backbone=Double())
    with Image.open(tmp_path / "a.tif") as image:
        assert image.n_frames > 1
        for page in range(image.n_frames):
            image.seek(page)
            assert image.tag_v2[296] == 1


@pytest.mark.slow
def test_states_carry_a_resolution_in_kept_exif_alone(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(saved("JPEG", dpi=(300, 300), exif=exif(x11A=300.0, x11B=300.0, x128=2)))
    for keep in (False, True):
        options = {"metadata": "keep"} if keep else {}
        out = tmp_path / str(keep)
        zoom(tmp_path / "photo.jpg", backbone="fake", size=(32, 32), magnification=4, out=out, photo_options=options)
        with Image.open(out / "00_1x.png") as image:
            assert "dpi" not in image.info
            assert image.getexif().get(0x11A) == (300 if keep else None)


def test_every_format_that_is_written_is_tested():
    assert {suffix for form in FORMATS for suffix in form.suffixes} >= {f".{suffix}" for suffix in FORMAT_SUFFIXES}
    assert np.isin(["PNG", "JPEG", "WebP", "TIFF", "Deep Zoom"], [form.name for form in FORMATS]).all()
    assert len(FORMATS) == len(FORMAT_SUFFIXES) + 1  # Deep Zoom's tiles have no resolution
