"""Let prompters write about held-out pairs, and score their texts by rewards, statistics and a critic."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import mean, median
from typing import Literal

import msgspec

from chain_of_zoom.alignment.pairs.read import Pair
from chain_of_zoom.alignment.rewards.base import Reward, Sample, Unscored
from chain_of_zoom.alignment.rewards.critic import CriticReward
from chain_of_zoom.alignment.rewards.text import Phrase, Repetition, Validity
from chain_of_zoom.alignment.scoring.duel import AT_ONCE, Contest, run_duel
from chain_of_zoom.alignment.training.config import PRESETS
from chain_of_zoom.alignment.training.policy import make_context
from chain_of_zoom.imaging.images import load
from chain_of_zoom.prompters.base import Prompter
from chain_of_zoom.prompters.critic import Critic
from chain_of_zoom.prompters.duel import Duel
from chain_of_zoom.prompters.text_statistics import split_words, summarise_prompts
from chain_of_zoom.runs.progress import OnProgress, Progress, ignore_progress

SCORES = "scores.json"
TEXT_REWARDS = (Phrase(), Repetition(), Validity())
PAPER_WEIGHTS: Mapping[str, float] = PRESETS["paper"]["weights"]


class ScoredText(msgspec.Struct, frozen=True, kw_only=True):
    """One text, as extracted."""

    pair: str
    """Name of the pair."""
    text: str
    """The text."""
    seconds: float
    """Time that it took."""
    rewards: dict[str, float | None]
    """Its rewards by name; None where the critic's answer was no rating."""


class PrompterScore(msgspec.Struct, frozen=True, kw_only=True):
    """The scores of one prompter."""

    name: str
    """Its label."""
    weights_sha256: dict[str, str]
    """SHA-256 of its files, by role."""
    rewards: dict[str, float | None]
    """Means of rewards over the texts that have them."""
    unrated: int
    """Texts without a rating."""
    words: float
    """Mean length in words."""
    vocabulary: int
    """Different words in all texts."""
    distinct_1: float | None
    """Share of different words, see PromptStatistics."""
    distinct_2: float | None
    """Share of different pairs of words."""
    empty: float
    """Share of texts without a word."""
    repetition: float
    """Share of repeated 3-grams."""
    seconds: float
    """Median time per text, one at a time."""
    texts: tuple[ScoredText, ...]
    """Its texts, in the order of the pairs."""


class ScoringOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """A duel and its verdicts."""

    duel: Duel
    """The duel."""
    verdicts: tuple[Literal["first", "second", "tie"] | None, ...]
    """Who is ahead on every pair: "first" for its a; null where the critic gave no answer."""


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """The scores of all prompters, as scores.json holds them."""

    version: Literal[1] = 1
    """Version of this layout."""
    data: str
    """Name of the set of pairs."""
    pairs: tuple[str, ...]
    """Names of the pairs, in the order of every list."""
    photos: int
    """Number of photos that they show."""
    critic: str | None
    """Name of the critic; null without one."""
    prompters: tuple[PrompterScore, ...]
    """Scores of every prompter."""
    outcomes: tuple[ScoringOutcome, ...]
    """Duels of all with all."""
    gaps: tuple[str, ...]
    """What is not measured, and why."""


def score(
    data: str,
    pairs: Sequence[Pair],
    prompters: dict[str, Prompter],
    rewards: Sequence[Reward] = TEXT_REWARDS,
    critic: Critic | None = None,
    on_progress: OnProgress = ignore_progress,
) -> Scores:
    """Ask every prompter about every pair, one at a time as in a zoom; rate, and compare all with all.

    critic: adds its own reward, the paper's total and the duels. prompters is emptied, so that the weights of one
    are not in memory beside those of the next. Raises the errors of prompters and of the critic.
    """
    all_rewards = [*rewards, CriticReward(critic)] if critic else list(rewards)
    for reward in all_rewards:
        reward.load()
    scores = []
    for name in list(prompters):
        scores.append(_score_prompter(name, prompters.pop(name), pairs, all_rewards, on_progress))
    gaps = []
    if critic is None:
        gaps.append("reward of the critic, the total, and duels: there is no critic; name one with --critic")
    elif len(scores) < 2:
        gaps.append("duels: there is one prompter; name another one with --prompter")
    return Scores(
        data=data,
        pairs=tuple(pair.name for pair in pairs),
        photos=len({pair.photo for pair in pairs}),
        critic=critic.name if critic else None,
        prompters=tuple(scores),
        outcomes=_run_duels(scores, pairs, critic, on_progress) if critic else (),
        gaps=tuple(gaps),
    )


def _run_duels(
    scores: Sequence[PrompterScore], pairs: Sequence[Pair], critic: Critic, on_progress: OnProgress
) -> tuple[ScoringOutcome, ...]:
    outcomes = []
    for a, b in combinations(scores, 2):
        text_pairs = [(first.text, second.text) for first, second in zip(a.texts, b.texts, strict=True)]
        contests = [
            Contest(pair=pair, texts=texts_of_pair) for pair, texts_of_pair in zip(pairs, text_pairs, strict=True)
        ]
        counter = _ProgressCounter(f"{a.name} against {b.name}", len(pairs), on_progress)
        duel, verdicts = run_duel(a.name, b.name, contests, critic.ask, counter.add)
        outcomes.append(ScoringOutcome(duel=duel, verdicts=tuple(verdicts)))
    return tuple(outcomes)


def _score_prompter(
    name: str, prompter: Prompter, pairs: Sequence[Pair], rewards: Sequence[Reward], on_progress: OnProgress
) -> PrompterScore:
    prompter.load()
    texts: list[str] = []
    seconds: list[float] = []
    counter = _ProgressCounter(name, len(pairs), on_progress)
    for pair in pairs:
        context = make_context(pair)
        start = time.perf_counter()
        [text] = prompter([context])
        texts.append(text)
        seconds.append(time.perf_counter() - start)
        counter.add(1)
    rows = _rate_texts(name, texts, pairs, rewards, on_progress)
    statistics = summarise_prompts(texts)
    return PrompterScore(
        name=name,
        weights_sha256=prompter.weights_sha256(),
        rewards={key: _mean([row[key] for row in rows]) for key in rows[0]},
        unrated=sum(None in row.values() for row in rows),
        words=statistics.words,
        vocabulary=len({word for text in texts for word in split_words(text)}),
        distinct_1=statistics.distinct_1,
        distinct_2=statistics.distinct_2,
        empty=statistics.empty,
        repetition=statistics.repetition,
        seconds=median(seconds),
        texts=tuple(
            ScoredText(pair=pair.name, text=text, seconds=duration, rewards=row)
            for pair, text, duration, row in zip(pairs, texts, seconds, rows, strict=True)
        ),
    )


def _rate_texts(
    name: str, texts: Sequence[str], pairs: Sequence[Pair], rewards: Sequence[Reward], on_progress: OnProgress
) -> list[dict[str, float | None]]:
    """Return the rewards of every text by name, with the paper's total where all its parts are there."""
    rows: list[dict[str, float | None]] = []
    counter = _ProgressCounter(f"rewards of {name}", len(pairs), on_progress)
    for start in range(0, len(pairs), AT_ONCE):
        batch = slice(start, start + AT_ONCE)
        samples = [
            Sample(pair=pair.name, parent=load(pair.parent).pixels, zoomed=load(pair.zoomed).pixels, text=text)
            for pair, text in zip(pairs[batch], texts[batch], strict=True)
        ]
        columns = {reward.name: [_value(number) for number in reward(samples)] for reward in rewards}
        rows += [{key: column[i] for key, column in columns.items()} for i in range(len(samples))]
        counter.add(len(samples))
    if rows[0].keys() >= PAPER_WEIGHTS.keys():
        rows = [{**row, "total": _total(row)} for row in rows]
    return rows


def _value(reward: float | Unscored) -> float | None:
    return None if isinstance(reward, Unscored) else reward


def _total(rewards: Mapping[str, float | None]) -> float | None:
    """Return the paper's weighted sum; None where a part has no number."""
    values = [(weight, rewards[key]) for key, weight in PAPER_WEIGHTS.items()]
    return None if any(value is None for _, value in values) else sum(w * v for w, v in values if v is not None)


def _mean(values: Sequence[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return mean(numbers) if numbers else None


class _ProgressCounter:
    """Reports how far one task is."""

    def __init__(self, task: str, total: int, on_progress: OnProgress) -> None:
        self.task, self.total, self.on_progress, self.count = task, total, on_progress, 0
        self.add(0)

    def add(self, count: int) -> None:
        """Report that `count` more are finished."""
        self.count += count
        self.on_progress(Progress(self.task, self.count, self.total))
