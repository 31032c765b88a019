"""Write the report of an alignment: curves, texts before and after, texts without a score, and the settings."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chain_of_zoom.alignment.pairs.read import Pair
from chain_of_zoom.alignment.training.config import AlignConfig
from chain_of_zoom.alignment.training.curves import Log, draw_curve
from chain_of_zoom.alignment.training.run_folder import Answer, HeldOutSample, UnscoredText
from chain_of_zoom.files import write_atomic
from chain_of_zoom.imaging.encode import encode_png, make_thumbnail
from chain_of_zoom.imaging.images import load
from chain_of_zoom.pages.render import render
from chain_of_zoom.prompters.words import summarise_prompts
from chain_of_zoom.settings import format_toml

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
        before_after=_compare_means(data.samples),
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


def _compare_means(samples: Sequence[HeldOutSample]) -> list[tuple[str, float | None, float | None]]:
    """Return means over the held-out pairs: rewards, length, variety; after is None while training goes on."""
    if not samples:
        return []
    before = _means([sample.before for sample in samples])
    after = _means([sample.after for sample in samples if sample.after])
    return [(name, value, after.get(name)) for name, value in before.items()]


def _means(answers: Sequence[Answer]) -> dict[str, float | None]:
    if not answers:
        return {}
    statistics = summarise_prompts([answer.text for answer in answers])
    means = {name: _mean([answer.rewards.get(name) for answer in answers]) for name in answers[0].rewards}
    return means | {"words": statistics.words, "distinct words": statistics.distinct_1}


def _mean(values: Sequence[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return sum(numbers) / len(numbers) if numbers else None
