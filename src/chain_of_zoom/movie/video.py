"""MP4 (H.264, yuv420p, plays everywhere) through the program ffmpeg, which runs in a process of its own.

The one on the PATH, else the one that the extra [video] brings.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import chain, repeat
from pathlib import Path

from chain_of_zoom.errors import MissingError, OutputError
from chain_of_zoom.imaging.images import RGB8, size_of

# Where XMP lies in an MP4 file (XMP specification, part 3).
_XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
QUALITY = 20  # libx264's crf


def find_ffmpeg() -> str | None:
    """The path of the program, or None."""
    if found := shutil.which("ffmpeg"):
        return found
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return str(get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        return None


def encode_mp4(frames: Iterable[RGB8], durations: Sequence[int], tick: int, xmp: str) -> bytes:
    """A film of frames (uint8, H x W x 3, of one size) shown for `durations`, whole numbers of `tick` milliseconds.

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
        made = Path(folder) / "film.mp4"
        process = subprocess.Popen(
            [program, *_arguments(size_of(first), tick), str(made)], stdin=subprocess.PIPE, stdout=log, stderr=log
        )
        try:
            _feed(process, chain([first], frames), durations, tick)
        except BaseException:
            process.kill()
            raise
        finally:
            code = process.wait()
        if code or not made.is_file():
            log.seek(0)
            why = " ".join(log.read().split())[-200:] or f"exit code {code}"
            raise OutputError(f"ffmpeg failed ({why}); accepted: an ffmpeg with libx264; or name a .webp file")
        return made.read_bytes() + _box(xmp)


def _feed(process: subprocess.Popen[bytes], frames: Iterable[RGB8], durations: Sequence[int], tick: int) -> None:
    """Hand over all frames; a program that stopped early has its reason in the log."""
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
        *("-vf", conversion, "-c:v", "libx264", "-preset", "medium", "-crf", str(QUALITY)),
        *("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"),
        *("-movflags", "+faststart", "-fflags", "+bitexact", "-flags:v", "+bitexact"),
    ]


def _box(xmp: str) -> bytes:
    data = xmp.encode()
    return struct.pack(">I4s16s", 24 + len(data), b"uuid", _XMP_BOX) + data
