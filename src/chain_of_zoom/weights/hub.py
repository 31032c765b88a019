"""Find weights on this machine, and download those of the Hugging Face hub into its cache.

Looking for weights reads names, sizes and headers only: it downloads nothing and imports no library.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from chain_of_zoom.errors import MissingError, OutputError
from chain_of_zoom.resources import human_size
from chain_of_zoom.weights.catalog import WeightItem
from chain_of_zoom.weights.files import read_header

INSTALL = "type: pip install 'chain-of-zoom[diffusion]'"
PIPELINE_INDEX = "model_index.json"
# What diffusers reads of a pipeline: parts in folders. Single-file checkpoints lie at the top, fp16 copies beside.
_PIPELINE = [PIPELINE_INDEX, "*/*.json", "*/*.safetensors", "tokenizer*/*"]
_MODEL = ["*.json", "*.safetensors", "*.txt", "*.jinja"]
_SKIPPED = ["*.fp16*", "flax_model*", "tf_model*"]


def models_dir() -> Path:
    """Return the folder of converted and hand-placed weights: COZ_MODELS, or one in the user's cache folder."""
    if folder := os.environ.get("COZ_MODELS"):
        return Path(folder).expanduser()
    return cache_folder() / "models"


def hub_cache() -> Path:
    """Return the Hugging Face cache, as huggingface_hub does: HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, ~/.cache."""
    cache = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    home = os.environ.get("HF_HOME") or os.environ.get("XDG_CACHE_HOME", "~/.cache") + "/huggingface"
    return Path(os.path.expandvars(cache or f"{home}/hub")).expanduser()


def cache_folder() -> Path:
    """Return this program's folder in the user's cache folder, wherever the system keeps that."""
    return _user_cache() / "chain-of-zoom"


def _user_cache() -> Path:
    if cache := os.environ.get("XDG_CACHE_HOME"):
        return Path(cache).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    return Path.home() / ".cache"


def _model_cache(name: str) -> Path:
    """Return the folder of a model, by its name on the hub, in the Hugging Face cache."""
    return hub_cache() / f"models--{name.replace('/', '--')}"


def find_model(name: str | Path) -> Path | None:
    """Find the folder of a model: `name` itself, or that of a hub name in the cache; None if not on this machine.

    As in huggingface_hub, the snapshot is that of the branch main when it was last downloaded.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    cache = _model_cache(str(name))
    try:
        snapshot = cache / "snapshots" / (cache / "refs" / "main").read_text("utf-8").strip()
        return snapshot if snapshot.is_dir() else None
    except (OSError, ValueError):
        return None


def locate(item: WeightItem) -> Path | None:
    """Find the file or folder of an item on this machine, or None; an incomplete one counts as missing.

    Looks in models_dir()/<name>/, for single files also in models_dir() itself, then in the Hugging Face cache, where
    the newest snapshot goes first.
    """
    home = models_dir()
    folders = [home / item.name] if item.folder else [home / item.name, home]
    if item.hub:
        snapshots = (_model_cache(item.hub) / "snapshots").glob("*/")
        folders += sorted(snapshots, key=lambda folder: folder.stat().st_mtime, reverse=True)
    if item.folder:
        return next((folder for folder in folders if _has_all(folder, item)), None)
    return next((folder / name for name in item.files for folder in folders if _is_whole(folder / name)), None)


def list_missing(items: Iterable[WeightItem]) -> list[WeightItem]:
    """Return those of the items that are not on this machine."""
    return [item for item in items if locate(item) is None]


def list_commands(items: Iterable[WeightItem]) -> list[str]:
    """Return what to type to get all of the items, one command each."""
    items = list(items)
    names = [item.name for item in items if item.hub]
    commands = [f"coz models get {' '.join(names)}"] if names else []
    clones = [item.source.split() for item in items if not item.hub]
    for repository, top in dict.fromkeys((repository, path.partition("/")[0]) for repository, path in clones):
        commands += [f"git clone {repository}", f"coz models convert {repository.rpartition('/')[2]}/{top}"]
    return commands


def _has_all(folder: Path, item: WeightItem) -> bool:
    if not all(any(_is_whole(folder / name) for name in names.split("|")) for names in item.files):
        return False
    if item.files == (PIPELINE_INDEX,):
        parts = _read_json(folder / PIPELINE_INDEX)
        kinds = {name: value[1] for name, value in parts.items() if isinstance(value, list) and any(value)}
        return bool(kinds) and all(_has_part(folder / name, str(kind)) for name, kind in kinds.items())
    return _has_weights(folder)


def _has_part(folder: Path, kind: str) -> bool:
    if "Tokenizer" in kind:
        vocabulary = ("tokenizer.json", "vocab.json", "spiece.model")
        return _is_whole(folder / "tokenizer_config.json") and any(_is_whole(folder / name) for name in vocabulary)
    if "Scheduler" in kind:
        return _is_whole(folder / "scheduler_config.json")
    return _is_whole(folder / "config.json") and _has_weights(folder)


def _has_weights(folder: Path) -> bool:
    """Tell whether the safetensors of a model are all there, one file or every shard that its index names."""
    indices = [path for path in folder.glob("*.safetensors.index.json") if ".fp16" not in path.name]
    if indices:
        names = {name for index in indices for name in _read_json(index).get("weight_map", {}).values()}
        return bool(names) and all(_is_whole(folder / str(name)) for name in names)
    return any(_is_whole(path) for path in folder.glob("*.safetensors") if "-of-" not in path.name)


def _is_whole(path: Path) -> bool:
    """Tell whether a file is there, not empty, and, for safetensors, as long as its own header says."""
    try:
        size = path.stat().st_size if path.is_file() else 0
        if path.suffix != ".safetensors" or not size:
            return size > 0
        read_header(path)
    except (OSError, ValueError):
        return False
    return True


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def check_space(items: Iterable[WeightItem]) -> None:
    """Raise OutputError unless the cache's disk holds the items, less what an earlier try has left there."""
    cache, items = hub_cache(), list(items)
    disk = next(folder for folder in (cache, *cache.absolute().parents) if folder.is_dir())
    needed = 0
    for item in items:
        blobs = (_model_cache(str(item.hub)) / "blobs").glob("*")
        needed += max(0, item.bytes - sum(blob.stat().st_size for blob in blobs))
    free = shutil.disk_usage(disk).free
    if needed > free:
        raise OutputError(
            f"{disk} has {human_size(free)} free; accepted: about {human_size(needed)} for "
            f"{', '.join(item.name for item in items)}; make room, or set HF_HOME to a folder on a larger disk"
        )


def download(item: WeightItem) -> Path:
    """Download an item of the hub into the cache, going on where an earlier try stopped; return where it lies.

    Raises MissingError when it cannot be had, and OutputError when it cannot be written.
    """
    try:
        import huggingface_hub
        from huggingface_hub import constants, errors
    except ImportError as error:
        raise MissingError(f"coz models get needs huggingface_hub; {INSTALL}") from error
    patterns = [item.files[-1]]
    if item.folder:
        patterns = _PIPELINE if PIPELINE_INDEX in item.files else _MODEL
    again = f"coz models get {item.name}"
    if constants.HF_HUB_OFFLINE:
        raise _unreachable(item, "HF_HUB_OFFLINE is set", f"unset HF_HUB_OFFLINE, then type: {again}")
    try:
        huggingface_hub.snapshot_download(
            str(item.hub), cache_dir=hub_cache(), allow_patterns=patterns, ignore_patterns=_SKIPPED
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
                f"cannot write {hub_cache()} ({error.strerror}); set HF_HOME to another folder"
            ) from error
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise _unreachable(item, reason, f"check the network and type {again}; what has come so far is kept") from error
    if (path := locate(item)) is None:
        raise MissingError(
            f"{item.name} came, but not whole; accepted: {', '.join(item.files)} and weights as safetensors; "
            f"type: {again}"
        )
    return path


def _unreachable(item: WeightItem, reason: str, do: str) -> MissingError:
    return MissingError(
        f"{item.name} cannot be downloaded ({reason}); accepted: a way to https://huggingface.co, or {item.hub} in the "
        f"cache {hub_cache()}; {do}"
    )
