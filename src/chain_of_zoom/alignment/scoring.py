"""What prompters write about held-out pairs, and what rewards, statistics and a critic say of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from statistics import mean, median
from typing import Literal, Protocol

import msgspec

from chain_of_zoom.alignment.duel import Contest, Duel, Messages, fight
from chain_of_zoom.alignment.pairs import Pair
from chain_of_zoom.imaging.images import RGB8, load
from chain_of_zoom.prompters.base import PromptContext, Prompter
from chain_of_zoom.prompters.words import prompt_statistics, words_of

SCORES = "scores.json"

Progress = Callable[[str, int, int], None]


class Critic(Protocol):
    """A vision-language model that judges texts. rate: 0 to 1, None for an answer that is no rating."""

    name: str

    def rate(self, views: Sequence[tuple[RGB8, RGB8, str]]) -> Sequence[float | None]:
        """Ratings of texts about zoomed views: (parent, zoomed, text)."""

    def ask(self, conversations: Sequence[Messages]) -> Sequence[str]:
        """Its answers to questions with pictures."""


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """One text, as extracted. rewards: by name; None where the critic's answer was no rating."""

    pair: str
    text: str
    seconds: float
    rewards: dict[str, float | None]


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """A prompter. rewards: means over its texts that have one. unrated: texts without a rating.

    words: mean length. vocabulary: different words in all texts. distinct_1, distinct_2, empty, repetition: see
    PromptStatistics. seconds: median per text, one at a time. weights_sha256: of its files, by role.
    """

    name: str
    weights_sha256: dict[str, str]
    rewards: dict[str, float | None]
    unrated: int
    words: float
    vocabulary: int
    distinct_1: float | None
    distinct_2: float | None
    empty: float
    repetition: float
    seconds: float
    texts: tuple[Written, ...]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """A duel, and who is ahead on every pair: "first" for its a; null where the critic gave no answer."""

    duel: Duel
    verdicts: tuple[Literal["first", "second", "tie"] | None, ...]


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. pairs: their names, in the order of every list. critic: null without one. gaps: what is not there."""

    version: Literal[1] = 1
    data: str
    pairs: tuple[str, ...]
    photos: int
    critic: str | None
    prompters: tuple[Scored, ...]
    outcomes: tuple[Outcome, ...]
    gaps: tuple[str, ...]


def score(
    data: str,
    pairs: Sequence[Pair],
    prompters: dict[str, Prompter],
    rewards: Mapping[str, Callable[[str], float]],
    weights: Mapping[str, float],
    critic: Critic | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Ask every prompter about every pair, one at a time as in a zoom; rate, and compare all with all.

    rewards: those of the text alone. weights: of these and of "critic" in the total. prompters is emptied, so that the
    weights of one are not kept beside those of the next. Raises the errors of prompters and of the critic.
    """
    say = progress or (lambda what, done, total: None)
    scored = []
    for name in list(prompters):
        scored.append(_scored(name, prompters.pop(name), pairs, rewards, weights, critic, say))
    outcomes = []
    for a, b in combinations(scored, 2) if critic else ():
        assert critic
        contests = [
            Contest(pair=pair, texts=(one.text, other.text))
            for pair, one, other in zip(pairs, a.texts, b.texts, strict=True)
        ]
        counter = _Counter(f"{a.name} against {b.name}", len(pairs), say)
        duel, verdicts = fight(a.name, b.name, contests, critic.ask, counter.add)
        outcomes.append(Outcome(duel=duel, verdicts=tuple(verdicts)))
    gaps = []
    if critic is None:
        gaps.append("reward of the critic, the total, and duels: there is no critic; name one with --critic")
    elif len(scored) < 2:
        gaps.append("duels: there is one prompter; name another one with --prompter")
    return Scores(
        data=data,
        pairs=tuple(pair.name for pair in pairs),
        photos=len({pair.photo for pair in pairs}),
        critic=critic.name if critic else None,
        prompters=tuple(scored),
        outcomes=tuple(outcomes),
        gaps=tuple(gaps),
    )


def _scored(
    name: str,
    prompter: Prompter,
    pairs: Sequence[Pair],
    rewards: Mapping[str, Callable[[str], float]],
    weights: Mapping[str, float],
    critic: Critic | None,
    say: Progress,
) -> Scored:
    prompter.load()
    written = []
    counter = _Counter(name, len(pairs), say)
    for pair in pairs:
        parent, zoomed = load(pair.parent).pixels, load(pair.zoomed).pixels
        started = time.perf_counter()
        [text] = prompter([PromptContext([parent], zoomed, 4.0)])
        seconds = time.perf_counter() - started
        found: dict[str, float | None] = {key: reward(text) for key, reward in rewards.items()}
        if critic:
            [found["critic"]] = critic.rate([(parent, zoomed, text)])
            found["total"] = _total(found, weights)
        written.append(Written(pair=pair.name, text=text, seconds=seconds, rewards=found))
        counter.add(1)
    texts = [each.text for each in written]
    statistics = prompt_statistics(texts)
    return Scored(
        name=name,
        weights_sha256=prompter.weights_sha256(),
        rewards={key: _mean([each.rewards[key] for each in written]) for key in written[0].rewards},
        unrated=sum(None in each.rewards.values() for each in written),
        words=statistics.words,
        vocabulary=len({word for text in texts for word in words_of(text)}),
        distinct_1=statistics.distinct_1,
        distinct_2=statistics.distinct_2,
        empty=statistics.empty,
        repetition=statistics.repetition,
        seconds=median(each.seconds for each in written),
        texts=tuple(written),
    )


def _total(found: Mapping[str, float | None], weights: Mapping[str, float]) -> float | None:
    """The weighted sum; None without a rating."""
    values = [(weight, found[key]) for key, weight in weights.items()]
    return None if any(value is None for _, value in values) else sum(w * v for w, v in values if v is not None)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if known else None


class _Counter:
    """Tells how far one part of the work is."""

    def __init__(self, what: str, total: int, say: Progress) -> None:
        self.what, self.total, self.say, self.done = what, total, say, 0
        say(what, 0, total)

    def add(self, count: int) -> None:
        """So many more are done."""
        self.done += count
        self.say(self.what, self.done, self.total)
