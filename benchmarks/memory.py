"""What the paper's networks weigh and work with, from their full configs on the meta device: no weights, no GPU.

python benchmarks/memory.py   (extra [diffusion]) prints the tables of docs/performance.md.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from diffusers import AutoencoderKL, SD3Transformer2DModel
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    T5Config,
    T5EncoderModel,
)

SIDE, LATENTS = 512, 64
TEXT = 77 + 512  # tokens of both CLIPs side by side, and of T5
PICTURE = 36 * 36  # patches of a picture in the vision tower; 4 of them become a token
PROMPT = 2 * PICTURE // 4 + 60 + 32  # two pictures, the question, the words


def clip(width: int, layers: int, heads: int, inner: int, out: int) -> nn.Module:
    config = CLIPTextConfig(
        hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=inner,
        projection_dim=out, vocab_size=49408, max_position_embeddings=77,
    )  # fmt: skip
    return CLIPTextModelWithProjection(config)


def networks() -> dict[str, nn.Module]:
    """The published configs of SD3-medium and Qwen2.5-VL-3B."""
    text = {
        "hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16,
        "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True,
        "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24], "rope_type": "default"},
    }  # fmt: skip
    vision = {
        "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 2048,
        "window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31],
    }  # fmt: skip
    with torch.device("meta"):
        return {
            "vlm": Qwen2_5_VLForConditionalGeneration(
                Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True)
            ),
            "clip": nn.ModuleList([clip(768, 12, 12, 3072, 768), clip(1280, 32, 20, 5120, 1280)]),
            "t5": T5EncoderModel(
                T5Config(
                    d_model=4096, d_ff=10240, d_kv=64, num_heads=64, num_layers=24, vocab_size=32128,
                    feed_forward_proj="gated-gelu", tie_word_embeddings=False,
                )
            ),
            "transformer": SD3Transformer2DModel(
                sample_size=128, patch_size=2, in_channels=16, out_channels=16, num_layers=24, attention_head_dim=64,
                num_attention_heads=24, joint_attention_dim=4096, caption_projection_dim=1536,
                pooled_projection_dim=2048, pos_embed_max_size=192,
            ),
            "vae": AutoencoderKL(
                down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
                block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=16,
                use_quant_conv=False, use_post_quant_conv=False,
            ),
        }  # fmt: skip


class Peak(TorchDispatchMode):
    """The most bytes alive at once among the storages made inside."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = self.most = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for each in made if isinstance(made, tuple | list) else [made]:
            if isinstance(each, torch.Tensor) and (key := each.untyped_storage()._cdata) not in self.known:
                self.known.add(key)
                size = each.untyped_storage().nbytes()
                self.alive += size
                self.most = max(self.most, self.alive)
                weakref.finalize(each.untyped_storage(), self._freed, key, size)
        return made

    def _freed(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.alive -= size


def fused(query: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
    """Attention as a fused kernel computes it: no matrix of scores in memory."""
    return torch.empty_like(query)


def peak(call: Callable[[], object]) -> int:
    real, nn.functional.scaled_dot_product_attention = nn.functional.scaled_dot_product_attention, fused
    try:
        with torch.inference_mode(), Peak() as found:
            call()
    finally:
        nn.functional.scaled_dot_product_attention = real
    return found.most


def work(nets: dict[str, nn.Module]) -> dict[str, int]:
    """Bytes beside the weights for one picture: bfloat16, and float32 for the VAE."""
    for name, net in nets.items():
        net.to(torch.float32 if name == "vae" else torch.bfloat16).eval()

    def meta(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device="meta")

    vlm: Any = nets["vlm"]
    vae: Any = nets["vae"]
    ids = meta(1, PROMPT, dtype=torch.long)
    language = peak(
        lambda: vlm.model.language_model(
            inputs_embeds=meta(1, PROMPT, 2048), position_ids=meta(3, 1, PROMPT, dtype=torch.long), use_cache=True
        )
    )
    float32 = torch.float32
    return {
        "vlm": language,
        "clip": peak(lambda: [net(ids[:, :77]) for net in nets["clip"]]),
        "t5": peak(lambda: nets["t5"](ids[:, :512])),
        "transformer": peak(lambda: nets["transformer"](
            meta(1, 16, LATENTS, LATENTS), meta(1, TEXT, 4096), meta(1, 2048), meta(1))),
        "vae": max(
            peak(lambda: vae.encode(meta(1, 3, SIDE, SIDE, dtype=float32))),
            peak(lambda: vae.decode(meta(1, 16, LATENTS, LATENTS, dtype=float32))),
        ),
    }  # fmt: skip


if __name__ == "__main__":
    nets = networks()
    beside = work(nets)
    for name, net in nets.items():
        count = sum(p.numel() for p in net.parameters())
        linear = sum(m.weight.numel() for m in net.modules() if isinstance(m, nn.Linear))
        print(name, count, linear, beside[name])
