"""Write what an alignment leaves to read: the report (curves, texts, settings) and the model card of its adapter."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from chain_of_zoom.alignment.pairs.read import Pair, Pairs
from chain_of_zoom.alignment.training.config import AlignConfig
from chain_of_zoom.alignment.training.run_folder import Answer, HeldOutSample, UnscoredText
from chain_of_zoom.files import write_atomic
from chain_of_zoom.imaging.encode import encode_png, make_thumbnail
from chain_of_zoom.imaging.images import load
from chain_of_zoom.pages.chart import Axes, Chart, ChartLine, nice_ticks
from chain_of_zoom.pages.render import render
from chain_of_zoom.prompters.text_statistics import summarise_prompts
from chain_of_zoom.settings import format_toml
from chain_of_zoom.weights.catalog import ITEMS

POINTS = 240
SHARE = 0.1
"""The share of the steps that the smoothed line averages, and that "first" and "last" do."""
COLOUR = "#56b4e9"

Log = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One number over steps."""

    name: str
    """What the number is called."""
    note: str
    """What it means."""
    chart: Chart
    """Two lines: the values, and smoothed values over them."""
    first: float
    """The mean of the first tenth of the steps."""
    last: float
    """The mean of the last tenth of the steps."""


def draw_curve(name: str, key: str, note: str, history: Sequence[Log]) -> Curve | None:
    """Return the curve of a logged number; None where it was never logged."""
    logged = [(entry["step"], entry[key]) for entry in history if key in entry]
    if not logged:
        return None
    size = -(-len(logged) // POINTS)
    groups = [logged[i : i + size] for i in range(0, len(logged), size)]
    steps = [mean(step for step, _ in group) for group in groups]
    values = [mean(value for _, value in group) for group in groups]
    radius = max(1, round(len(values) * SHARE / 2))
    smooth_values = [mean(values[max(0, i - radius) : i + radius + 1]) for i in range(len(values))]
    is_flat = min(values) == max(values)
    axes = Axes(
        x_range=(min(0.0, steps[0]), max(steps[-1], 1.0)),
        y_ticks=nice_ticks([values[0], values[0] + 1] if is_flat else values),
    )
    x_ticks = [tick for tick in nice_ticks([0.0, steps[-1]]) if tick <= steps[-1]]
    tenth = max(1, round(len(logged) * SHARE))
    first, last = mean(value for _, value in logged[:tenth]), mean(value for _, value in logged[-tenth:])
    raw_line = ChartLine(points=axes.points(zip(steps, values, strict=True)), colour=COLOUR, width=1, opacity=0.35)
    smooth_line = ChartLine(points=axes.points(zip(steps, smooth_values, strict=True)), colour=COLOUR, width=2.4)
    chart = Chart(
        title=name,
        label=f"{name} over steps, from {first:.3f} to {last:.3f}",
        lines=(raw_line, smooth_line),
        x_labels=tuple((axes.x(step), f"{step:g}") for step in x_ticks),
        y_labels=axes.y_labels(),
    )
    return Curve(name=name, note=note, chart=chart, first=first, last=last)


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


MAX_UNSCORED = 20

NOTES = {
    "critic": "the critic's rating / 100",
    "phrase": "share of texts without an excluded phrase",
    "repetition": "minus the share of repeated 3-grams",
    "validity": "share of texts that can be a prompt",
    "sr": "gain in consistency of the next state over no prompt",
}
TEXTS = (
    ("words", "texts/words", "mean length of the texts"),
    ("distinct words", "texts/distinct", "different words over all words of a step"),
    ("empty", "texts/empty", "share of texts without a word"),
    ("without a score", "texts/unscored", "share of texts left out of learning, such as unparsable answers"),
    ("KL", "kl", "mean distance per token from the model before"),
    ("entropy", "entropy", "of the next token, in nats; near 0 nothing new is tried any more"),
)


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """What a report shows."""

    config: AlignConfig
    """Settings of the run."""
    history: Sequence[Log]
    """One table of numbers per logged step."""
    samples: Sequence[HeldOutSample]
    """Held-out pairs with answers."""
    unscored: Sequence[UnscoredText]
    """Texts without a score."""
    skipped: Sequence[tuple[str, str]]
    """Pairs that could not be read, and the reasons."""
    pairs: Mapping[str, Pair]
    """The held-out pairs by name."""
    trained_on: int
    """Number of pairs to learn from."""


def write_report(data: ReportData, file: Path) -> Path:
    """Write the page, which needs no other file. Raises OutputError."""
    write_atomic(file, render_report(data).encode())
    return file


def render_report(data: ReportData) -> str:
    """Return the page as HTML."""
    config = data.config
    rewards = [
        draw_curve(name, f"rewards/{name}/mean", f"weight {weight:g}: {NOTES.get(name, 'a plugin')}", data.history)
        for name, weight in config.used.items()
    ]
    total = draw_curve("reward", "reward", "the weighted sum", data.history)
    texts = [draw_curve(*text, data.history) for text in TEXTS]
    samples = [sample for sample in data.samples if sample.pair in data.pairs]
    return render(
        "alignment.html",
        config=config,
        steps=int(data.history[-1]["step"]) if data.history else 0,
        total=total,
        charts=[curve for curve in (total, *rewards) if curve],
        texts=[curve for curve in texts if curve],
        samples=[_show_sample(sample, data.pairs[sample.pair], config) for sample in samples],
        before_after=_compare_average_answers(data.samples),
        gaps=data.unscored[-MAX_UNSCORED:][::-1],
        gap_count=len(data.unscored),
        unscored=draw_curve("", "texts/unscored", "", data.history),
        skipped=data.skipped,
        trained_on=data.trained_on,
        toml=format_toml(config).decode(),
    )


def _show_sample(sample: HeldOutSample, pair: Pair, config: AlignConfig) -> dict[str, object]:
    after = sample.after.rewards if sample.after else {}
    rewards = [(name, sample.before.rewards.get(name), after.get(name)) for name in config.used]
    return {
        "pair": sample.pair,
        "before": sample.before.text,
        "after": sample.after.text if sample.after else None,
        "parent": _embed_picture(pair.parent),
        "zoomed": _embed_picture(pair.zoomed),
        "rewards": rewards,
    }


def _embed_picture(file: Path) -> str:
    """Return a small picture as a URL that holds it."""
    data = make_thumbnail(encode_png(load(file).pixels))
    return "data:image/webp;base64," + base64.b64encode(data).decode()


def _compare_average_answers(samples: Sequence[HeldOutSample]) -> list[tuple[str, float | None, float | None]]:
    """Return means over the held-out pairs: rewards, length, variety; after is None while training goes on."""
    if not samples:
        return []
    before = _average_answers([sample.before for sample in samples])
    after = _average_answers([sample.after for sample in samples if sample.after])
    return [(name, value, after.get(name)) for name, value in before.items()]


def _average_answers(answers: Sequence[Answer]) -> dict[str, float | None]:
    if not answers:
        return {}
    statistics = summarise_prompts([answer.text for answer in answers])
    means = {name: _average([answer.rewards.get(name) for answer in answers]) for name in answers[0].rewards}
    return means | {"words": statistics.words, "distinct words": statistics.distinct_1}


def _average(values: Sequence[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return sum(numbers) / len(numbers) if numbers else None
