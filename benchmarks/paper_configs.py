"""The paper's stack with random weights: its networks at full size or tiny, and folders in the published layouts.

Configurations are those of the published models (Stable Diffusion 3 medium, Qwen2.5-VL-3B-Instruct), written out, so
that nothing is needed from anywhere. Tokenizers are made up: a text is one token a word, as with the real ones, and
every sequence is padded to the published length anyway.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from torch import Tensor, nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    GenerationConfig,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from chain_of_zoom.networks.sd.lora import ENCODER_ALPHA, ENCODER_RANK, find_modulation_linears
from chain_of_zoom.prompters.base import MULTI_SCALE, SINGLE_SCALE

Size = Literal["full", "tiny"]
PARTS = ("transformer", "vae", "clip_l", "clip_g", "t5", "qwen")

# As published, by the names of PARTS; what is not named is the default of diffusers and transformers.
FULL: dict[str, dict[str, Any]] = {
    "transformer": {
        "sample_size": 128, "patch_size": 2, "in_channels": 16, "out_channels": 16, "num_layers": 24,
        "attention_head_dim": 64, "num_attention_heads": 24, "joint_attention_dim": 4096,
        "caption_projection_dim": 1536, "pooled_projection_dim": 2048, "pos_embed_max_size": 192,
    },
    "vae": {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "sample_size": 1024},
    "clip_l": {
        "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
        "projection_dim": 768, "hidden_act": "quick_gelu", "vocab_size": 49408,
    },
    "clip_g": {
        "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20,
        "projection_dim": 1280, "hidden_act": "gelu", "vocab_size": 49408,
    },
    "t5": {"d_model": 4096, "d_ff": 10240, "d_kv": 64, "num_heads": 64, "num_layers": 24, "vocab_size": 32128},
    "qwen": {
        "text_config": {
            "hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16,
            "num_key_value_heads": 2, "vocab_size": 151936, "max_position_embeddings": 128000,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        },
        "vision_config": {
            "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 2048,
            "fullatt_block_indexes": [7, 15, 23, 31],
        },
    },
}  # fmt: skip
TINY: dict[str, dict[str, Any]] = {
    "transformer": {
        "sample_size": 64, "patch_size": 2, "in_channels": 16, "out_channels": 16, "num_layers": 3,
        "attention_head_dim": 8, "num_attention_heads": 4, "joint_attention_dim": 96, "caption_projection_dim": 32,
        "pooled_projection_dim": 80, "pos_embed_max_size": 96,
    },
    "vae": {"block_out_channels": (8, 8, 16, 16), "layers_per_block": 1, "norm_num_groups": 4, "sample_size": 64},
    "clip_l": {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
        "projection_dim": 32, "hidden_act": "quick_gelu", "vocab_size": 512,
    },
    "clip_g": {
        "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
        "projection_dim": 48, "hidden_act": "gelu", "vocab_size": 512,
    },
    "t5": {"d_model": 96, "d_ff": 96, "d_kv": 16, "num_heads": 4, "num_layers": 2, "vocab_size": 512},
    "qwen": {
        "text_config": {
            "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4,
            "num_key_value_heads": 2, "vocab_size": 512, "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]},
        },
        "vision_config": {
            "depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 64,
            "fullatt_block_indexes": [1],
        },
    },
}  # fmt: skip
CONFIGS: dict[Size, dict[str, dict[str, Any]]] = {"full": FULL, "tiny": TINY}

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
           "<|video_pad|>")  # fmt: skip
# The published template, less what these messages never use.
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PREPROCESSOR = {
    "image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen2_5_VLProcessor", "patch_size": 14,
    "temporal_patch_size": 2, "merge_size": 2, "min_pixels": 3136, "max_pixels": 12845056, "do_convert_rgb": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
}  # fmt: skip


def build(part: str, size: Size) -> nn.Module:
    """One network with random weights, on torch's current device (also "meta") and in its current float type."""
    config = CONFIGS[size][part]
    if part == "transformer":
        return SD3Transformer2DModel(**config)
    if part == "vae":
        blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
        scales = {"latent_channels": 16, "scaling_factor": 1.5305, "shift_factor": 0.0609}
        return AutoencoderKL(**config, **blocks, **scales, use_quant_conv=False, use_post_quant_conv=False)
    if part.startswith("clip"):
        ends = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
        return CLIPTextModelWithProjection(CLIPTextConfig(**config, **ends))
    if part == "t5":
        return T5EncoderModel(T5Config(**config, feed_forward_proj="gated-gelu", num_decoder_layers=1))
    ids = {name: i for i, name in enumerate(SPECIAL)}
    return Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(
            text_config={**config["text_config"], "bos_token_id": None, "eos_token_id": None},
            vision_config=config["vision_config"],
            tie_word_embeddings=True,
            vision_start_token_id=ids["<|vision_start|>"],
            vision_end_token_id=ids["<|vision_end|>"],
            image_token_id=ids["<|image_pad|>"],
            video_token_id=ids["<|video_pad|>"],
        )
    )


def parameters(part: str, size: Size) -> int:
    """How many numbers a network has; nothing is allocated."""
    with torch.device("meta"):
        return sum(p.numel() for p in build(part, size).parameters())


def write(folder: Path, size: Size, device: torch.device, seed: int = 0) -> dict[str, Path]:
    """Everything that `--preset paper` loads, random, in the published layouts and float types (16 bits when full).

    Returns the paths by option: base, lora, vae_encoder, model, adapter.
    """
    torch.manual_seed(seed)
    half, brain = (torch.float16, torch.bfloat16) if size == "full" else (torch.float32, torch.float32)
    base, model = folder / "sd3", folder / "qwen"
    paths = {"base": base, "model": model, "adapter": folder / "adapter"}
    paths |= {name: folder / f"{name}.pt" for name in ("lora", "vae_encoder")}
    networks = {part: _random(part, size, device, half) for part in PARTS[:-1]}
    torch.save(_transformer_adapters(networks["transformer"]), paths["lora"])
    torch.save(_encoder_state(networks["vae"]), paths["vae_encoder"])
    StableDiffusion3Pipeline(
        transformer=networks["transformer"],
        vae=networks["vae"],
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        text_encoder=networks["clip_l"],
        text_encoder_2=networks["clip_g"],
        text_encoder_3=networks["t5"],
        tokenizer=_clip_tokenizer(),
        tokenizer_2=_clip_tokenizer(),
        tokenizer_3=_t5_tokenizer(),
    ).save_pretrained(base)
    del networks
    qwen = _random("qwen", size, device, brain)
    # No end, so that texts have as many tokens as are asked for; no word twice, as random networks would repeat one.
    qwen.generation_config = GenerationConfig(pad_token_id=0, eos_token_id=None, repetition_penalty=10.0)
    qwen.save_pretrained(model)
    _qwen_tokenizer(CONFIGS[size]["qwen"]["text_config"]["vocab_size"]).save_pretrained(model)
    (model / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    (model / "chat_template.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    _write_adapter(qwen, paths["adapter"])
    return paths


def _random(part: str, size: Size, device: torch.device, dtype: torch.dtype) -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            network = build(part, size)
    finally:
        torch.set_default_dtype(before)
    return network.eval().requires_grad_(False)


def _noise(like: Tensor, *shape: int) -> Tensor:
    return (torch.randn(shape, device=like.device) * 0.01).to("cpu", torch.float16)


def _transformer_adapters(transformer: nn.Module, rank: int = 4) -> list[Tensor]:
    """As model_20001.pkl: up, down, up, down ..."""
    pairs: list[Tensor] = []
    for _, linear in find_modulation_linears(transformer):
        pairs += [
            _noise(linear.weight, linear.out_features, rank),
            _noise(linear.weight, rank, linear.in_features),
        ]
    return pairs


def _encoder_state(vae: Any) -> dict[str, Tensor]:
    """As vae_encoder_20001.pt: the encoder with PEFT's layers in it."""
    adapted = ("conv1", "conv2", "conv_in", "conv_shortcut", "conv", "conv_out", "to_k", "to_q", "to_v", "0")
    state: dict[str, Tensor] = {}
    for name, module in vae.encoder.named_modules():
        wrapped = isinstance(module, (nn.Conv2d, nn.Linear)) and name.rpartition(".")[2] in adapted
        prefix = f"{name}.base_layer" if wrapped else name
        for key, value in module.named_parameters(recurse=False):
            state[f"{prefix}.{key}"] = value.detach().to("cpu", torch.float16)
        if wrapped:
            weight = module.weight
            kernel, point = (weight.shape[2:], (1, 1)) if weight.ndim == 4 else ((), ())
            state[f"{name}.lora_A.default_encoder.weight"] = _noise(weight, ENCODER_RANK, weight.shape[1], *kernel)
            state[f"{name}.lora_B.default_encoder.weight"] = _noise(weight, weight.shape[0], ENCODER_RANK, *point)
    return state


def _write_adapter(qwen: Any, folder: Path) -> None:
    from peft import LoraConfig, get_peft_model

    kinds = "q_proj|o_proj|gate_proj|down_proj|k_proj|up_proj|v_proj"
    targets = rf"^model\.language_model\..*\.({kinds})$"
    lora = LoraConfig(r=8, lora_alpha=32, target_modules=targets, init_lora_weights="gaussian")
    get_peft_model(qwen, lora).save_pretrained(folder)


def unmerged(linears: list[nn.Module], pairs: list[tuple[Tensor, Tensor]], scale: float) -> None:
    """Put adapters beside their layers, as the published code runs them: one more small product at every call."""
    for layer, (down, up) in zip(linears, pairs, strict=True):
        layer.register_forward_hook(_beside(layer, down.to(layer.weight), up.to(layer.weight), scale))


def _beside(layer: Any, down: Tensor, up: Tensor, scale: float) -> Callable[..., Tensor]:
    def linear(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output + scale * (inputs[0] @ down.T @ up.T)

    def convolution(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        small = nn.functional.conv2d(inputs[0], down, stride=layer.stride, padding=layer.padding)
        return output + scale * nn.functional.conv2d(small, up)

    return linear if down.ndim == 2 else convolution


def encoder_adapters(encoder: nn.Module, state: dict[str, Tensor]) -> None:
    """Load a published encoder file with its adapters unmerged."""
    plain = {key.replace(".base_layer.", "."): value for key, value in state.items() if ".lora_" not in key}
    encoder.load_state_dict({key: value.float() for key, value in plain.items()})
    names = [key.partition(".lora_A")[0] for key in state if ".lora_A" in key]
    pairs = [tuple(state[f"{name}.lora_{side}.default_encoder.weight"] for side in "AB") for name in names]
    unmerged([encoder.get_submodule(name) for name in names], pairs, ENCODER_ALPHA / ENCODER_RANK)


def _clip_tokenizer() -> CLIPTokenizer:
    letters = "abcdefghijklmnopqrstuvwxyz0123456789,."
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    return CLIPTokenizer({word: i for i, word in enumerate(words)}, [], model_max_length=77)


def _t5_tokenizer() -> T5TokenizerFast:
    letters = "▁abcdefghijklmnopqrstuvwxyz0123456789,."
    return T5TokenizerFast(
        [(word, 0.0) for word in ("<pad>", "</s>", "<unk>", *letters)], extra_ids=0, model_max_length=512
    )


def _qwen_tokenizer(vocabulary: int) -> Qwen2Tokenizer:
    """Whole words of the questions, bytes for anything else, and made-up words for all other numbers."""
    letters = [*map(chr, range(33, 127)), "Ġ", "Ċ"]
    merges: list[tuple[str, str]] = []
    for word in f"{SINGLE_SCALE} {MULTI_SCALE} system user assistant".split():
        for whole in (word.strip("?.,"), "Ġ" + word.strip("?.,")):
            merges += [(whole[:i], whole[i]) for i in range(1, len(whole))]
    merges = list(dict.fromkeys(merges))
    words = [*SPECIAL, *letters, *("".join(merge) for merge in merges)]
    words = list(dict.fromkeys(words))
    words += [f"Ġw{i}" for i in range(vocabulary - len(words))]
    tokenizer = Qwen2Tokenizer({word: i for i, word in enumerate(words)}, merges, eos_token="<|im_end|>")
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL)})
    return tokenizer
