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

from chain_of_zoom.api import DEFAULT_BACKBONE, ChainOfZoom
from chain_of_zoom.backbones.base import Backbone, Blend
from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging.decode import Photo, read_photo
from chain_of_zoom.imaging.raster import Raster, Samples
from chain_of_zoom.prompters.base import Prompter
from chain_of_zoom.settings import check_settings
from chain_of_zoom.upscaling.canvas import PixelRect
from chain_of_zoom.upscaling.engine import run
from chain_of_zoom.upscaling.estimate import check_disk, check_memory
from chain_of_zoom.upscaling.folder import PROMPTS, Folder
from chain_of_zoom.upscaling.job import UpscaleJob, prepare
from chain_of_zoom.upscaling.prompts import TilePrompts
from chain_of_zoom.upscaling.record import UpscaleRecord
from chain_of_zoom.upscaling.request import DEFAULT_SCALE, OnProgress, Progress, UpscaleRequest
from chain_of_zoom.upscaling.step import Tools
from chain_of_zoom.wording import python_words


@dataclass(frozen=True, kw_only=True)
class UpscaleResult:
    """A finished enlargement. path: the output, and record: of the run; both None where nothing was to be written.

    image: then the picture, H x W x 3 (4 with alpha), uint8 or uint16, in the photo's own profile.
    """

    path: Path | None
    record: UpscaleRecord | None
    image: Samples | None


@python_words()
def upscale(
    photo: Photo | Raster,
    scale: float = DEFAULT_SCALE,
    *,
    out: str | os.PathLike[str] | None = None,
    backbone: str | Backbone = DEFAULT_BACKBONE,
    prompter: str | Prompter = "null",
    prompt: str = "",
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
    picture is returned. A run that was stopped goes on when it is called again with the same `out`. on_progress: hears
    of every tile. The rest is as for `coz upscale` (docs/reference.md). Raises the errors of chain_of_zoom.errors.
    """
    chain = ChainOfZoom(
        backbone,
        prompter,
        backbone_options=backbone_options,
        prompter_options=prompter_options,
        photo_options=photo_options,
    )
    values = {
        "scale": scale,
        "prompt": prompt,
        "seed": seed,
        "tile": tile,
        "overlap": overlap,
        "blend": blend,
        "quality": quality,
    }
    request = check_settings(values, UpscaleRequest, "settings of upscale", "see help(chain_of_zoom.upscale)")
    raster = photo if isinstance(photo, Raster) else read_photo(photo, chain.reading)
    prompts = None if prompts_from is None else Path(prompts_from)
    if out is not None:
        job = prepare(raster, request, chain, Path(out))
        record = upscale_to_file(job, prompts_from=prompts, force=force, on_progress=on_progress)
        return UpscaleResult(path=job.out, record=record, image=None)
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        job = prepare(raster, request, chain, Path(scratch) / "picture.png")
        check_disk(job)
        chain.place()
        check_memory(job)
        book = _book(job, Path(scratch), prompts, anew=True)
        canvas, _ = run(job.plan, _tools(job, Path(scratch), book, on_progress), stack)
        image = canvas.read(PixelRect(0, 0, *canvas.size))
    if job.plan.colours == 1:
        image = np.concatenate([image[..., :1]] * 3 + [image[..., 1:]], axis=2)
    return UpscaleResult(path=None, record=None, image=image)


def upscale_to_file(
    job: UpscaleJob, *, prompts_from: Path | None = None, force: bool = False, on_progress: OnProgress | None = None
) -> UpscaleRecord:
    """Run a job, or what is left of it, and return its record. One that is done already is not done again."""
    started = time.perf_counter()
    chain = job.chain
    text_aware = chain.backbone.info.text_aware
    if not job.record_path.exists():
        check_disk(job)  # before weights are read, which can take minutes
    chain.load(words=text_aware)
    record = job.record()  # of the versions that reading the weights has brought in
    folder = Folder(job, record)
    finished = None if force else folder.finished()
    if finished and (prompts_from is None or not text_aware):
        folder.tidy()
        return finished
    check_disk(job)
    check_memory(job)
    book = _book(job, folder.path, prompts_from, anew=force)
    with ExitStack() as stack:
        stack.enter_context(folder.opened(force=force, redo=finished is not None))
        tools = _tools(job, folder.path, book, on_progress)
        canvas, steps = run(job.plan, tools, stack)
        sha256 = hashlib.sha256(book.to_json()).hexdigest() if text_aware else None
        if finished and finished.prompts_sha256 == sha256:
            return finished
        folder.put(canvas, tools.on_progress)
        seconds = round(time.perf_counter() - started, 3)
        done = msgspec.structs.replace(record, steps=tuple(steps), prompts_sha256=sha256, seconds=seconds)
        done = folder.close(done)
    folder.tidy()
    return done


def _book(job: UpscaleJob, work: Path, prompts_from: Path | None, *, anew: bool) -> TilePrompts:
    """The prompts that are known: those of the run so far, unless it starts anew, and over them those given."""
    book = TilePrompts(work / PROMPTS, job.plan.steps)
    if not anew and book.path.exists():
        book.take(book.path)
    if prompts_from is not None:
        if not job.chain.backbone.info.text_aware:
            raise UsageError(
                f"--prompts-from with {job.chain.backbone.info.name}, which ignores prompts; leave it out, or name a "
                "--backbone that reads them"
            )
        book.take(prompts_from)
    return book


def _tools(job: UpscaleJob, work: Path, book: TilePrompts, on_progress: OnProgress | None) -> Tools:
    if job.chain.backbone.info.text_aware:
        book.save()
    return Tools(
        backbone=job.chain.backbone,
        prompter=job.chain.prompter,
        request=job.request,
        book=book,
        work=work,
        photo=job.plan.photo,
        grey=job.plan.grey,
        on_progress=on_progress or _silent,
    )


def _silent(progress: Progress) -> None:
    pass
