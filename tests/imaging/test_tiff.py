"""TIFF: which page, depth, range and arrangement becomes the picture, and what is refused by which name."""

from __future__ import annotations

import io
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from cases import tiff
from makers import packed, written
from PIL import Image

from chain_of_zoom.errors import BadInputError
from chain_of_zoom.imaging.decode import decode_bytes, peek_size
from chain_of_zoom.imaging.images import render

Y, X = np.mgrid[0:64, 0:96]
RAMP = X / 95
RGB = np.dstack([X * 255 // 95, Y * 255 // 63, X * 0 + 90]).astype(np.uint8)


def shown(data: bytes) -> tuple[np.ndarray, str]:
    """The pixels that `load` gives, and the notes as one text."""
    picture = render(decode_bytes(data, Path("a.tif")))
    return picture.pixels, "; ".join(picture.notes)


def refused(data: bytes) -> str:
    with pytest.raises(BadInputError) as error:
        decode_bytes(data, Path("a.tif"))
    assert "\n" not in str(error.value)
    return str(error.value)


def outlier(values: np.ndarray, value: float, count: int = 1) -> np.ndarray:
    changed = values.copy()
    changed[3, :count] = value
    return changed


F = RAMP.astype(np.float32)


@pytest.mark.parametrize(
    ("values", "black", "white"),
    [
        (F, 0, 1),
        (F * 1.2, 0, 1),
        (RAMP, 0, 1),
        (F.astype(np.float16), 0, 1),
        (outlier(F, 1e6), 0, 1),
        (outlier(RAMP, 1e300), 0, 1),
        (outlier(F, np.inf), 0, 1),
        (outlier(F, -np.inf), 0, 1),
        (outlier(F, -3.4e38, 90), 0, 1),
        (np.where(F > 0.9, np.float32(50), F), 0, 1),
        (F * 1.02 - np.float32(0.02), 0, 1),
        (F * 2 - 1, -1, 1),
        (F * 5, 0, 5),
        (F * 255, 0, 255),
        (F * 290 - 15, 0, 255),
        (np.rint(F * 4095), 0, 4095),
        (outlier(np.rint(F * 4095), 1e6), 0, 4095),
        (F * 65535, 0, 65535),
        (F * 1e6, 0, 1e6),
        (outlier(F * 3000, -9999, 90), 0, 4095),
        (F * 3000 - 1000, -1000, 2000),
        ((RAMP * 127).astype(np.int8), 0, 127),
        ((RAMP * 254 - 127).astype(np.int8), -127, 127),
        ((RAMP * 32767).astype(np.int16), 0, 32767),
        ((RAMP * 65534 - 32767).astype(np.int16), -32767, 32767),
        ((RAMP * 4095).astype(np.int16), 0, 4095),
        (outlier((RAMP * 3000).astype(np.int16), -32768, 50), 0, 4095),
        ((RAMP * 255).astype(np.uint16), 0, 255),
        ((RAMP * 1023).astype(np.uint16), 0, 1023),
        ((RAMP * 4095).astype(np.uint16), 0, 4095),
        (outlier((RAMP * 4095).astype(np.uint32), 2**32 - 1), 0, 4095),
        ((RAMP * (2**32 - 1)).astype(np.uint32), 0, 2**32 - 1),
        ((RAMP * 2**40).astype(np.int64), 0, 2**40),
    ],
    ids=lambda value: f"{value.dtype}" if isinstance(value, np.ndarray) else f"{value:g}",
)
def test_black_and_white_are_the_usual_numbers_that_hold_all_but_outliers(values, black, white):
    pixels, notes = shown(tiff(values, "minisblack"))
    assert f"grey from {black:g} to {white:g} scaled to 16 bits" in notes
    exact = np.clip((values[32:].astype(float) - black) / (white - black), 0, 1) * 255
    np.testing.assert_allclose(pixels[32:, :, 0], exact, atol=0.51)


def test_what_was_clipped_or_had_no_number_is_said():
    values = outlier(outlier(F, np.inf, 3), np.nan, 2)
    pixels, notes = shown(tiff(values, "minisblack"))
    assert "1 of 6144 samples beyond that clipped" in notes
    assert "2 samples without a number made black" in notes
    assert pixels[3, :3, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize("mark", [-9999, 9999])
def test_the_number_that_stands_for_none_counts_for_nothing(mark):
    text = f"{mark}\0".encode()
    values = outlier(F * 3000 - 1000, mark, 90)
    pixels, notes = shown(tiff(values, "minisblack", extratags=[(42113, 2, len(text), text, True)]))
    assert "grey from -1000 to 2000" in notes
    assert "90 samples without a number made black" in notes
    assert not pixels[3, :90].any()


def test_sixteen_bits_are_stretched_only_where_the_file_says_so_or_twelve_hold_all():
    dark = np.rint(RAMP * 16383).astype(np.uint16)
    assert shown(tiff(dark, "minisblack"))[0].max() == 64
    assert shown(tiff(dark, "minisblack", extratags=[(281, 3, 1, 16383, True)]))[0].max() == 255
    statistics = np.rint(RAMP * 5000).astype(np.uint16)
    assert shown(tiff(statistics, "minisblack", extratags=[(281, 3, 1, 5000, True)]))[0].max() == 19
    assert shown(tiff(dark * np.uint16(0), "minisblack"))[0].max() == 0


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint16, np.int32, np.uint32, np.float32, np.float64])
def test_white_is_zero_in_every_depth(dtype):
    top = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    pixels, _ = shown(tiff(((1 - RAMP) * top).astype(dtype), "miniswhite"))
    np.testing.assert_allclose(pixels[..., 0], RAMP * 255, atol=2.6 if dtype is np.int8 else 0.51)


@pytest.mark.parametrize("top", [1, 255])
@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
def test_alpha_of_floats_has_a_white_of_its_own(top, kind):
    colour = np.dstack([F, F, F]) * top
    stored = colour / 2 if kind == "assocalpha" else colour
    data = tiff(np.dstack([stored, np.full_like(F, 0.5)]).astype(np.float32), "rgb", extrasamples=[kind])
    np.testing.assert_allclose(shown(data)[0][..., 0], 127.5 + RAMP * 127.5, atol=1 if kind == "assocalpha" else 0.51)


@pytest.mark.parametrize("bits", [3, 5, 6, 7, 9, 10, 12, 14, 15])
@pytest.mark.parametrize("samples", [1, 3])
def test_samples_of_any_number_of_bits(bits, samples):
    top = (1 << bits) - 1
    values = np.rint((RGB[..., :samples] if samples == 3 else RAMP[..., None] * 255) / 255 * top).astype(np.uint32)
    data = written(packed(values, bits), width=96, height=64, bits=(bits,) * samples, samples=samples,
                   photometric=2 if samples == 3 else 1, compression=1)  # fmt: skip
    pixels, notes = shown(data)
    np.testing.assert_allclose(pixels, np.broadcast_to(values * 255 / top, pixels.shape), atol=0.51)
    assert f"{bits} bits scaled to 16" in notes


def test_twelve_bits_deflated_and_four_bits_of_rgb():
    values = np.rint(RAMP * 4095).astype(np.uint32)
    data = zlib.compress(packed(values, 12))
    pixels, _ = shown(written(data, width=96, height=64, bits=12, samples=1, photometric=0, compression=8))
    np.testing.assert_allclose(pixels[..., 0], 255 - RAMP * 255, atol=0.6)
    small = RGB[:, :95] // 16
    data = written(packed(small, 4), width=95, height=64, bits=(4, 4, 4), samples=3, photometric=2, compression=1)
    np.testing.assert_array_equal(shown(data)[0], small * 17)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    ("dtype", "tile"), [(np.uint8, (32, 32)), (np.uint16, (16, 48)), (np.uint8, None), (np.float64, (32, 32))]
)
def test_channels_in_planes(order, big, dtype, tile):
    scale = {np.uint8: 1, np.uint16: 257, np.float64: 1 / 255}[dtype]
    planes = np.moveaxis(RGB[:50, :70] * np.array(scale).astype(dtype), -1, 0).astype(dtype)
    options = {"planarconfig": "separate", "byteorder": order, "bigtiff": big, "compression": "deflate"}
    np.testing.assert_array_equal(shown(tiff(planes, "rgb", tile=tile, **options))[0], RGB[:50, :70])


@pytest.mark.parametrize(("dtype", "predictor"), [(np.float64, 3), (np.int64, 2), (np.uint64, 2)])
@pytest.mark.parametrize("samples", [1, 3])
def test_64_bits_with_a_predictor(dtype, predictor, samples):
    values = np.moveaxis(np.stack([RAMP * 0.9 + 0.1 * i / 3 for i in range(samples)]), 0, -1)
    values = values.astype(dtype) if predictor == 3 else (values * 65535).astype(dtype)
    if predictor == 3:
        halves = values.astype(">f8").reshape(64, -1).view(np.uint8).reshape(64, -1, 8).swapaxes(1, 2)
        stored = halves.reshape(64, -1, samples).copy()
    else:
        stored = values.view(np.uint64).copy()
    stored[:, 1:] -= stored[:, :-1].copy()
    kind = {"f": 3, "i": 2, "u": 1}[np.dtype(dtype).kind]
    data = written(zlib.compress(stored.tobytes()), width=96, height=64, bits=(64,) * samples, samples=samples,
                   format=(kind,) * samples, photometric=2 if samples == 3 else 1, compression=8,
                   predictor=predictor)  # fmt: skip
    exact = values.astype(float) * (255 if predictor == 3 else 255 / 65535)
    np.testing.assert_allclose(shown(data)[0], np.broadcast_to(exact, (64, 96, 3)), atol=0.51)


def test_planes_of_grey_are_not_mixed_and_alpha_is_found_among_them():
    planes = np.stack([RGB[..., 0]] + [RGB[..., 1]] * 4)
    pixels, notes = shown(tiff(planes, "minisblack", planarconfig="separate"))
    np.testing.assert_array_equal(pixels[..., 0], RGB[..., 0])
    assert "extra channels without a meaning left out" in notes
    half = np.stack([*np.moveaxis(RGB // 2, -1, 0), np.full((64, 96), 128, np.uint8)])
    pixels, _ = shown(tiff(half, "rgb", planarconfig="separate", extrasamples=["assocalpha"]))
    np.testing.assert_allclose(pixels, RGB / 2 + 127, atol=2)


def test_lab_of_floats():
    lab = np.dstack([RAMP * 100, RAMP * 0, RAMP * 0]).astype(np.float32)
    whole = np.dstack([np.rint(RAMP * 255), RAMP * 0, RAMP * 0]).astype(np.uint8)
    np.testing.assert_allclose(shown(tiff(lab, "cielab"))[0], shown(tiff(whole, "cielab"))[0].astype(int), atol=1.1)


# Pages and camera raws.


def pages(*parts: tuple[np.ndarray, dict[str, object]]) -> bytes:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        for pixels, options in parts:
            file.write(pixels, metadata=None, **options)
    return buffer.getvalue()


SMALL = (RGB[::4, ::4], {"photometric": "rgb", "subfiletype": 1})
FULL = (RGB, {"photometric": "rgb"})


@pytest.mark.parametrize(
    "parts",
    [
        (SMALL, FULL),
        (SMALL, SMALL, FULL),
        ((RGB[::4, ::4], {"photometric": "rgb", "extratags": [(255, 3, 1, 2, True)]}), FULL),
        ((RGB[..., 0] > 9, {"photometric": "mask", "subfiletype": 4}), FULL),
        ((SMALL[0], {**SMALL[1], "subifds": 1}), FULL),
        (SMALL, (np.moveaxis(RGB, -1, 0), {"photometric": "rgb", "planarconfig": "separate"})),
    ],
    ids=["thumbnail", "two thumbnails", "old mark", "mask", "full one inside", "planes"],
)
def test_a_reduced_first_page_is_not_the_picture(parts, tmp_path):
    data = pages(*parts)
    pixels, notes = shown(data)
    np.testing.assert_array_equal(pixels, RGB)
    assert notes == "first page that is no reduced copy or mask"
    (tmp_path / "a.tif").write_bytes(data)
    assert peek_size(tmp_path / "a.tif") == (96, 64)


def test_the_first_page_is_taken_of_pyramids_and_where_all_are_reduced():
    for parts, size in (((FULL, SMALL), (64, 96)), ((SMALL,), (16, 24)), ((SMALL, SMALL), (16, 24))):
        pixels, notes = shown(pages(*parts))
        assert pixels.shape[:2] == size
        assert notes == ("first frame of an animation or a multi-page file" if len(parts) > 1 else "")


SENSOR = np.rint(RAMP * 4095).astype(np.uint16)
CFA = [(33421, 3, 2, (2, 2), True), (33422, 1, 4, b"\0\1\1\2", True)]
DNG = [(50706, 1, 4, b"\1\4\0\0", True)]


def camera_raws() -> dict[str, tuple[bytes, str]]:
    inside = (SENSOR, {"photometric": 32803, "subfiletype": 0, "extratags": CFA})
    preview = {**SMALL[1], "subifds": 1}
    plain = tiff(RGB, "rgb")
    return {
        "nef": (pages((SMALL[0], preview), inside), "NEF"),
        "dng": (pages((SMALL[0], {**preview, "extratags": DNG}), inside), "DNG"),
        "linear dng": (pages((RGB.astype(np.uint16), {"photometric": 34892, "extratags": DNG})), "DNG"),
        "of nothing else": (pages((SENSOR, {"photometric": 32803, "extratags": CFA})), "NEF"),
        "sensor on the second page": (pages(FULL, inside), "NEF"),
        "cr2": (plain[:8] + b"CR\2\0" + plain[12:], "CR2"),
        "iiq": (plain[:8] + b"IIII" + plain[12:], "IIQ"),
    }


@pytest.mark.parametrize("name", camera_raws())
def test_a_camera_raw_is_refused_as_one(name):
    data, kind = camera_raws()[name]
    assert f"a camera raw ({kind}" in refused(data)
    assert "develop it" in refused(data)


# Sound files that are not read, and damaged ones.


@pytest.mark.parametrize(
    ("compression", "name"),
    [(50000, "ZSTD"), (34887, "LERC"), (34712, "JPEG 2000"), (33005, "JPEG 2000"), (50002, "JPEG XL"), (34925, "LZMA"),
     (34933, "PNG"), (60000, "scheme 60000")],
)  # fmt: skip
def test_a_rare_compression_is_named(compression, name):
    data = written(bytes(12), width=2, height=2, bits=(8, 8, 8), samples=3, photometric=2, compression=compression)
    message = refused(data)
    assert f"compressed with {name} is not read" in message
    assert "damaged" not in message


@pytest.mark.parametrize(
    ("tags", "name"),
    [
        ({"bits": 64, "format": 6}, "complex numbers"),
        ({"bits": 24}, "24-bit numbers"),
        ({"bits": 24, "format": 3}, "24-bit floats"),
        ({"bits": 12, "compression": 7}, "12-bit numbers compressed with JPEG"),
        ({"bits": 12, "predictor": 2, "compression": 5}, "12-bit numbers with a predictor"),
        ({"bits": (5, 6, 5), "samples": 3, "photometric": 2}, "channels of 5 and 6 bits"),
        ({"bits": 16, "photometric": 32844}, "LogL"),
        ({"bits": 8, "photometric": 4}, "a transparency mask"),
        ({"bits": (8, 8, 8), "samples": 3, "photometric": 6, "planes": 2}, "YCbCr"),
        ({"bits": (32, 32, 32), "samples": 3, "photometric": 8}, "CIELAB in 32-bit numbers"),
        ({"bits": (8, 8, 8), "samples": 3, "photometric": 6, "subsampling": (1, 1)}, "YCbCr in 8-bit numbers of full"),
        ({"bits": (16, 16, 16), "samples": 3, "photometric": 6}, "YCbCr in 16-bit numbers of full"),
    ],
)
def test_rare_colours_and_depths_are_named(tags, name):
    message = refused(
        written(bytes(64), width=2, height=2, **{"samples": 1, "photometric": 1, "compression": 1, **tags})
    )
    assert f"a TIFF of {name}" in message
    assert "damaged" not in message


def test_a_decoder_that_doubts_is_quoted():
    buffer = io.BytesIO()
    Image.fromarray(RGB).resize((300, 200)).save(buffer, "TIFF", compression="jpeg")
    data = bytearray(buffer.getvalue())
    assert shown(bytes(data))[1] == ""
    page = tifffile.TiffFile(io.BytesIO(bytes(data))).pages[0]
    middle = page.dataoffsets[1] + page.databytecounts[1] // 2
    data[middle : middle + 60] = b"\xff\xd9" * 30
    assert "damaged in part (" in shown(bytes(data))[1]


@pytest.mark.parametrize("options", [{}, {"compression": "tiff_lzw"}, {"compression": "tiff_adobe_deflate"}])
def test_a_cut_file_is_damaged_and_says_so_once(options):
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, noise, photometric="rgb")
    message = refused(buffer.getvalue()[:-90_000])
    assert message.count("damaged") == 1
    assert "tiff2vips" not in message
    assert "unable to call" not in message


# Memory.

DEEP = {
    "8 bits": (np.uint8, 3, {"photometric": "rgb"}, 10),
    "16 bits": (np.uint16, 3, {"photometric": "rgb"}, 18),
    "16 bits turned": (np.uint16, 3, {"photometric": "rgb", "extratags": [(274, 3, 1, 6, True)]}, 18),
    "16 bits of CMYK": (np.uint16, 4, {"photometric": "separated"}, 26),
    "float": (np.float32, 3, {"photometric": "rgb"}, 36),
    "float and alpha": (np.float32, 4, {"photometric": "rgb", "extrasamples": ["unassalpha"]}, 46),
    "CIELAB": (np.uint16, 3, {"photometric": "cielab"}, 26),
}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of the process from the kernel")
@pytest.mark.parametrize("name", DEEP)
def test_deep_pictures_take_little_more_than_their_samples(tmp_path, name):
    dtype, channels, options, most = DEEP[name]
    top = 1 if dtype is np.float32 else np.iinfo(dtype).max
    rows = (np.random.default_rng(0).random((100, 2000, channels), dtype=np.float32) * top).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", np.tile(rows, (20, 1, 1)), **options)
    tifffile.imwrite(tmp_path / "b.tif", rows[:8, :8], **options)
    program = (
        "import resource, sys; from chain_of_zoom.imaging.images import load; peaks = []\n"
        "for name in 'ba': load(f'{name}.tif'); peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
        "print((peaks[1] - peaks[0]) * 1024 / 4e6)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert float(done.stdout) <= most
