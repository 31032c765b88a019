"""The paper's stack run as its published scripts run it, for comparison: written anew from their behaviour.

Transformer and VAE in float32 with their adapters beside their layers, text encoders in half precision on a GPU, the
language model in bfloat16 there with its adapter merged; T5 at 512 tokens, one picture at a time, no compilation, a
cache that grows with every word, and PNG files between all steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusion3Pipeline
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from paper_configs import encoder_adapters, unmerged
from PIL import Image
from torch import Tensor

from chain_of_zoom.imaging.tiling import LATENT, published_weights
from chain_of_zoom.networks.sd.lora import TRANSFORMER_SCALE, find_modulation_linears
from chain_of_zoom.networks.sd.tiled_published import (
    DECODER_PAD,
    DECODER_TILE,
    ENCODER_PAD,
    ENCODER_TILE,
    vae_pieces,
)
from chain_of_zoom.networks.vlm.loading import load_vlm
from chain_of_zoom.prompters.base import PromptContext, chat
from chain_of_zoom.weights.checkpoints import read_tensors

SIDE, TILE, OVERLAP = 512, 64, 16
WORDS, WORDS_OF_A_TILE = 32, 16


class PublishedStack:
    """paths: as paper_configs.write returns them. scratch: a folder for the PNG files."""

    def __init__(self, paths: dict[str, Path], device: torch.device, scratch: Path) -> None:
        self.device, self.scratch = device, scratch
        half, brain = (torch.float16, torch.bfloat16) if device.type == "cuda" else (torch.float32, torch.float32)
        self.pipeline: Any = StableDiffusion3Pipeline.from_pretrained(
            paths["base"],
            local_files_only=True,
            dtype={"default": half, "vae": torch.float32, "transformer": torch.float32},
        ).to(device)
        self.transformer, self.vae = self.pipeline.transformer, self.pipeline.vae
        tensors = read_tensors(paths["lora"])
        linears = [linear for _, linear in find_modulation_linears(self.transformer)]
        unmerged(linears, list(zip(tensors[1::2], tensors[::2], strict=True)), TRANSFORMER_SCALE)
        encoder_adapters(self.vae.encoder, read_tensors(paths["vae_encoder"]))
        self.pipeline.scheduler.set_timesteps(1, device=device)
        self.vlm, self.processor = load_vlm(str(paths["model"]), paths["adapter"], device, brain)
        self.brain = brain

    @torch.no_grad()
    def prompt(self, files: list[Path], words: int = WORDS) -> str:
        """The words for the last of two pictures, both read from their files."""
        pictures = [np.asarray(Image.open(file).convert("RGB")) for file in files]
        messages = chat(PromptContext(pictures[:1], pictures[-1], 4.0))
        for part in messages[1]["content"]:
            part["image"] = Image.fromarray(part["image"])
        inputs = self.processor.apply_chat_template(
            [messages], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
            processor_kwargs={"padding": True},
        ).to(self.device, dtype=self.brain)  # fmt: skip
        tokens = self.vlm.generate(**inputs, max_new_tokens=words, cache_implementation="dynamic")
        text: str = self.processor.tokenizer.batch_decode(
            tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )[0]
        return text

    @torch.no_grad()
    def restore(self, picture: Image.Image, prompt: str) -> Image.Image:
        """One step of the backbone on a picture at its own size."""
        pixels = torch.from_numpy(np.array(picture)).to(self.device).permute(2, 0, 1)[None].float() / 255 * 2 - 1
        return _picture(self._decode(self._denoise(self._encode(pixels), prompt)))

    def step(self, file: Path, number: int) -> Path:
        """A state from the file of the one before: crop, enlarge, ask, restore; every picture goes through a PNG."""
        previous = Image.open(file).convert("RGB")
        part = SIDE // 4
        left = (SIDE - part) // 2
        zoomed = self.scratch / f"{number}_input.png"
        previous.crop((left, left, left + part, left + part)).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(
            zoomed
        )
        prompt = self.prompt([file, zoomed])
        made = self.scratch / f"{number}.png"
        self.restore(Image.open(zoomed).convert("RGB"), prompt).save(made)
        return made

    @torch.no_grad()
    def whole(self, picture: Image.Image) -> Image.Image:
        """A picture enlarged 4x: its latent's tiles are decoded, described, denoised, blended; then it is decoded."""
        overview = self.scratch / "overview.png"
        picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS).save(overview)
        large = picture.resize((picture.width * 4, picture.height * 4), Image.Resampling.LANCZOS)
        pixels = torch.from_numpy(np.array(large)).to(self.device).permute(2, 0, 1)[None].float() / 255 * 2 - 1
        config = self.vae.config
        moments = _in_pieces(self.vae.encoder, pixels, ENCODER_TILE, ENCODER_PAD, 1 / LATENT)
        latent = DiagonalGaussianDistribution(moments).sample() * config.scaling_factor
        total, weights = torch.zeros_like(latent), torch.zeros_like(latent)
        fade = torch.from_numpy(published_weights(TILE, TILE)).float().to(self.device)
        for index, (y, x) in enumerate(_tiles(*latent.shape[2:])):
            tile = latent[..., y : y + TILE, x : x + TILE]
            shown = self.scratch / f"tile{index}.png"
            _picture(self.vae.decode(tile / config.scaling_factor, return_dict=False)[0]).save(shown)
            prompt = self.prompt([overview, shown], WORDS_OF_A_TILE)
            total[..., y : y + TILE, x : x + TILE] += self._denoise(tile, prompt) * fade
            weights[..., y : y + TILE, x : x + TILE] += fade
        latent = total / (weights + 1e-10)
        latent = latent / config.scaling_factor
        return _picture(_in_pieces(self.vae.decoder, latent, DECODER_TILE, DECODER_PAD, LATENT))

    def _encode(self, pixels: Tensor) -> Tensor:
        latent: Tensor = self.vae.encode(pixels).latent_dist.sample() * self.vae.config.scaling_factor
        return latent

    def _denoise(self, latent: Tensor, prompt: str) -> Tensor:
        sequence, _, pooled, _ = self.pipeline.encode_prompt(
            prompt=prompt, prompt_2=prompt, prompt_3=prompt, device=self.device, do_classifier_free_guidance=False,
            max_sequence_length=512,
        )  # fmt: skip
        velocity: Tensor = self.transformer(
            hidden_states=latent,
            timestep=self.pipeline.scheduler.timesteps[:1],
            encoder_hidden_states=sequence.float(),
            pooled_projections=pooled.float(),
            return_dict=False,
        )[0]
        return latent - velocity

    def _decode(self, latent: Tensor) -> Tensor:
        config = self.vae.config
        pixels: Tensor = self.vae.decode(latent / config.scaling_factor + config.shift_factor, return_dict=False)[0]
        return pixels


def _in_pieces(net: torch.nn.Module, whole: Tensor, tile: int, pad: int, scale: float) -> Tensor:
    """A half of the VAE over a picture, as published: cut above tile + 2 * pad, with norms of a thinned picture."""
    result = torch.empty(0)
    for *spans, _, compute in vae_pieces(net, whole, tile, pad):
        piece = compute()
        if not len(result):
            result = piece.new_empty((*piece.shape[:2], *(round(side * scale) for side in whole.shape[2:])))
        there = (slice(round(s.keep_start * scale), round(s.keep_stop * scale)) for s in spans)
        here = (slice(*(round((edge - s.start) * scale) for edge in (s.keep_start, s.keep_stop))) for s in spans)
        result[..., *there] = piece[..., *here]
    return result


def _tiles(height: int, width: int) -> Iterator[tuple[int, int]]:
    """Corners of the tiles of a latent; the last of a row or column ends at the border."""
    for y in _starts(height):
        for x in _starts(width):
            yield y, x


def _starts(side: int) -> list[int]:
    return [*range(0, side - TILE, TILE - OVERLAP), side - TILE]


def _picture(pixels: Tensor) -> Image.Image:
    """Truncated to 8 bits, as published."""
    shown = (pixels[0].clamp(-1, 1) * 0.5 + 0.5).permute(1, 2, 0).cpu().numpy()
    return Image.fromarray((shown * 255).astype(np.uint8))
