"""Decide which of two things a critic prefers on some views: it is asked twice about each, with either one first.

Critics favour a place in the question. One wins a view when it is ahead over both orders; where the critic names the
same place twice, the view is a tie and counted as contradictory.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from math import comb
from typing import Literal

import msgspec

LEVEL = 0.05
"""Probability of chance below which a duel is clear."""

Verdict = Literal["first", "second", "tie"]
Verdicts = tuple[Verdict | None, Verdict | None]
"""Answers about what is shown first and second, in either order; None for an unusable answer."""


class Duel(msgspec.Struct, frozen=True, kw_only=True):
    """The result of `a` against `b` over all views."""

    a: str
    """Name of one side."""
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
    """Share of decided answers that name what is shown first; 0.5 for an unbiased critic."""

    @property
    def is_clear(self) -> bool:
        """Return whether chance alone would seldom favour one side as much."""
        return self.p is not None and self.p < LEVEL


def describe_duel(duel: Duel) -> str:
    """Return a duel in one sentence."""
    rate = "no answer" if duel.rate is None else f"{duel.rate:.0%} of the views"
    chance = "" if duel.p is None else f", p = {duel.p:.2g} over photos{'' if duel.is_clear else ': not clear'}"
    return (
        f"{duel.a} against {duel.b}: {rate} ({duel.wins} won, {duel.losses} lost, {duel.ties} tied, "
        f"{duel.contradictory} of them contradictory; {duel.unanswered} unanswered){chance}"
    )


def parse_verdict(answer: str) -> Verdict | None:
    """Return the verdict of a one-letter answer; None for anything else: a guess would count for a side.

    Around the letter may be spaces, quotes, brackets, stars and a full stop, and before it "Answer:".
    """
    match = re.fullmatch(r"(?i)\W{0,9}(?:answer\s?:)?\W{0,9}([abt]|tie)\W{0,9}", answer.strip())
    return _VERDICTS[match[1].upper()[0]] if match else None


def tally_verdicts(
    a: str, b: str, photos: Sequence[str], verdicts: Sequence[Verdicts]
) -> tuple[Duel, list[Verdict | None]]:
    """Return the duel of a and b, and who is ahead on every view: "first" for a, None if unanswered.

    photos: whose view each is. verdicts: of every view, with a first and then with b first.
    """
    points = [None if None in pair else _POINTS[pair[0]] - _POINTS[pair[1]] for pair in verdicts]
    answered = [point for point in points if point is not None]
    wins, losses = sum(point > 0 for point in answered), sum(point < 0 for point in answered)
    ties = len(answered) - wins - losses
    places = [verdict for pair in verdicts for verdict in pair if verdict in ("first", "second")]
    duel = Duel(
        a=a,
        b=b,
        wins=wins,
        losses=losses,
        ties=ties,
        contradictory=sum(pair in (("first", "first"), ("second", "second")) for pair in verdicts),
        unanswered=len(points) - len(answered),
        rate=(wins + ties / 2) / len(answered) if answered else None,
        p=_test_signs(photos, points),
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
