"""Which of two prompts describes the zoomed view better: a critic is asked twice, once with either text first.

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

from chain_of_zoom.alignment.pairs import Pair
from chain_of_zoom.imaging.images import RGB8, load
from chain_of_zoom.prompters.base import Messages

QUESTION = (
    "The second image is a zoom-in of the first image. Which of the two descriptions below describes the second image "
    "better? Output only a single letter: A, B, or T for a tie."
)
LEVEL = 0.05

Ask = Callable[[Sequence[Messages]], Sequence[str]]
Verdict = Literal["first", "second", "tie"]


AT_ONCE = 8


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Two texts about the view of a pair."""

    pair: Pair
    texts: tuple[str, str]

    @property
    def is_equal(self) -> bool:
        """Equal texts tie without a question."""
        return self.texts[0].strip() == self.texts[1].strip()


class Duel(msgspec.Struct, frozen=True, kw_only=True):
    """`a` against `b` over all views.

    wins, losses, ties: views, from a's side. contradictory: of the ties, those where the critic named the same place in
    both orders. unanswered: views with an answer that is none. rate: wins and half the ties over the answered views;
    None without any. p: of a two-sided sign test over photos, each one observation; None where none leans to a side.
    first: the share of decided answers that name the text shown first; 0.5 for an unbiased critic.
    """

    a: str
    b: str
    wins: int
    losses: int
    ties: int
    contradictory: int
    unanswered: int
    rate: float | None
    p: float | None
    first: float | None

    @property
    def is_clear(self) -> bool:
        """Whether chance alone would seldom favour one side as much."""
        return self.p is not None and self.p < LEVEL


def build_duel_chat(parent: RGB8, zoomed: RGB8, first: str, second: str) -> Messages:
    """Build the question of one order, laid out like `build_critic_chat`: both pictures, then the words."""
    one, other = (" ".join(text.split()) for text in (first, second))  # a text of several lines could pose as both
    question = f"{QUESTION}\nDescription A: {one}\nDescription B: {other}\nAnswer (A, B or T):"
    pictures = [{"type": "image", "image": picture} for picture in (parent, zoomed)]
    return [{"role": "user", "content": [*pictures, {"type": "text", "text": question}]}]


def parse_verdict(answer: str) -> Verdict | None:
    """The one letter of an answer; None for anything else: a guess would count for a side.

    Around the letter may be spaces, quotes, brackets, stars and a full stop, and before it "Answer:".
    """
    found = re.fullmatch(r"(?i)\W{0,9}(?:answer\s?:)?\W{0,9}([abt]|tie)\W{0,9}", answer.strip())
    return _VERDICTS[found[1].upper()[0]] if found else None


def run_duel(
    a: str, b: str, contests: Sequence[Contest], ask: Ask, progress: Callable[[int], None] | None = None
) -> tuple[Duel, list[Verdict | None]]:
    """The duel of the prompters called a and b; and who is ahead on every view: "first" for a, None if unanswered.

    ask: gives a text for each of some conversations. progress: is told how many more views are done.
    """
    answers: list[tuple[Verdict | None, Verdict | None]] = []
    for start in range(0, len(contests), AT_ONCE):
        some = contests[start : start + AT_ONCE]
        answers += _answers(some, ask)
        if progress:
            progress(len(some))
    points = [None if None in pair else _POINTS[pair[0]] - _POINTS[pair[1]] for pair in answers]
    known = [point for point in points if point is not None]
    wins, losses = sum(point > 0 for point in known), sum(point < 0 for point in known)
    ties = len(known) - wins - losses
    asked = [pair for contest, pair in zip(contests, answers, strict=True) if not contest.is_equal]
    named = [verdict for pair in asked for verdict in pair if verdict in ("first", "second")]
    duel = Duel(
        a=a,
        b=b,
        wins=wins,
        losses=losses,
        ties=ties,
        contradictory=sum(pair in (("first", "first"), ("second", "second")) for pair in asked),
        unanswered=len(points) - len(known),
        rate=(wins + ties / 2) / len(known) if known else None,
        p=_sign_test([contest.pair.photo for contest in contests], points),
        first=named.count("first") / len(named) if named else None,
    )
    return duel, [None if p is None else "first" if p > 0 else "second" if p < 0 else "tie" for p in points]


_VERDICTS: dict[str, Verdict] = {"A": "first", "B": "second", "T": "tie"}
_POINTS: dict[Verdict | None, int] = {"first": 1, "tie": 0, "second": -1}


def _answers(contests: Sequence[Contest], ask: Ask) -> list[tuple[Verdict | None, Verdict | None]]:
    """For every contest what was said in both orders, each about the text shown first and second there."""
    questions = []
    for contest in contests:
        if not contest.is_equal:
            parent, zoomed = load(contest.pair.parent).pixels, load(contest.pair.zoomed).pixels
            questions += [build_duel_chat(parent, zoomed, *texts) for texts in (contest.texts, contest.texts[::-1])]
    said = iter([parse_verdict(answer) for answer in ask(questions)] if questions else [])
    return [("tie", "tie") if contest.is_equal else (next(said), next(said)) for contest in contests]


def _sign_test(photos: Sequence[str], points: Sequence[int | None]) -> float | None:
    """Two-sided, over photos: views of one share its light and its subject. Photos on neither side say nothing."""
    sums: Counter[str] = Counter()
    for photo, point in zip(photos, points, strict=True):
        sums[photo] += 0 if point is None else (point > 0) - (point < 0)
    ahead, behind = sum(each > 0 for each in sums.values()), sum(each < 0 for each in sums.values())
    n = ahead + behind
    return min(1.0, 2 * sum(comb(n, k) for k in range(min(ahead, behind) + 1)) / 2**n) if n else None
