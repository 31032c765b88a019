"""Decide which of two prompts describes the zoomed view better, by a duel before a critic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chain_of_zoom.alignment.pairs.read import Pair
from chain_of_zoom.imaging.images import RGB8, load
from chain_of_zoom.prompters.base import Messages
from chain_of_zoom.prompters.duel import Duel, Verdict, Verdicts, parse_verdict, tally_verdicts

QUESTION = (
    "The second image is a zoom-in of the first image. Which of the two descriptions below describes the second image "
    "better? Output only a single letter: A, B, or T for a tie."
)

Ask = Callable[[Sequence[Messages]], Sequence[str]]

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


def build_duel_chat(parent: RGB8, zoomed: RGB8, first: str, second: str) -> Messages:
    """Build the question of one order, laid out like `build_critic_chat`: both pictures, then the words."""
    first, second = (" ".join(text.split()) for text in (first, second))  # several lines could pose as both texts
    question = f"{QUESTION}\nDescription A: {first}\nDescription B: {second}\nAnswer (A, B or T):"
    pictures = [{"type": "image", "image": picture} for picture in (parent, zoomed)]
    return [{"role": "user", "content": [*pictures, {"type": "text", "text": question}]}]


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
    return tally_verdicts(a, b, [contest.pair.photo for contest in contests], answers)


def _ask_both_orders(contests: Sequence[Contest], ask: Ask) -> list[Verdicts]:
    questions = []
    for contest in contests:
        if not contest.is_equal:
            parent, zoomed = load(contest.pair.parent).pixels, load(contest.pair.zoomed).pixels
            questions += [build_duel_chat(parent, zoomed, *texts) for texts in (contest.texts, contest.texts[::-1])]
    verdicts = iter([parse_verdict(answer) for answer in ask(questions)] if questions else [])
    return [("tie", "tie") if contest.is_equal else (next(verdicts), next(verdicts)) for contest in contests]
