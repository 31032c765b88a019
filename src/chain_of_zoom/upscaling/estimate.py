"""Predict what a run will take before it is started: measured on one tile, refused where the disk cannot hold it."""

from __future__ import annotations

import shutil
import sys
import time
from io import BytesIO

import msgspec
import numpy as np
from PIL import Image

from chain_of_zoom.backbones.base import WholePictureBackbone
from chain_of_zoom.errors import OutputError
from chain_of_zoom.imaging.images import RGB8, size_of, to_8_bits, to_uint8
from chain_of_zoom.resources import human_size
from chain_of_zoom.upscaling.encoding import Tags, stream_png
from chain_of_zoom.upscaling.job import UpscaleJob
from chain_of_zoom.upscaling.plan import is_one_piece, least_side

PYRAMID = 4 / 3
"""All levels of a pyramid over the first."""
LOSSY_LIMIT = 1.2
"""Bytes per sample: JPEG of noise in the best quality stays below."""
MARGIN, BASE = 1.05, 1_000_000
"""Share and bytes for file systems, which take whole blocks, and for tiles of files, which are padded."""
PIECES = 1.2
"""Latents beside the pixels of a tile, which are floats."""
WRITER = 300_000_000
"""Bytes of memory that writing a stream takes."""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """Predicted costs of a run."""

    output: str
    """The output."""
    size: tuple[int, int]
    """Its width and height in pixels."""
    steps: int
    """Number of steps."""
    tiles: int
    """Number of tiles of all steps."""
    seconds: float
    """Seconds of all tiles."""
    memory: int | None
    """Bytes of memory at the peak; None where the system does not say."""
    disk: int
    """Bytes of disk at most while it runs, output included."""
    free: int
    """Bytes of disk that are free."""
    output_bytes: int
    """Bytes of the output, about, by the tile that was measured."""


def estimate(job: UpscaleJob) -> Estimate:
    """Measure one tile in the middle of the photo and multiply. Raises OutputError where the disk is too small."""
    free = check_disk(job)
    check_memory(job)
    seconds, sample = _measure_tile(job)
    memory = _peak_memory()
    return Estimate(
        output=str(job.out),
        size=(*job.size,),
        steps=len(job.steps),
        tiles=sum(len(step.tiles) for step in job.steps),
        seconds=seconds,
        memory=None if memory is None else memory + WRITER,
        disk=disk_needed(job),
        free=free,
        output_bytes=round(_samples(job) * job.dtype.itemsize * _bytes_per_byte(job, sample)),
    )


def disk_needed(job: UpscaleJob) -> int:
    """Return the bytes that a run may take at most: canvases, pieces and the output."""
    bytes_per_sample = job.dtype.itemsize if job.format.is_lossless(job.channels) else LOSSY_LIMIT
    pieces = 0.0
    if isinstance(job.chain.backbone, WholePictureBackbone):
        pieces = _source_pixels(job) * job.chain.backbone.info.factor**2 * 3 * 4 * PIECES
    return round((job.canvas_bytes + pieces + _samples(job) * bytes_per_sample) * MARGIN) + BASE


def check_disk(job: UpscaleJob) -> int:
    """Return the bytes free where the output goes. Raises OutputError when the run needs more."""
    folder = next(path for path in (job.out.resolve(), *job.out.resolve().parents) if path.is_dir())
    free = shutil.disk_usage(folder).free
    earlier_files = [path for path in job.work.rglob("*") if path.is_file()] if job.work.is_dir() else []
    needed = disk_needed(job) - sum(path.stat().st_size for path in earlier_files)
    if needed > free:
        raise OutputError(
            f"{job.size} pixels need {human_size(needed)} of disk, and {human_size(free)} are free in {folder}; "
            "accepted: a smaller --scale, or a place with more room, named with -o"
        )
    return free


def check_memory(job: UpscaleJob) -> None:
    """Read the weights. Raises ShortageError when a tile needs more memory than there is."""
    backbone = job.chain.backbone
    backbone.load()
    if isinstance(backbone, WholePictureBackbone):
        return
    windows = [tile.window for step in job.steps for tile in step.tiles]
    least = least_side(backbone.info, chained=len(job.steps) > 1)

    def advise(side: int) -> str:
        return f"--tile {side}" if side >= least else "another --backbone"

    at_once = is_one_piece(backbone.info, max(window.pixels for window in windows))
    backbone.check_memory([window.size for window in windows], advise, at_once=at_once)


def _source_pixels(job: UpscaleJob) -> int:
    """Return the pixels that all tiles hand to the backbone."""
    return sum(tile.window.pixels for step in job.steps if not step.is_stretch for tile in step.tiles)


def _samples(job: UpscaleJob) -> float:
    """Return the number of samples in the output, with all levels of a pyramid."""
    return (
        job.size.width * job.size.height * job.channels * (PYRAMID if job.format.name in ("TIFF", "Deep Zoom") else 1)
    )


def _measure_tile(job: UpscaleJob) -> tuple[float, RGB8]:
    """Return the seconds of all tiles, by the time of one in the middle, and what the backbone makes of it."""
    tiles = job.steps[0].tiles
    tile = tiles[len(tiles) // 2]
    x0, y0, x1, y1 = tile.window
    window = to_8_bits(np.ascontiguousarray(job.colour[y0:y1, x0:x1]))
    backbone, prompts = job.chain.backbone, [job.request.prompt]
    backbone([window[:64, :64]], prompts)  # the first call is slower
    started = time.perf_counter()
    (result,) = backbone([window], prompts, at_once=True)
    seconds = time.perf_counter() - started
    return seconds * _source_pixels(job) / tile.window.pixels, to_uint8(result)


def _bytes_per_byte(job: UpscaleJob, sample: RGB8) -> float:
    """Return the bytes of the output per byte of its samples."""
    pixels = sample if job.colours == 3 else sample[..., :1]
    if job.format.is_lossless(job.channels):
        encoded = sum(map(len, stream_png(size_of(pixels), [pixels], Tags())))
        return min(1.0, encoded / pixels.nbytes)
    buffer = BytesIO()
    image = Image.fromarray(pixels if job.colours == 3 else pixels[..., 0])
    image.save(buffer, "WEBP" if job.format.name == "WebP" else "JPEG", quality=job.request.quality)
    return len(buffer.getvalue()) / pixels.nbytes


def _peak_memory() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
