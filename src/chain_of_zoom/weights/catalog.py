"""Every weight file that the paper's stack and sd-x4 need: what it is, its licence, where it lies, how to get it.

Looks at names, sizes and headers only: nothing is loaded, nothing is downloaded, no library is imported.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chain_of_zoom.errors import UsageError, suggest
from chain_of_zoom.resources import human_size
from chain_of_zoom.weights.headers import read_header

COZ = "https://github.com/bryanswkim/Chain-of-Zoom"
RAM = "https://github.com/xinyu1205/recognize-anything"


@dataclass(frozen=True, kw_only=True)
class WeightItem:
    """One set of weights.

    what: one phrase. bytes: about how big. commercial: whether the licence allows commercial use at all. gated: the
    hub asks to accept the licence first. source: name on the hub, or git repository and path in it. hub: name on the
    Hugging Face hub. files: of a `folder`, what must be in it ("a|b": either); otherwise the names it may have, the
    converted one first and the published one last. sha256: of the published file.
    """

    name: str
    what: str
    bytes: int
    licence: str
    commercial: bool = True
    gated: bool = False
    source: str
    hub: str | None = None
    files: tuple[str, ...]
    folder: bool = False
    sha256: str | None = None

    @property
    def size(self) -> str:
        """About how big, in words: "7.5 GB"."""
        return human_size(self.bytes)

    @property
    def terms(self) -> str:
        """The licence, and whether it is non-commercial or gated, in words."""
        words = [self.licence, "" if self.commercial else "NON-COMMERCIAL"]
        if self.gated:
            words.append(f"gated: accept the licence at https://huggingface.co/{self.hub} and type: hf auth login")
        return ", ".join(word for word in words if word)


_LISTED = (
    WeightItem(
        name="sd3",
        what="Stable Diffusion 3 medium, the base model",
        bytes=16_000_000_000,
        licence="Stability AI Non-Commercial Research Community License (others are for sale)",
        commercial=False,
        gated=True,
        source="stabilityai/stable-diffusion-3-medium-diffusers",
        hub="stabilityai/stable-diffusion-3-medium-diffusers",
        files=("model_index.json",),
        folder=True,
    ),
    WeightItem(
        name="qwen",
        what="Qwen2.5-VL-3B-Instruct, the vision-language model that writes the prompts",
        bytes=7_500_000_000,
        licence="Qwen Research License",
        commercial=False,
        source="Qwen/Qwen2.5-VL-3B-Instruct",
        hub="Qwen/Qwen2.5-VL-3B-Instruct",
        files=(
            *("config.json", "generation_config.json", "preprocessor_config.json", "tokenizer_config.json"),
            "tokenizer.json|vocab.json",
        ),
        folder=True,
    ),
    WeightItem(
        name="sr-lora",
        what="the paper's adapters of the SD3 transformer",
        bytes=8_000_000,
        licence="MIT",
        source=f"{COZ} ckpt/SR_LoRA/model_20001.pkl",
        files=("model_20001.safetensors", "model_20001.pkl"),
        sha256="697d3f9ab69a222006ca3ae48503cf057774c8142646301e9bba90e58242e47e",
    ),
    WeightItem(
        name="sr-vae",
        what="the paper's adapted VAE encoder",
        bytes=70_000_000,
        licence="MIT",
        source=f"{COZ} ckpt/SR_VAE/vae_encoder_20001.pt",
        files=("vae_encoder_20001.safetensors", "vae_encoder_20001.pt"),
        sha256="ed7f7aa03dfcbce9016d51c5aa8d3920428b3d7c9a678c721cd062d01805ae4a",
    ),
    WeightItem(
        name="vlm-adapter",
        what="the paper's preference-aligned adapter of Qwen2.5-VL",
        bytes=60_000_000,
        licence="MIT, but trained on Qwen2.5-VL-3B, so the Qwen Research License applies",
        commercial=False,
        source=f"{COZ} ckpt/VLM_LoRA/checkpoint-10000",
        files=("adapter_config.json", "adapter_model.safetensors"),
        folder=True,
        sha256="1ba6fc24e76e0e078ceb6e067c49bcfbe86cb0d8995add1515172d922fba2ebd",
    ),
    WeightItem(
        name="dape",
        what="DAPE, SeeSR's adapters of RAM",
        bytes=7_000_000,
        licence="MIT (as the repository says)",
        source=f"{COZ} ckpt/DAPE/DAPE.pth",
        files=("DAPE.safetensors", "DAPE.pth"),
        sha256="a7028be2edcbe9ab0bd1c4ab6f2a2a86f4b44d32261a4faa50ae10fdd9b2feba",
    ),
    WeightItem(
        name="ram",
        what="Recognize Anything (Swin-L), the tagging model",
        bytes=5_600_000_000,
        licence="Apache-2.0",
        source="xinyu1205/recognize_anything_model ram_swin_large_14m.pth",
        hub="xinyu1205/recognize_anything_model",
        files=("ram_swin_large_14m.safetensors", "ram_swin_large_14m.pth"),
    ),
    *(
        WeightItem(
            name=name, what=what, bytes=size, licence="Apache-2.0", source=f"{RAM} ram/data/{file}", files=(file,)
        )
        for name, what, size, file in (
            ("ram-tags", "RAM's list of tags", 50_000, "ram_tag_list.txt"),
            ("ram-thresholds", "RAM's threshold of every tag", 25_000, "ram_tag_list_threshold.txt"),
        )
    ),
    WeightItem(
        name="sd-x4",
        what="Stable Diffusion x4 upscaler, for --backbone sd-x4",
        bytes=3_500_000_000,
        licence="CreativeML Open RAIL++-M (commercial use allowed, some uses forbidden)",
        source="stabilityai/stable-diffusion-x4-upscaler",
        hub="stabilityai/stable-diffusion-x4-upscaler",
        files=("model_index.json",),
        folder=True,
    ),
)
ITEMS: dict[str, WeightItem] = {item.name: item for item in _LISTED}


def find_item(name: str) -> WeightItem:
    """The item called `name`. Raises UsageError."""
    if name not in ITEMS:
        hint = suggest(name, ITEMS, "see coz models")
        raise UsageError(f"unknown weights {name!r}; accepted: {', '.join(ITEMS)}; {hint}")
    return ITEMS[name]


def models_dir() -> Path:
    """Where converted and hand-placed weights lie: COZ_MODELS, or the user's cache folder."""
    if given := os.environ.get("COZ_MODELS"):
        return Path(given).expanduser()
    return _cache() / "chain-of-zoom" / "models"


def hub_cache() -> Path:
    """The Hugging Face cache, by the rules of huggingface_hub: HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, ~/.cache."""
    given = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    home = os.environ.get("HF_HOME") or os.environ.get("XDG_CACHE_HOME", "~/.cache") + "/huggingface"
    return Path(os.path.expandvars(given or f"{home}/hub")).expanduser()


def _cache() -> Path:
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    return Path.home() / ".cache"


def locate(item: WeightItem) -> Path | None:
    """The file or folder of an item on this machine, or None; what is there only in part counts as missing.

    Looked for in models_dir()/<name>/, for single files also in models_dir() itself, then in the Hugging Face cache.
    """
    home = models_dir()
    if item.folder:
        return next((folder for folder in (home / item.name, *_snapshots(item)) if _has_all(folder, item)), None)
    folders = (home / item.name, home, *_snapshots(item))
    return next((folder / name for name in item.files for folder in folders if _is_whole(folder / name)), None)


def missing(items: Iterable[WeightItem]) -> list[WeightItem]:
    """Those of the items that are not on this machine."""
    return [item for item in items if locate(item) is None]


def commands(items: Iterable[WeightItem]) -> list[str]:
    """What to type to get all of the items, one command each."""
    items = list(items)
    hub = [item.name for item in items if item.hub]
    typed = [f"coz models get {' '.join(hub)}"] if hub else []
    for repository, top in dict.fromkeys(_clone(item) for item in items if not item.hub):
        typed += [f"git clone {repository}", f"coz models convert {repository.rpartition('/')[2]}/{top}"]
    return typed


def _clone(item: WeightItem) -> tuple[str, str]:
    """Git repository, and the top folder in it to search."""
    repository, path = item.source.split()
    return repository, path.partition("/")[0]


def _snapshots(item: WeightItem) -> Iterator[Path]:
    """The item's folders in the Hugging Face cache, newest first."""
    if item.hub:
        found = (hub_cache() / f"models--{item.hub.replace('/', '--')}" / "snapshots").glob("*/")
        yield from sorted(found, key=lambda folder: folder.stat().st_mtime, reverse=True)


def _has_all(folder: Path, item: WeightItem) -> bool:
    if not all(any(_is_whole(folder / name) for name in names.split("|")) for names in item.files):
        return False
    if item.files == ("model_index.json",):
        parts = _json(folder / "model_index.json")
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
    """Whether the safetensors of a model are all there, one file or every shard that its index names."""
    indices = [path for path in folder.glob("*.safetensors.index.json") if ".fp16" not in path.name]
    if indices:
        names = {name for index in indices for name in _json(index).get("weight_map", {}).values()}
        return bool(names) and all(_is_whole(folder / str(name)) for name in names)
    return any(_is_whole(path) for path in folder.glob("*.safetensors") if "-of-" not in path.name)


def _is_whole(path: Path) -> bool:
    """Whether a file is there, not empty, and, for safetensors, as long as its own header says."""
    try:
        size = path.stat().st_size if path.is_file() else 0
        if path.suffix != ".safetensors" or not size:
            return size > 0
        read_header(path)
    except (OSError, ValueError):
        return False
    return True


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
