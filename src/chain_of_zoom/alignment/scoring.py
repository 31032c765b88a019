"""What prompters write about held-out pairs, and what rewards, statistics and a critic say of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from statistics import mean, median
from typing import Literal

import msgspec

from chain_of_zoom.alignment.config import PRESETS
from chain_of_zoom.alignment.critic import Critic, CriticReward
from chain_of_zoom.alignment.duel import AT_ONCE, Contest, Duel, run_duel
from chain_of_zoom.alignment.pairs import Pair
from chain_of_zoom.alignment.policy import make_context
from chain_of_zoom.alignment.rewards import Phrase, Repetition, Reward, Sample, Unscored, Validity
from chain_of_zoom.imaging.images import load
from chain_of_zoom.prompters.base import Prompter
from chain_of_zoom.prompters.words import prompt_statistics, words_of

SCORES = "scores.json"
TEXT_REWARDS = (Phrase(), Repetition(), Validity())
PAPER_WEIGHTS: Mapping[str, float] = PRESETS["paper"]["weights"]

Progress = Callable[[str, int, int], None]


class ScoredText(msgspec.Struct, frozen=True, kw_only=True):
    """One text, as extracted. rewards: by name; None where the critic's answer was no rating."""

    pair: str
    text: str
    seconds: float
    rewards: dict[str, float | None]


class PrompterScore(msgspec.Struct, frozen=True, kw_only=True):
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
    texts: tuple[ScoredText, ...]


class ScoringOutcome(msgspec.Struct, frozen=True, kw_only=True):
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
    prompters: tuple[PrompterScore, ...]
    outcomes: tuple[ScoringOutcome, ...]
    gaps: tuple[str, ...]


def score(
    data: str,
    pairs: Sequence[Pair],
    prompters: dict[str, Prompter],
    rewards: Sequence[Reward] = TEXT_REWARDS,
    critic: Critic | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Ask every prompter about every pair, one at a time as in a zoom; rate, and compare all with all.

    critic: adds its own reward, the paper's total and the duels. prompters is emptied, so that the weights of one are
    not kept beside those of the next. Raises the errors of prompters and of the critic.
    """
    say = progress or (lambda what, done, total: None)
    asked = [*rewards, CriticReward(critic)] if critic else list(rewards)
    for reward in asked:
        reward.load()
    scored = []
    for name in list(prompters):
        scored.append(_scored(name, prompters.pop(name), pairs, asked, say))
    outcomes = []
    for a, b in combinations(scored, 2) if critic else ():
        assert critic
        contests = [
            Contest(pair=pair, texts=(one.text, other.text))
            for pair, one, other in zip(pairs, a.texts, b.texts, strict=True)
        ]
        counter = _ProgressCounter(f"{a.name} against {b.name}", len(pairs), say)
        duel, verdicts = run_duel(a.name, b.name, contests, critic.ask, counter.add)
        outcomes.append(ScoringOutcome(duel=duel, verdicts=tuple(verdicts)))
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
    name: str, prompter: Prompter, pairs: Sequence[Pair], rewards: Sequence[Reward], say: Progress
) -> PrompterScore:
    prompter.load()
    said: list[tuple[str, float]] = []
    counter = _ProgressCounter(name, len(pairs), say)
    for pair in pairs:
        context = make_context(pair)
        started = time.perf_counter()
        [text] = prompter([context])
        said.append((text, time.perf_counter() - started))
        counter.add(1)
    found: list[dict[str, float | None]] = []
    counter = _ProgressCounter(f"rewards of {name}", len(pairs), say)
    for start in range(0, len(pairs), AT_ONCE):
        samples = [
            Sample(pair=pair.name, parent=load(pair.parent).pixels, zoomed=load(pair.zoomed).pixels, text=text)
            for pair, (text, _) in zip(pairs[start : start + AT_ONCE], said[start : start + AT_ONCE], strict=True)
        ]
        values = {reward.name: [_value(each) for each in reward(samples)] for reward in rewards}
        found += [{key: values[key][i] for key in values} for i in range(len(samples))]
        counter.add(len(samples))
    if found[0].keys() >= PAPER_WEIGHTS.keys():
        found = [{**each, "total": _total(each)} for each in found]
    written = [
        ScoredText(pair=pair.name, text=text, seconds=seconds, rewards=each)
        for pair, (text, seconds), each in zip(pairs, said, found, strict=True)
    ]
    texts = [each.text for each in written]
    statistics = prompt_statistics(texts)
    return PrompterScore(
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


def _value(reward: float | Unscored) -> float | None:
    return None if isinstance(reward, Unscored) else reward


def _total(found: Mapping[str, float | None]) -> float | None:
    """The paper's weighted sum; None where a part has no number."""
    values = [(weight, found[key]) for key, weight in PAPER_WEIGHTS.items()]
    return None if any(value is None for _, value in values) else sum(w * v for w, v in values if v is not None)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if known else None


class _ProgressCounter:
    """Tells how far one part of the work is."""

    def __init__(self, what: str, total: int, say: Progress) -> None:
        self.what, self.total, self.say, self.done = what, total, say, 0
        say(what, 0, total)

    def add(self, count: int) -> None:
        """So many more are done."""
        self.done += count
        self.say(self.what, self.done, self.total)
