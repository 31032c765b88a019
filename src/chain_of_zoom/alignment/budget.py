"""How much memory an alignment needs on each device, summed from shapes before any weight is read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import msgspec
import torch

from chain_of_zoom.alignment.config import AlignConfig, is_url
from chain_of_zoom.alignment.pairs import Pair
from chain_of_zoom.alignment.policy import TARGETS, find_targets, make_context
from chain_of_zoom.errors import UsageError
from chain_of_zoom.networks.vlm.loading import LoadedVlm, outline_vlm
from chain_of_zoom.prompters.base import chat
from chain_of_zoom.prompters.vlm import with_pictures
from chain_of_zoom.resources import human_size, total_memory

FLOAT, ADAM = 4, 8  # bytes
PATCHES = 4  # of the vision tower, in a token of the language model
RUNTIME = 1_500_000_000  # CUDA's context, kernels and the allocator's gaps; torch itself on a CPU


@dataclass(frozen=True)
class MemoryBudget:
    """Bytes by what takes them, on one device."""

    parts: tuple[tuple[str, int], ...]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(count for _, count in self.parts)

    def __str__(self) -> str:
        return " + ".join(f"{human_size(count)} {what}" for what, count in self.parts if count)


def estimate_memory(
    config: AlignConfig, vlm: LoadedVlm, *, prompt: int, width: int, checkpointing: bool, critic: int
) -> MemoryBudget:
    """The memory of one process, an upper estimate: formulas in docs/alignment.md.

    vlm: on the meta device. prompt: its tokens of one pair. width: bytes of a weight. critic: bytes of the critic's
    weights on the same device.
    """
    text = vlm.model.config.get_text_config()
    layers, hidden, inner = text.num_hidden_layers, text.hidden_size, text.intermediate_size
    keys = text.num_key_value_heads * (getattr(text, "head_dim", None) or hidden // text.num_attention_heads)
    tokens = prompt + config.max_new_tokens
    weights = sum(prod(parameter.shape) for parameter in vlm.model.parameters()) * width
    linear = find_targets(vlm.model, config.lora.targets or TARGETS)
    lora = config.lora.r * sum(layer.in_features + layer.out_features for layer in linear)
    layer = width * (10 * hidden + 4 * inner) + 2 * FLOAT * (6 * hidden + inner)  # second: float copies for the adapter
    kept = layers * width * hidden + layer if checkpointing else layers * layer
    logits = FLOAT * 3 * text.vocab_size * config.max_new_tokens
    vision = _vision(vlm.model, prompt, width, checkpointing=checkpointing)
    return MemoryBudget(
        (
            ("weights", weights),
            ("adapter, its gradients and optimizer", lora * (2 * FLOAT + ADAM)),
            (
                f"activations of {config.batch} text{'s' * (config.batch > 1)}",
                config.batch * (tokens * kept + logits + vision),
            ),
            ("keys and values", config.batch * config.accumulate * tokens * layers * 2 * keys * width),
            ("runtime", RUNTIME),
            ("critic", critic),
        )
    )


def _vision(model: Any, prompt: int, width: int, *, checkpointing: bool) -> int:
    """Activations of the vision tower for one text: frozen, but TRL has gradients flow through its inputs."""
    vision: Any = getattr(model.config, "vision_config", None)
    if vision is None:
        return 0
    depth = int(getattr(vision, "depth", 0) or getattr(vision, "num_hidden_layers", 0))
    hidden = int(vision.hidden_size)
    inner = int(getattr(vision, "intermediate_size", 0) or 4 * hidden)
    layer = width * (10 * hidden + 4 * inner)
    kept = depth * width * hidden + layer if checkpointing else depth * layer
    return PATCHES * prompt * kept


def require_memory(config: AlignConfig, args: Any, width: int, pair: Pair) -> None:
    """Raises UsageError unless one process of this run fits. args: TRL's. width: bytes of a weight."""
    device = args.device
    vlm = outline_vlm(config.model)
    messages = with_pictures(chat(make_context(pair)))
    inputs = vlm.processor.apply_chat_template(
        [messages], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    critic, name = 0, config.critic.name
    if "critic" in config.used and name and not is_url(name) and config.critic.device in ("auto", device.type):
        critic = width * sum(prod(parameter.shape) for parameter in outline_vlm(name).model.parameters())
    count = partial(
        estimate_memory,
        vlm=vlm,
        prompt=int(inputs["input_ids"].shape[1]),
        width=width,
        checkpointing=args.gradient_checkpointing,
        critic=critic,
    )
    if device.type == "cpu":
        room = (total_memory() or 0) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    else:
        room = torch.cuda.get_device_properties(device).total_memory
    single = msgspec.structs.replace(config, batch=1, accumulate=config.batch * config.accumulate)
    if room:
        check_memory(config, count(config), count(single), room)


def check_memory(config: AlignConfig, needed: MemoryBudget, smaller: MemoryBudget, room: int) -> None:
    """Raises UsageError where the memory (bytes) is too little. smaller: the same with one text at a time."""
    if needed.total <= room:
        return
    if smaller.total <= room and config.batch > 1:
        texts = config.batch * config.accumulate
        fits = f"--set batch=1 --set accumulate={texts} (about {human_size(smaller.total)})"
    else:
        rest = "a critic behind a URL, " if dict(needed.parts)["critic"] else ""
        fits = f"{rest}a smaller --model, or a device with about {human_size(smaller.total)}"
    raise UsageError(
        f"about {human_size(needed.total)} of memory are needed ({needed}) and {human_size(room)} are there; "
        f"accepted: what fits; for example {fits}"
    )
