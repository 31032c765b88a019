"""`coz upscale`: the whole picture through the chain."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from chain_of_zoom.api import WHOLE_PICTURE_BACKBONE, ChainOfZoom
from chain_of_zoom.cli.flags import (
    AsJson,
    BackboneName,
    C2pa,
    Config,
    Debug,
    Detail,
    KeepMetadata,
    Loaders,
    On,
    PresetName,
    PrompterName,
    Quiet,
    Sets,
    WorkerCpus,
    WorkerGpus,
    Workers,
    option,
    switch,
    with_flags,
)
from chain_of_zoom.cli.options import choose_crew, plan_chain
from chain_of_zoom.cli.progress import Display
from chain_of_zoom.cli.signed import find_signer, write_signed
from chain_of_zoom.cli.terminal import echo_lines
from chain_of_zoom.errors import UsageError
from chain_of_zoom.json_bytes import format_json
from chain_of_zoom.pages.table import format_plain_table
from chain_of_zoom.resources import human_size
from chain_of_zoom.settings import ADVANCED, MAIN, OUTPUT, PAPER

if TYPE_CHECKING:
    from chain_of_zoom.backbones.base import Blend
    from chain_of_zoom.cluster.joining import Crew
    from chain_of_zoom.cluster.nodes import BuildChain
    from chain_of_zoom.runs.progress import Progress
    from chain_of_zoom.upscaling.estimate import Estimate
    from chain_of_zoom.upscaling.job import UpscaleJob
    from chain_of_zoom.upscaling.request import UpscaleRecord


@with_flags()
def upscale(
    photo: Annotated[
        Path,
        typer.Argument(
            help="The picture: JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF or HEIF.", show_default=False, readable=False
        ),
    ],
    scale: Annotated[str, option("N", "How many times wider and higher; any number above 1.", panel=MAIN)] = "4",
    backbone: BackboneName = None,
    prompt: Annotated[str, option("TEXT", "Your own words, for backbones that read prompts.", panel=MAIN)] = "",
    estimate: Annotated[
        bool, switch("--estimate", "Only say what it will take: tiles, time, memory, disk.", panel=MAIN)
    ] = False,
    out: Annotated[
        Path | None,
        option(
            "FILE",
            "PNG, JPEG, WebP, TIFF (tiled, with a pyramid) or Deep Zoom (.dzi, with a page that shows it), by "
            "its suffix; <photo>_<scale>x.png by default.",
            "--out",
            "-o",
            panel=OUTPUT,
        ),
    ] = None,
    quality: Annotated[int, option("N", "Of JPEG, WebP and Deep Zoom, 1 to 100.", panel=OUTPUT)] = 90,
    force: Annotated[bool, switch("--force", "Replace the output, and start anew.", panel=OUTPUT)] = False,
    keep_metadata: KeepMetadata = False,
    c2pa: C2pa = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    detail: Detail = 1.0,
    faithful: Annotated[
        bool, switch("--faithful", "Make every enlargement give the picture before it when reduced.", panel=ADVANCED)
    ] = False,
    seed: Annotated[int, option("N", "Seed of everything random.", panel=ADVANCED)] = 0,
    tile: Annotated[
        int | None,
        option(
            "N", "Side of a tile with its context, in pixels of the photo; in latents for osediff-sd3.", panel=ADVANCED
        ),
    ] = None,
    preset: PresetName = None,
    prompter: PrompterName = None,
    prompts_from: Annotated[
        Path | None,
        option(
            "FILE",
            "Prompts of tiles, as a run wrote them and you edited them; only what changes is redone.",
            panel=PAPER,
            readable=False,
        ),
    ] = None,
    overlap: Annotated[int | None, option("N", "Overlap of tiles in latents, for osediff-sd3.", panel=PAPER)] = None,
    blend: Annotated[str | None, option("smooth|published", "How osediff-sd3 joins its tiles.", panel=PAPER)] = None,
    *,
    loaders: Loaders,
    sets: Sets = None,
    config: Config = None,
    on: On = None,
    workers: Workers = None,
    worker_cpus: WorkerCpus = 1,
    worker_gpus: WorkerGpus = None,
    debug: Debug = False,
) -> None:
    """Enlarge a whole photo, 2x, 4x, 16x or any other factor, in bounded memory, however large it becomes.

    It is made in tiles that leave no seams, and written as a stream; a record lies beside it. Stop with Ctrl-C and run
    the same command to go on: finished tiles are kept.

    \b
    Examples:
      coz upscale photo.jpg                                   # photo_4x.png
      coz upscale photo.jpg --scale 16 -o wall.dzi            # open wall.html
      coz upscale photo.jpg --scale 3.2 -o print.tif --backbone realesrgan
      coz upscale photo.jpg --backbone realsr --estimate      # sharper, less true; 25 times slower
      coz upscale photo.jpg --preset paper -o out.png         # a prompt for every tile, in out.png.prompts.json
      coz upscale photo.jpg --preset paper -o out.png --prompts-from edited.json
      coz upscale scan.tif --scale 8 -o wall.dzi --on ray     # its tiles, on a cluster
    """
    from chain_of_zoom.imaging.decode import decode
    from chain_of_zoom.provenance.signing import check_signable
    from chain_of_zoom.upscaling.estimate import estimate as estimated
    from chain_of_zoom.upscaling.job import prepare
    from chain_of_zoom.upscaling.request import UpscaleRequest, parse_scale

    request = UpscaleRequest(
        scale=parse_scale(scale),
        prompt=prompt,
        detail=detail,
        faithful=faithful,
        seed=seed,
        tile=tile,
        overlap=overlap,
        blend=cast("Blend | None", blend),  # the request checks it
        quality=quality,
    )
    build = plan_chain(
        backbone, prompter, preset,
        worded=bool(prompt), config=config, sets=sets, flags=loaders, keep_metadata=keep_metadata,
        usual=WHOLE_PICTURE_BACKBONE,
    )  # fmt: skip
    crew = None if estimate else choose_crew(on, workers, worker_cpus, worker_gpus)
    chain = build()
    job = prepare(
        decode(photo, limits=chain.reading.limits, keep_damaged=chain.reading.keep_damaged), request, chain, out
    )
    identity = find_signer(c2pa)
    if identity:
        check_signable(job.out)
    show = not (quiet or as_json)
    if estimate:
        forecast = estimated(job)
        if as_json:
            echo_lines(format_json(forecast))
        elif show:
            _say_estimate(forecast, job)
        return
    with ExitStack() as stack:
        if crew:
            job = replace(job, chain=stack.enter_context(_open_chain(job, build, crew)))
        record = _run(job, prompts_from, force=force, show=show)
    write_signed(job.out.parent, [job.out.name], photo, record.input.sha256, identity, show=show)
    if as_json:
        echo_lines(record.to_json())


def _open_chain(job: UpscaleJob, build: BuildChain, crew: Crew) -> AbstractContextManager[ChainOfZoom]:
    """Open the chain that makes the tiles on a cluster. Raises UsageError where they depend on one another."""
    from chain_of_zoom.backbones.base import WholePictureBackbone
    from chain_of_zoom.cluster.working import open_chain

    if isinstance(job.chain.backbone, WholePictureBackbone):
        raise UsageError(
            f"--on ray with {job.chain.backbone.info.name}, which blends tiles as it makes them; accepted: a backbone "
            "whose tiles are windows of their own, such as realsr; leave --on out"
        )
    return open_chain(build, crew, most=max(len(step.tiles) for step in job.steps))


def _run(job: UpscaleJob, prompts_from: Path | None, *, force: bool, show: bool) -> UpscaleRecord:
    from chain_of_zoom.upscaling.run import upscale_to_file

    name = job.chain.backbone.info.name
    titles = {"tiles": f"tiles with {name}", "prompts": "prompts of tiles", "writing": f"writing {job.out.name}"}
    with Display(titles["tiles"], show=show) as display:

        def show_progress(progress: Progress) -> None:
            display.show_progress(replace(progress, stage=titles[progress.stage]))

        record = upscale_to_file(job, prompts_from=prompts_from, force=force, on_progress=show_progress)
        for line in _lines(job, record):
            display.say(line)
    return record


def _lines(job: UpscaleJob, record: UpscaleRecord) -> list[str]:
    """What there is to say of a finished run."""
    output, info = record.output, job.chain.backbone.info
    origin = "interpolated" if job.resamples else "generated"
    if evidence := job.describe_evidence():
        origin += f", {evidence}"
    kept_tiles = sum(step.kept for step in record.steps)
    tiles = f"{sum(step.tiles for step in record.steps)} tiles" + (
        f", {kept_tiles} of them kept from before" if kept_tiles else ""
    )
    size = f"{output.size[0]}x{output.size[1]} px, {human_size(output.bytes or 0)}"
    lines = [f"{job.out}  {origin}  ({size}; {tiles}; {_time(record.seconds or 0)})"]
    if output.format == "Deep Zoom":
        lines.append(f"{job.out.with_suffix('.html')}  a page that shows it, offline")
    if record.prompts_sha256:
        lines.append(f"{job.prompts_path}  the prompts: edit a copy and give it back with --prompts-from")
        lines.append(f"note: {job.work} keeps the tiles for that; remove it when you are done")
    prompter = job.chain.prompter.name
    if record.settings.prompt and not info.text_aware:
        lines.append(f"note: {info.name} ignores prompts; the text is recorded and was not used")
    elif prompter != "null" and not info.text_aware:
        lines.append(f"note: {info.name} ignores prompts; the prompter {prompter} was not asked")
    return lines + [f"note: {note}" for note in (*record.notes, *(n for step in record.steps for n in step.fallbacks))]


def _say_estimate(forecast: Estimate, job: UpscaleJob) -> None:
    rows = (
        (
            "output",
            f"{forecast.output}: {forecast.size[0]}x{forecast.size[1]} px, about {human_size(forecast.output_bytes)}",
        ),
        ("tiles", f"{forecast.tiles} in {forecast.steps} step{'s' if forecast.steps > 1 else ''}"),
        ("time", f"about {_time(forecast.seconds)} of tiles with {job.chain.backbone.info.name}, by one of them"),
        ("memory", "unknown here" if forecast.memory is None else f"about {human_size(forecast.memory)}"),
        ("disk", f"up to {human_size(forecast.disk)} while it runs; {human_size(forecast.free)} are free"),
    )
    echo_lines("\n".join(format_plain_table(rows, left_columns=2)))


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))
