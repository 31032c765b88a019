"""Measure prompts as texts: how long, how varied, how repetitive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PromptStatistics:
    """Describes a set of prompts."""

    count: int
    """Number of prompts."""
    empty: float
    """Share of prompts without a word."""
    words: float
    """Mean length in words."""
    distinct_1: float | None
    """Different words over all words of the set (Li et al., NAACL 2016); None without any."""
    distinct_2: float | None
    """The same of pairs of neighbouring words."""
    repetition: float
    """Mean share of repeated trigrams, 0 to 1."""


def split_words(text: str) -> list[str]:
    """Split a text into words, in small letters and without marks around them."""
    bare = (word.strip(".,;:!?\"'()[]").casefold() for word in text.split())
    return [word for word in bare if word]


def measure_repetition(text: str, n: int = 3) -> float:
    """Return the share of repeated n-grams, 0 to 1; 0 for a text of fewer than n words.

    Words are what stands between spaces, as in the repetition reward of preference alignment, which is minus this.
    """
    grams = _grams(text.lower().split(), n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def measure_distinct(texts: Sequence[str], n: int) -> float | None:
    """Return different n-grams over all n-grams of a set of texts; None where there are none."""
    grams = [gram for text in texts for gram in _grams(split_words(text), n)]
    return len(set(grams)) / len(grams) if grams else None


def summarise_prompts(texts: Sequence[str]) -> PromptStatistics:
    """Measure at least one text."""
    assert texts, "no texts"
    lengths = [len(split_words(text)) for text in texts]
    return PromptStatistics(
        count=len(texts),
        empty=lengths.count(0) / len(texts),
        words=sum(lengths) / len(texts),
        distinct_1=measure_distinct(texts, 1),
        distinct_2=measure_distinct(texts, 2),
        repetition=sum(map(measure_repetition, texts)) / len(texts),
    )


def _grams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
