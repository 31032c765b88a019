"""What can be said of prompts as texts: how long, how varied, how repetitive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PromptStatistics:
    """A set of prompts.

    count: how many. empty: the share without a word. words: their mean length in words. distinct_1, distinct_2:
    different words, and pairs of neighbouring words, over all there are in the set (Li et al., NAACL 2016); None
    without any. repetition: mean over the prompts, 0 to 1.
    """

    count: int
    empty: float
    words: float
    distinct_1: float | None
    distinct_2: float | None
    repetition: float


def split_words(text: str) -> list[str]:
    """The words of a text, between spaces, in small letters and without marks around them."""
    bare = (word.strip(".,;:!?\"'()[]").casefold() for word in text.split())
    return [word for word in bare if word]


def measure_repetition(text: str, n: int = 3) -> float:
    """The share of repeated n-grams, 0 to 1; 0 for a text of fewer than n words.

    Words are what stands between spaces, as in the repetition reward of preference alignment, which is minus this.
    """
    grams = _grams(text.lower().split(), n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def measure_distinct(texts: Sequence[str], n: int) -> float | None:
    """Different n-grams over all n-grams of a set of texts; None where there are none."""
    grams = [gram for text in texts for gram in _grams(split_words(text), n)]
    return len(set(grams)) / len(grams) if grams else None


def summarise_prompts(texts: Sequence[str]) -> PromptStatistics:
    """Statistics of at least one text."""
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
