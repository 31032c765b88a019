"""The whole way: tiles against the untiled result, every format, what is refused, what is kept."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import PHOTO, noise
from PIL import Image, ImageCms, ImageFilter

from chain_of_zoom import ChainOfZoom, load_backbone, upscale
from chain_of_zoom.errors import BackboneError, OutputError, UsageError
from chain_of_zoom.imaging.decode import decode
from chain_of_zoom.imaging.encode import TRAINED_MODEL
from chain_of_zoom.imaging.geometry import Size, whole_picture
from chain_of_zoom.imaging.images import area_reduce, resize, size_of, to_float, to_uint8
from chain_of_zoom.upscaling.job import prepare
from chain_of_zoom.upscaling.request import UpscaleRecord, UpscaleRequest
from upscaling.doubles import Double, picture


def difference(one: np.ndarray, other: np.ndarray) -> int:
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other).max())


def test_tiles_leave_the_result_as_it_would_be_without_them():
    photo = picture(110, 150)
    backbone = Double(max_pixels=40 * 40)
    result = upscale(photo, 4, backbone=backbone)
    assert len(backbone.shapes) > 12
    assert max(max(shape) for shape in backbone.shapes) <= 40
    assert difference(result.image, resize(photo, Size(600, 440), "bicubic")) == 0


@pytest.mark.slow
def test_a_real_network_leaves_no_seam(astronaut):
    photo = astronaut[:90, :130]
    (untiled,) = load_backbone("animevideo")([photo])
    result = upscale(photo, 4, backbone="animevideo", tile=72)
    assert difference(result.image, to_uint8(untiled)) <= 1
    # Gradients across the borders of tiles are those of the untiled picture: no line shows.
    columns = np.array([4 * edge for edge in (52, 78)])  # 130 pixels in tiles of at most 72 with halos of 20
    across = [
        np.abs(np.diff(p.astype(float), axis=1))[:, columns - 1].mean() for p in (result.image, to_uint8(untiled))
    ]
    assert across[0] / across[1] == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("scale", [1.3, 1.9, 3.2])
def test_a_last_step_below_the_factor_is_the_mean_of_areas(scale):
    photo = picture(60, 85)
    result = upscale(photo, scale, backbone=Double(max_pixels=40 * 40))
    enlarged = Double(max_pixels=None)([photo])[0]
    size = Size(int(85 * scale + 0.5), int(60 * scale + 0.5))
    assert difference(result.image, to_uint8(area_reduce(enlarged, whole_picture(size_of(enlarged)), size))) <= 1


@pytest.mark.slow
def test_tiles_of_a_reduced_photo_meet_and_give_its_detail_back(astronaut):
    """Within 2 levels of the same in one piece; reduced by half again it is the photo."""
    photo = astronaut[60:156, 160:288]
    tiled = upscale(photo, 2, backbone=load_backbone("span"), tile=64).image
    whole = upscale(photo, 2, backbone=load_backbone("span")).image
    assert difference(tiled, whole) <= 2
    again = area_reduce(to_float(tiled), whole_picture(size_of(tiled)), size_of(photo))
    assert np.abs(again - to_float(photo)).max() < 1 / 255


@pytest.mark.slow
def test_a_little_that_remains_is_stretched_and_said():
    result = upscale(picture(20, 30), 5, backbone=Double(max_pixels=40 * 40))
    assert result.image.shape == (100, 150, 3)


@pytest.mark.slow
def test_larger_scales_are_chained():
    photo = picture(20, 30)
    result = upscale(photo, 48, backbone=Double())
    first = to_uint8(Double(max_pixels=None)([photo])[0])
    second = to_uint8(Double(max_pixels=None)([first])[0])
    (third,) = Double(max_pixels=None)([second])
    size = Size(30 * 48, 20 * 48)
    assert size_of(result.image) == size
    assert difference(result.image, to_uint8(area_reduce(third, whole_picture(size_of(third)), size))) <= 1


def test_sixteen_bits_stay_smooth_where_eight_would_show_steps():
    ramp = np.linspace(20000, 21000, 120).astype(np.uint16)
    photo = np.repeat(np.repeat(ramp[None, :, None], 60, axis=0), 3, axis=2)
    image = upscale(photo, 4, backbone=Double()).image
    assert image.dtype == np.uint16
    assert len(np.unique(image)) > 400  # 8 bits have 5 levels there
    slope = np.diff(image[120, 40:-40, 0].astype(int))
    assert slope.max() < 200  # a step of 8 bits is 257


@pytest.fixture
def rich(tmp_path: Path) -> Path:
    """A photo with everything: 8 bits with alpha, a profile of its own, EXIF with a camera, lying on its side."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112], exif[0x0110] = 6, "Camera"
    alpha = np.linspace(0, 255, 50).astype(np.uint8)[:, None].repeat(70, axis=1)
    pixels = np.dstack([picture(50, 70), alpha])
    Image.fromarray(pixels).save(tmp_path / "rich.png", icc_profile=srgb, exif=exif)
    return tmp_path / "rich.png"


@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "jpg"])
def test_what_a_photo_has_survives_where_the_format_holds_it(rich, tmp_path, suffix):
    out = tmp_path / f"out.{suffix}"
    record = upscale(rich, 4, out=out, backbone=Double(), photo_options={"metadata": "keep"}, quality=95).record
    with Image.open(rich) as stored:
        profile = stored.info["icc_profile"]
    with Image.open(out) as image:
        assert image.size == (200, 280)  # upright
        assert image.info["icc_profile"] == profile
        assert image.getexif().get(0x0110) == (None if suffix == "tif" else "Camera")
        assert image.getexif().get(0x0112, 1) == 1
        assert ("EXIF data left out: TIFF is written without" in record.notes) == (suffix == "tif")
        assert image.mode == ("RGB" if suffix == "jpg" else "RGBA")
        pixels = np.asarray(image)
    raster = decode(rich)
    if suffix == "jpg":
        assert "alpha laid on white: JPEG holds none" in record.notes
        assert pixels[:, -3:].mean() > 240  # transparent on that side
    else:
        assert difference(pixels[..., 3:], upscaled_alpha(raster.alpha)) <= 1
        if suffix != "webp":  # lossless
            plain = resize(raster.colour, Size(200, 280), "bicubic")
            assert difference(pixels[:, :-12, :3], plain[:, :-12]) == 0  # up to where a transparent pixel reaches
            assert "colours hidden by alpha replaced by those around them" in record.notes


def upscaled_alpha(alpha: np.ndarray) -> np.ndarray:
    size = (alpha.shape[1] * 4, alpha.shape[0] * 4)
    return np.asarray(Image.fromarray(alpha).resize(size, Image.Resampling.BICUBIC))[..., None]


@pytest.mark.parametrize(("suffix", "bits"), [("png", 16), ("tif", 16), ("jpg", 8), ("webp", 8)])
def test_depth_survives_where_the_format_holds_it(tmp_path, suffix, bits):
    deep = picture(40, 50).astype(np.uint16) * 257 + 31
    record = upscale(deep, 2, out=tmp_path / f"out.{suffix}", backbone=Double()).record
    raster = decode(tmp_path / f"out.{suffix}")
    assert raster.colour.dtype == np.dtype(f"uint{bits}")
    assert record.output.bits == bits
    assert any("16 bits rounded to 8" in note for note in record.notes) == (bits == 8)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "dzi"])
def test_every_format_says_what_made_it(tmp_path, suffix):
    out = tmp_path / f"out.{suffix}"
    record = upscale(picture(40, 50), 4, out=out, backbone="fake").record
    data = out.read_bytes()
    assert b"GENERATED by the model fake at 4x, not photographed" in data
    assert UpscaleRecord.from_json((tmp_path / f"out.{suffix}.json").read_bytes()) == record
    assert record.complete
    tile = tmp_path / "out_files" / "8" / "0_0.jpg"
    assert TRAINED_MODEL.encode() in (tile.read_bytes() if suffix == "dzi" else data)


def test_plain_resampling_is_not_called_generated(tmp_path):
    upscale(picture(20, 20), 2, out=tmp_path / "a.png", backbone="bicubic")
    with Image.open(tmp_path / "a.png") as image:
        assert "interpolated, not generated" in image.text["Description"]
        assert "DigitalSourceType" not in image.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "says"),
    [
        (
            "a.webp",
            (10, 4100),
            r"41000 pixels do not fit in WebP; accepted: up to 16383 a side; .*\.png or \.jpg or \.tif",
        ),
        (
            "a.jpg",
            (20, 17000),
            r"do not fit in JPEG; accepted: up to 65500 a side; name a file that ends in \.png or \.tif",
        ),
        ("a.png", (260, 90000), r"do not fit in PNG; .* ends in \.tif or \.dzi"),
    ],
)
def test_a_format_that_is_too_small_is_refused_before_anything_is_computed(tmp_path, name, size, says):
    backbone = Double()
    photo = np.zeros((*size, 3), np.uint8)
    with pytest.raises(OutputError, match=says):
        upscale(
            photo.swapaxes(0, 1) if "webp" in name else photo,
            {"a.webp": 10, "a.jpg": 4, "a.png": 12}[name],
            out=tmp_path / name,
            backbone=backbone,
        )
    assert not backbone.shapes
    assert list(tmp_path.iterdir()) == []


def test_what_lies_there_is_not_overwritten_unasked(tmp_path):
    out = tmp_path / "a.png"
    out.write_bytes(b"mine")
    with pytest.raises(OutputError, match="a.png is there already; add force=True"):
        upscale(picture(9, 9), 2, out=out, backbone=Double())
    assert out.read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    upscale(picture(9, 9), 2, out=out, backbone=Double(), force=True)
    assert decode(out).colour.shape == (18, 18, 3)
    with pytest.raises(OutputError, match="is there already"):
        upscale(picture(9, 9), 3, out=out, backbone=Double())
    Image.fromarray(picture(9, 9)).save(tmp_path / "photo.png")
    with pytest.raises(OutputError, match="is the photo itself"):
        upscale(tmp_path / "photo.png", 2, out=tmp_path / "photo.png", backbone=Double(), force=True)


def test_a_finished_run_is_not_made_again_and_a_changed_output_is(tmp_path):
    backbone, out = Double(), tmp_path / "a.png"
    first = upscale(picture(60, 60), 4, out=out, backbone=backbone).record
    count = len(backbone.shapes)
    assert upscale(picture(60, 60), 4, out=out, backbone=backbone).record == first
    assert len(backbone.shapes) == count
    assert not (tmp_path / "a.png.work").exists()
    out.write_bytes(out.read_bytes() + b"x")
    with pytest.raises(OutputError, match="is there already"):
        upscale(picture(60, 60), 4, out=out, backbone=backbone)


def test_a_tile_that_fails_once_is_computed_again_and_noted(tmp_path):
    backbone = Double(spoil=lambda call, result: result * np.nan if call == 2 else result)
    record = upscale(picture(60, 60), 4, out=tmp_path / "a.png", backbone=backbone).record
    (note,) = record.steps[0].fallbacks
    assert note.startswith("tile in row 0, column 1 (output pixels 120,0,240,120) failed (double returned NaN")
    plain = upscale(picture(60, 60), 4, backbone=Double()).image
    np.testing.assert_array_equal(decode(tmp_path / "a.png").colour, plain)


@pytest.mark.parametrize("spoil", [np.nan, 0.0])
def test_a_tile_that_fails_twice_ends_the_run_and_the_others_are_kept(tmp_path, spoil):
    broken = Double(spoil=lambda call, result: result * spoil if call >= 3 else result)
    with pytest.raises(
        BackboneError, match=r"tile in row 1, column 0 \(output pixels 0,120,120,240\) at 4x failed twice"
    ):
        upscale(picture(60, 60), 4, out=tmp_path / "a.png", backbone=broken)
    assert not (tmp_path / "a.png").exists()
    mended = Double()
    record = upscale(picture(60, 60), 4, out=tmp_path / "a.png", backbone=mended).record
    assert len(mended.shapes) == 2
    assert record.steps[0].kept == 2


def test_another_run_in_the_work_folder_is_refused(tmp_path):
    broken = Double(spoil=lambda call, result: result * np.nan)
    with pytest.raises(BackboneError):
        upscale(noise(20, 20), 4, out=tmp_path / "a.png", backbone=broken)
    with pytest.raises(OutputError, match=r"a.png.work holds another run: other settings \(scale 4.0, now 2.0\)"):
        upscale(noise(20, 20), 2, out=tmp_path / "a.png", backbone=Double())
    with pytest.raises(OutputError, match="another photo"):
        upscale(noise(20, 20, 1), 4, out=tmp_path / "a.png", backbone=Double())
    upscale(noise(20, 20), 2, out=tmp_path / "a.png", backbone=Double(), force=True)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"scale": 1}, "scale=1; accepted: above 1"),
        ({"scale": float("nan")}, "scale=nan"),
        ({"scale": "big"}, "settings of upscale"),
        ({"out": "a.gif"}, r"a.gif: the name says no format to write; accepted: .png, .jpg"),
        ({"out": "a"}, "for example out='a.png'"),
        ({"quality": 0}, "quality=0"),
        ({"seed": -1}, "seed -1"),
        ({"overlap": 8}, "overlap means nothing to double"),
        ({"blend": "soft"}, "settings of upscale: Invalid enum value 'soft'"),
        ({"prompts_from": "p.json"}, "prompts_from with double, which ignores prompts"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=says):
        upscale(picture(9, 9), **{"scale": 2, "backbone": Double(), **settings})


def test_a_wrong_array_is_refused():
    with pytest.raises(UsageError, match="array of float64"):
        upscale(np.zeros((4, 4, 3)), 2)


@pytest.mark.slow
def test_the_default_name_and_a_folder_that_is_not_there_yet(tmp_path):
    out = tmp_path / "new" / "folder" / "a.jpg"
    assert upscale(PHOTO, 1.1, out=out, backbone="nearest").path == out
    assert Image.open(io.BytesIO(out.read_bytes())).size == (563, 563)


@pytest.mark.slow
def test_how_much_of_a_picture_is_beyond_evidence_follows_its_blur(astronaut, tmp_path):
    """Half the photo is blurred over 1.46 x 4 px, so 4x is 23x there, beyond a limit of 16."""
    pixels = astronaut[:384].copy()
    pixels[:, 256:] = np.asarray(Image.fromarray(astronaut).filter(ImageFilter.GaussianBlur(4)))[:384, 256:]
    Image.fromarray(pixels).save(tmp_path / "half.png")
    photo = decode(tmp_path / "half.png")
    shares = {}
    for scale, limit in ((4, 16.0), (4, 1.0), (32, 16.0), (4, None)):
        backbone = Double()
        backbone.info = replace(backbone.info, evidence_limit=limit)
        job = prepare(photo, UpscaleRequest(scale=scale), ChainOfZoom(backbone), tmp_path / "out.png")
        shares[scale, limit] = job.beyond_evidence
        assert ("beyond" in job.describe()) == (job.beyond_evidence > 0)
    assert 0.3 < shares.pop((4, 16.0)) < 0.6
    assert shares == {(4, 1.0): 1, (32, 16.0): 1, (4, None): 0}
