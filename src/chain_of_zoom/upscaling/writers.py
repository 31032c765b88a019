"""A finished canvas to a file, as a stream: the memory is that of a few strips, whatever the size."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from chain_of_zoom.errors import OutputError
from chain_of_zoom.imaging.formats.tiff.reader import unset_resolution
from chain_of_zoom.imaging.raster import Samples
from chain_of_zoom.upscaling.canvas import Canvas
from chain_of_zoom.upscaling.containers import JpegFile, put_exif
from chain_of_zoom.upscaling.formats import OutputFormat
from chain_of_zoom.upscaling.png import Tags, png_stream
from chain_of_zoom.upscaling.request import OnProgress, Progress

STRIP_BYTES = 8_000_000
CLASSIC_TIFF = 4_000_000_000  # bytes that 32-bit offsets reach, and some
DEEP_ZOOM_TILE = 510  # and a pixel of overlap on each side: 512
XMP_AND_PROFILE = 2 | 8  # libvips' flags: it would make EXIF data, and a resolution, up
LEAST = 1e-4  # pixels per inch: libvips cuts off, after three decimals

_TIFF = {"resunit": "inch", "tile": True, "tile_width": 256, "tile_height": 256, "pyramid": True}
_DEFLATE = {"compression": "deflate", "predictor": "horizontal"}


def write_picture(
    canvas: Canvas, path: Path, kind: OutputFormat, tags: Tags, quality: int, on_progress: OnProgress
) -> None:
    """Write `path` in the format `kind`: TIFF in tiles with a pyramid, Deep Zoom as path.dzi and the folder path_files.

    quality: of JPEG, WebP and Deep Zoom; the last is lossless (PNG) with alpha. Raises OutputError.
    """
    try:
        if kind.name == "PNG":
            with path.open("wb") as file:
                for piece in png_stream(canvas.size, _strips(canvas, on_progress), tags):
                    file.write(piece)
            return
        plain = replace(tags, exif=None)
        stream = _Stream(png_stream(canvas.size, _strips(canvas, on_progress), plain, packed=False))
        with ThreadPoolExecutor(1) as pool:  # Ctrl-C is heard here while libvips works there
            try:
                pool.submit(_save, stream, canvas, path, kind, tags, quality).result()
            except BaseException:
                stream.stopped = True
                raise
        if stream.failed:
            raise stream.failed
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror or error}); name another place with -o") from error


def _save(stream: _Stream, canvas: Canvas, path: Path, kind: OutputFormat, tags: Tags, quality: int) -> None:
    from chain_of_zoom.imaging.formats.vips import pyvips

    try:
        source = pyvips.SourceCustom()
        source.on_read(stream.read)
        image = pyvips.Image.new_from_source(source, "", access="sequential", unlimited=True, fail_on="error")
        if kind.name == "TIFF":
            across, down = (density + LEAST for density in tags.resolution or (1, 1))
            image = image.copy(xres=across / 25.4, yres=down / 25.4)  # libvips counts by the millimetre
            image.tiffsave(str(path), bigtiff=canvas.bytes * 4 // 3 > CLASSIC_TIFF, **_TIFF, **_DEFLATE)
            if not tags.resolution:
                unset_resolution(path)
        elif kind.name == "Deep Zoom":
            suffix = f".jpg[Q={quality}]" if canvas.channels % 2 else ".png"
            image.dzsave(str(path), tile_size=DEEP_ZOOM_TILE, overlap=1, suffix=suffix, keep=XMP_AND_PROFILE)
        elif kind.name == "WebP":
            image.webpsave(str(path), Q=quality, keep=XMP_AND_PROFILE)
            if tags.exif:
                put_exif(path, tags.exif)
        else:
            _save_jpeg(image, path, tags, quality)
    except pyvips.Error as error:
        if not stream.failed:
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


def _strips(canvas: Canvas, on_progress: OnProgress) -> Iterator[Samples]:
    height = canvas.size.height
    rows = max(1, STRIP_BYTES * height // canvas.bytes)
    for number, strip in enumerate(canvas.strips(rows)):
        on_progress(Progress("writing", 0, 0, number * rows, height))
        yield strip
    on_progress(Progress("writing", 0, 0, height, height))


class _Stream:
    """Pieces as a file that libvips reads; it cannot be told of errors, so they wait here."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.pieces, self.rest = pieces, memoryview(b"")
        self.stopped = False
        self.failed: BaseException | None = None

    def read(self, count: int) -> bytes:
        """Up to `count` bytes; none at the end."""
        try:
            while not self.rest and not self.stopped:
                piece = next(self.pieces, None)
                if piece is None:
                    break
                self.rest = memoryview(piece)
        except BaseException as error:
            self.failed, self.stopped = error, True
        if self.stopped:
            return b""
        part, self.rest = self.rest[:count], self.rest[count:]
        return bytes(part)
