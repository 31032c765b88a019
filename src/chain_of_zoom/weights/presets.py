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
from chain_of_zoom.weights import catalog
from chain_of_zoom.weights.catalog import ITEMS, WeightItem


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Settings that go together.

    settings: of the request (protocol, zoom, mode). backbone_items, prompter_items: option -> name of the weights in
    the catalog. prompter_options: further options of the prompter.
    """

    about: str
    settings: Mapping[str, Any]
    backbone: str
    backbone_items: Mapping[str, str]
    prompter: str
    prompter_items: Mapping[str, str] = field(default_factory=dict)
    prompter_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def items(self) -> list[WeightItem]:
        """The weights it needs."""
        return [ITEMS[name] for name in (*self.backbone_items.values(), *self.prompter_items.values())]


def _paper(about: str, prompter: str, items: Mapping[str, str], mode: str = "chain", **options: Any) -> Preset:
    return Preset(
        about=about,
        settings={"protocol": "paper", "zoom": 256.0, "mode": mode},
        backbone="osediff-sd3",
        backbone_items={"base": "sd3", "lora": "sr-lora", "vae_encoder": "sr-vae"},
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
    "paper-direct": _paper("direct SR, the paper's baseline: one pass instead of a chain", "dape", _TAGS, "direct"),
}

ALIGNED = "vlm-adapter"
"""The prompter vlm with the paper's aligned adapter."""

PROMPTERS = {"vlm": "paper-vlm-base", ALIGNED: "paper", "dape": "paper-dape"}
"""The preset that knows the weights of a prompter."""


def find_preset(name: str) -> Preset:
    """The preset called `name`. Raises UsageError."""
    if name not in PRESETS:
        hint = suggest(name, PRESETS, "for example --preset paper", prefix="--preset ")
        raise UsageError(f"unknown preset {name!r}; accepted: {', '.join(PRESETS)}; {hint}")
    return PRESETS[name]


def needs(name: str) -> list[WeightItem]:
    """The weights that a preset needs. Raises UsageError for an unknown one."""
    return find_preset(name).items


def resolve(name: str, given: Collection[str] = ()) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of the backbone and of the prompter, weights as paths on this machine; those `given` are left out.

    Raises UsageError for an unknown preset, and one MissingError that lists all weights that are not here.
    """
    preset = find_preset(name)
    absent: list[WeightItem] = []

    def paths(items: Mapping[str, str]) -> dict[str, Any]:
        found: dict[str, Path] = {}
        for option, item in items.items():
            if option in given:
                continue
            if path := catalog.locate(ITEMS[item]):
                found[option] = path
            else:
                absent.append(ITEMS[item])
        return found

    backbone, prompter = paths(preset.backbone_items), paths(preset.prompter_items)
    if absent:
        raise MissingError(lacking(name, absent))
    return backbone, prompter | {k: v for k, v in preset.prompter_options.items() if k not in given}


def prompter_options(name: str, given: Collection[str] = ()) -> dict[str, Any]:
    """What a prompter of the paper is told, weights as paths on this machine; nothing for others. As `resolve`."""
    if name not in PROMPTERS:
        return {}
    return resolve(PROMPTERS[name], {*given, *find_preset(PROMPTERS[name]).backbone_items})[1]


def lacking(name: str, absent: Collection[WeightItem]) -> str:
    """One line: which weights a preset lacks, how big, under which licences, and what to type."""
    listed = "; ".join(f"{item.name} (about {item.size}, {item.terms})" for item in absent)
    places = f"in {catalog.models_dir()}"
    if any(item.hub for item in absent):
        places += f" or the Hugging Face cache {catalog.hub_cache()}"
    return (
        f"preset {name} lacks {len(absent)} of its weights: {listed}; accepted: these {places}; "
        f"type: {' && '.join(catalog.commands(absent))}"
    )
