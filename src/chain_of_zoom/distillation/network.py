"""Runs the networks of the distillation (generator, regulariser, original) in one copy of weights, and embeds texts.

Captions are embedded once each, so that the text encoders can be freed before the others train.
"""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from chain_of_zoom.distillation.adapters import (
    ENCODER,
    GENERATOR,
    REGULARISER,
    Switch,
    adapt_encoder,
    adapt_transformer,
    draw_adapters,
    parameters_of,
)

MAX_EMBEDDED = 256
"""Embeddings in memory at a time; one of SD3 medium takes 5 MB in half precision."""


class CaptionEmbeddings:
    """Embeds captions with the encoders of a text pipeline and remembers the results on the CPU.

    captions: all that will be asked for. Up to MAX_EMBEDDED of them are embedded at once, after which the encoders are
    freed (attribute `freed`). Of more, the encoders stay, and the MAX_EMBEDDED used last are remembered.
    """

    def __init__(self, pipeline: Any, captions: Collection[str], *, tokens: int, device: torch.device) -> None:
        self.pipeline, self.tokens, self.device = pipeline, tokens, device
        self.embeddings: OrderedDict[str, tuple[Tensor, Tensor]] = OrderedDict()
        for encoder in self._encoders():
            encoder.eval().requires_grad_(False).to(device)
        self.freed = len(captions) <= MAX_EMBEDDED
        if self.freed:
            for caption in sorted(captions):
                self._embed(caption)
            pipeline.text_encoder = pipeline.text_encoder_2 = pipeline.text_encoder_3 = None
            gc.collect()
            if device.type == "cuda":
                torch.cuda.empty_cache()

    def __call__(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return sequence (B x tokens x width) and pooled (B x width) embeddings, on the device."""
        embeddings = [self._embed(caption) for caption in captions]
        sequence, pooled = (torch.cat(parts).to(self.device) for parts in zip(*embeddings, strict=True))
        return sequence, pooled

    def _encoders(self) -> list[Any]:
        pipeline = self.pipeline
        encoders = (pipeline.text_encoder, pipeline.text_encoder_2, pipeline.text_encoder_3)
        return [encoder for encoder in encoders if encoder is not None]

    @torch.no_grad()
    def _embed(self, caption: str) -> tuple[Tensor, Tensor]:
        if caption in self.embeddings:
            self.embeddings.move_to_end(caption)
            return self.embeddings[caption]
        sequence, _, pooled, _ = self.pipeline.encode_prompt(
            prompt=caption,
            prompt_2=caption,
            prompt_3=caption,
            device=self.device,
            do_classifier_free_guidance=False,
            max_sequence_length=self.tokens,
        )
        self.embeddings[caption] = sequence.cpu(), pooled.cpu()
        if len(self.embeddings) > MAX_EMBEDDED:
            self.embeddings.popitem(last=False)
        return self.embeddings[caption]


Texts = tuple[Tensor, Tensor]
"""Sequence (B x tokens x width) and pooled (B x width) embeddings."""
Parameters = dict[str, nn.Parameter]


class Student:
    """Runs Stable Diffusion 3 with the adapters of generator and regulariser, which one switch turns on and off.

    pipeline: a StableDiffusion3Pipeline, whose transformer and VAE are changed in place. shift_in: subtract the VAE's
    shift on the way in, as the published training does. autocast: makes the context that the transformer runs in; the
    VAE always runs in float32. The attributes generator, encoder and regulariser hold the trained weights by name, and
    groups holds the three by these words.
    """

    def __init__(
        self,
        pipeline: Any,
        *,
        shift_in: bool,
        checkpointing: bool,
        seed: int,
        device: torch.device,
        autocast: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self.transformer, self.vae = pipeline.transformer, pipeline.vae
        self.shift_in, self.device, self.autocast = shift_in, device, autocast
        for module in (self.transformer, self.vae):
            module.eval().requires_grad_(False).to(device)
        scheduler = pipeline.scheduler.from_config(pipeline.scheduler.config)
        self.timesteps: Tensor = scheduler.timesteps.to(device)
        self.sigmas: Tensor = scheduler.sigmas[: len(self.timesteps)].to(device)
        scheduler.set_timesteps(1, device=device)
        self.step: Tensor = scheduler.timesteps[0]
        self.switch = Switch(GENERATOR)
        self.layers = adapt_transformer(self.transformer, self.switch)
        self.encoder_layers = adapt_encoder(self.vae.encoder)
        self.generator = parameters_of(self.transformer, GENERATOR)
        self.regulariser = parameters_of(self.transformer, REGULARISER)
        self.encoder = parameters_of(self.vae.encoder, ENCODER)
        self.groups = {"generator": self.generator, "encoder": self.encoder, "regulariser": self.regulariser}
        draw_adapters(list(self.groups.values()), seed)
        for group in self.groups.values():
            for parameter in group.values():
                parameter.requires_grad_(True)
        if checkpointing:
            self.transformer.enable_gradient_checkpointing()
            self.vae.enable_gradient_checkpointing()

    def encode(self, pictures: Tensor, noise: Tensor) -> Tensor:
        """Encode B x 3 x H x W pictures in [-1, 1]; noise, in the shape of the latents, samples the posterior."""
        posterior = self.vae.encode(pictures).latent_dist
        shift = self.vae.config.shift_factor or 0.0 if self.shift_in else 0.0
        latents: Tensor = (posterior.mean + posterior.std * noise - shift) * self.vae.config.scaling_factor
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents to pictures, roughly in [-1, 1]; not clamped, so that values out of range have a gradient."""
        z = latents / self.vae.config.scaling_factor + (self.vae.config.shift_factor or 0.0)
        pictures: Tensor = self.vae.decode(z, return_dict=False)[0]
        return pictures

    def velocity(self, z: Tensor, timestep: Tensor, texts: Texts) -> Tensor:
        """Predict the velocity with the active adapter; float32, shaped as z. timestep: B."""
        dtype = self.transformer.dtype
        with self.autocast():
            v: Tensor = self.transformer(
                hidden_states=z.to(dtype),
                timestep=timestep,
                encoder_hidden_states=texts[0].to(dtype),
                pooled_projections=texts[1].to(dtype),
                return_dict=False,
            )[0]
        return v.float()

    def generate(self, pictures: Tensor, noise: Tensor, texts: Texts) -> Tensor:
        """Compute the latents of restored pictures from degraded ones, in one step without guidance."""
        z = self.encode(pictures, noise)
        return z - self.velocity(z, self.step.expand(len(z)), texts)

    def latent_shape(self, size: int) -> tuple[int, int, int]:
        """Return channels, height and width of the latents of a square picture."""
        side = size // 2 ** (len(self.vae.config.block_out_channels) - 1)
        return self.vae.config.latent_channels, side, side
