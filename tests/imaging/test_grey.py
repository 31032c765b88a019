"""Grey is R=G=B in every pixel, whatever the file was; sepia is colour."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from makers import ADOBE_PROFILE, GREY_PROFILE, iccp, png
from PIL import Image

from chain_of_zoom.imaging.colour.grey import is_grey, remove_rounding, to_luma
from chain_of_zoom.imaging.decode import decode_bytes
from chain_of_zoom.imaging.images import load

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16).repeat(8, 0).repeat(8, 1)
RAMP16 = np.arange(65536).astype(np.uint16).reshape(64, 1024)


def tripled(plane: np.ndarray) -> np.ndarray:
    return np.repeat(plane[..., None], 3, axis=2)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def lab_tiff(plane: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    pixels = np.dstack([plane, np.zeros_like(plane), np.zeros_like(plane)])
    tifffile.imwrite(buffer, pixels, photometric="cielab")
    return buffer.getvalue()


def test_a_single_pixel_of_another_colour_is_colour():
    pixels = tripled(RAMP)
    assert is_grey(pixels)
    for channel in range(3):
        tinted = pixels.copy()
        tinted[100, 7, channel] ^= 1
        assert not is_grey(tinted)


def test_luma_keeps_grey_and_weighs_green_most():
    grey = tripled((RAMP / 255).astype(np.float32))
    np.testing.assert_allclose(to_luma(grey), grey, atol=1e-6)
    assert is_grey(to_luma(np.random.default_rng(0).random((9, 9, 3), np.float32)))
    assert to_luma(np.array([[[0, 1, 0]]], np.float32))[0, 0, 0] > to_luma(np.array([[[1, 0, 1]]], np.float32))[0, 0, 0]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_rounding_is_undone_and_a_tint_is_not(dtype):
    level = np.iinfo(dtype).max // 255
    pixels = tripled(RAMP.astype(dtype) * (level - level // 200))
    pixels[::2, :, 0] += np.where(pixels[::2, :, 0] < np.iinfo(dtype).max - level, level, 0).astype(dtype)
    np.testing.assert_array_equal(remove_rounding(pixels), tripled(pixels[..., 1]))
    pixels[70, 3, 2] = pixels[70, 3, 0] + level + 1
    assert remove_rounding(pixels) is pixels


GREY_FILES = {
    "JPEG": lambda: saved(Image.fromarray(RAMP), "JPEG"),
    "JPEG in colour": lambda: saved(Image.fromarray(tripled(RAMP)), "JPEG", quality=50),
    "lossy WebP": lambda: saved(Image.fromarray(RAMP), "WEBP"),
    "lossy WebP with alpha": lambda: saved(Image.fromarray(np.dstack([RAMP, RAMP])), "WEBP"),
    "AVIF": lambda: saved(Image.fromarray(tripled(RAMP)), "AVIF"),
    "grey profile": lambda: saved(Image.fromarray(RAMP), "PNG", icc_profile=GREY_PROFILE),
    "grey profile in 16 bits": lambda: png(RAMP16, 0, iccp(GREY_PROFILE)),
    "RGB profile in 16 bits": lambda: png(tripled(RAMP16), 2, iccp(ADOBE_PROFILE)),
    "gamma": lambda: png(RAMP16, 0, (b"gAMA", (55556).to_bytes(4))),
    "PQ": lambda: png(tripled(RAMP16), 2, (b"cICP", bytes((9, 16, 0, 1)))),
    "HLG": lambda: png(tripled(RAMP16), 2, (b"cICP", bytes((9, 18, 0, 1)))),
    "black ink": lambda: saved(Image.fromarray(np.dstack([0 * RAMP] * 3 + [RAMP]), "CMYK"), "TIFF"),
    "CIELAB": lambda: lab_tiff(RAMP),
    "palette": lambda: saved(Image.fromarray(RAMP).convert("P"), "PNG"),
}


@pytest.mark.parametrize("kind", GREY_FILES)
def test_a_grey_file_is_grey_once_read(kind, tmp_path):
    path = tmp_path / "photo"
    path.write_bytes(GREY_FILES[kind]())
    assert load(path).is_grey
    if "RGB profile" not in kind:
        assert is_grey(decode_bytes(path.read_bytes(), Path("photo")).colour)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_sepia_is_colour(kind, tmp_path):
    sepia = (tripled(RAMP) * [1, 0.95, 0.82]).astype(np.uint8)
    Image.fromarray(sepia).save(tmp_path / "photo", kind)
    assert not load(tmp_path / "photo").is_grey
