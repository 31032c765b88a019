"""Stable Diffusion 3 as a one-step restorer: the network of OSEDiff, as Chain-of-Zoom uses it (method, section 3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chain_of_zoom.errors import MissingError
from chain_of_zoom.models.checkpoints import read_tensors
from chain_of_zoom.models.lora import merge_encoder, merge_transformer
from chain_of_zoom.models.pipelines import read_pipeline


@dataclass(frozen=True, kw_only=True)
class OneStepOptions:
    """How the one step is taken. The defaults are what the released weights were tested with.

    posterior: "sample" the VAE's posterior from the picture's seed, or take its "mode". shift_in: subtract the VAE's
    shift on the way in, as training did and the released test code does not. t5: use T5-XXL at all; t5_tokens: the
    length it is padded to, 512 as released (no attention mask: padding is part of what the weights saw).
    """

    posterior: str = "sample"
    shift_in: bool = False
    t5: bool = True
    t5_tokens: int = 512


class OneStepSD3:
    """z = encode(x); z' = z - transformer(z, t, text); decode(z'). No guidance, one transformer pass."""

    def __init__(self, pipeline: Any, options: OneStepOptions, device: torch.device, dtype: torch.dtype) -> None:
        self.options, self.device, self.dtype = options, device, dtype
        self.pipeline = pipeline
        self.transformer, self.vae = pipeline.transformer, pipeline.vae
        encoders = (pipeline.text_encoder, pipeline.text_encoder_2, pipeline.text_encoder_3)
        for module in (self.transformer, self.vae, *encoders):
            if module is not None:
                module.to(device).eval().requires_grad_(False)
        pipeline.scheduler.set_timesteps(1, device=device)
        self.timestep: Tensor = pipeline.scheduler.timesteps[0]
        self._texts: dict[str, tuple[Tensor, Tensor]] = {}

    @classmethod
    def load(
        cls,
        base: str,
        lora: str | None,
        vae_encoder: str | None,
        options: OneStepOptions,
        device: torch.device,
        dtype: torch.dtype,
    ) -> OneStepSD3:
        """Read a diffusers folder or hub name and merge the adapters. Raises MissingError."""
        pipeline = load_pipeline(base, options.t5, dtype)
        if lora:
            merge_transformer(pipeline.transformer, read_tensors(lora), source=Path(lora).name)
        if vae_encoder:
            merge_encoder(pipeline.vae.encoder, read_tensors(vae_encoder), source=Path(vae_encoder).name)
        return cls(pipeline, options, device, dtype)

    def encode_text(self, prompt: str) -> tuple[Tensor, Tensor]:
        """Sequence (1 x tokens x width) and pooled (1 x width) embeddings, remembered per prompt."""
        if prompt not in self._texts:
            if len(self._texts) >= 256:
                self._texts.clear()
            sequence, _, pooled, _ = self.pipeline.encode_prompt(
                prompt=prompt,
                prompt_2=prompt,
                prompt_3=prompt,
                device=self.device,
                do_classifier_free_guidance=False,
                max_sequence_length=self.options.t5_tokens,
            )
            self._texts[prompt] = sequence, pooled
        return self._texts[prompt]

    def __call__(self, pictures: Tensor, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """Restore B x 3 x H x W pictures in [-1, 1], float32, sides a multiple of 16; returns the same shape."""
        z = self.encode(pictures.to(self.device, torch.float32), seeds)
        return self.decode(self.denoise(z, prompts))

    def refine(self, pictures: NDArray[np.uint8], prompts: Sequence[str], seeds: Sequence[int]) -> NDArray[np.float32]:
        """Restore uint8 B x H x W x 3 pictures; float32, same shape, in [0, 1]; NaN stays, for the caller to find."""
        return to_arrays(self(to_tensor(pictures), prompts, seeds))

    @torch.inference_mode()
    def denoise(self, z: Tensor, prompts: Sequence[str]) -> Tensor:
        """The one step: latents (B x C x H x W, float32, even sides) in and out, one prompt each."""
        texts = [self.encode_text(prompt) for prompt in prompts]
        v = self.transformer(
            hidden_states=z.to(self.dtype),
            timestep=self.timestep.expand(len(z)),
            encoder_hidden_states=torch.cat([text[0] for text in texts]).to(self.dtype),
            pooled_projections=torch.cat([text[1] for text in texts]).to(self.dtype),
            return_dict=False,
        )[0]
        denoised: Tensor = z - v.float()
        return denoised

    @contextmanager
    def in_float32(self) -> Iterator[None]:
        """Transformer and text encoders in single precision for a while: what overflows in half may not there."""
        pipeline, dtype, texts = self.pipeline, self.dtype, self._texts
        modules = (self.transformer, pipeline.text_encoder, pipeline.text_encoder_2, pipeline.text_encoder_3)
        tensors = [
            t for m in modules if m is not None for t in (*m.parameters(), *m.buffers()) if t.is_floating_point()
        ]
        dtypes = [tensor.dtype for tensor in tensors]
        try:
            self.dtype, self._texts = torch.float32, {}
            for tensor in tensors:
                tensor.data = tensor.data.float()
            yield
        finally:
            self.dtype, self._texts = dtype, texts
            for tensor, before in zip(tensors, dtypes, strict=True):
                tensor.data = tensor.data.to(before)

    @torch.inference_mode()
    def encode(self, pictures: Tensor, seeds: Sequence[int]) -> Tensor:
        """Latents of pictures, each posterior sampled from its own seed, on the CPU so that devices agree."""
        return self.sample(self.vae.encode(pictures).latent_dist, seeds)

    def sample(self, posterior: Any, seeds: Sequence[int]) -> Tensor:
        """Scaled latents of the VAE's posterior, the noise of each from its own seed."""
        z = posterior.mode()
        if self.options.posterior == "sample":
            noise = [torch.randn(z.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds]
            z = posterior.mean + posterior.std * torch.stack(noise).to(z)
        shift = self.vae.config.shift_factor or 0.0 if self.options.shift_in else 0.0
        latents: Tensor = (z - shift) * self.vae.config.scaling_factor
        return latents

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Pictures of latents, about [-1, 1], float32."""
        z = latents / self.vae.config.scaling_factor + (self.vae.config.shift_factor or 0.0)
        pictures: Tensor = self.vae.decode(z, return_dict=False)[0].float()
        return pictures


def to_tensor(pictures: NDArray[np.uint8]) -> Tensor:
    """Pictures (uint8, B x H x W x 3) as B x 3 x H x W, float32, in [-1, 1]."""
    # Contiguous, as published: convolutions over another memory layout sum in another order.
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous().float() / 255 * 2 - 1


def to_arrays(pictures: Tensor) -> NDArray[np.float32]:
    """B x 3 x H x W pictures, about [-1, 1], as B x H x W x 3, clamped to [0, 1]; NaN stays."""
    shown = (pictures.clamp(-1, 1) * 0.5 + 0.5).permute(0, 2, 3, 1).cpu().numpy()
    arrays: NDArray[np.float32] = np.ascontiguousarray(shown)
    return arrays


def load_pipeline(base: str, t5: bool, dtype: torch.dtype) -> Any:
    """A StableDiffusion3Pipeline from a folder or a hub name, safetensors only. Raises MissingError."""
    without = {} if t5 else {"text_encoder_3": None, "tokenizer_3": None}
    pipeline = read_pipeline("StableDiffusion3Pipeline", base, "Stable Diffusion 3 medium", dtype, **without)
    if not hasattr(pipeline, "transformer") or pipeline.transformer is None:
        raise MissingError(
            f"base model {base} has no transformer; accepted: Stable Diffusion 3 medium; type: coz models"
        )
    return pipeline
