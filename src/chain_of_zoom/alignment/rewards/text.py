"""Define rewards that need the text alone, as functions and as objects that training asks.

R = 1.0 critic + 0.5 phrase + 0.5 repetition in the paper (section 3.3); `critic` and `sr` have files of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from chain_of_zoom.alignment.rewards.base import Reward, Sample, Unscored
from chain_of_zoom.errors import UsageError
from chain_of_zoom.prompters.text_statistics import measure_repetition, split_words

PAPER_PHRASES = ("first image", "second image")
LONGEST_WORD = 40


def phrase_exclusion(text: str, phrases: Iterable[str] = PAPER_PHRASES) -> float:
    """Return 1 if none of the phrases occurs, else 0.

    Phrases are whole words ("image" is not in "images"), in capital or small letters, with any space between words.
    """
    return 0.0 if any(_compile_phrase(phrase).search(text) for phrase in phrases) else 1.0


def repetition_penalty(text: str, n: int = 3) -> float:
    """Return minus the share of repeated n-grams, -1 to 0, over words between spaces; 0 for fewer than n words."""
    return -measure_repetition(text, n)


def validity(text: str, least_words: int = 3) -> float:
    """Return 1 for a text that can be a prompt, 0 for an empty or degenerate one.

    It has at least `least_words` different words (between spaces, without marks), at least half of its words differ,
    two thirds of its visible characters are letters, and no word is longer than 40. Languages without spaces fail.
    """
    words = split_words(text)
    visible = [letter for letter in text if not letter.isspace()]
    different = len(set(words))
    is_valid = (
        different >= max(least_words, 1)
        and 2 * different >= len(words)
        and 3 * sum(letter.isalpha() for letter in visible) >= 2 * len(visible)
        and max(map(len, words)) <= LONGEST_WORD
    )
    return float(is_valid)


def read_phrases(file: str | Path) -> tuple[str, ...]:
    """Read the phrases of a UTF-8 file, one a line; empty lines and those with # are skipped. Raises UsageError."""
    try:
        lines = [line.strip() for line in Path(file).expanduser().read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise UsageError(f"phrases {file} cannot be read ({error}); accepted: a text file; check the path") from error
    phrases = tuple(line for line in lines if line and not line.startswith("#"))
    if not phrases:
        raise UsageError(
            f"phrases {file} holds none; accepted: one phrase a line; leave the option out for the paper's"
        )
    return phrases


class Phrase(Reward):
    """Rewards texts without certain phrases, see `phrase_exclusion`.

    file: the phrases, one a line; the paper's two by default.
    """

    name = "phrase"

    def __init__(self, file: str | None = None) -> None:
        self.phrases = read_phrases(file) if file else PAPER_PHRASES

    def __call__(self, samples: Sequence[Sample]) -> list[float | Unscored]:
        """Return 1 or 0 for each."""
        return [phrase_exclusion(sample.text, self.phrases) for sample in samples]


class Repetition(Reward):
    """Punishes repeated words, see `repetition_penalty`. n: words in a row."""

    name = "repetition"

    def __init__(self, n: int = 3) -> None:
        self.n = _check_count("n", n)

    def __call__(self, samples: Sequence[Sample]) -> list[float | Unscored]:
        """Return -1 to 0 for each."""
        return [repetition_penalty(sample.text, self.n) for sample in samples]


class Validity(Reward):
    """Guards against empty and degenerate texts, see `validity`. least_words: different words that a text needs."""

    name = "validity"

    def __init__(self, least_words: int = 3) -> None:
        self.least_words = _check_count("least_words", least_words)

    def __call__(self, samples: Sequence[Sample]) -> list[float | Unscored]:
        """Return 1 or 0 for each."""
        return [validity(sample.text, self.least_words) for sample in samples]


def _compile_phrase(phrase: str) -> re.Pattern[str]:
    words = r"\s+".join(map(re.escape, phrase.split()))
    return re.compile(rf"(?<!\w){words}(?!\w)", re.IGNORECASE)


def _check_count(option: str, value: int) -> int:
    if type(value) is not int or value < 1:
        raise UsageError(f"{option} {value!r}; accepted: whole numbers from 1; for example {option}=3")
    return value
