"""The report of an alignment: one page with curves, texts before and after, what had no score, and the settings."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chain_of_zoom.alignment.config import AlignConfig
from chain_of_zoom.alignment.curves import Curve, Log, draw_curve
from chain_of_zoom.alignment.pairs import Pair
from chain_of_zoom.alignment.run_folder import Answer, HeldOutSample, UnscoredText
from chain_of_zoom.files import write_atomic
from chain_of_zoom.imaging.encode import encode_png
from chain_of_zoom.imaging.images import load
from chain_of_zoom.imaging.thumbnail import thumbnail
from chain_of_zoom.pages.render import render
from chain_of_zoom.prompters.words import prompt_statistics

LISTED = 20

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
    """What a report is made of. pairs: those held out, by name. history: one line of numbers per logged step."""

    config: AlignConfig
    history: Sequence[Log]
    samples: Sequence[HeldOutSample]
    gaps: Sequence[UnscoredText]
    skipped: Sequence[tuple[str, str]]
    pairs: Mapping[str, Pair]
    trained_on: int


def write_report(facts: ReportData, file: Path) -> Path:
    """Write the page; everything is in it. Raises OutputError."""
    write_atomic(file, render_report(facts).encode())
    return file


def render_report(facts: ReportData) -> str:
    """The page as HTML."""
    config = facts.config
    rewards = [
        draw_curve(name, f"rewards/{name}/mean", f"weight {weight:g}: {NOTES.get(name, 'a plugin')}", facts.history)
        for name, weight in config.used.items()
    ]
    total = draw_curve("reward", "reward", "the weighted sum", facts.history)
    texts = [draw_curve(*each, facts.history) for each in TEXTS]
    return render(
        "alignment.html",
        config=config,
        steps=int(facts.history[-1]["step"]) if facts.history else 0,
        total=total,
        charts=_there([total, *rewards]),
        texts=_there(texts),
        samples=[_sample(one, facts.pairs[one.pair], config) for one in facts.samples if one.pair in facts.pairs],
        before_after=_before_after(facts.samples),
        gaps=facts.gaps[-LISTED:][::-1],
        gap_count=len(facts.gaps),
        unscored=draw_curve("", "texts/unscored", "", facts.history),
        skipped=facts.skipped,
        trained_on=facts.trained_on,
        toml=config.to_toml().decode(),
    )


def _there(curves: Sequence[Curve | None]) -> list[Curve]:
    return [each for each in curves if each]


def _sample(one: HeldOutSample, pair: Pair, config: AlignConfig) -> dict[str, object]:
    rows = [(name, one.before.rewards.get(name), one.after and one.after.rewards.get(name)) for name in config.used]
    return {"one": one, "parent": _picture(pair.parent), "zoomed": _picture(pair.zoomed), "rewards": rows}


def _picture(file: Path) -> str:
    """A small picture inside the page."""
    data = thumbnail(encode_png(load(file).pixels))
    return "data:image/webp;base64," + base64.b64encode(data).decode()


def _before_after(samples: Sequence[HeldOutSample]) -> list[tuple[str, float | None, float | None]]:
    """Means over the held-out pairs: rewards, length, variety; after is None while training goes on."""
    if not samples:
        return []
    before = _means([one.before for one in samples])
    after = _means([one.after for one in samples if one.after])
    return [(name, value, after.get(name)) for name, value in before.items()]


def _means(side: Sequence[Answer]) -> dict[str, float | None]:
    if not side:
        return {}
    statistics = prompt_statistics([told.text for told in side])
    means = {name: _mean([told.rewards.get(name) for told in side]) for name in side[0].rewards}
    return means | {"words": statistics.words, "distinct words": statistics.distinct_1}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
