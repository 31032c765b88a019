"""What can be said of prompts: how long, how varied, how repetitive; and what they change in a picture.

A prompt may fill in what the parent left open. Where it changes what the parent did show, it contradicts the source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from chain_of_zoom.errors import MetricError, MissingError
from chain_of_zoom.evaluation.metrics.base import MetricInfo
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import RGB8, size_of


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

    def values(self) -> dict[str, float | None]:
        """The numbers that INFOS describes, by name."""
        return {
            "prompt.distinct-1": self.distinct_1,
            "prompt.distinct-2": self.distinct_2,
            "prompt.repetition": self.repetition,
            "prompt.empty": self.empty,
        }


@dataclass(frozen=True, kw_only=True)
class PromptInfluence:
    """What a prompt changed in one step, against the same step with another prompt or none.

    energy: mean squared difference, in levels squared. contradiction: the share of it in frequencies that the parent
    has too; invention: the share above them, which the parent leaves open. Both None where nothing changed.
    """

    energy: float
    contradiction: float | None
    invention: float | None

    def values(self) -> dict[str, float | None]:
        """The numbers that INFOS describes, by name."""
        return {"prompt.contradiction": self.contradiction}


def words_of(text: str) -> list[str]:
    """The words of a text, between spaces, in small letters and without marks around them."""
    bare = (word.strip(".,;:!?\"'()[]").casefold() for word in text.split())
    return [word for word in bare if word]


def repetition(text: str, n: int = 3) -> float:
    """The share of repeated n-grams, 0 to 1; 0 for a text of fewer than n words.

    Words are what stands between spaces, as in the repetition reward of preference alignment, which is minus this.
    """
    grams = _grams(text.lower().split(), n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def distinct(texts: Sequence[str], n: int) -> float | None:
    """Different n-grams over all n-grams of a set of texts; None where there are none."""
    grams = [gram for text in texts for gram in _grams(words_of(text), n)]
    return len(set(grams)) / len(grams) if grams else None


def prompt_statistics(texts: Sequence[str]) -> PromptStatistics:
    """Statistics of at least one text."""
    assert texts, "no texts"
    lengths = [len(words_of(text)) for text in texts]
    return PromptStatistics(
        count=len(texts),
        empty=lengths.count(0) / len(texts),
        words=sum(lengths) / len(texts),
        distinct_1=distinct(texts, 1),
        distinct_2=distinct(texts, 2),
        repetition=sum(map(repetition, texts)) / len(texts),
    )


def prompt_influence(with_prompt: RGB8, without: RGB8, window: Size) -> PromptInfluence:
    """How a prompt changed a state (uint8, H x W x 3), where the parent's window had `window` pixels.

    The difference of both states is split by a cosine transform at the parent's Nyquist frequency: half a cycle per
    pixel of the parent, in each direction. Raises MetricError for sizes that do not fit, and MissingError without
    the extra [eval].
    """
    try:
        from scipy.fft import dctn
    except ImportError as error:
        raise MissingError("prompt influence lacks scipy; type: pip install 'chain-of-zoom[eval]'") from error
    size = size_of(with_prompt)
    if with_prompt.shape != without.shape or window.width > size.width or window.height > size.height:
        raise MetricError(f"states of {size} and {size_of(without)} from a window of {window} cannot be compared")
    difference = with_prompt.astype(np.float64) - without.astype(np.float64)
    spectrum = np.square(dctn(difference, axes=(0, 1), norm="ortho"))
    total = float(spectrum.sum())
    if not total:
        return PromptInfluence(energy=0.0, contradiction=None, invention=None)
    below = float(spectrum[: window.height, : window.width].sum()) / total
    return PromptInfluence(energy=total / difference.size, contradiction=below, invention=1 - below)


def _grams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def _info(name: str, direction: Literal["higher", "lower"], source: str, extra: str | None, note: str) -> MetricInfo:
    return MetricInfo(
        name=f"prompt.{name}",
        direction=direction,
        range=(0, 1),
        reference=False,
        source=source,
        licence="Apache-2.0",
        extra=extra,
        note=note,
    )


_LI = "Li et al.: A Diversity-Promoting Objective Function for Neural Conversation Models, NAACL 2016"
_OURS = "this project, docs/evaluation-metrics.md"
INFOS: dict[str, MetricInfo] = {
    info.name: info
    for info in (
        _info("distinct-1", "higher", _LI, None, "different words over all words of the set; falls as the set grows"),
        _info("distinct-2", "higher", _LI, None, "the same of pairs of neighbouring words"),
        _info("repetition", "lower", "Kim, Kim, Ye: Chain-of-Zoom, NeurIPS 2025", None, "repeated 3-grams, mean"),
        _info("empty", "lower", _OURS, None, "the share of prompts without a word"),
        _info(
            "contradiction", "lower", _OURS, "eval", "the share of a prompt's change that the parent could have told"
        ),
    )
}
