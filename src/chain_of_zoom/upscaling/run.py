"""Enlarge a whole picture: from names and files to a finished output."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from chain_of_zoom.api import WHOLE_PICTURE_BACKBONE, ChainOfZoom, choose_models
from chain_of_zoom.backbones.base import Backbone, Blend
from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging.decode import Photo, read_photo
from chain_of_zoom.imaging.geometry import PixelRect
from chain_of_zoom.imaging.raster import Raster, Samples
from chain_of_zoom.prompters.base import Prompter
from chain_of_zoom.runs.progress import OnProgress, ignore_progress
from chain_of_zoom.settings import check_settings
from chain_of_zoom.upscaling.estimate import check_disk, check_memory
from chain_of_zoom.upscaling.folder import PROMPTS, UpscaleFolder, read_finished, remove_work
from chain_of_zoom.upscaling.job import UpscaleJob, prepare
from chain_of_zoom.upscaling.prompts import TilePrompts
from chain_of_zoom.upscaling.request import DEFAULT_SCALE, UpscaleRecord, UpscaleRequest
from chain_of_zoom.upscaling.steps import run_steps
from chain_of_zoom.wording import python_words


@dataclass(frozen=True, kw_only=True)
class UpscaleResult:
    """A finished enlargement."""

    path: Path | None
    """The output; None where nothing was to be written."""
    record: UpscaleRecord | None
    """The record of the run; None where nothing was to be written."""
    image: Samples | None
    """The picture where nothing was written: H x W x 3 (4 with alpha), uint8 or uint16, in the photo's own profile."""


@python_words()
def upscale(
    photo: Photo | Raster,
    scale: float = DEFAULT_SCALE,
    *,
    out: str | os.PathLike[str] | None = None,
    backbone: str | Backbone | None = None,
    prompter: str | Prompter | None = None,
    prompt: str = "",
    detail: float = 1.0,
    faithful: bool = False,
    seed: int = 0,
    tile: int | None = None,
    overlap: int | None = None,
    blend: Blend | None = None,
    quality: int = 90,
    prompts_from: str | os.PathLike[str] | None = None,
    backbone_options: Mapping[str, Any] | None = None,
    prompter_options: Mapping[str, Any] | None = None,
    photo_options: Mapping[str, Any] | None = None,
    force: bool = False,
    on_progress: OnProgress | None = None,
) -> UpscaleResult:
    """Enlarge a whole photo `scale` times, linear.

    photo: a file, its bytes, a decoded Raster, a picture of Pillow, or pixels (H x W x 3, uint8 or uint16, sRGB).
    out: a file in PNG, JPEG, WebP, TIFF or Deep Zoom (.dzi), by its suffix; without it nothing is written and the
    picture is returned. backbone: by default "span", or "zoom" where there are words to read. A run that was stopped
    goes on when it is called again with the same `out`. on_progress: hears of every tile. The rest is as for `coz
    upscale` (docs/reference.md). Raises the errors of chain_of_zoom.errors.
    """
    chain = ChainOfZoom(
        *choose_models(backbone, prompter, prompt, usual=WHOLE_PICTURE_BACKBONE),
        backbone_options=backbone_options,
        prompter_options=prompter_options,
        photo_options=photo_options,
    )
    values = {
        "scale": scale,
        "prompt": prompt,
        "detail": detail,
        "faithful": faithful,
        "seed": seed,
        "tile": tile,
        "overlap": overlap,
        "blend": blend,
        "quality": quality,
    }
    request = check_settings(values, UpscaleRequest, "settings of upscale", "see help(chain_of_zoom.upscale)")
    on_progress = on_progress or ignore_progress
    raster = photo if isinstance(photo, Raster) else read_photo(photo, chain.reading)
    prompts = None if prompts_from is None else Path(prompts_from)
    if out is not None:
        job = prepare(raster, request, chain, Path(out))
        record = upscale_to_file(job, prompts_from=prompts, force=force, on_progress=on_progress)
        return UpscaleResult(path=job.out, record=record, image=None)
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        job = prepare(raster, request, chain, Path(scratch) / "picture.png")
        job.work.mkdir()
        check_disk(job)
        chain.place()
        check_memory(job)
        tile_prompts = _read_prompts(job, prompts, anew=True)
        canvas, _ = run_steps(job, tile_prompts, on_progress, stack)
        image = canvas.read(PixelRect(0, 0, *canvas.size))
    if job.colours == 1:
        image = np.concatenate([image[..., :1]] * 3 + [image[..., 1:]], axis=2)
    return UpscaleResult(path=None, record=None, image=image)


def upscale_to_file(
    job: UpscaleJob,
    *,
    prompts_from: Path | None = None,
    force: bool = False,
    on_progress: OnProgress = ignore_progress,
) -> UpscaleRecord:
    """Run a job, or the rest of one that was stopped, and return its record. A finished one is not run again."""
    started = time.perf_counter()
    if not job.record_path.exists():
        check_disk(job)  # before weights are read, which can take minutes
    job.chain.load(words=job.reads_prompts)
    record = job.begin_record()  # of the versions that reading the weights has brought in
    earlier = None if force else read_finished(job, record)
    if earlier and (prompts_from is None or not job.reads_prompts):
        remove_work(job)
        return earlier
    check_disk(job)
    check_memory(job)
    prompts = _read_prompts(job, prompts_from, anew=force)
    with ExitStack() as stack:
        folder = stack.enter_context(UpscaleFolder(job, record, force=force, redo=earlier is not None))
        if job.reads_prompts:
            prompts.save()
        canvas, steps = run_steps(job, prompts, on_progress, stack)
        sha256 = hashlib.sha256(prompts.to_json()).hexdigest() if job.reads_prompts else None
        if earlier and earlier.prompts_sha256 == sha256:
            return earlier
        folder.place_output(canvas, on_progress)
        seconds = round(time.perf_counter() - started, 3)
        record = msgspec.structs.replace(record, steps=tuple(steps), prompts_sha256=sha256, seconds=seconds)
        record = folder.finish(record)
    remove_work(job)
    return record


def _read_prompts(job: UpscaleJob, prompts_from: Path | None, *, anew: bool) -> TilePrompts:
    """Return the prompts that are known: those of the run so far, unless it starts anew, and over them those given."""
    prompts = TilePrompts(job.work / PROMPTS, job.steps)
    if not anew and prompts.path.exists():
        prompts.read(prompts.path)
    if prompts_from is not None:
        if not job.reads_prompts:
            raise UsageError(
                f"--prompts-from with {job.chain.backbone.info.name}, which ignores prompts; leave it out, or name a "
                "--backbone that reads them"
            )
        prompts.read(prompts_from)
    return prompts
