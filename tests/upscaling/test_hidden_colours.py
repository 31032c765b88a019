"""A disc on a ground that nobody sees: its edge has the disc's colour at any alpha, in every format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from chain_of_zoom import upscale
from chain_of_zoom.imaging.decode import decode
from upscaling.doubles import Double

RED = np.array([230, 20, 10])
GROUNDS = {"green": (0, 255, 0), "black": (0, 0, 0), "white": (255, 255, 255)}


def disc(soft: bool) -> np.ndarray:
    """Alpha of a disc, with a hard edge or one of three pixels."""
    y, x = np.mgrid[:48, :60]
    far = 15 - np.hypot(y - 24, x - 28)
    return np.rint(np.clip(far / 3, 0, 1) * 255 if soft else (far > 0) * 255).astype(np.uint8)


def photo(path: Path, ground: tuple[int, int, int], *, soft: bool = False) -> Path:
    alpha = disc(soft)
    colour = np.where(alpha[..., None] > 0, RED, ground).astype(np.uint8)
    Image.fromarray(np.dstack([colour, alpha])).save(path)
    return path


def worst(colour: np.ndarray, alpha: np.ndarray, faintest: int = 1) -> int:
    """How far a pixel that can be seen is from the disc's colour."""
    return int(np.abs(colour.astype(int) - RED)[alpha >= faintest].max())


@pytest.mark.slow
@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("scale", [2.7, 4, 16])
def test_no_hidden_colour_shows(tmp_path, ground, soft, scale):
    image = upscale(photo(tmp_path / "a.png", GROUNDS[ground], soft=soft), scale, backbone=Double()).image
    assert worst(image[..., :3], image[..., 3]) <= 1


def test_a_real_network_sees_no_edge_of_the_hidden(tmp_path):
    image = upscale(photo(tmp_path / "a.png", GROUNDS["green"]), 4, backbone="animevideo").image
    assert worst(image[..., :3], image[..., 3]) <= 6  # as on a plain ground of that colour


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "dzi"])
def test_every_format_with_alpha(tmp_path, suffix):
    photo(tmp_path / "a.png", GROUNDS["green"])
    record = upscale(tmp_path / "a.png", 4, out=tmp_path / f"b.{suffix}", backbone=Double(), quality=95).record
    assert "colours hidden by alpha replaced by those around them" in record.notes
    written = tmp_path / "b_files" / "8" / "0_0.png" if suffix == "dzi" else tmp_path / f"b.{suffix}"
    raster = decode(written)
    assert worst(raster.colour, raster.alpha, 8) <= (1 if suffix != "webp" else 12)


def test_a_premultiplied_tiff_has_no_dark_edge(tmp_path):
    alpha = disc(soft=True).astype(np.uint16) * 257
    colour = np.rint(RED * 257 * (alpha[..., None] / 65535)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", np.dstack([colour, alpha]), photometric="rgb", extrasamples=["assocalpha"])
    image = upscale(tmp_path / "a.tif", 4, backbone=Double()).image
    assert np.abs(image[..., :3] / 257 - RED)[image[..., 3] > 0].max() <= 2


def test_sixteen_bits(tmp_path):
    from chain_of_zoom.imaging.formats.vips import pyvips

    alpha = disc(soft=False)
    pixels = np.dstack([np.where(alpha[..., None] > 0, RED, (0, 255, 0)), alpha]).astype(np.uint16) * 257
    pyvips.Image.new_from_array(pixels).copy(interpretation="rgb16").pngsave(str(tmp_path / "a.png"))
    image = upscale(tmp_path / "a.png", 4, backbone=Double()).image
    assert image.dtype == np.uint16
    assert np.abs(image[..., :3] / 257 - RED)[image[..., 3] > 0].max() <= 1


def test_alpha_itself_is_enlarged_as_it_is(tmp_path):
    image = upscale(photo(tmp_path / "a.png", (0, 255, 0)), 4, backbone=Double()).image
    plane = Image.fromarray(disc(soft=False).astype(np.float32))
    plain = np.clip(np.asarray(plane.resize((240, 192), Image.Resampling.BICUBIC)), 0, 255)
    assert np.abs(image[..., 3] - plain).max() <= 1


def test_what_is_opaque_and_a_photo_with_nothing_hidden_stay_as_they_were(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 30, 4), dtype=np.uint8)
    pixels[..., 3] = 90
    Image.fromarray(pixels).save(tmp_path / "a.png")
    record = upscale(tmp_path / "a.png", 4, out=tmp_path / "b.png", backbone="bicubic").record
    assert record.notes == ()
    colour = decode(tmp_path / "b.png").colour
    np.testing.assert_array_equal(colour, upscale(pixels[..., :3], 4, backbone="bicubic").image)
