"""`coz explore`: a page on this machine where a person zooms into photos, and the model keeps up."""

from __future__ import annotations

import sys
import webbrowser
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.chain.restraint import Restraint
from chain_of_zoom.cli.flags import (
    BackboneName,
    Config,
    Debug,
    Detail,
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
from chain_of_zoom.cli.terminal import echo
from chain_of_zoom.errors import UsageError
from chain_of_zoom.resources import human_size
from chain_of_zoom.settings import ADVANCED, MAIN, OUTPUT

if TYPE_CHECKING:
    from chain_of_zoom.explorer.store import TileStore


@with_flags()
def explore(
    photos: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Photos to begin with; others can be dropped on the page.", metavar="PHOTO", show_default=False
        ),
    ] = None,
    backbone: BackboneName = None,
    draft: Annotated[
        str, option("NAME", "A quick backbone that draws first: auto (span before a slow one), none.", panel=MAIN)
    ] = "auto",
    port: Annotated[int | None, option("N", "Where to listen; a free port from 8642 by default.", panel=MAIN)] = None,
    browser: Annotated[bool, switch("--browser/--no-browser", "Open the page in your browser.", panel=MAIN)] = True,
    cache: Annotated[
        Path | None,
        option("DIR", "Where tiles are kept; chain-of-zoom in your cache folder by default.", panel=OUTPUT),
    ] = None,
    cache_size: Annotated[
        str, option("SIZE", "Bytes for tiles, such as 500M or 4G; the longest unused go first.", panel=OUTPUT)
    ] = "4G",
    clear: Annotated[bool, switch("--clear", "Remove all tiles that are kept, and end.", panel=OUTPUT)] = False,
    quiet: Quiet = False,
    host: Annotated[
        str, option("NAME", "Where to listen; whoever is not on this machine needs --token.", panel=ADVANCED)
    ] = "127.0.0.1",
    public_name: Annotated[
        str | None, option("NAME", "A further name under which it is reached, such as that of a proxy.", panel=ADVANCED)
    ] = None,
    frame_in: Annotated[
        str | None, option("URL", "A site whose pages may show this one in a frame.", panel=ADVANCED)
    ] = None,
    token: Annotated[
        str | None, option("TEXT", "What everybody who opens the page has to know.", panel=ADVANCED)
    ] = None,
    log_format: Annotated[
        str,
        option(
            "NAME", "What is written while it runs: plain (problems), json (a line for every tile).", panel=ADVANCED
        ),
    ] = "plain",
    detail: Detail = 1.0,
    faithful: Annotated[
        bool, switch("--faithful", "Make every tile give what it was made from when reduced.", panel=ADVANCED)
    ] = False,
    seed: Annotated[int, option("N", "Seed of everything random.", panel=ADVANCED)] = 0,
    preset: PresetName = None,
    prompter: PrompterName = None,
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
    """Open a page where you zoom into a photo, anywhere and on past its last pixel. Needs the extra [web].

    What is in sight is made tile by tile, kept on disk, and marked: measured, interpolated, generated, beyond
    evidence. The same spot always shows the same pixels. Nothing leaves this machine. Stop with Ctrl-C.

    \b
    Examples:
      coz explore photo.jpg
      coz explore photo.jpg --backbone realsr         # sharp at any depth, and slow: span draws first
      coz explore photo.jpg --backbone osediff-sd3 --prompter vlm
      coz explore photo.jpg --on ray                  # tiles are made on a cluster, by as many workers as it takes
      coz explore --clear
      coz explore --host 0.0.0.0 --token "$(openssl rand -hex 16)"
    """
    from chain_of_zoom.explorer.logbook import log_event, start_logging
    from chain_of_zoom.explorer.run import (
        address_of,
        bind,
        check_extra,
        check_frame,
        choose_token,
        make_server,
        stopped_by_signals,
    )
    from chain_of_zoom.explorer.store import TileStore, default_folder, parse_budget
    from chain_of_zoom.imaging.images import load

    store = TileStore(cache or default_folder(), parse_budget(cache_size))
    if clear:
        _clear(store, quiet=quiet)
        return
    check_extra()
    token, frame = choose_token(host, token), check_frame(frame_in)
    start_logging(log_format, sys.stderr)
    from chain_of_zoom.explorer.security import is_loopback
    from chain_of_zoom.explorer.server import ExplorerServer
    from chain_of_zoom.explorer.session import ExplorerSession, choose_draft
    from chain_of_zoom.explorer.uploads import Uploads
    from chain_of_zoom.explorer.worker import open_far_chain, open_worker

    restraint = Restraint(detail=detail, faithful=faithful)
    if detail == 0:
        raise UsageError("--detail 0 is plain enlargement; accepted: above 0, up to 1; type: --backbone bicubic")
    if prompter == "text":
        raise UsageError("--prompter text; accepted: one that writes; type the words on the page, or --prompter words")
    if not prompter and not preset:
        prompter = "null"  # unasked, no tile waits for words
    build = plan_chain(backbone, prompter, preset, worded=False, config=config, sets=sets, flags=loaders)
    crew = choose_crew(on, workers, worker_cpus, worker_gpus)
    chain = open_far_chain(build, crew) if crew else open_worker(build)
    pictures = [load(photo, chain.reading) for photo in photos or []]
    listener = bind(host, port)
    draft_chain = choose_draft(chain, draft, lambda name: open_worker(partial(ChainOfZoom, name)))
    chains = [reader for reader in (chain, draft_chain) if reader is not None]
    if not quiet:
        echo(f"reading {' and '.join(reader.backbone.info.name for reader in chains)} ...", err=True)
    with ThreadPoolExecutor() as pool:  # each waits for a process of its own
        list(pool.map(lambda reader: reader.load(words=False), chains))
    session = ExplorerSession(chain, store, draft=draft_chain, seed=seed, restraint=restraint)
    if chain.prompter.name != "null" and not session.prompter_name and not quiet:
        echo(f"note: {chain.backbone.info.name} ignores words; {chain.prompter.name} is not asked", err=True)
    for picture in pictures:
        session.open_photo(picture)
    uploads = Uploads(session, store.folder if is_loopback(host) else None)
    names = (public_name.lower(),) if public_name else ()
    pages = ExplorerServer(session, uploads, host=host, names=names, token=token, frame=frame)
    server = make_server(pages.app)
    pages.is_stopping = lambda: server.should_exit
    address = address_of(listener, host, token)
    try:
        with stopped_by_signals():
            listener.listen(128)  # from here on a browser is answered, as soon as the server has started
            echo(address)
            if not quiet:
                echo("stop with Ctrl-C; tiles are kept", err=True)
            if browser:
                webbrowser.open(address)
            log_event("started", backbone=chain.backbone.info.name, draft=session.draft_name, tiles=len(store))
            server.run(sockets=[listener])
    finally:
        session.close()
        log_event("stopped", tiles=len(store))


def _clear(store: TileStore, *, quiet: bool) -> None:
    total = store.total
    count = store.clear()
    if not quiet:
        echo(f"{count} tiles removed ({human_size(total)}) from {store.folder}")
