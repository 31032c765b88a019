"""Decide which of two prompts describes the zoomed view better: a critic is asked twice, with either text first.

Critics favour a place in the question. A text wins a view when it is ahead over both orders; where the critic names the
same place twice, the view is a tie and counted as contradictory.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb
from typing import Literal

import msgspec

from chain_of_zoom.alignment.pairs.read import Pair
from chain_of_zoom.imaging.images import RGB8, load
from chain_of_zoom.prompters.base import Messages

QUESTION = (
    "The second image is a zoom-in of the first image. Which of the two descriptions below describes the second image "
    "better? Output only a single letter: A, B, or T for a tie."
)
LEVEL = 0.05
"""Probability of chance below which a duel is clear."""

Ask = Callable[[Sequence[Messages]], Sequence[str]]
Verdict = Literal["first", "second", "tie"]
Verdicts = tuple[Verdict | None, Verdict | None]
"""Answers about the text shown first and second, in either order; None for an unusable answer."""

AT_ONCE = 8
"""Views whose pictures are in memory at a time."""


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Two texts about the view of a pair."""

    pair: Pair
    """The pair."""
    texts: tuple[str, str]
    """The texts, one of each prompter."""

    @property
    def is_equal(self) -> bool:
        """Return whether the texts are equal, which ties without a question."""
        return self.texts[0].strip() == self.texts[1].strip()


class Duel(msgspec.Struct, frozen=True, kw_only=True):
    """The result of prompter `a` against prompter `b` over all views."""

    a: str
    """Name of one prompter."""
    b: str
    """Name of its opponent."""
    wins: int
    """Views that a wins."""
    losses: int
    """Views that b wins."""
    ties: int
    """Views that neither wins."""
    contradictory: int
    """Ties where the critic named the same place in both orders."""
    unanswered: int
    """Views with an unusable answer."""
    rate: float | None
    """Wins and half the ties over the answered views; None without any."""
    p: float | None
    """Two-sided sign test over photos, each one observation; None where none leans to a side."""
    first: float | None
    """Share of decided answers that name the text shown first; 0.5 for an unbiased critic."""

    @property
    def is_clear(self) -> bool:
        """Return whether chance alone would seldom favour one side as much."""
        return self.p is not None and self.p < LEVEL


def build_duel_chat(parent: RGB8, zoomed: RGB8, first: str, second: str) -> Messages:
    """Build the question of one order, laid out like `build_critic_chat`: both pictures, then the words."""
    first, second = (" ".join(text.split()) for text in (first, second))  # several lines could pose as both texts
    question = f"{QUESTION}\nDescription A: {first}\nDescription B: {second}\nAnswer (A, B or T):"
    pictures = [{"type": "image", "image": picture} for picture in (parent, zoomed)]
    return [{"role": "user", "content": [*pictures, {"type": "text", "text": question}]}]


def parse_verdict(answer: str) -> Verdict | None:
    """Return the verdict of a one-letter answer; None for anything else: a guess would count for a side.

    Around the letter may be spaces, quotes, brackets, stars and a full stop, and before it "Answer:".
    """
    match = re.fullmatch(r"(?i)\W{0,9}(?:answer\s?:)?\W{0,9}([abt]|tie)\W{0,9}", answer.strip())
    return _VERDICTS[match[1].upper()[0]] if match else None


def run_duel(
    a: str, b: str, contests: Sequence[Contest], ask: Ask, progress: Callable[[int], None] | None = None
) -> tuple[Duel, list[Verdict | None]]:
    """Return the duel of prompters a and b, and who is ahead on every view: "first" for a, None if unanswered.

    ask: answers some conversations. progress: receives how many more views are finished.
    """
    answers: list[Verdicts] = []
    for start in range(0, len(contests), AT_ONCE):
        batch = contests[start : start + AT_ONCE]
        answers += _ask_both_orders(batch, ask)
        if progress:
            progress(len(batch))
    points = [None if None in verdicts else _POINTS[verdicts[0]] - _POINTS[verdicts[1]] for verdicts in answers]
    answered = [point for point in points if point is not None]
    wins, losses = sum(point > 0 for point in answered), sum(point < 0 for point in answered)
    ties = len(answered) - wins - losses
    by_critic = [verdicts for contest, verdicts in zip(contests, answers, strict=True) if not contest.is_equal]
    places = [verdict for verdicts in by_critic for verdict in verdicts if verdict in ("first", "second")]
    duel = Duel(
        a=a,
        b=b,
        wins=wins,
        losses=losses,
        ties=ties,
        contradictory=sum(verdicts in (("first", "first"), ("second", "second")) for verdicts in by_critic),
        unanswered=len(points) - len(answered),
        rate=(wins + ties / 2) / len(answered) if answered else None,
        p=_test_signs([contest.pair.photo for contest in contests], points),
        first=places.count("first") / len(places) if places else None,
    )
    return duel, [_judge(point) for point in points]


_VERDICTS: dict[str, Verdict] = {"A": "first", "B": "second", "T": "tie"}
_POINTS: dict[Verdict | None, int] = {"first": 1, "tie": 0, "second": -1}


def _judge(points: int | None) -> Verdict | None:
    if points is None:
        return None
    if points == 0:
        return "tie"
    return "first" if points > 0 else "second"


def _ask_both_orders(contests: Sequence[Contest], ask: Ask) -> list[Verdicts]:
    questions = []
    for contest in contests:
        if not contest.is_equal:
            parent, zoomed = load(contest.pair.parent).pixels, load(contest.pair.zoomed).pixels
            questions += [build_duel_chat(parent, zoomed, *texts) for texts in (contest.texts, contest.texts[::-1])]
    verdicts = iter([parse_verdict(answer) for answer in ask(questions)] if questions else [])
    return [("tie", "tie") if contest.is_equal else (next(verdicts), next(verdicts)) for contest in contests]


def _test_signs(photos: Sequence[str], points: Sequence[int | None]) -> float | None:
    """Return p of a two-sided test over photos, since views of one share its light and its subject.

    Photos on neither side say nothing.
    """
    sums: Counter[str] = Counter()
    for photo, point in zip(photos, points, strict=True):
        sums[photo] += 0 if point is None else (point > 0) - (point < 0)
    ahead, behind = sum(total > 0 for total in sums.values()), sum(total < 0 for total in sums.values())
    n = ahead + behind
    return min(1.0, 2 * sum(comb(n, k) for k in range(min(ahead, behind) + 1)) / 2**n) if n else None
