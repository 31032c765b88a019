"""Write a finished canvas as a file, as a stream: the memory is that of a few strips, whatever the size.

PNG is ours. The other formats are written by libvips, which reads our PNG as a stream: label and profile come with it,
where its raw loader would map the whole file.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chain_of_zoom.errors import OutputError, UsageError
from chain_of_zoom.imaging.formats.tiff.reader import unset_resolution
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.raster import Samples
from chain_of_zoom.parsing import is_text, printable
from chain_of_zoom.runs.progress import OnProgress, Progress
from chain_of_zoom.upscaling.canvas import Canvas
from chain_of_zoom.upscaling.encoding import JpegFile, Tags, add_exif, stream_png

STRIP_BYTES = 8_000_000
CLASSIC_TIFF = 4_000_000_000
"""Bytes that 32-bit offsets reach, and some."""
DEEP_ZOOM_TILE = 510
"""Pixels of a tile's side; with a pixel of overlap on each side 512."""
XMP_AND_PROFILE = 2 | 8
"""Flags of libvips for what it keeps: it would make EXIF data, and a resolution, up."""
EXIF_LIMIT = 1 << 31
"""Bytes of a PNG's chunk."""
LEAST = 1e-4
"""Pixels per inch that are added, since libvips cuts off after three decimals."""

_TIFF = {"resunit": "inch", "tile": True, "tile_width": 256, "tile_height": 256, "pyramid": True}
_DEFLATE = {"compression": "deflate", "predictor": "horizontal"}


@dataclass(frozen=True, kw_only=True)
class OutputFormat:
    """One format of outputs, and its limits, which are known before anything is computed."""

    name: str
    """Its name."""
    suffixes: tuple[str, ...]
    """Suffixes of file names that ask for it."""
    limit: int
    """Largest width and height in pixels."""
    deep: bool
    """Whether it holds 16 bits."""
    alpha: bool
    """Whether it holds alpha."""
    exif: int
    """Bytes of EXIF data that it holds at most."""
    lossy: bool
    """Whether it has a quality."""

    def is_lossless(self, channels: int) -> bool:
        """Return whether pixels of so many channels come back as they are; Deep Zoom's tiles with alpha are PNG."""
        return not self.lossy or (self.name == "Deep Zoom" and channels % 2 == 0)

    def has_room_for_exif(self, exif: bytes | None) -> bool:
        """Return whether EXIF data fits, and a label with it."""
        return len(exif or b"") <= self.exif - 1500

    def check_size(self, size: Size) -> None:
        """Raise OutputError when a picture of `size` does not fit."""
        if max(size) > self.limit:
            roomier = " or ".join(larger.suffixes[0] for larger in FORMATS if larger.limit > max(size))
            raise OutputError(
                f"{size} pixels do not fit in {self.name}; accepted: up to {self.limit} a side; "
                f"name a file that ends in {roomier}, for example -o big{FORMATS[-1].suffixes[0]}"
            )


# PNG: the format holds 2^31 - 1 a side, common readers a million. JPEG: libjpeg. TIFF: 64-bit offsets where needed;
# libvips writes no EXIF into it.
FORMATS = (
    OutputFormat(name="PNG", suffixes=(".png",), limit=1_000_000, deep=True, alpha=True, exif=EXIF_LIMIT, lossy=False),
    OutputFormat(
        name="JPEG", suffixes=(".jpg", ".jpeg"), limit=65_500, deep=False, alpha=False, exif=65_527, lossy=True
    ),
    OutputFormat(name="WebP", suffixes=(".webp",), limit=16_383, deep=False, alpha=True, exif=EXIF_LIMIT, lossy=True),
    OutputFormat(name="TIFF", suffixes=(".tif", ".tiff"), limit=10_000_000, deep=True, alpha=True, exif=0, lossy=False),
    OutputFormat(name="Deep Zoom", suffixes=(".dzi",), limit=10_000_000, deep=False, alpha=True, exif=0, lossy=True),
)
ACCEPTED = ", ".join(suffix for output_format in FORMATS for suffix in output_format.suffixes)


def choose_format(path: Path) -> OutputFormat:
    """Return the format that a file name asks for. Raises UsageError."""
    if not is_text(path.name):  # a record could not list it
        raise UsageError(f"-o {printable(path.name)!r} is not UTF-8, or has a NUL; accepted: any other name; change it")
    for output_format in FORMATS:
        if path.suffix.lower() in output_format.suffixes:
            return output_format
    raise UsageError(
        f"{path.name}: the name says no format to write; accepted: {ACCEPTED}; for example -o {path.stem or 'big'}.png"
    )


def write_picture(
    canvas: Canvas, path: Path, output_format: OutputFormat, tags: Tags, quality: int, on_progress: OnProgress
) -> None:
    """Write `path`: TIFF in tiles with a pyramid, Deep Zoom as path.dzi and the folder path_files.

    quality: of JPEG, WebP and Deep Zoom; the last is lossless (PNG) with alpha. Raises OutputError.
    """
    strips = _report_strips(canvas, on_progress)
    try:
        if output_format.name == "PNG":
            with path.open("wb") as file:
                for piece in stream_png(canvas.size, strips, tags):
                    file.write(piece)
            return
        stream = _Stream(stream_png(canvas.size, strips, replace(tags, exif=None), packed=False))
        with ThreadPoolExecutor(1) as pool:  # Ctrl-C is heard here while libvips works there
            try:
                pool.submit(_save, stream, canvas, path, output_format, tags, quality).result()
            except BaseException:
                stream.stopped = True
                raise
        if stream.error:
            raise stream.error
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror or error}); name another place with -o") from error


def _save(stream: _Stream, canvas: Canvas, path: Path, output_format: OutputFormat, tags: Tags, quality: int) -> None:
    from chain_of_zoom.imaging.formats.vips import pyvips

    try:
        source = pyvips.SourceCustom()
        source.on_read(stream.read)
        image = pyvips.Image.new_from_source(source, "", access="sequential", unlimited=True, fail_on="error")
        if output_format.name == "TIFF":
            across, down = (density + LEAST for density in tags.resolution or (1, 1))
            image = image.copy(xres=across / 25.4, yres=down / 25.4)  # libvips counts by the millimetre
            image.tiffsave(str(path), bigtiff=canvas.bytes * 4 // 3 > CLASSIC_TIFF, **_TIFF, **_DEFLATE)
            if not tags.resolution:
                unset_resolution(path)
        elif output_format.name == "Deep Zoom":
            suffix = f".jpg[Q={quality}]" if canvas.channels % 2 else ".png"
            image.dzsave(str(path), tile_size=DEEP_ZOOM_TILE, overlap=1, suffix=suffix, keep=XMP_AND_PROFILE)
        elif output_format.name == "WebP":
            image.webpsave(str(path), Q=quality, keep=XMP_AND_PROFILE)
            if tags.exif:
                add_exif(path, tags.exif)
        else:
            _save_jpeg(image, path, tags, quality)
    except pyvips.Error as error:
        if not stream.error:
            reason = str(error).strip().splitlines()[-1]
            raise OutputError(f"libvips cannot write {path} ({reason}); name another place with -o") from error


def _save_jpeg(image: Any, path: Path, tags: Tags, quality: int) -> None:
    from chain_of_zoom.imaging.formats.vips import pyvips

    with path.open("wb") as file:
        jpeg, target = JpegFile(file, tags), pyvips.TargetCustom()
        target.on_write(jpeg.write)
        try:
            image.jpegsave_target(target, Q=quality, keep=XMP_AND_PROFILE)
        except pyvips.Error:
            if jpeg.error:
                raise jpeg.error from None
            raise


def _report_strips(canvas: Canvas, on_progress: OnProgress) -> Iterator[Samples]:
    """Yield the strips of a canvas and report its rows on the way."""
    height = canvas.size.height
    rows = max(1, STRIP_BYTES * height // canvas.bytes)
    for number, strip in enumerate(canvas.strips(rows)):
        on_progress(Progress("writing", number * rows, height))
        yield strip
    on_progress(Progress("writing", height, height))


class _Stream:
    """Pieces as a file that libvips reads; it cannot be told of errors, so they wait here."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.pieces, self.rest = pieces, memoryview(b"")
        self.stopped = False
        self.error: BaseException | None = None

    def read(self, count: int) -> bytes:
        """Return up to `count` bytes; none at the end."""
        try:
            while not self.rest and not self.stopped:
                piece = next(self.pieces, None)
                if piece is None:
                    break
                self.rest = memoryview(piece)
        except BaseException as error:
            self.error, self.stopped = error, True
        if self.stopped:
            return b""
        chunk, self.rest = self.rest[:count], self.rest[count:]
        return bytes(chunk)
