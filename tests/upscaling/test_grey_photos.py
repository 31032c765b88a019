"""A grey photo is enlarged to a grey file, whatever the network does and the format is."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from imaging.makers import ADOBE_PROFILE
from PIL import Image, ImageCms

from chain_of_zoom import upscale
from chain_of_zoom.imaging.colour.grey import COLOUR_REMOVED, is_grey
from chain_of_zoom.imaging.decode import decode
from upscaling.doubles import Banded, Double, picture

TINT = np.array([0.2, 0, -0.2], np.float32)


def opened(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes()))


def tinting() -> Double:
    return Double(spoil=lambda call, result: result + TINT)


def grey_picture(height: int = 40, width: int = 50) -> np.ndarray:
    return np.repeat(picture(height, width)[..., :1], 3, axis=2)


@pytest.mark.parametrize("scale", [3.2, 4, 16])
@pytest.mark.parametrize("deep", [False, True])
def test_colour_of_the_network_is_taken_out(scale, deep):
    photo = grey_picture(20, 30)
    photo = photo.astype(np.uint16) * 257 + 31 if deep else photo
    image = upscale(photo, scale, backbone=tinting()).image
    assert image.shape == (round(20 * scale), round(30 * scale), 3)
    assert image.dtype == photo.dtype
    assert is_grey(image)
    tinted = photo.copy()
    tinted[0, 0, 0] ^= 1
    assert not is_grey(upscale(tinted, scale, backbone=tinting()).image)


@pytest.mark.parametrize(("suffix", "mode"), [("png", "L"), ("tif", "L"), ("jpg", "L"), ("webp", "RGB")])
def test_grey_comes_back_as_grey(tmp_path, suffix, mode):
    Image.fromarray(grey_picture()[..., 0]).save(tmp_path / "grey.png")
    record = upscale(tmp_path / "grey.png", 4, out=tmp_path / f"a.{suffix}", backbone=tinting(), quality=95).record
    assert opened(tmp_path / f"a.{suffix}").mode == mode
    assert record.output.grey
    assert record.steps[0].fallbacks == (COLOUR_REMOVED,)
    colour = decode(tmp_path / f"a.{suffix}").colour
    assert is_grey(colour)
    plain = upscale(grey_picture(), 4, backbone=tinting()).image
    assert np.abs(colour.astype(int) - plain).max() <= (0 if suffix in ("png", "tif") else 12)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_with_alpha_and_of_16_bits(tmp_path, suffix, dtype):
    plane = grey_picture()[..., 0].astype(dtype) * (np.iinfo(dtype).max // 255)
    alpha = np.linspace(np.iinfo(dtype).max // 5, np.iinfo(dtype).max, 50).astype(dtype)[None].repeat(40, axis=0)
    from chain_of_zoom.imaging.formats.vips import pyvips

    image = pyvips.Image.new_from_array(np.dstack([plane, alpha]))
    image.copy(interpretation="grey16" if dtype == np.uint16 else "b-w").pngsave(str(tmp_path / "la.png"))
    upscale(tmp_path / "la.png", 4, out=tmp_path / f"a.{suffix}", backbone=tinting())
    written = pyvips.Image.new_from_file(str(tmp_path / f"a.{suffix}"))
    assert (written.bands, written.format) == (2, "ushort" if dtype == np.uint16 else "uchar")
    raster = decode(tmp_path / f"a.{suffix}")
    assert is_grey(raster.colour)
    assert raster.alpha.shape == (160, 200)


def test_deep_zoom_of_grey_has_tiles_that_its_page_asks_for(tmp_path):
    upscale(grey_picture(), 4, out=tmp_path / "a.dzi", backbone=tinting())
    assert is_grey(np.asarray(opened(tmp_path / "a_files" / "8" / "0_0.jpg").convert("RGB")))


def test_a_profile_of_srgb_is_not_needed(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(grey_picture()).save(tmp_path / "grey.jpg", icc_profile=srgb)
    record = upscale(tmp_path / "grey.jpg", 4, out=tmp_path / "a.jpg", backbone=tinting()).record
    with opened(tmp_path / "a.jpg") as image:
        assert image.mode == "L"
        assert "icc_profile" not in image.info
    assert record.output.grey
    assert not record.output.profile


def test_another_profile_is_one_of_rgb_and_so_is_the_file(tmp_path):
    Image.fromarray(grey_picture()).save(tmp_path / "grey.png", icc_profile=ADOBE_PROFILE)
    record = upscale(tmp_path / "grey.png", 4, out=tmp_path / "a.png", backbone=tinting()).record
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "RGB"
        assert image.info["icc_profile"] == ADOBE_PROFILE
        assert is_grey(np.asarray(image))
    assert not record.output.grey


def test_hidden_colours_do_not_make_a_grey_photo_coloured(tmp_path):
    alpha = np.zeros((40, 50), np.uint8)
    alpha[10:30, 10:40] = 255
    pixels = np.dstack([grey_picture(), alpha])
    pixels[alpha == 0] = (0, 255, 0, 0)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    upscale(tmp_path / "photo.png", 4, out=tmp_path / "a.png", backbone=tinting())
    assert opened(tmp_path / "a.png").mode == "LA"


class Tinting(Banded):
    def _plain(self, picture):
        return super()._plain(picture) + TINT


@pytest.mark.parametrize("blend", ["smooth", "published"])
def test_whole_pictures_are_grey_too_but_as_published(blend):
    image = upscale(grey_picture(), 4, backbone=Tinting(), blend=blend).image
    assert is_grey(image) == (blend == "smooth")


@pytest.mark.slow
def test_a_stopped_grey_run_goes_on_and_ends_with_the_same_bytes(tmp_path):
    def stop(call, result):
        if call == 3:
            raise KeyboardInterrupt
        return result + TINT

    photo = grey_picture(60, 60)
    with pytest.raises(KeyboardInterrupt):
        upscale(photo, 7, out=tmp_path / "a.png", backbone=Double(spoil=stop), tile=40)
    record = upscale(photo, 7, out=tmp_path / "a.png", backbone=tinting(), tile=40).record
    assert record.steps[0].kept == 2
    upscale(photo, 7, out=tmp_path / "b.png", backbone=tinting(), tile=40)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
