"""Prepare the model that is aligned and the pairs it learns from, and ask it about the held-out ones.

The model is frozen but for LoRA layers in its language model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from chain_of_zoom.alignment.pairs.read import Pair
from chain_of_zoom.alignment.rewards.base import Reward, Sample, Unscored, check_scores
from chain_of_zoom.alignment.training.config import AlignConfig, Lora
from chain_of_zoom.alignment.training.run_folder import Answer
from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging.images import load
from chain_of_zoom.networks.vlm.loading import LoadedVlm
from chain_of_zoom.prompters.base import Messages, PromptContext, chat
from chain_of_zoom.prompters.vlm import generate_answers

TARGETS = r"^model\.language_model\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)$"
"""All linear layers of the language model, none of the vision tower: the paper's, by today's names."""


def make_lora_config(model: Any, lora: Lora) -> Any:
    """Return PEFT's configuration of the adapter. Raises UsageError for targets that hit no module of the model."""
    from peft import LoraConfig

    targets = lora.targets or TARGETS
    if not find_targets(model, targets):
        raise UsageError(
            f"lora.targets {targets!r} hits no layer of this {model.config.model_type}; accepted: a regex of module "
            "names; for example --set lora.targets='.*language_model.*(q_proj|v_proj)'"
        )
    return LoraConfig(
        r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets, task_type="CAUSAL_LM"
    )


def find_targets(model: Any, targets: str) -> list[Any]:
    """Return the linear layers whose names match a regex."""
    matching = (module for name, module in model.named_modules() if re.fullmatch(targets, name))
    return [module for module in matching if hasattr(module, "in_features")]


def make_context(pair: Pair) -> PromptContext:
    """Return what the prompter is shown of a pair. Raises BadInputError."""
    return PromptContext([load(pair.parent).pixels], load(pair.zoomed).pixels, 4.0)


def make_dataset(pairs: Sequence[Pair]) -> Any:
    """Return the pairs in TRL's columns, prompt, images and pair; pictures are read when they are needed."""
    from datasets import Dataset

    rows = [{"pair": pair.name, "parent": str(pair.parent), "zoomed": str(pair.zoomed)} for pair in pairs]

    def read_batch(batch: dict[str, list[str]]) -> dict[str, list[Any]]:
        columns = zip(batch["pair"], batch["parent"], batch["zoomed"], strict=True)
        batch_pairs = [
            Pair(name=name, parent=Path(parent), zoomed=Path(zoomed), split="train") for name, parent, zoomed in columns
        ]
        conversations = [chat(make_context(pair)) for pair in batch_pairs]
        return {
            "pair": batch["pair"],
            "prompt": [_remove_pictures(messages) for messages in conversations],
            "images": [_list_pictures(messages) for messages in conversations],
        }

    return Dataset.from_list(rows).with_transform(read_batch)


def _remove_pictures(messages: Messages) -> Messages:
    """Return the messages with a place where each picture goes."""
    return [
        {
            "role": turn["role"],
            "content": [{"type": "image"} if part["type"] == "image" else part for part in turn["content"]],
        }
        for turn in messages
    ]


def _list_pictures(messages: Messages) -> list[Image.Image]:
    return [Image.fromarray(part["image"]) for turn in messages for part in turn["content"] if part["type"] == "image"]


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
