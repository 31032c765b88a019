"""`coz zoom`: the main job."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from chain_of_zoom.api import DEFAULT_BACKBONE, ChainOfZoom, Zoom, load_backbone, load_prompter
from chain_of_zoom.chain.folder import SHEET, RunFolder
from chain_of_zoom.chain.request import DEFAULT_ZOOM, ZoomRequest, parse_size, parse_zoom
from chain_of_zoom.chain.sheet import beyond_evidence
from chain_of_zoom.chain.state import ScaleState, magnification_name
from chain_of_zoom.errors import ChainOfZoomError, UsageError
from chain_of_zoom.imaging.images import load
from chain_of_zoom.prompters.base import Prompter


def zoom(
    photo: Annotated[
        Path, typer.Argument(help="The picture: JPEG, PNG, WebP, TIFF, BMP, GIF or AVIF.", show_default=False)
    ],
    at: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y", help="The spot: fractions (0.62,0.4) or pixels (310px,200px); the centre by default."
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
    backbone: Annotated[str, typer.Option(metavar="NAME", help="See `coz backbones`.")] = DEFAULT_BACKBONE,
    prompt: Annotated[str, typer.Option(metavar="TEXT", help="Your own words, for backbones that read prompts.")] = "",
    prompter: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who writes the prompts: null or text; null by default.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of everything random.")] = 0,
    mode: Annotated[
        str, typer.Option(metavar="chain|direct", help="direct: one resample and one pass, the baseline.")
    ] = "chain",
    protocol: Annotated[
        str,
        typer.Option(metavar="default|paper", help="paper: exactly the published loop (512 px, centre, powers of 4)."),
    ] = "default",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Where to write; <photo>_<zoom>x/ by default.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace another run that lies in the folder.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the record as JSON, and nothing else, on stdout.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Zoom into a spot of a photo: states, a contact sheet and a record, in a folder.

    As long as the photo has the pixels you see them; beyond, the backbone invents, and every file says so.
    Stop with Ctrl-C and run the same command to go on.

    \b
    Examples:
      coz zoom photo.jpg --at 0.62,0.4 --zoom 64
      coz zoom photo.jpg --at 3100px,1200px --zoom 100 --size 768x512
      coz zoom photo.jpg --box 3000,1100,3200,1250 -o detail
      coz zoom photo.jpg --protocol paper --backbone bicubic --zoom 256
    """
    request = ZoomRequest(
        at=at,
        zoom=None if magnification is None else parse_zoom(magnification),
        box=box,
        size=None if size is None else parse_size(size),
        mode=mode,  # type: ignore[arg-type]  # checked by the request
        protocol=protocol,  # type: ignore[arg-type]
        prompt=prompt,
        seed=seed,
    )
    chain = ChainOfZoom(load_backbone(backbone), _prompter(prompter, prompt))
    _load_in_background(chain)
    zoom = chain.prepare(load(photo), request)
    name = f"{photo.stem}_{magnification_name(float(zoom.steps[-1].magnification))}"
    folder = chain.open_folder(zoom, out or Path(name), force=force)
    _run(chain, zoom, folder, show=not (quiet or as_json))
    if as_json:
        typer.echo(folder.record.to_json(), nl=False)
    elif not quiet:
        _summarise(chain, folder)


def _prompter(name: str | None, prompt: str) -> Prompter:
    if name == "text" and not prompt:
        raise UsageError("--prompter text needs a text; accepted: --prompt TEXT; for example --prompt 'autumn leaf'")
    return load_prompter(name or ("text" if prompt else "null"))


def _load_in_background(chain: ChainOfZoom) -> None:
    """Read the weights while the photo is decoded; a failure shows at the first use, in the main thread."""

    def read() -> None:
        with suppress(ChainOfZoomError):
            chain.backbone.load()

    threading.Thread(target=read, daemon=True).start()


def _run(chain: ChainOfZoom, zoom: Zoom, folder: RunFolder, *, show: bool) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    states: list[ScaleState] = list(folder.done)
    slow = [step for step in zoom.steps if step.enlarge]
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(
        *columns,
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not show,
        transient=True,
    ) as progress:
        task = progress.add_task(f"zoom with {chain.backbone.info.name}", total=len(slow))
        progress.update(task, completed=sum(step.enlarge for step in zoom.steps[: len(states)]))
        for state in chain.run(zoom, folder.done):
            folder.add(state)
            progress.update(task, advance=zoom.steps[len(states)].enlarge)
            states.append(state)
    folder.finish(chain.sheet(zoom, states))


def _summarise(chain: ChainOfZoom, folder: RunFolder) -> None:
    record, info = folder.record, chain.backbone.info
    kept = len(folder.done)
    for i, state in enumerate(record.states):
        what = "kept from before" if i < kept else f"{state.seconds:.1f} s"
        notes = "".join(f"; {note}" for note in state.fallbacks)
        limit = ", beyond evidence" if state.beyond_evidence else ""
        typer.echo(f"{folder.path / state.file}  {state.origin.value}{limit}  ({what}{notes})")
    typer.echo(f"{folder.path / SHEET}  all of them side by side: look at this first")
    if record.settings.prompt and not info.text_aware:
        typer.echo(f"note: {info.name} ignores prompts; the text is recorded and was not used")
    if any(state.beyond_evidence for state in record.states):
        typer.echo(f"note: {beyond_evidence(info)}")
