"""`coz eval arena`: zooms into pictures that are known at every depth."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

from chain_of_zoom.cli.flags import AsJson, Debug, Quiet, option
from chain_of_zoom.cli.options import TABLES, Options, read_loader_sets
from chain_of_zoom.cli.progress import Display
from chain_of_zoom.cli.terminal import echo, echo_lines
from chain_of_zoom.errors import UsageError
from chain_of_zoom.json_bytes import format_json
from chain_of_zoom.parsing import parse_whole, printable
from chain_of_zoom.settings import split_labels


def arena(
    methods: Annotated[
        str, option("LIST", "[LABEL=]BACKBONE[:chain|:direct][:SHARE][:faithful][+PROMPTER|+right|+wrong], ...")
    ] = "bicubic,span,realsr",
    scenes: Annotated[str | None, option("LIST", "Names of scenes; all of them by default.")] = None,
    zoom: Annotated[str, option("N", "The deepest magnification: 4, 16, 64, 256, 1024.")] = "1024",
    seeds: Annotated[int, option("N", "Pictures of each scene; of text four times as many.", min=1)] = 2,
    seed: Annotated[int, option("N", "Seed of the first of them.", min=0)] = 0,
    side: Annotated[int, option("N", "Pixels of a state: 64, 128, 256, 512.")] = 256,
    out: Annotated[Path, option("DIR", "Where to write.", "--out", "-o")] = Path("arena"),
    markdown: Annotated[Path | None, option("FILE", "Write the table as Markdown, too.")] = None,
    sets: Annotated[
        list[str] | None, option("[METHOD/]KEY=VALUE", "A loader detail, of one method or of all.", "--set")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Zoom into drawn pictures whose exact pixels are known at any depth, and compare every state with them.

    Letters, maps of lines, checkers, random fields, fractals and vector art are drawn anew at each scale from a seed:
    does the letter stay the letter, the line where it is, the texture as rough? +right sends the words for the scene,
    +wrong those for another one. Writes arena.json, sheets and index.html.

    \b
    Examples:
      coz eval arena --methods bicubic,span,span:faithful,realesrgan --zoom 64
      coz eval arena --methods zoom+null,zoom+right,zoom+wrong --scenes "random field,fractal"
    """
    from chain_of_zoom.evaluation.arena.results import JSON
    from chain_of_zoom.evaluation.arena.run import SCENES, Arena, draw_arena_sheet, run_arena
    from chain_of_zoom.evaluation.methods import RIGHT, parse_methods
    from chain_of_zoom.files import make_folder, write_atomic
    from chain_of_zoom.imaging.encode import COMPOSITE, encode_png, label
    from chain_of_zoom.pages.render import render

    depth = parse_whole(zoom.strip().lower().removesuffix("x"))
    if depth is None:
        raise UsageError(f"--zoom {zoom}; accepted: 4, 16, 64, 256, 1024; for example --zoom 64")
    chosen_methods = parse_methods(methods, more_writers=(RIGHT,))
    labelled = split_labels(sets or [], [method.name for method in chosen_methods], "method")
    common = read_loader_sets(labelled[None])
    questions = Arena(
        methods=chosen_methods,
        scenes=tuple(SCENES) if scenes is None else [name.strip() for name in scenes.split(",")],
        depth=depth,
        side=side,
        seeds=seeds,
        first_seed=seed,
        options={method.name: _layer(common, read_loader_sets(labelled[method.name])) for method in chosen_methods},
        command=printable(shlex.join(["coz", *sys.argv[1:]])),
    )
    make_folder(out)
    with Display("zooms", show=not (quiet or as_json)) as display:
        results, states = run_arena(questions, display.show_progress)
        sheets: dict[str, str] = {}
        for name in questions.scenes:
            sheets[name] = f"{name.replace(' ', '_')}.png"
            texts = label(f"Exact pictures of the scene {name!r}, and zooms into it that models made", COMPOSITE)
            write_atomic(out / sheets[name], encode_png(draw_arena_sheet(questions, states, name), *texts))
    write_atomic(out / JSON, format_json(results))
    page = out / "index.html"
    write_atomic(page, render("arena.html", results=results, rows=results.list_rows(), sheets=sheets).encode())
    if markdown:
        write_atomic(markdown, results.format_markdown().encode())
    if as_json:
        echo_lines(format_json(results))
    elif not quiet:
        echo_lines(results.format_plain())
        echo(f"{page}  the same with pictures: open it in a browser")


def _layer(common: Options, own: Options) -> Options:
    """Lay the details of one method over those of all."""
    return {kind: {**common[kind], **own[kind]} for kind in TABLES}
