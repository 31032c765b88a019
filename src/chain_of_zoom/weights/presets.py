"""The paper's own settings by name: which backbone, which prompter, and which weights each option takes.

Source: recursion and prompt types of the published code, and Table 1 of the paper, where direct SR at 4x has the
numbers of the DAPE row: so direct SR gets DAPE's tags as prompts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chain_of_zoom.errors import MissingError, UsageError, suggest
from chain_of_zoom.weights.catalog import ITEMS, WeightItem
from chain_of_zoom.weights.hub import hub_cache, list_commands, locate, models_dir


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Holds settings that go together."""

    about: str
    """What it is, in one phrase."""
    settings: Mapping[str, Any]
    """Settings of the request: protocol, zoom, mode."""
    backbone: str
    """Name of the backbone."""
    backbone_items: Mapping[str, str]
    """Name of the weights in the catalog, by option of the backbone."""
    prompter: str
    """Name of the prompter."""
    prompter_items: Mapping[str, str] = field(default_factory=dict)
    """Name of the weights in the catalog, by option of the prompter."""
    prompter_options: Mapping[str, Any] = field(default_factory=dict)
    """Further options of the prompter."""

    @property
    def items(self) -> list[WeightItem]:
        """Return the weights it needs."""
        return [ITEMS[name] for name in (*self.backbone_items.values(), *self.prompter_items.values())]


_ADAPTERS = {"base": "sd3", "lora": "sr-lora", "vae_encoder": "sr-vae"}


def _paper(about: str, prompter: str, items: Mapping[str, str], mode: str = "chain", **options: Any) -> Preset:
    return Preset(
        about=about,
        settings={"protocol": "paper", "zoom": 256.0, "mode": mode},
        backbone="osediff-sd3",
        backbone_items=_ADAPTERS,
        prompter=prompter,
        prompter_items=items,
        prompter_options=options,
    )


_TAGS = {"ram": "ram", "dape": "dape", "tags": "ram-tags", "thresholds": "ram-thresholds"}

PRESETS: dict[str, Preset] = {
    "paper": _paper(
        "the paper's Chain-of-Zoom: prompts from the aligned vision-language model, which sees two scales",
        "vlm",
        {"model": "qwen", "adapter": "vlm-adapter"},
        multi_scale=True,
    ),
    "paper-vlm-base": _paper(
        "the same with the vision-language model as it comes, not aligned", "vlm", {"model": "qwen"}, multi_scale=True
    ),
    "paper-null": _paper("the same chain without prompts", "null", {}),
    "paper-dape": _paper("the same chain with tags as prompts", "dape", _TAGS),
    "oracle": Preset(
        about="the paper's chain with OracleZoom's transformer, which contradicts earlier zooms less",
        settings={"protocol": "paper", "zoom": 256.0, "mode": "chain"},
        backbone="osediff-sd3",
        backbone_items=_ADAPTERS | {"transformer": "oracle"},
        prompter="vlm",
        prompter_items={"model": "qwen", "adapter": "vlm-adapter"},
        prompter_options={"multi_scale": True},
    ),
    "paper-direct": _paper("direct SR, the paper's baseline: one pass instead of a chain", "dape", _TAGS, "direct"),
}

ALIGNED = "vlm-adapter"
"""The prompter vlm with the paper's aligned adapter."""

PROMPTERS = {"vlm": "paper-vlm-base", ALIGNED: "paper", "dape": "paper-dape"}
"""The preset that knows the weights of a prompter."""


def find_preset(name: str) -> Preset:
    """Return the preset called `name`. Raises UsageError."""
    if name not in PRESETS:
        hint = suggest(name, PRESETS, "for example --preset paper", prefix="--preset ")
        raise UsageError(f"unknown preset {name!r}; accepted: {', '.join(PRESETS)}; {hint}")
    return PRESETS[name]


def resolve(name: str, excluded: Collection[str] = ()) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return options of the backbone and of the prompter, weights as paths on this machine, without the `excluded`.

    Raises UsageError for an unknown preset, and one MissingError that lists all weights that are not here.
    """
    preset = find_preset(name)
    absent: list[WeightItem] = []

    def find_paths(items: Mapping[str, str]) -> dict[str, Any]:
        options: dict[str, Path] = {}
        for option, item in items.items():
            if option in excluded:
                continue
            if path := locate(ITEMS[item]):
                options[option] = path
            else:
                absent.append(ITEMS[item])
        return options

    backbone, prompter = find_paths(preset.backbone_items), find_paths(preset.prompter_items)
    if absent:
        raise MissingError(describe_missing(name, absent))
    return backbone, prompter | {k: v for k, v in preset.prompter_options.items() if k not in excluded}


def prompter_options(name: str, excluded: Collection[str] = ()) -> dict[str, Any]:
    """Return the options of a prompter of the paper, as `resolve`; nothing for other prompters."""
    if name not in PROMPTERS:
        return {}
    return resolve(PROMPTERS[name], {*excluded, *find_preset(PROMPTERS[name]).backbone_items})[1]


def describe_missing(name: str, absent: Collection[WeightItem]) -> str:
    """Say in one line which weights a preset lacks, how large, under which licences, and what to type."""
    listed = "; ".join(f"{item.name} (about {item.size}, {item.terms})" for item in absent)
    places = f"in {models_dir()}"
    if any(item.hub for item in absent):
        places += f" or the Hugging Face cache {hub_cache()}"
    return (
        f"preset {name} lacks {len(absent)} of its weights: {listed}; accepted: these {places}; "
        f"type: {' && '.join(list_commands(absent))}"
    )
