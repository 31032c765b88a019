"""What `load` and `decode` make of pictures as they are."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import ALPHA16, CASES, FINE, FLAT, RGB, RGB16, RGB_IN_ADOBE, RGBA16, png, saved, tiff
from makers import ADOBE_PROFILE, iccp
from PIL import Image

from chain_of_zoom.errors import MissingError, UsageError
from chain_of_zoom.imaging.decode import decode
from chain_of_zoom.imaging.images import load
from chain_of_zoom.imaging.reading import Reading

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_pictures_as_they_are(case, tmp_path):
    path = tmp_path / "picture"
    path.write_bytes(case.data())
    picture = load(path)
    assert picture.pixels.shape == case.expected.shape
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.flags.writeable
    worst = np.abs(picture.pixels - np.asarray(case.expected, float)).max()
    assert worst <= case.within + 1e-6
    assert case.says in "; ".join(picture.notes)
    if not case.says:
        assert picture.notes == ()


def at(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def told(photo: Image.Image, kind: str, **options: object) -> bytes:
    """A file with all the EXIF a camera writes: turned, with a place, a thumbnail, a maker's note and sizes."""
    exif = Image.Exif()
    exif.update({0x0112: 6, 0x010F: "Camera", 0x8298: "Someone", 0x010E: "A cat"})
    exif.get_ifd(0x8769).update({0x9003: "2024:05:06 07:08:09", 0x927C: b"secret", 0xA002: 9, 0x829A: 0.01})
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 30.0, 0.0)})
    buffer = io.BytesIO()
    photo.save(buffer, kind, exif=exif.tobytes(), **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_raster_keeps_depth_alpha_and_profile(tmp_path, kind):
    tag = [(34675, "B", len(ADOBE_PROFILE), ADOBE_PROFILE, True)]
    data = {
        "PNG": png(RGBA16, 6, iccp(ADOBE_PROFILE)),
        "TIFF": tiff(RGBA16, "rgb", extrasamples=["unassalpha"], extratags=tag),
    }[kind]
    raster = decode(at(tmp_path / "a", data))
    np.testing.assert_array_equal(raster.colour, RGB16)
    np.testing.assert_array_equal(raster.alpha, ALPHA16)
    assert raster.profile == ADOBE_PROFILE
    assert raster.notes == ()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_a_raster_keeps_exif_but_for_what_no_longer_holds(tmp_path, kind):
    raster = decode(at(tmp_path / "a", told(Image.fromarray(RGB), kind)))
    assert raster.colour.shape == (18, 12, 3)
    exif = Image.Exif()
    exif.load(raster.exif)
    assert {tag: exif[tag] for tag in (0x0112, 0x010F, 0x8298, 0x010E)} == {
        0x0112: 1, 0x010F: "Camera", 0x8298: "Someone", 0x010E: "A cat",
    }  # fmt: skip
    assert exif.get_ifd(0x8769) == {0x9003: "2024:05:06 07:08:09", 0x829A: 0.01}
    assert exif.get_ifd(0x8825) == {1: "N", 2: (52.0, 30.0, 0.0)}
    assert not exif.get_ifd(0x0201)
    assert b"secret" not in raster.exif


def test_a_thumbnail_is_not_kept(tmp_path):
    small = Image.Exif()
    small[0x010F] = "Camera"
    first = small.tobytes()[6:]
    # One more directory after the first, as cameras write it: a JPEG of 4 bytes at the end.
    count, body = first[8:10], first[10:22]
    thumbnail = b"\xff\xd8\xff\xd9"
    value_at = 8 + 2 + 12 + 4
    second_at = value_at + 8
    entry = body[:8] + value_at.to_bytes(4, "big")
    second = b"\0\2" + b"\x02\x01\0\4\0\0\0\1" + (second_at + 30).to_bytes(4, "big") + b"\x02\x02\0\4\0\0\0\1\0\0\0\4"
    data = first[:8] + count + entry + second_at.to_bytes(4, "big") + b"Camera\0\0" + second + bytes(4) + thumbnail
    raster = decode(at(tmp_path / "a.jpg", saved(FLAT, "RGB", "JPEG", exif=b"Exif\0\0" + data)))
    assert b"Camera" in raster.exif
    assert thumbnail not in raster.exif


def test_damaged_exif_costs_the_exif_and_not_the_picture(tmp_path):
    picture = load(at(tmp_path / "a.jpg", saved(FLAT, "RGB", "JPEG", exif=b"Exif\0\0of no byte order")))
    assert picture.notes == ("unreadable EXIF left out",)
    assert picture.pixels.shape == FLAT.shape


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_the_first_frame_is_taken_and_said(tmp_path, kind):
    frames = [Image.fromarray(FLAT), Image.fromarray(255 - FLAT)]
    options = {"WEBP": {"lossless": True}, "AVIF": FINE}.get(kind, {})
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], **options)
    picture = load(at(tmp_path / "a", buffer.getvalue()))
    np.testing.assert_allclose(picture.pixels, FLAT, atol=8)
    assert picture.notes == ("first frame of an animation or a multi-page file",)


def test_pixels_stay_in_their_profile_when_asked(tmp_path):
    path = at(tmp_path / "a.png", saved(RGB, "RGB", "PNG", icc_profile=ADOBE_PROFILE))
    picture = load(path, Reading(keep_profile=True))
    np.testing.assert_array_equal(picture.pixels, RGB)
    assert picture.kept.profile == ADOBE_PROFILE
    assert picture.notes == ("left in the space of profile test",)
    np.testing.assert_allclose(load(path).pixels, RGB_IN_ADOBE, atol=1)
    assert load(path).kept.profile is None


@pytest.mark.parametrize(("matte", "name"), [((0, 0, 0), "black"), ((10, 200, 30), "#0ac81e")])
def test_alpha_is_laid_on_the_colour_asked_for(tmp_path, matte, name):
    path = at(tmp_path / "a.png", png(RGBA16, 6))
    share = ALPHA16[..., None] / 65535
    picture = load(path, Reading(matte=matte))
    np.testing.assert_allclose(picture.pixels, RGB16 / 257 * share + np.array(matte) * (1 - share), atol=0.51)
    assert f"alpha laid on {name}" in picture.notes


def test_opaque_alpha_is_no_alpha(tmp_path):
    path = at(tmp_path / "a.png", saved(np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)]), "RGBA", "PNG"))
    assert decode(path).alpha is None
    assert load(path).notes == ()


FIELDS = np.array([[[200, 40, 60], [60, 180, 80], [50, 70, 190]], [[230, 210, 60], [128, 128, 128], [30, 30, 30]]])


def test_heif_is_turned_once_and_keeps_its_exif(tmp_path):
    pytest.importorskip("pillow_heif", reason="the extra [heif] is not installed")
    raster = decode(DATA / "turned.heic")
    np.testing.assert_allclose(raster.colour[8::16, 8::16], FIELDS, atol=2)
    exif = Image.Exif()
    exif.load(raster.exif)
    assert (exif[0x0112], exif[0x010F]) == (1, "Maker")


def test_heif_of_ten_bits_keeps_them():
    pytest.importorskip("pillow_heif", reason="the extra [heif] is not installed")
    raster = decode(DATA / "ten_bits.heic")
    assert raster.colour.dtype == np.uint16
    np.testing.assert_allclose(raster.colour[8::16, 8::16] / 257, FIELDS, atol=1)
    np.testing.assert_allclose(raster.alpha[8::16, 8::16] / 257, [[128, 255, 255], [255, 255, 255]], atol=1)


def test_heif_without_the_extra_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(MissingError, match=r"pip install 'chain-of-zoom\[heif\]'"):
        load(DATA / "turned.heic")


def test_heif_is_not_given_to_a_libheif_with_holes(monkeypatch):
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra [heif] is not installed")
    monkeypatch.setattr(pillow_heif, "libheif_version", lambda: "1.23.4")
    with pytest.raises(MissingError, match=r"1\.23\.4 .* pip install -U 'chain-of-zoom\[heif\]'"):
        load(DATA / "turned.heic")


@pytest.mark.slow
def test_an_ordinary_picture_imports_nothing_for_the_others(tmp_path):
    path = at(tmp_path / "a.png", saved(FLAT, "RGB", "PNG"))
    program = (
        f"import sys, chain_of_zoom; chain_of_zoom.load({str(path)!r});"
        "print({'pyvips', 'pillow_heif', 'PIL.ImageCms', 'chain_of_zoom.imaging.encode'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_reading_is_parsed_and_refuses_what_it_does_not_know():
    reading = Reading.parse({"pixels": "1e3", "aspect": 2.5, "matte": "#0a0B0c", "profile": "keep", "metadata": "keep"})
    assert (reading.limits.pixels, reading.limits.aspect, reading.matte) == (1000, 2.5, (10, 11, 12))
    assert reading.keep_profile
    assert reading.keep_metadata
    for values in ({"pixel": "1"}, {"pixels": "0"}, {"pixels": "nan"}, {"side": "many"}, {"matte": "pink"},
                   {"profile": "drop"}, {"bytes": "inf"}, {"frames": None}):  # fmt: skip
        with pytest.raises(UsageError, match="accepted"):
            Reading.parse(values)
    with pytest.raises(UsageError, match="accepted"):
        Reading(matte=(0, 0, 256))
