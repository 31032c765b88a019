"""Runs the networks of the distillation (generator, regulariser, original) in one copy of weights, and embeds texts.

Captions are embedded once each, so that the text encoders can be freed before the others train.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from itertools import chain, islice
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
from chain_of_zoom.runtime.residence import copy_in, put_back

MAX_EMBEDDED = 256
"""Embeddings in memory at a time; one of SD3 medium takes 5 MB in half precision."""
AT_ONCE = 8
"""Captions that are embedded together on a GPU; T5 works with 0.2 GB for each."""


class CaptionEmbeddings:
    """Embeds captions with the encoders of a text pipeline and remembers the results on the CPU.

    captions: all that will be asked for. Up to MAX_EMBEDDED of them are embedded at once, after which the encoders are
    freed (attribute `freed`). Of more, the encoders wait in host memory, and come to the device for the next
    MAX_EMBEDDED captions at a time, so that they take no memory beside the training.
    """

    def __init__(self, pipeline: Any, captions: Collection[str], *, tokens: int, device: torch.device) -> None:
        self.pipeline, self.tokens, self.device = pipeline, tokens, device
        # On a CPU company saves nothing and changes bits.
        self.at_once = 1 if device.type == "cpu" else AT_ONCE
        self.embeddings: dict[str, tuple[Tensor, Tensor]] = {}
        for encoder in self._encoders():
            encoder.eval().requires_grad_(False)
        self.freed = len(captions) <= MAX_EMBEDDED
        if self.freed:
            self._embed(sorted(captions))
            pipeline.text_encoder = pipeline.text_encoder_2 = pipeline.text_encoder_3 = None
            gc.collect()

    def __call__(self, captions: Sequence[str], upcoming: Iterable[str] = ()) -> tuple[Tensor, Tensor]:
        """Return sequence (B x tokens x width) and pooled (B x width) embeddings, on the device.

        upcoming: captions that will be asked for next, in order; as many as are remembered are embedded ahead.
        """
        if not self.embeddings.keys() >= set(captions):
            ahead = list(islice(chain(captions, upcoming), 4 * MAX_EMBEDDED))
            wanted = list(dict.fromkeys(ahead))[: max(MAX_EMBEDDED, len(set(captions)))]
            self.embeddings = {text: self.embeddings[text] for text in wanted if text in self.embeddings}
            self._embed([text for text in wanted if text not in self.embeddings])
        embeddings = [self.embeddings[caption] for caption in captions]
        sequence, pooled = (torch.cat(parts).to(self.device) for parts in zip(*embeddings, strict=True))
        return sequence, pooled

    def _encoders(self) -> list[Any]:
        pipeline = self.pipeline
        encoders = (pipeline.text_encoder, pipeline.text_encoder_2, pipeline.text_encoder_3)
        return [encoder for encoder in encoders if encoder is not None]

    @torch.no_grad()
    def _embed(self, captions: list[str]) -> None:
        """Embed captions, several at once, with the encoders on the device meanwhile."""
        slots = copy_in(self._encoders(), str(self.device))
        try:
            for start in range(0, len(captions), self.at_once):
                batch = captions[start : start + self.at_once]
                sequence, _, pooled, _ = self.pipeline.encode_prompt(
                    prompt=batch,
                    prompt_2=batch,
                    prompt_3=batch,
                    device=self.device,
                    do_classifier_free_guidance=False,
                    max_sequence_length=self.tokens,
                )
                parts = (part.cpu().split(1) for part in (sequence, pooled))
                self.embeddings.update(zip(batch, zip(*parts, strict=True), strict=True))
        finally:
            put_back(slots)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


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
