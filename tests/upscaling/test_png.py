from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from chain_of_zoom.imaging.formats.vips import pyvips
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.upscaling.encoding import Tags, stream_png


def file_of(pixels: np.ndarray, rows: int = 5, tags: Tags | None = None, *, packed: bool = True) -> bytes:
    strips = (pixels[y : y + rows] for y in range(0, len(pixels), rows))
    return b"".join(stream_png(Size(pixels.shape[1], len(pixels)), strips, tags or Tags(), packed=packed))


@pytest.mark.slow
@settings(max_examples=30)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    channels=st.sampled_from([1, 2, 3, 4]),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    rows=st.integers(1, 50),
    packed=st.booleans(),
    seed=st.integers(0, 5),
)
def test_readers_of_others_read_what_was_written(height, width, channels, dtype, rows, packed, seed):
    pixels = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, True)
    data = file_of(pixels, rows, packed=packed)
    np.testing.assert_array_equal(pyvips.Image.new_from_buffer(data, "").numpy().reshape(pixels.shape), pixels)
    if dtype == np.uint8:  # Pillow reads 16-bit colour as 8
        read = np.asarray(Image.open(io.BytesIO(data)))
        np.testing.assert_array_equal(read.reshape(pixels.shape), pixels)


def test_texts_profile_and_exif_are_where_readers_look():
    exif = Image.Exif()
    exif[0x0110] = "Camera"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tags = Tags(texts={"Description": "Größe"}, xmp="<x:xmpmeta/>", profile=profile, exif=exif.tobytes())
    image = Image.open(io.BytesIO(file_of(np.zeros((4, 4, 3), np.uint8), tags=tags)))
    assert image.text["Description"] == "Größe"
    assert image.info["xmp"] == b"<x:xmpmeta/>"
    assert image.info["icc_profile"] == profile
    assert image.getexif()[0x0110] == "Camera"


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 7, 64])
def test_what_has_texture_is_packed_as_well_as_pillow_does(astronaut, rows):
    enlarged = np.asarray(Image.fromarray(astronaut[100:228, 100:228]).resize((512, 512), Image.Resampling.BICUBIC))
    texture = np.random.default_rng(0).integers(-1, 2, enlarged.shape)
    enlarged = np.clip(enlarged + texture, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(enlarged).save(buffer, "PNG")
    data = file_of(enlarged, rows)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), enlarged)
    if rows == 64:
        assert len(data) < len(buffer.getvalue())
