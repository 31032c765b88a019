"""Animations as files, WebP or MP4, from frames that are made one at a time, so that memory stays small."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import chain, repeat
from pathlib import Path

from PIL import Image

from chain_of_zoom.errors import MissingError, OutputError
from chain_of_zoom.imaging.images import RGB8, size_of
from chain_of_zoom.resources import available_cores
from chain_of_zoom.runs.ahead import work_ahead

WEBP_QUALITY = 80
WEBP_EFFORT = 0  # 2 takes a third longer and saves 12%, 4 takes almost three times as long and saves 18%
MP4_QUALITY = 20  # libx264's crf

# Where XMP lies in an MP4 file (XMP specification, part 3).
_XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")


def encode_webp(frames: Iterable[RGB8], durations: Sequence[int], xmp: str) -> bytes:
    """Encode an animation that repeats for ever; the same frames give the same bytes.

    frames: uint8, H x W x 3, all of one size, as many as `durations` (milliseconds). Each becomes a picture of its own,
    since in a zoom no part of one can be taken from the frame before, on as many cores as there are: Pillow's own
    encoder of animations takes more than twice the time for the same pixels. The container is that of RFC 9649.
    """
    frames = iter(frames)
    first = next(frames)
    size = b"".join(_count(side - 1) for side in size_of(first))
    chunks = [
        _chunk(b"VP8X", bytes([0b110, 0, 0, 0]) + size),  # an animation, with XMP
        _chunk(b"ANIM", bytes(6)),  # a transparent ground; for ever
    ]
    pictures = work_ahead(_encode_frame, chain([first], frames), available_cores())
    for (_, picture), duration in zip(pictures, durations, strict=True):
        # At the corner, over whatever was there.
        chunks.append(_chunk(b"ANMF", bytes(6) + size + _count(duration) + bytes([0b10]) + picture))
    body = b"WEBP" + b"".join([*chunks, _chunk(b"XMP ", xmp.encode())])
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _encode_frame(frame: RGB8) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "WEBP", quality=WEBP_QUALITY, method=WEBP_EFFORT)
    return buffer.getvalue()[12:]  # without the container


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def _count(number: int) -> bytes:
    return number.to_bytes(3, "little")


def find_ffmpeg() -> str | None:
    """Return the path of the program: the one on the PATH, else that of the extra [video]; None without either."""
    if program := shutil.which("ffmpeg"):
        return program
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return str(get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        return None


def encode_mp4(frames: Iterable[RGB8], durations: Sequence[int], tick: int, xmp: str) -> bytes:
    """Encode a film (H.264, yuv420p, which plays everywhere) with ffmpeg, in a process of its own.

    frames: uint8, H x W x 3, all of one size. durations: how long each is shown, whole numbers of `tick` milliseconds.
    An odd last row or column is cut off, and a single one doubled, which the format asks for. Raises MissingError
    without ffmpeg, and OutputError when it fails.
    """
    program = find_ffmpeg()
    if program is None:
        raise MissingError(
            "MP4 needs the program ffmpeg; accepted: one on the PATH, or the extra; "
            "type: pip install 'chain-of-zoom[video]'"
        )
    frames = iter(frames)
    first = next(frames)
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w+") as log:
        film = Path(folder) / "film.mp4"
        process = subprocess.Popen(
            [program, *_arguments(size_of(first), tick), str(film)], stdin=subprocess.PIPE, stdout=log, stderr=log
        )
        try:
            _feed(process, chain([first], frames), durations, tick)
        except BaseException:
            process.kill()
            raise
        finally:
            code = process.wait()
        if code or not film.is_file():
            log.seek(0)
            reason = " ".join(log.read().split())[-200:] or f"exit code {code}"
            raise OutputError(f"ffmpeg failed ({reason}); accepted: an ffmpeg with libx264; or name a .webp file")
        return film.read_bytes() + _box(xmp)


def _feed(process: subprocess.Popen[bytes], frames: Iterable[RGB8], durations: Sequence[int], tick: int) -> None:
    """Hand over all frames. A program that stopped early has written the reason to its log."""
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin:
        for frame, duration in zip(frames, durations, strict=True):
            for data in repeat(frame.tobytes(), duration // tick):
                process.stdin.write(data)


def _arguments(size: tuple[int, int], tick: int) -> list[str]:
    doubled = "scale=max(iw\\,2):max(ih\\,2):flags=neighbor," if min(size) < 2 else ""
    conversion = f"{doubled}crop=trunc(iw/2)*2:trunc(ih/2)*2,scale=out_color_matrix=bt709:out_range=tv,format=yuv420p"
    return [
        *("-hide_banner", "-loglevel", "error", "-nostdin", "-y"),
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", f"{size[0]}x{size[1]}"),
        *("-framerate", f"1000/{tick}", "-i", "pipe:0"),
        *("-vf", conversion, "-c:v", "libx264", "-preset", "medium", "-crf", str(MP4_QUALITY)),
        *("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"),
        *("-movflags", "+faststart", "-fflags", "+bitexact", "-flags:v", "+bitexact"),
    ]


def _box(xmp: str) -> bytes:
    data = xmp.encode()
    return struct.pack(">I4s16s", 24 + len(data), b"uuid", _XMP_BOX) + data
