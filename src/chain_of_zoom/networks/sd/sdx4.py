"""Stable Diffusion's x4 upscaler through diffusers: a window, noise beside it, a prompt, and a VAE that enlarges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from chain_of_zoom.errors import MissingError
from chain_of_zoom.imaging.images import RGB8, RGBF
from chain_of_zoom.runtime.residence import Residence
from chain_of_zoom.weights.checkpoints import read_pipeline

ACCEPTED = "Stable Diffusion x4 upscaler"
FACTOR = 4


class Upscaler:
    """Holds the pipeline on its device: it takes up to `noise_levels`, and reads up to `tokens` of a prompt."""

    def __init__(self, pipeline: Any, residence: Residence) -> None:
        self.pipeline, self.residence = pipeline, residence
        self.device = torch.device(residence.device("image"))
        modules = pipeline.unet, pipeline.vae, pipeline.text_encoder
        for module in modules:
            module.eval().requires_grad_(False)
        residence.add("image", *modules)
        pipeline.set_progress_bar_config(disable=True)
        self.noise_levels: int = pipeline.config.max_noise_level
        self.tokens: int = pipeline.tokenizer.model_max_length

    @classmethod
    def load(cls, base: str, residence: Residence, dtype: torch.dtype) -> Upscaler:
        """Read a diffusers folder or hub name. Raises MissingError, also for a pipeline that does not enlarge 4x."""
        pipeline = read_pipeline("StableDiffusionUpscalePipeline", base, ACCEPTED, dtype)
        vae, unet = pipeline.vae.config, pipeline.unet.config
        if 2 ** (len(vae.block_out_channels) - 1) != FACTOR or unet.in_channels != vae.latent_channels + 3:
            raise MissingError(f"base model {base} does not enlarge 4x; accepted: {ACCEPTED}; type: coz models")
        return cls(pipeline, residence)

    def __call__(
        self,
        windows: Sequence[RGB8],
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        steps: int,
        guidance: float,
        noise_level: int,
    ) -> list[RGBF]:
        """Enlarge windows of one size (uint8, sides a multiple of 8): float32 in [0, 1]; NaN stays.

        All noise of a window is drawn on the CPU from its own seed, so that devices agree and company changes nothing.
        """
        stacked = torch.from_numpy(np.stack(windows)).permute(0, 3, 1, 2).float() / 255
        with self.residence.using("image"):
            pictures = self.pipeline(
                prompt=list(prompts),
                image=stacked,
                num_inference_steps=steps,
                guidance_scale=guidance,
                noise_level=noise_level,
                generator=[torch.Generator().manual_seed(seed) for seed in seeds],
                output_type="pt",
            ).images
        arrays: list[RGBF] = list(map(np.ascontiguousarray, pictures.permute(0, 2, 3, 1).float().cpu().numpy()))
        return arrays

    def words_cut(self, prompt: str) -> int:
        """Count the tokens of a prompt that the model does not read."""
        return max(0, len(self.pipeline.tokenizer(prompt).input_ids) - self.tokens)
