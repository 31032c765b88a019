"""Files made to do harm, and thousands of damaged ones: a Picture or a BadInputError, soon, in little memory."""

from __future__ import annotations

import io
import os
import struct
import sys
import zlib
from functools import cache
from pathlib import Path

import fuzz
import numpy as np
import pytest
from cases import FLAT, saved
from makers import chunk, png
from PIL import Image

from chain_of_zoom.errors import BadInputError
from chain_of_zoom.imaging.decode import decode, decode_bytes
from chain_of_zoom.imaging.images import load, render
from chain_of_zoom.imaging.reading import Limits, Reading

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the workers are watched by means of Linux")

MUTANTS = int(os.environ.get("COZ_FUZZ", "5000"))
SEED = int(os.environ.get("COZ_FUZZ_SEED", "0"))
HEAD = b"\x89PNG\r\n\x1a\n"


def header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    return HEAD + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))


def zeros(count: int) -> bytes:
    """Deflated zeros, a thousandth of their number; only the check sum at the end is wrong."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x78\xda" + piece * (count >> 20) + packer.flush() + bytes(4)


def tiff(*tags: tuple[int, int, int, int], rest: bytes = b"") -> bytes:
    """A little-endian TIFF of one directory: (tag, type, count, value or offset)."""
    body = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    return b"II*\0\x08\0\0\0" + body + rest


def plain(width: int, height: int, *more: tuple[int, int, int, int]) -> bytes:
    """A TIFF of grey bytes that are not there."""
    return tiff(
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8),
        (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, width * height & 0xFFFFFFFF), *more,
    )  # fmt: skip


def pages(count: int) -> bytes:
    """A TIFF of so many empty directories."""
    offsets = range(8, 8 + 6 * count, 6)
    return b"II*\0\x08\0\0\0" + b"".join(struct.pack("<HI", 0, at + 6) for at in offsets)


def overlapping(count: int) -> bytes:
    """Directories of 65535 tags each, lying over one another."""
    return b"II*\0\x08\0\0\0" + (b"\xff\xff" + bytes(10)) * (65535 + count)


def gif(frames: int) -> bytes:
    frame = b"\x2c" + struct.pack("<HHHH", 0, 0, 1, 1) + b"\0\x02\x02\x44\x01\0"
    return b"GIF89a" + struct.pack("<HH", 1, 1) + b"\x80\0\0" + bytes(6) + frame * frames + b"\x3b"


def scans(count: int) -> bytes:
    data = saved(np.repeat(np.repeat(FLAT, 20, 0), 20, 1), "RGB", "JPEG", progressive=True)
    start = data.rindex(b"\xff\xda")
    return data[:-2] + data[start:-2] * count + data[-2:]


def riff(width: int, height: int) -> bytes:
    """A WebP canvas of that size with one small lossless frame."""
    frame = saved(FLAT, "RGB", "WEBP", lossless=True)[12:]
    canvas = b"\x02\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    anmf = bytes(6) + (47).to_bytes(3, "little") + (31).to_bytes(3, "little") + bytes(4) + frame
    parts = [(b"VP8X", canvas), (b"ANIM", bytes(6)), (b"ANMF", anmf)]
    body = b"WEBP" + b"".join(name + struct.pack("<I", len(data)) + data + bytes(len(data) & 1) for name, data in parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def resized(kind: str, how: str, size: tuple[int, int], claimed: tuple[int, int]) -> bytes:
    """A small file whose header claims another size."""
    return saved(FLAT, "RGB", kind).replace(struct.pack(how, *size), struct.pack(how, *claimed))


@cache
def hostile() -> dict[str, bytes]:
    """Bombs and mazes by name."""
    bomb = zeros(1 << 30)
    tail = chunk(b"IDAT", zlib.compress(bytes(4))) + chunk(b"IEND", b"")
    small = header(1, 1)
    deep = png(np.zeros((1, 1, 3), np.uint16), 2, (b"zTXt", b"a\0\0" + bomb), (b"iCCP", b"a\0\0" + bomb))
    avif = saved(FLAT, "RGB", "AVIF")
    spatial = avif.index(b"ispe") + 8
    huge = struct.pack(">II", 1 << 20, 1 << 20)
    return {
        "png of a text": small + chunk(b"zTXt", b"a\0\0" + bomb) + tail,
        "png of texts": small + chunk(b"zTXt", b"a\0\0" + zeros(1 << 20)) * 200 + tail,
        "png of an international text": small + chunk(b"iTXt", b"a\0\1\0\0\0" + bomb) + tail,
        "png of a profile": small + chunk(b"iCCP", b"a\0\0" + bomb) + tail,
        "png of 16 bits and both": deep,
        "png of an exif": small + chunk(b"eXIf", b"MM\0*" + b"\0\0\0\x08\xff\xff" + bytes(1 << 20)) + tail,
        "png of 400 MP and nothing": header(20000, 20000) + tail,
        "png of 400 MP of 16 bits": header(20000, 20000, 16, 6) + tail,
        "png of too many rows": header(1, 1) + chunk(b"IDAT", bomb) + chunk(b"IEND", b""),
        "png of empty chunks": small + chunk(b"IDAT", b"") * 1_000_000 + tail,
        "tiff of pages": pages(1_000_000),
        "tiff of a loop": b"II*\0\x08\0\0\0" + struct.pack("<HI", 0, 8),
        "tiff of overlapping pages": overlapping(20_000),
        "tiff of tags": tiff(*[(tag, 4, 1, 1) for tag in range(1, 65536)]),
        "tiff of a tag without end": plain(4, 4, (700, 7, 0xFFFFFFFF, 8)),
        "tiff of bits without end": tiff((256, 4, 1, 4), (257, 4, 1, 4), (258, 3, 0x7FFFFFFF, 8)),
        "tiff of 400 MP and nothing": plain(20000, 20000),
        "tiff of 4 GP": plain(65535, 65535),
        "tiff of strips without end": plain(4, 4, (279, 4, 0x3FFFFFFF, 8)),
        "tiff of samples": tiff((256, 4, 1, 4), (257, 4, 1, 4), (258, 3, 1, 16), (277, 3, 1, 65535), (262, 3, 1, 2)),
        "bigtiff of nothing": b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 1 << 62),
        "gif of a million frames": gif(1_000_000),
        "gif of a million empty blocks": gif(0)[:-1] + b"\x21\xfe\0" * 1_000_000 + gif(1)[19:],
        "gif of 65535 x 6000": b"GIF89a" + struct.pack("<HH", 65535, 6000) + gif(2)[10:],
        "jpeg of scans": scans(3000),
        "jpeg of markers": b"\xff\xd8" + b"\xff\xe1\0\x02" * 1_000_000,
        "jpeg of 65500 x 6000": resized("JPEG", ">HH", (32, 48), (6000, 65500)),
        "webp of 16384 x 16384": riff(16384, 16384),
        "webp of 16 M x 16 M": riff(1 << 24, 1 << 24),
        "avif of a million a side": avif[:spatial] + huge + avif[spatial + 8 :],
        "avif of 2 billion a side": avif[:spatial] + struct.pack(">II", 0x7F000020, 32) + avif[spatial + 8 :],
        "bmp of 20000 x 20000": resized("BMP", "<ii", (48, 32), (20000, 20000)),
        "bmp of a negative size": resized("BMP", "<ii", (48, 32), (-48, 32)),
        "heif of nothing": b"\0\0\0\x18ftypheic" + bytes(12) + b"\xff\xff\xff\xffmeta" + bytes(100),
        "boxes in boxes": b"\0\0\0\x18ftypavif" + bytes(12) + b"\0\0\x10\0meta\0\0\0\0" * 5000,
        "zeros": bytes(1 << 20),
    }  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> fuzz.Report:
    folder = tmp_path_factory.mktemp("hostile")
    for name, data in hostile().items():
        (folder / name).write_bytes(data)
    return fuzz.run(fuzz.jobs(MUTANTS, SEED, sorted(map(str, folder.iterdir()))))


@pytest.mark.slow
def test_bombs_mazes_and_mutants_are_read_or_refused_soon_and_small_and_nothing_else(report):
    assert report.troubles == []
    assert report.files == MUTANTS + len(hostile())


@pytest.mark.slow
def test_the_search_gets_past_the_door(report):
    """A fuzzer whose files are all read, or all refused at once, would test nothing."""
    assert report.outcomes["picture"] > report.files / 10
    assert report.outcomes["refused"] > report.files / 10
    assert len(report.reasons) > 10


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"pixels": 47 * 32}, "48x32 pixels; accepted: pixels up to 1,504"),
        ({"side": 47}, "48x32 pixels; accepted: side up to 47"),
        ({"aspect": 1.4}, "48x32 pixels; accepted: aspect up to 1.4"),
        ({"bytes": 99}, "bytes; accepted: bytes up to 99"),
        ({"frames": 2}, "3 frames or more; accepted: frames up to 2"),
    ],
)
@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_limits_come_before_decoding(tmp_path, monkeypatch, kind, limits, says):
    frames = [Image.fromarray(pixels) for pixels in (FLAT, 255 - FLAT, FLAT)]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    path = tmp_path / "a"
    path.write_bytes(buffer.getvalue())
    load(path, Reading(limits=Limits(pixels=48 * 32, side=48, aspect=1.5, bytes=len(buffer.getvalue()), frames=3)))

    def never(*args: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", never)
    monkeypatch.setattr("chain_of_zoom.imaging.formats.vips.decode_upright", never)
    with pytest.raises(BadInputError, match=says) as error:
        decode(path, limits=Limits(**limits))
    assert "\n" not in str(error.value)
    assert f"--set photo.{next(iter(limits))}=" in str(error.value)


@pytest.mark.parametrize("error", [MemoryError(), RecursionError(), struct.error(), SyntaxError("a\nb"), KeyError(1)])
def test_whatever_a_decoder_raises_is_bad_input(tmp_path, monkeypatch, error):
    def fail(*args: object) -> None:
        raise error

    path = tmp_path / "a.png"
    path.write_bytes(saved(FLAT, "RGB", "PNG"))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    with pytest.raises(BadInputError, match=r"a\.png: .*(damaged|memory)") as raised:
        load(path)
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_the_same_numbers_give_the_same_mutant():
    assert fuzz.mutant(3, 17) == fuzz.mutant(3, 17)
    assert fuzz.mutant(3, 17) != fuzz.mutant(4, 17)


@pytest.mark.slow
def test_every_original_of_the_fuzzer_is_whole():
    pytest.importorskip("pillow_heif", reason="the extra [heif] is not installed")
    for data in fuzz.originals().values():
        assert render(decode_bytes(data, Path("a"))).pixels.std() > 10
