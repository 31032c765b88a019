"""What a run will take, before it is started: measured on one tile, refused where the disk cannot hold it."""

from __future__ import annotations

import shutil
import sys
import time
from io import BytesIO
from pathlib import Path

import msgspec
import numpy as np
from PIL import Image

from chain_of_zoom.backbones.base import WholePictureBackbone
from chain_of_zoom.errors import OutputError
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import RGB8, to_8_bits, to_uint8
from chain_of_zoom.resources import human_size
from chain_of_zoom.upscaling.job import UpscaleJob
from chain_of_zoom.upscaling.plan import is_one_piece, least_side
from chain_of_zoom.upscaling.png import Tags, png_stream

PYRAMID = 4 / 3  # all levels over the first
LOSSY_MOST = 1.2  # bytes per sample: JPEG of noise in the best quality stays below
MARGIN, BASE = 1.05, 1_000_000  # file systems take whole blocks, and tiles of files are padded
PIECES = 1.2  # latents beside the pixels of a tile, which are floats
WRITER = 300_000_000  # bytes that writing a stream takes


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a run will take. seconds: of its tiles. memory: peak, in bytes; None where nobody says.

    disk: bytes at most while it runs, output included; free: bytes there are. output_bytes: about, by the probe.
    """

    output: str
    size: tuple[int, int]
    steps: int
    tiles: int
    seconds: float
    memory: int | None
    disk: int
    free: int
    output_bytes: int


def estimate(job: UpscaleJob) -> Estimate:
    """Measure one tile in the middle of the photo and multiply. Raises OutputError where the disk is too small."""
    free = check_disk(job)
    check_memory(job)
    seconds, sample = _probe(job)
    memory = _peak_memory()
    samples = job.size.width * job.size.height * job.plan.channels * job.plan.dtype.itemsize
    return Estimate(
        output=str(job.out),
        size=(job.size.width, job.size.height),
        steps=len(job.plan.steps),
        tiles=job.plan.tiles,
        seconds=seconds,
        memory=None if memory is None else memory + WRITER,
        disk=disk_needed(job),
        free=free,
        output_bytes=round(samples * _share(job, sample) * (PYRAMID if _pyramid(job) else 1)),
    )


def disk_needed(job: UpscaleJob) -> int:
    """Bytes that a run may take at most: canvases, pieces and the output."""
    plan = job.plan
    samples = job.size.width * job.size.height * plan.channels
    most = plan.dtype.itemsize if job.kind.lossless(plan.channels) else LOSSY_MOST
    output = samples * most * (PYRAMID if _pyramid(job) else 1)
    pieces = 0.0
    if isinstance(job.chain.backbone, WholePictureBackbone):
        scale = job.chain.backbone.info.factor**2
        pieces = sum(tile.window.pixels for _, tiles in plan.steps for tile in tiles) * scale * 3 * 4 * PIECES
    return round((plan.canvas_bytes() + pieces + output) * MARGIN) + BASE


def check_disk(job: UpscaleJob) -> int:
    """Bytes free where the output goes. Raises OutputError when the run needs more."""
    folder = next(path for path in (job.out.resolve(), *job.out.resolve().parents) if path.is_dir())
    free = shutil.disk_usage(folder).free
    needed = disk_needed(job) - _taken(job.work)
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
    corners = [tile.window for _, tiles in job.plan.steps for tile in tiles]
    sizes = [Size(window.x1 - window.x0, window.y1 - window.y0) for window in corners]
    least = least_side(backbone.info, chained=len(job.plan.steps) > 1)

    def advice(side: int) -> str:
        return f"--tile {side}" if side >= least else "another --backbone"

    at_once = is_one_piece(backbone.info, max(window.pixels for window in corners))
    backbone.check_memory(sizes, advice, at_once=at_once)


def _taken(work: Path) -> int:
    """Bytes that an earlier run has taken already."""
    return sum(path.stat().st_size for path in work.rglob("*") if path.is_file()) if work.is_dir() else 0


def _pyramid(job: UpscaleJob) -> bool:
    return job.kind.name in ("TIFF", "Deep Zoom")


def _probe(job: UpscaleJob) -> tuple[float, RGB8]:
    """Seconds of all tiles, by the time of one in the middle; and what it looks like."""
    tiles = job.plan.steps[0][1]
    tile = tiles[len(tiles) // 2]
    x0, y0, x1, y1 = tile.window
    window = to_8_bits(np.ascontiguousarray(job.plan.photo[y0:y1, x0:x1]))
    backbone = job.chain.backbone
    prompts = [job.request.prompt]
    backbone([window[:64, :64]], prompts)
    started = time.perf_counter()
    (result,) = backbone([window], prompts, at_once=True)
    seconds = time.perf_counter() - started
    pixels = sum(tile.window.pixels for _, tiles in job.plan.steps for tile in tiles)
    return seconds * pixels / tile.window.pixels, to_uint8(result)


def _share(job: UpscaleJob, sample: RGB8) -> float:
    """Bytes of the output per byte of its samples."""
    if job.plan.colours == 1:
        sample = sample[..., :1]
    if job.kind.lossy and not (job.kind.name == "Deep Zoom" and job.plan.alpha is not None):
        buffer = BytesIO()
        Image.fromarray(sample if job.plan.colours == 3 else sample[..., 0]).save(
            buffer, "WEBP" if job.kind.name == "WebP" else "JPEG", quality=job.request.quality
        )
        return len(buffer.getvalue()) / sample.nbytes
    size = Size(sample.shape[1], sample.shape[0])
    return min(1.0, sum(map(len, png_stream(size, [sample], Tags()))) / sample.nbytes)


def _peak_memory() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
