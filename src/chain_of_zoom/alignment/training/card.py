"""Write the model card of an adapter: what it was trained on and for, and the licence of its base model."""

from __future__ import annotations

import re
from pathlib import Path

from chain_of_zoom.alignment.pairs.read import Pairs
from chain_of_zoom.alignment.training.config import AlignConfig
from chain_of_zoom.weights.catalog import ITEMS

UNKNOWN = "unknown; see the card of the base model"


def format_card(config: AlignConfig, pairs: Pairs, trained_on: int) -> str:
    """Return README.md in Markdown with the front matter of the Hugging Face hub. trained_on: number of pairs."""
    licence = find_base_licence(config.model)
    rewards = "\n".join(f"| {name} | {weight:g} |" for name, weight in config.used.items())
    critic = f"\nThe critic is {config.critic.name}.\n" if "critic" in config.used else ""
    model = config.model if not Path(config.model).expanduser().exists() else Path(config.model).resolve().name
    spread = ", over the group's spread" if config.scale == "group" else ""
    return f"""---
base_model: {model}
library_name: peft
license: other
license_name: {re.sub("[^a-z0-9]+", "-", licence.lower()).strip("-")}
tags: [chain-of-zoom, grpo, lora, image-text-to-text]
---

# Preference-aligned prompts for Chain-of-Zoom

A LoRA (r {config.lora.r}, alpha {config.lora.alpha}) of the language layers of **{model}**.
Shown a view and its 4x zoom, the model names what is in the zoom, in words that help super-resolution.
Trained with GRPO as in section 3.3 of Chain-of-Zoom (Kim, Kim, Ye, arXiv 2505.18600) by `coz align`.

```sh
coz zoom photo.jpg --backbone osediff-sd3 --prompter vlm --adapter .
```

## Data

{trained_on} pairs of a view and its zoom from `{Path(config.data).name}`;
{len(pairs.select("held-out"))} more are held out, {len(pairs.skipped)} could not be read.

## Rewards

| reward | weight |
| --- | --- |
{rewards}
{critic}
{config.steps} steps, groups of {config.group}, KL weight {config.kl:g}, learning rate {config.learning_rate:g},
seed {config.seed}; the advantage is the reward less its group's mean{spread}.
All settings: `config.toml`; curves and texts: `report.html`.

## Licence

The adapter is a derivative of its base model, whose licence applies: **{licence}**.
Known risk: nothing but the validity reward asks for longer texts; look at the length in the report.
"""


def find_base_licence(model: str) -> str:
    """Return the licence of the base model, from our catalog for the paper's, else from the model's own card."""
    qwen = ITEMS["qwen"]
    if "qwen2.5-vl-3b" in model.lower():
        return f"{qwen.licence} (non-commercial)"
    try:
        text = (Path(model).expanduser() / "README.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return UNKNOWN
    front = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    entries = dict(re.findall(r"^(license|license_name):[ \t]*([\w .+-]+)$", front[1], re.MULTILINE)) if front else {}
    licence = entries.get("license_name") or entries.get("license")
    return str(licence).strip() if licence else UNKNOWN
