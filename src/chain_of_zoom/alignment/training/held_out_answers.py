"""Ask a model about held-out pairs and rate what it writes: before training, and after."""

from __future__ import annotations

from collections.abc import Sequence

from chain_of_zoom.alignment.pairs.read import Pair
from chain_of_zoom.alignment.rewards.base import Reward, Sample, Unscored, check_scores
from chain_of_zoom.alignment.training.config import AlignConfig
from chain_of_zoom.alignment.training.policy import make_context
from chain_of_zoom.alignment.training.run_folder import Answer
from chain_of_zoom.networks.vlm.loading import LoadedVlm
from chain_of_zoom.prompters.base import chat
from chain_of_zoom.prompters.vlm import generate_answers


def answer_pairs(vlm: LoadedVlm, pairs: Sequence[Pair], config: AlignConfig, rewards: Sequence[Reward]) -> list[Answer]:
    """Return greedy texts with their rewards, in the order of the pairs. Raises what rewards raise."""
    samples = []
    for pair in pairs:
        context = make_context(pair)
        [text] = generate_answers(vlm, [chat(context)], config.max_new_tokens, greedy=True)
        samples.append(Sample(pair.name, context.states[-1], context.zoomed, text))
    columns = {reward.name: _numbers(check_scores(reward, samples)) for reward in rewards}
    return [
        Answer(text=sample.text, rewards={name: values[i] for name, values in columns.items()})
        for i, sample in enumerate(samples)
    ]


def _numbers(scores: Sequence[float | Unscored]) -> list[float | None]:
    return [None if isinstance(score, Unscored) else float(score) for score in scores]
