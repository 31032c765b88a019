"""`coz animate`: a run that lies in a folder, as one smooth zoom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from chain_of_zoom.cli.flags import Debug, Quiet, option, switch
from chain_of_zoom.cli.progress import Display
from chain_of_zoom.cli.signed import find_signer, write_signed
from chain_of_zoom.cli.terminal import echo, echo_lines


def animate(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="The folder of a run of `coz zoom`.", show_default=False, readable=False),
    ],
    out: Annotated[
        Path | None, option("FILE", "A .webp or .mp4 file; zoom.webp in the folder by default.", "--out", "-o")
    ] = None,
    seconds: Annotated[
        float | None, option("S", "How long the movement takes; 1 and 1.4 for every 4x by default.")
    ] = None,
    as_json: Annotated[bool, switch("--json", "Print the file's name as JSON, and nothing else, on stdout.")] = False,
    c2pa: Annotated[
        bool, switch("--c2pa", "Also a signed copy (Content Credentials) in signed/; extra [c2pa].")
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Make an animation of a run: a smooth zoom through all its states. No state is computed again.

    Every frame says its magnification and whether all of it was measured. WebP needs nothing else and plays in every
    browser; MP4 needs the program ffmpeg, which the extra [video] brings.

    \b
    Examples:
      coz animate photo_64x
      coz animate photo_64x -o photo.mp4 --seconds 12
    """
    from chain_of_zoom.chain.folder import RECORD
    from chain_of_zoom.chain.record import Record
    from chain_of_zoom.movie.stored import animate_folder

    identity = find_signer(c2pa)
    with Display(f"animation of {folder.name}", show=not (quiet or as_json)) as display:
        animation = animate_folder(folder, out, seconds, display.track)
    photo = Record.from_json((folder / RECORD).read_bytes()).input
    write_signed(
        animation.parent, [animation.name], folder / photo.path, photo.sha256, identity, show=not (quiet or as_json)
    )
    if as_json:
        echo_lines(json.dumps({"animation": str(animation)}))
    elif not quiet:
        echo(f"{animation}  ({animation.stat().st_size / 1e6:.1f} MB)")
