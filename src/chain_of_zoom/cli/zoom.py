"""`coz zoom`: the main job."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.chain.choice import Revision
from chain_of_zoom.chain.request import DEFAULT_ZOOM, Mode, Protocol, ZoomRequest, parse_size, parse_zoom
from chain_of_zoom.chain.run import Layout
from chain_of_zoom.cli.flags import (
    AsJson,
    BackboneName,
    Config,
    Debug,
    Loaders,
    PresetName,
    PrompterName,
    PromptText,
    Quiet,
    Seed,
    Sets,
    with_loaders,
)
from chain_of_zoom.cli.options import make_chain
from chain_of_zoom.cli.zoom_one import zoom_one
from chain_of_zoom.errors import ChainOfZoomError, UsageError
from chain_of_zoom.imaging.colour.transfer import ColorFix
from chain_of_zoom.imaging.folder import is_folder
from chain_of_zoom.weights.presets import find_preset

if TYPE_CHECKING:
    from chain_of_zoom.batch.tasks import Task

OUT = Path("zooms")


@with_loaders
def zoom(
    photos: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PHOTO...",
            help="The pictures, or folders of them: JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF; HEIF with [heif].",
            show_default=False,
            readable=False,
        ),
    ] = None,
    at: Annotated[
        list[str] | None,
        typer.Option(
            metavar="X,Y",
            help="The spot: fractions (0.62,0.4) or pixels (310px,200px); else the centre. Again for further spots.",
        ),
    ] = None,
    magnification: Annotated[
        str | None,
        typer.Option("--zoom", metavar="N", help=f"Total magnification, linear, from 1; {DEFAULT_ZOOM:g} by default."),
    ] = None,
    box: Annotated[
        str | None,
        typer.Option(
            metavar="X0,Y0,X1,Y1", help="The final window, in pixels or fractions, instead of --at and --zoom."
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Pixels of every state; 512x512 by default, the box's shape with --box."),
    ] = None,
    backbone: BackboneName = None,
    prompt: PromptText = "",
    prompter: PrompterName = None,
    color_fix: Annotated[
        str, typer.Option(metavar="none|adain|wavelet", help="Give every enlarged state the colours it was made from.")
    ] = "none",
    seed: Seed = 0,
    mode: Annotated[
        str | None, typer.Option(metavar="chain|direct", help="direct: one resample and one pass, the baseline.")
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(metavar="default|paper", help="paper: exactly the published loop (512 px, centre, powers of 4)."),
    ] = None,
    preset: PresetName = None,
    listed: Annotated[
        Path | None,
        typer.Option(
            "--list",
            metavar="CSV",
            help="Zooms, one a line: photo and any of at, zoom, box, size, prompt, seed, name.",
            readable=False,
        ),
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Also the folders inside folders.")] = False,
    skip_done: Annotated[
        bool, typer.Option("--skip-done", help="Do not check complete runs of unchanged photos; keep them as they are.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Where to write; <photo>_<zoom>x/ by default, zooms/ for several."
        ),
    ] = None,
    layout: Annotated[
        str, typer.Option(metavar="default|published", help="published: the folders that the published scripts write.")
    ] = "default",
    animate: Annotated[
        bool | None,
        typer.Option(
            "--animate/--no-animate", help="zoom.webp, a smooth zoom through all states; by default where quick."
        ),
    ] = None,
    resume_from: Annotated[
        int | None,
        typer.Option(metavar="STEP", help="Make the states from this one on anew, with prompts edited in record.json."),
    ] = None,
    candidates: Annotated[
        int | None,
        typer.Option(
            metavar="K", help="Stop at --resume-from (else the first generated state) with K alternatives of it."
        ),
    ] = None,
    candidate: Annotated[
        int | None, typer.Option(metavar="J", help="Take this alternative as the state --resume-from, and go on.")
    ] = None,
    keep_metadata: Annotated[
        bool, typer.Option("--keep-metadata", help="Give the states the photo's EXIF data: camera, time, place.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace another run that lies in the folder.")] = False,
    *,
    loaders: Loaders,
    sets: Sets = None,
    config: Config = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Zoom into a spot of a photo, or of many: states, a contact sheet and a record, in a folder for each.

    As long as the photo has the pixels you see them; beyond, the backbone invents, and every file says so.
    Stop with Ctrl-C and run the same command to go on. Several photos or spots, a folder, --list, --recursive or
    --skip-done make a batch: a folder for each zoom inside -o, index.html to look at, and summary.json; what is wrong
    with one photo does not stop the others.

    \b
    Examples:
      coz zoom photo.jpg --at 0.62,0.4 --zoom 64
      coz zoom photo.jpg --at 3100px,1200px --zoom 100 --size 768x512
      coz zoom photo.jpg --box 3000,1100,3200,1250 -o detail
      coz zoom photo.jpg --protocol paper --backbone bicubic --zoom 256
      coz zoom photo.jpg --preset paper
      coz zoom photos/ more/*.png --at 0.3,0.5 --at 0.7,0.5 -o zooms
      coz zoom --list spots.csv --zoom 64
      coz zoom photo.jpg --zoom 64 --candidates 4
      coz zoom photo.jpg --zoom 64 --resume-from 3 --candidate 2
    """
    settings = find_preset(preset).settings if preset else {}
    spots = at or []
    request = ZoomRequest(
        at=spots[0] if len(spots) == 1 else None,
        zoom=settings.get("zoom") if magnification is None else parse_zoom(magnification),
        box=box,
        size=None if size is None else parse_size(size),
        mode=cast("Mode", mode or settings.get("mode", "chain")),  # the request checks all three
        protocol=cast("Protocol", protocol or settings.get("protocol", "default")),
        color_fix=cast("ColorFix", color_fix),
        prompt=prompt,
        seed=seed,
    )
    if layout not in ("default", "published"):
        raise UsageError(f"layout {layout!r}; accepted: default, published; for example --layout published")
    revision = Revision(resume_from=resume_from, candidates=candidates, candidate=candidate)
    photos = photos or []
    many = bool(listed or recursive or skip_done or len(photos) != 1 or len(spots) > 1 or is_folder(photos[0]))
    tasks: list[Task] = []
    if not revision.is_none:
        _check_revision(many=many, force=force, published=candidates is not None and layout == "published")
    if many:
        from chain_of_zoom.batch.many import plan_batch  # batches need more than one zoom does

        tasks = plan_batch(photos, listed, spots, request, out or OUT, recursive=recursive)
    worded = any(each.prompt for each in (request, *(task.request for task in tasks)))
    chain = make_chain(
        backbone, prompter, preset, worded=worded, config=config, sets=sets, flags=loaders, keep_metadata=keep_metadata
    )  # fmt: skip
    _load_in_background(chain)
    places = cast("Layout", layout)
    show = not (quiet or as_json)
    if many:
        from chain_of_zoom.cli.zoom_many import zoom_many

        code = zoom_many(
            chain, tasks, out or OUT,
            layout=places, force=force, skip_done=skip_done, animate=bool(animate), show=show, as_json=as_json,
            debug=debug,
        )  # fmt: skip
        raise typer.Exit(code)
    zoom_one(
        chain, photos[0], request, out,
        layout=places, force=force, animate=animate, revision=revision, show=show, as_json=as_json,
    )  # fmt: skip


def _check_revision(*, many: bool, force: bool, published: bool) -> None:
    options = "--resume-from, --candidates and --candidate"
    if many:
        raise UsageError(f"{options} are about one zoom; accepted: one photo and one spot; name the photo alone")
    if force:
        raise UsageError(f"{options} go on with a run and --force replaces it; accepted: either; leave one out")
    if published:
        raise UsageError("--candidates does not go with --layout published; leave --layout out")


def _load_in_background(chain: ChainOfZoom) -> None:
    """Read the weights while the photo is decoded; a failure shows at the first use, in the main thread."""

    def read() -> None:
        with suppress(ChainOfZoomError):
            chain.backbone.load()

    if chain.backbone.loads_quickly:
        threading.Thread(target=read).start()
