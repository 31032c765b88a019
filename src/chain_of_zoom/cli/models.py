"""`coz models`: which weights each preset needs, where they lie, how to get them and how to convert them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from chain_of_zoom.cli.flags import AsJson, Debug, option
from chain_of_zoom.cli.terminal import echo, echo_lines
from chain_of_zoom.errors import MissingError
from chain_of_zoom.weights.catalog import ITEMS, WeightItem, find_item
from chain_of_zoom.weights.hub import (
    INSTALL,
    check_space,
    download,
    hub_cache,
    list_commands,
    list_missing,
    locate,
    models_dir,
)
from chain_of_zoom.weights.presets import PRESETS

_ON_HUB = ", ".join(item.name for item in ITEMS.values() if item.hub)

models_app = typer.Typer()


@models_app.callback(invoke_without_command=True)
def models(
    context: typer.Context,
    as_json: AsJson = False,
) -> None:
    """List which weights each preset needs: size, licence, gated or not, where they lie or how to get them.

    \b
    Examples:
      coz models
      coz models get sd3 qwen
      coz models convert Chain-of-Zoom/ckpt
    """
    if context.invoked_subcommand:
        return
    rows = [describe(item) for item in ITEMS.values()]
    absent = {row["name"] for row in rows if row["path"] is None}
    needs = {name: [item.name for item in preset.items] for name, preset in PRESETS.items()}
    if as_json:
        presets = [
            {"name": name, "about": PRESETS[name].about, "needs": needed, "missing": [n for n in needed if n in absent]}
            for name, needed in needs.items()
        ]
        places = {"models_dir": str(models_dir()), "hub_cache": str(hub_cache())}
        echo_lines(json.dumps({**places, "presets": presets, "items": rows}, indent=2))
        return
    for name, needed in needs.items():
        lacks = [item for item in needed if item in absent]
        state = "lacks all" if lacks == needed else f"lacks {', '.join(lacks)}" if lacks else "all there"
        echo_lines(f"--preset {name}: {PRESETS[name].about}\n    needs {', '.join(needed)}; {state}")
    echo_lines(f"\nWeights, in {models_dir()} or the Hugging Face cache {hub_cache()}:")
    for row in rows:
        where = f"present: {row['path']}" if row["path"] else f"missing; type: {row['command']}"
        echo_lines(f"{row['name']}: {row['what']}\n    about {row['size']}; {ITEMS[row['name']].terms}\n    {where}")


def describe(item: WeightItem) -> dict[str, Any]:
    """Return an item as JSON: facts, and its path on this machine or the command that gets it."""
    path = locate(item)
    facts = {key: getattr(item, key) for key in ("bytes", "size", "licence", "commercial", "gated")}
    command = None if path else " && ".join(list_commands([item]))
    return {
        "name": item.name,
        "what": item.about,
        **facts,
        "source": item.source,
        "path": str(path) if path else None,
        "command": command,
    }


@models_app.command("get")
def get(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help=f"Weights of the hub: {_ON_HUB}.")],
    debug: Debug = False,
) -> None:
    """Download weights from the Hugging Face hub into its cache (HF_HOME); an interrupted download goes on.

    Example:  coz models get sd3 qwen
    """
    items = [find_item(name) for name in dict.fromkeys(names)]
    if elsewhere := [item for item in items if not item.hub]:
        listed = ", ".join(item.name for item in elsewhere)
        raise MissingError(
            f"{listed}: not on the Hugging Face hub; accepted here: {_ON_HUB}; "
            f"type: {' && '.join(list_commands(elsewhere))}"
        )
    missing = list_missing(items)
    for item in items:
        if item not in missing:
            echo(f"{item.name}: already there: {locate(item)}")
    check_space(missing)
    for item in missing:
        echo(f"{item.name}: about {item.size}; licence: {item.terms}")
        echo(f"{item.name}: {download(item)}")


@models_app.command("convert")
def convert(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="Published files, or folders to search.", readable=False)
    ],
    out: Annotated[Path | None, option("DIR", "Where to write, one folder per item.", "--out", "-o")] = None,
    name: Annotated[str | None, option("ITEM", "Take the one PATH for this item, unchecked.", "--as")] = None,
    debug: Debug = False,
) -> None:
    """Turn the published files into safetensors where presets find them; SHA-256 checked, nothing in them is run.

    \b
    Examples:
      coz models convert Chain-of-Zoom/ckpt
      coz models convert my_lora.pkl --as sr-lora
    """
    item = find_item(name) if name else None
    try:
        from chain_of_zoom.weights import convert as converter
    except ImportError as error:
        raise MissingError(f"coz models convert needs {error.name}; {INSTALL}") from error
    for file in converter.find(paths, item):
        path, is_new = converter.convert(file, out or models_dir())
        checked = {True: "SHA-256 as published", False: "unverified", None: "unverified: no SHA-256 was published"}
        state = "" if is_new else "already there: "
        echo(f"{file.item.name}: {state}{path} ({checked[file.verified]})")
