"""The whole way of training, offline on a CPU in a few minutes: python examples/train_tiny.py [FOLDER]

A tiny Stable Diffusion 3 of random weights is made, taught on the photo beside this file, and zooms into it. It shows
the way, not quality: with random weights only tones can be learnt.
"""

from __future__ import annotations

import logging
import string
import subprocess
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)
from transformers.utils.logging import disable_progress_bar

PHOTO = Path(__file__).with_name("astronaut.png")


def tiny_sd3() -> StableDiffusion3Pipeline:
    """Every part of the pipeline, as small as it goes: the widths of T5 and of both CLIPs must fit the transformer."""
    torch.manual_seed(0)
    letters = [*string.ascii_lowercase, *string.digits, ",", "."]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    clips = [CLIPTokenizer({word: i for i, word in enumerate(words)}, [], model_max_length=77) for _ in range(2)]
    pieces = [(piece, 0.0) for piece in ("<pad>", "</s>", "<unk>", "▁", *letters)]
    text = CLIPTextConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        projection_dim=32, bos_token_id=len(words) - 2, eos_token_id=len(words) - 1, pad_token_id=len(words) - 1,
    )  # fmt: skip
    t5 = T5Config(vocab_size=len(pieces), d_model=64, d_kv=16, d_ff=64, num_layers=2, num_heads=4)
    transformer = SD3Transformer2DModel(
        sample_size=64, patch_size=2, in_channels=16, num_layers=2, attention_head_dim=8, num_attention_heads=4,
        joint_attention_dim=64, caption_projection_dim=32, pooled_projection_dim=64, out_channels=16,
        pos_embed_max_size=96,
    )  # fmt: skip
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 16, 16), latent_channels=16, norm_num_groups=4, sample_size=64,
        scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False,
    )  # fmt: skip
    return StableDiffusion3Pipeline(
        transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0), vae=vae,
        text_encoder=CLIPTextModelWithProjection(text), tokenizer=clips[0],
        text_encoder_2=CLIPTextModelWithProjection(text), tokenizer_2=clips[1],
        text_encoder_3=T5EncoderModel(t5), tokenizer_3=T5Tokenizer(pieces, extra_ids=0, model_max_length=512),
    )  # fmt: skip


def coz(*args: object) -> None:
    """Run a command, and show it first."""
    print("\n$ coz", *args, flush=True)
    subprocess.run([sys.executable, "-m", "chain_of_zoom", *map(str, args)], check=True)


def main(home: Path) -> None:
    """Make the base model, train, zoom."""
    logging.disable(logging.WARNING)
    disable_progress_bar()
    base, out = home / "tiny-sd3", home / "trained"
    tiny_sd3().save_pretrained(base)
    pictures = home / "pictures.txt"
    pictures.write_text(f"{PHOTO.resolve()}\n")
    coz(
        "train", "--data", pictures, "--base", base, "-o", out, "--perceptual", "none", "--size", 64, "--steps", 60,
        "--lr", 0.003, "--sheet", 60, "--workers", 0, "--no-checkpointing", "--device", "cpu", "--force",
    )  # fmt: skip
    coz(
        "zoom", PHOTO, "--at", "0.4,0.19", "--zoom", 16, "--size", "128x128", "--backbone", "osediff-sd3",
        "--base", base, "--lora", out, "--device", "cpu", "-o", home / "zoom", "--force",
    )  # fmt: skip
    print(f"\nLook at {out / 'sheets'} and {home / 'zoom' / 'sheet.png'}.")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "tiny-training"))
