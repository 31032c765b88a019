"""`coz zoom`: the main job."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.chain.choice import Revision
from chain_of_zoom.chain.request import ZoomRequest
from chain_of_zoom.chain.run import Layout
from chain_of_zoom.cli.flags import (
    AsJson,
    BackboneName,
    C2pa,
    Config,
    Debug,
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
from chain_of_zoom.cli.signed import find_signer
from chain_of_zoom.cli.step_times import StepClock
from chain_of_zoom.cli.zoom_one import zoom_one
from chain_of_zoom.cluster.stores import find_address
from chain_of_zoom.errors import ChainOfZoomError, UsageError
from chain_of_zoom.imaging.folder import is_folder
from chain_of_zoom.settings import ADVANCED, MAIN, OUTPUT, PAPER, list_flags
from chain_of_zoom.weights.presets import find_preset

if TYPE_CHECKING:
    from chain_of_zoom.batch.executors import Executor
    from chain_of_zoom.batch.tasks import Task
    from chain_of_zoom.cluster.stores import StoreMirror

OUT = Path("zooms")
_COLUMNS = ", ".join([*(name for name, (_, flag) in list_flags(ZoomRequest).items() if flag.is_column), "name"])


@with_flags(ZoomRequest)
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
    *,
    settings: dict[str, Any],
    backbone: BackboneName = None,
    listed: Annotated[
        Path | None,
        option("CSV", f"Zooms, one a line: photo and any of {_COLUMNS}.", "--list", panel=MAIN, readable=False),
    ] = None,
    recursive: Annotated[bool, switch("--recursive -r", "Also the folders inside folders.", panel=MAIN)] = False,
    out: Annotated[
        Path | None,
        option("DIR", "Where to write; <photo>_<zoom>x/ by default, zooms/ for several.", "--out", "-o", panel=OUTPUT),
    ] = None,
    force: Annotated[bool, switch("--force", "Replace another run that lies in the folder.", panel=OUTPUT)] = False,
    animate: Annotated[
        bool | None,
        switch(
            "--animate/--no-animate",
            "zoom.webp, a smooth zoom through all states; by default where quick.",
            panel=OUTPUT,
        ),
    ] = None,
    keep_metadata: KeepMetadata = False,
    c2pa: C2pa = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    layout: Annotated[
        str, option("default|published", "published: the folders that the published scripts write.", panel=PAPER)
    ] = "default",
    skip_done: Annotated[
        bool,
        switch("--skip-done", "Do not check complete runs of unchanged photos; keep them as they are.", panel=ADVANCED),
    ] = False,
    resume_from: Annotated[
        int | None,
        option("STEP", "Make the states from this one on anew, with prompts edited in record.json.", panel=ADVANCED),
    ] = None,
    candidates: Annotated[
        int | None,
        option(
            "K", "Stop at --resume-from (else the first generated state) with K alternatives of it.", panel=ADVANCED
        ),
    ] = None,
    candidate: Annotated[
        int | None, option("J", "Take this alternative as the state --resume-from, and go on.", panel=ADVANCED)
    ] = None,
    preset: PresetName = None,
    prompter: PrompterName = None,
    loaders: Loaders,
    sets: Sets = None,
    config: Config = None,
    on: On = None,
    workers: Workers = None,
    worker_cpus: WorkerCpus = 1,
    worker_gpus: WorkerGpus = None,
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
      coz zoom photo.jpg --find "the clock on the tower" --prompter remote --url URL --model NAME
      coz zoom photo.jpg --protocol paper --backbone bicubic --zoom 256
      coz zoom photo.jpg --preset paper
      coz zoom photos/ more/*.png --at 0.3,0.5 --at 0.7,0.5 -o zooms
      coz zoom --list spots.csv --zoom 64
      coz zoom /shared/photos --zoom 16 -o /shared/zooms --on ray
      coz zoom s3://bucket/photos -o s3://bucket/zooms --on ray
      coz zoom photo.jpg --zoom 64 --candidates 4
      coz zoom photo.jpg --zoom 64 --resume-from 3 --candidate 2
    """
    if not settings.get("find", "-").strip():
        raise UsageError('--find names nothing; accepted: what to zoom into; for example --find "the clock"')
    spots = settings.pop("at", [])
    if len(spots) == 1:
        settings["at"] = spots[0]
    request = ZoomRequest(**{**(find_preset(preset).settings if preset else {}), **settings})
    if layout not in ("default", "published"):
        raise UsageError(f"layout {layout!r}; accepted: default, published; for example --layout published")
    revision = Revision(resume_from=resume_from, candidates=candidates, candidate=candidate)
    photos = photos or []
    crew = choose_crew(on, workers, worker_cpus, worker_gpus)
    mirror = _mirror_stores([*photos, *([out] if out else [])], needs=crew is not None)
    if mirror:
        photos = [file for photo in photos for file in _list_far(mirror, photo, recursive=recursive)]
        out = mirror.locate(find_address(out) or "") if out and find_address(out) else out
        if c2pa:
            raise UsageError("--c2pa with an address; accepted: paths, whose files are signed here; leave --c2pa out")
    many = bool(listed or recursive or skip_done or len(photos) != 1 or len(spots) > 1 or on or is_folder(photos[0]))
    tasks: list[Task] = []
    if not revision.is_none:
        _check_revision(many=many, force=force, published=candidates is not None and layout == "published")
    if many:
        from chain_of_zoom.batch.many import plan_batch  # batches need more than one zoom does

        tasks = plan_batch(photos, listed, spots, request, out or OUT, recursive=recursive)
    worded = any(task_request.prompt for task_request in (request, *(task.request for task in tasks)))
    usual = None if worded or preset else request.usual_prompter
    build = plan_chain(
        backbone, prompter or usual, preset,
        worded=worded, config=config, sets=sets, flags=loaders, keep_metadata=keep_metadata,
    )  # fmt: skip
    executor: Executor | None = None
    if crew:
        from chain_of_zoom.batch.on_ray import OnRay

        executor = OnRay(build, crew, mirror)
    chain = build()
    identity = find_signer(c2pa)
    if not executor:
        _load_in_background(chain)
    places = cast("Layout", layout)
    show = not (quiet or as_json)
    clock = StepClock()
    if many:
        from chain_of_zoom.cli.zoom_many import zoom_many

        code = zoom_many(
            chain, tasks, out or OUT,
            layout=places, force=force, skip_done=skip_done, animate=bool(animate), identity=identity, show=show,
            as_json=as_json, debug=debug, clock=clock, executor=executor, reword=mirror.reword if mirror else str,
        )  # fmt: skip
        clock.remember(preset, chain, len(tasks))
        raise typer.Exit(code)
    zoom_one(
        chain, photos[0], request, out,
        layout=places, force=force, animate=animate, revision=revision, identity=identity, show=show, as_json=as_json,
        clock=clock,
    )  # fmt: skip
    clock.remember(preset, chain)


def _mirror_stores(paths: Sequence[Path], *, needs: bool) -> StoreMirror | None:
    """Make the folder that stands for the object stores among paths; None without any. Raises UsageError."""
    address = next((text for path in paths if (text := find_address(path))), None)
    if address is None:
        return None
    if not needs:
        raise UsageError(
            f"{address} is an address; accepted: with --on ray, whose workers fetch and send files; "
            "or a path, such as that of a mounted bucket"
        )
    from chain_of_zoom.cluster.stores import StoreMirror

    return StoreMirror()


def _list_far(mirror: StoreMirror, photo: Path, *, recursive: bool) -> list[Path]:
    address = find_address(photo)
    return mirror.list_pictures(address, recursive=recursive) if address else [photo]


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
