"""`coz models`: which weights each preset needs, where they lie, how to get them and how to convert them."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from chain_of_zoom.cli.flags import AsJson, Debug, option
from chain_of_zoom.cli.terminal import echo, echo_lines
from chain_of_zoom.errors import MissingError, OutputError
from chain_of_zoom.resources import human_size
from chain_of_zoom.weights import catalog
from chain_of_zoom.weights.catalog import ITEMS, WeightItem, find_item, models_dir
from chain_of_zoom.weights.presets import PRESETS

INSTALL = "type: pip install 'chain-of-zoom[diffusion]'"
# What diffusers reads of a pipeline: parts in folders. Single-file checkpoints lie at the top, fp16 copies beside.
PIPELINE = ["model_index.json", "*/*.json", "*/*.safetensors", "tokenizer*/*"]
MODEL = ["*.json", "*.safetensors", "*.txt", "*.jinja"]
SKIPPED = ["*.fp16*", "flax_model*", "tf_model*"]

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
        places = {"models_dir": str(models_dir()), "hub_cache": str(catalog.hub_cache())}
        echo_lines(json.dumps({**places, "presets": presets, "items": rows}, indent=2))
        return
    for name, needed in needs.items():
        lacks = [item for item in needed if item in absent]
        state = "lacks all" if lacks == needed else f"lacks {', '.join(lacks)}" if lacks else "all there"
        echo_lines(f"--preset {name}: {PRESETS[name].about}\n    needs {', '.join(needed)}; {state}")
    echo_lines(f"\nWeights, in {models_dir()} or the Hugging Face cache {catalog.hub_cache()}:")
    for row in rows:
        where = f"present: {row['path']}" if row["path"] else f"missing; type: {row['command']}"
        echo_lines(f"{row['name']}: {row['what']}\n    about {row['size']}; {ITEMS[row['name']].terms}\n    {where}")


def describe(item: WeightItem) -> dict[str, Any]:
    """An item as JSON: facts, and its path on this machine or the command that gets it."""
    path = catalog.locate(item)
    facts = {key: getattr(item, key) for key in ("name", "what", "bytes", "size", "licence", "commercial", "gated")}
    command = None if path else " && ".join(catalog.commands([item]))
    return {**facts, "source": item.source, "path": str(path) if path else None, "command": command}


@models_app.command("get")
def get(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Weights of the hub: sd3, qwen, ram, sd-x4.")],
    debug: Debug = False,
) -> None:
    """Download weights from the Hugging Face hub into its cache (HF_HOME); an interrupted download goes on.

    Example:  coz models get sd3 qwen
    """
    items = [find_item(name) for name in dict.fromkeys(names)]
    if elsewhere := [item for item in items if not item.hub]:
        listed = ", ".join(item.name for item in elsewhere)
        raise MissingError(
            f"{listed}: not on the Hugging Face hub; accepted here: "
            f"{', '.join(item.name for item in ITEMS.values() if item.hub)}; "
            f"type: {' && '.join(catalog.commands(elsewhere))}"
        )
    absent = catalog.missing(items)
    for item in items:
        if item not in absent:
            echo(f"{item.name}: already there: {catalog.locate(item)}")
    _check_space(absent)
    for item in absent:
        echo(f"{item.name}: about {item.size}; licence: {item.terms}")
        _download(item)
        if (path := catalog.locate(item)) is None:
            raise MissingError(
                f"{item.name} came, but not whole; accepted: {', '.join(item.files)} and weights as safetensors; "
                f"type: coz models get {item.name}"
            )
        echo(f"{item.name}: {path}")


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
    for located in converter.find(paths, item):
        path, is_new = converter.convert(located, out or models_dir())
        checked = {True: "SHA-256 as published", False: "unverified", None: "unverified: no SHA-256 was published"}
        prefix = "" if is_new else "already there: "
        echo(f"{located.item.name}: {prefix}{path} ({checked[located.verified]})")


def _check_space(items: list[WeightItem]) -> None:
    """Raise OutputError unless the cache's disk holds the items, less what an earlier try has left there."""
    cache = catalog.hub_cache()
    disk = next(folder for folder in (cache, *cache.absolute().parents) if folder.is_dir())
    needed = 0
    for item in items:
        blobs = (cache / f"models--{str(item.hub).replace('/', '--')}" / "blobs").glob("*")
        needed += max(0, item.bytes - sum(blob.stat().st_size for blob in blobs))
    free = shutil.disk_usage(disk).free
    if needed > free:
        raise OutputError(
            f"{disk} has {human_size(free)} free; accepted: about {human_size(needed)} for "
            f"{', '.join(item.name for item in items)}; make room, or set HF_HOME to a folder on a larger disk"
        )


def _download(item: WeightItem) -> None:
    try:
        import huggingface_hub as hub
        from huggingface_hub import constants, errors
    except ImportError as error:
        raise MissingError(f"coz models get needs huggingface_hub; {INSTALL}") from error
    patterns = [item.files[-1]] if not item.folder else PIPELINE if "model_index.json" in item.files else MODEL
    again = f"coz models get {item.name}"
    if constants.HF_HUB_OFFLINE:
        raise _unreachable(item, "HF_HUB_OFFLINE is set", f"unset HF_HUB_OFFLINE, then type: {again}")
    try:
        hub.snapshot_download(
            str(item.hub), cache_dir=catalog.hub_cache(), allow_patterns=patterns, ignore_patterns=SKIPPED
        )
    except errors.GatedRepoError as error:
        raise MissingError(
            f"{item.name} is gated ({item.licence}); accepted: an account that accepted the licence at "
            f"https://huggingface.co/{item.hub}; do that, then type: hf auth login && {again}"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise _unreachable(item, "no such model, or no access to it", f"type: hf auth login && {again}") from error
    except Exception as error:  # each version of huggingface_hub brings another HTTP library with errors of its own
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS):
            raise OutputError(
                f"cannot write {catalog.hub_cache()} ({error.strerror}); set HF_HOME to another folder"
            ) from error
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise _unreachable(item, reason, f"check the network and type {again}; what has come so far is kept") from error


def _unreachable(item: WeightItem, reason: str, do: str) -> MissingError:
    return MissingError(
        f"{item.name} cannot be downloaded ({reason}); accepted: a way to https://huggingface.co, or {item.hub} in the "
        f"cache {catalog.hub_cache()}; {do}"
    )
