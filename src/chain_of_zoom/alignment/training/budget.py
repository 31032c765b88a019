"""Estimate how much memory an alignment needs on each device, from shapes and before any weight is read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import msgspec
import torch

from chain_of_zoom.alignment.pairs.read import Pair
from chain_of_zoom.alignment.training.config import AlignConfig
from chain_of_zoom.alignment.training.policy import TARGETS, find_targets, make_context
from chain_of_zoom.errors import UsageError
from chain_of_zoom.networks.vlm.loading import LoadedVlm, outline_vlm
from chain_of_zoom.prompters.base import chat
from chain_of_zoom.prompters.critic import is_url
from chain_of_zoom.prompters.vlm import convert_pictures
from chain_of_zoom.resources import available_memory, human_size

FLOAT, ADAM = 4, 8
"""Bytes of a number, and of what the optimizer remembers of it."""
PATCHES = 4
"""Patches of the vision tower in a token of the language model."""
LOGIT_TOKENS, LOGIT_WORDS = 4096, 32_768
"""Tokens and words whose logits TRL computes at a time."""
RUNTIME = 1_500_000_000
"""Bytes of CUDA's context, its kernels and the allocator's gaps; of torch itself on a CPU."""


@dataclass(frozen=True)
class MemoryBudget:
    """Memory of one device."""

    parts: tuple[tuple[str, int], ...]
    """What takes memory, and its bytes."""

    @property
    def total(self) -> int:
        """Return the bytes of all parts."""
        return sum(count for _, count in self.parts)

    def __str__(self) -> str:
        return " + ".join(f"{human_size(count)} {part}" for part, count in self.parts if count)


def estimate_memory(
    config: AlignConfig, vlm: LoadedVlm, *, prompt: int, width: int, checkpointing: bool, critic: int
) -> MemoryBudget:
    """Estimate the memory of one process from above; the formulas are in docs/alignment.md.

    vlm: on the meta device. prompt: tokens of the prompt of one pair. width: bytes of a weight. critic: bytes of the
    critic's weights on the same device.
    """
    text = vlm.model.config.get_text_config()
    layers, hidden, inner = text.num_hidden_layers, text.hidden_size, text.intermediate_size
    key_size = text.num_key_value_heads * (getattr(text, "head_dim", None) or hidden // text.num_attention_heads)
    tokens = prompt + config.max_new_tokens
    weights = sum(prod(parameter.shape) for parameter in vlm.model.parameters()) * width
    linear = find_targets(vlm.model, config.lora.targets or TARGETS)
    lora = config.lora.r * sum(layer.in_features + layer.out_features for layer in linear)
    layer = width * (10 * hidden + 4 * inner) + 2 * FLOAT * (6 * hidden + inner)  # second: float copies for the adapter
    per_token = layers * width * hidden + layer if checkpointing else layers * layer
    logits = width * min(config.batch * tokens, LOGIT_TOKENS) * LOGIT_WORDS
    vision = _estimate_vision(vlm.model, prompt, width, checkpointing=checkpointing)
    return MemoryBudget(
        (
            ("weights", weights),
            ("adapter, its gradients and optimizer", lora * (2 * FLOAT + ADAM)),
            (
                f"activations of {config.batch} text{'s' * (config.batch > 1)}",
                config.batch * (tokens * per_token + vision) + logits,
            ),
            ("keys and values", config.batch * config.accumulate * tokens * layers * 2 * key_size * width),
            ("runtime", RUNTIME),
            ("critic", critic),
        )
    )


def _estimate_vision(model: Any, prompt: int, width: int, *, checkpointing: bool) -> int:
    """Estimate activations of the vision tower for one text.

    It is frozen, but TRL lets gradients flow through its inputs.
    """
    vision: Any = getattr(model.config, "vision_config", None)
    if vision is None:
        return 0
    depth = int(getattr(vision, "depth", 0) or getattr(vision, "num_hidden_layers", 0))
    hidden = int(vision.hidden_size)
    inner = int(getattr(vision, "intermediate_size", 0) or 4 * hidden)
    per_layer = width * (10 * hidden + 4 * inner)
    per_patch = depth * width * hidden + per_layer if checkpointing else depth * per_layer
    return PATCHES * prompt * per_patch


def require_memory(config: AlignConfig, args: Any, width: int, pair: Pair) -> None:
    """Raises UsageError unless one process of this run fits. args: TRL's configuration. width: bytes of a weight."""
    device = args.device
    vlm = outline_vlm(config.model)
    messages = convert_pictures(chat(make_context(pair)))
    inputs = vlm.processor.apply_chat_template(
        [messages], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    critic, name = 0, config.critic.name
    if "critic" in config.used and name and not is_url(name) and config.critic.device in ("auto", device.type):
        critic = width * sum(prod(parameter.shape) for parameter in outline_vlm(name).model.parameters())
    estimate = partial(
        estimate_memory,
        vlm=vlm,
        prompt=int(inputs["input_ids"].shape[1]),
        width=width,
        checkpointing=args.gradient_checkpointing,
        critic=critic,
    )
    if device.type != "cuda":  # Apple's GPU has the machine's memory
        available = (available_memory() or 0) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    else:
        available = torch.cuda.mem_get_info(device)[0]
    single = msgspec.structs.replace(config, batch=1, accumulate=config.batch * config.accumulate)
    if available:
        check_memory(config, estimate(config), estimate(single), available)


def check_memory(config: AlignConfig, needed: MemoryBudget, smaller: MemoryBudget, available: int) -> None:
    """Raises UsageError where the available memory (bytes) is too little.

    smaller: the estimate with one text at a time, for advice.
    """
    if needed.total <= available:
        return
    if smaller.total <= available and config.batch > 1:
        texts = config.batch * config.accumulate
        advice = f"--set batch=1 --set accumulate={texts} (about {human_size(smaller.total)})"
    else:
        remote_critic = "a critic behind a URL, " if dict(needed.parts)["critic"] else ""
        advice = f"{remote_critic}a smaller --model, or a device with about {human_size(smaller.total)}"
    raise UsageError(
        f"about {human_size(needed.total)} of memory are needed ({needed}) and {human_size(available)} are there; "
        f"accepted: what fits; for example {advice}"
    )
