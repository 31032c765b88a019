"""What a step of the paper's stack costs at the least: operations and bytes, counted from the configurations.

A stage takes at least its operations at the machine's rate for matrices, and at least its weights once through memory.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from paper_configs import CONFIGS, Size, build
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

SIDE, CLIP_TOKENS, T5_TOKENS, WORDS = 512, 77, 512, 32
IMAGE_TOKENS, QUESTION_TOKENS = 2 * (504 // 28) ** 2, 60  # two pictures of 504x504 px, and the words around them


@dataclass(frozen=True)
class Stage:
    """flops: operations of one picture, a product and a sum counted as two. weights: numbers that it reads.

    rounds: how often the weights pass through memory for one picture; they are shared by a batch.
    """

    name: str
    flops: float
    weights: float
    rounds: int = 1

    def seconds(self, rate: float, bandwidth: float, batch: int = 1, width: int = 2) -> float:
        """Per picture, at `rate` operations and `bandwidth` bytes a second, with numbers of `width` bytes."""
        return max(self.flops / rate, self.rounds * self.weights * width / bandwidth / batch)


@cache
def stages(size: Size) -> tuple[Stage, ...]:
    """The stages of one step: prompt from two pictures, text encoders, SR. Nothing is allocated."""
    with torch.device("meta"):
        vae, transformer, clips = (
            build("vae", size),
            build("transformer", size),
            [build("clip_l", size), build("clip_g", size)],
        )
        t5, qwen = build("t5", size), build("qwen", size)
        picture, latent = torch.empty(1, 3, SIDE, SIDE), torch.empty(1, 16, SIDE // 8, SIDE // 8)
        config = CONFIGS[size]["transformer"]
        text = torch.empty(1, CLIP_TOKENS + T5_TOKENS, config["joint_attention_dim"])
        pooled, instant = torch.empty(1, config["pooled_projection_dim"]), torch.ones(1)
        encode = _counted(lambda: vae.encoder(picture))
        decode = _counted(lambda: vae.decoder(latent))
        denoise = _counted(lambda: transformer(latent, text, pooled, instant))
    text_config, vision_config = qwen.config.text_config, qwen.config.vision_config
    patches = IMAGE_TOKENS * 4
    merged = _linears(qwen.model.visual.merger)
    looking = (_linears(qwen.model.visual) - merged) * patches + merged * IMAGE_TOKENS
    looking += sum(
        4 * patches * (patches / 2 if i in vision_config.fullatt_block_indexes else 64) * vision_config.hidden_size
        for i in range(vision_config.depth)
    )
    tokens = IMAGE_TOKENS + QUESTION_TOKENS
    language = _linears(qwen.model.language_model)
    reading = language * tokens + _attention(tokens, text_config.hidden_size, text_config.num_hidden_layers) / 2
    head = 2 * text_config.vocab_size * text_config.hidden_size
    width = text_config.vocab_size * text_config.hidden_size
    return (
        Stage("Qwen vision", looking, _size(qwen.model.visual)),
        Stage("Qwen prefill", reading + head, language / 2),
        Stage(f"Qwen, {WORDS - 1} more words", (language + head) * (WORDS - 1), language / 2 + width, WORDS - 1),
        Stage("CLIPs", sum(_encoder(clip, CLIP_TOKENS) for clip in clips), sum(map(_size, clips))),
        Stage("T5", _encoder(t5, T5_TOKENS), _linears(t5) / 2),
        Stage("VAE encode", encode, _size(vae.encoder)),
        Stage("transformer", denoise, _size(transformer)),
        Stage("VAE decode", decode, _size(vae.decoder)),
    )


SR = ("CLIPs", "T5", "VAE encode", "transformer", "VAE decode")


def floor(size: Size, rate: float, bandwidth: float, batch: int = 1, width: int = 2) -> dict[str, float]:
    """Seconds per picture of every stage, and of "sr", "prompt" and "both"."""
    found = {stage.name: stage.seconds(rate, bandwidth, batch, width) for stage in stages(size)}
    sr = sum(found[name] for name in SR)
    both = sum(found.values())
    return found | {"sr": sr, "prompt": both - sr, "both": both}


TF32, FLOAT32 = 494 / 989, 67 / 989
"""Of an H100's operations a second in 16 bits, by what its maker states: convolutions and matrices in float32."""
PUBLISHED = {"VAE encode": TF32, "VAE decode": TF32, "transformer": FLOAT32}
"""Stages that the published scripts compute in float32, with torch's defaults."""


def published_floor(rate: float, bandwidth: float) -> dict[str, float]:
    """Seconds per picture at full size as the published scripts take it: alone, and partly in float32."""
    least = {
        stage.name: stage.seconds(
            rate * PUBLISHED.get(stage.name, 1), bandwidth, width=4 if stage.name in PUBLISHED else 2
        )
        for stage in stages("full")
    }
    sr = sum(least[name] for name in SR)
    return least | {"sr": sr, "prompt": sum(least.values()) - sr, "both": sum(least.values())}


def rates(device: torch.device) -> tuple[float, float]:
    """Operations and bytes a second that this device shows right now: a matrix product, and a copy."""
    on_gpu = device.type == "cuda"
    side, dtype = (8192, torch.bfloat16) if on_gpu else (1024, torch.float32)
    a = torch.randn(side, side, device=device, dtype=dtype)
    data = torch.empty((1 << 30 if on_gpu else 1 << 26) // 4, device=device)
    multiply = _best(lambda: a @ a, device)
    copy = _best(lambda: data.clone(), device)
    return 2 * side**3 / multiply, 2 * data.numel() * 4 / copy


def _best(work: Any, device: torch.device, repeats: int = 10) -> float:
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - began)
    return min(times)


def _counted(work: Any) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        work()
    return float(counter.get_total_flops())


def _linears(module: nn.Module) -> float:
    """Operations of all matrices for one token."""
    return 2.0 * sum(m.weight.numel() for m in module.modules() if isinstance(m, nn.Linear))


def _attention(tokens: int, width: int, layers: int) -> float:
    return 4.0 * tokens * tokens * width * layers


def _encoder(model: Any, tokens: int) -> float:
    """Operations of a text encoder; CLIP's projection is of one token, and left out."""
    config, model = model.config, getattr(model, "text_model", model)
    width = config.num_heads * config.d_kv if hasattr(config, "d_kv") else config.hidden_size
    return _linears(model) * tokens + _attention(tokens, width, config.num_hidden_layers)


def _size(module: nn.Module) -> float:
    return float(sum(p.numel() for p in module.parameters()))
