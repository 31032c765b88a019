"""Stable Diffusion 3 as a one-step restorer: the network of OSEDiff, as Chain-of-Zoom uses it (as published)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chain_of_zoom.errors import MissingError
from chain_of_zoom.networks.sd.lora import merge_files
from chain_of_zoom.runtime.int8 import to_int8
from chain_of_zoom.runtime.plan import Stage
from chain_of_zoom.runtime.precision import TOLERANCE, cast, measure_vae_errors
from chain_of_zoom.runtime.residence import Residence, list_slots
from chain_of_zoom.weights.checkpoints import read_pipeline

TEXTS = 64
"""Prompts whose embeddings are remembered: 5 MB each, of SD3-medium in bfloat16."""


@dataclass(frozen=True, kw_only=True)
class OneStepOptions:
    """Says how the one step is taken. The defaults are what the released weights were tested with."""

    posterior: str = "sample"
    """"sample" the VAE's posterior from the picture's seed, or take its "mode"."""
    shift_in: bool = False
    """Whether the VAE's shift is subtracted on the way in, as training did and the released test code does not."""
    t5: bool = True
    """Whether T5-XXL is used at all."""
    t5_tokens: int = 512
    """Tokens it is padded to, 512 as released (no attention mask: padding is part of what the weights saw)."""


class OneStepSD3:
    """Restores pictures: z = encode(x); z' = z - transformer(z, t, text); decode(z'). No guidance, a single pass.

    residence: moves the weights; without one they all go to `device` and stay.
    """

    def __init__(
        self,
        pipeline: Any,
        options: OneStepOptions,
        device: torch.device,
        dtype: torch.dtype,
        residence: Residence | None = None,
    ) -> None:
        self.options, self.device, self.dtype = options, device, dtype
        self.residence = residence
        self.pipeline = pipeline
        self.transformer, self.vae = pipeline.transformer, pipeline.vae
        self.encoders = [
            encoder
            for encoder in (pipeline.text_encoder, pipeline.text_encoder_2, pipeline.text_encoder_3)
            if encoder is not None
        ]
        for module in (self.transformer, self.vae, *self.encoders):
            module.eval().requires_grad_(False)
        if residence:
            residence.add("texts", *self.encoders)
            residence.add("image", self.transformer, self.vae)
        else:
            for module in (self.transformer, self.vae, *self.encoders):
                module.to(device)
        pipeline.scheduler.set_timesteps(1, device=device)
        self.timestep: Tensor = pipeline.scheduler.timesteps[0]
        if dtype == torch.bfloat16:
            self._halve_vae()
        self._texts: OrderedDict[str, tuple[Tensor, Tensor]] = OrderedDict()

    @classmethod
    def load(
        cls,
        base: str,
        lora: str | None,
        vae_encoder: str | None,
        options: OneStepOptions,
        device: torch.device,
        dtype: torch.dtype,
        residence: Residence | None = None,
        transformer: str | None = None,
    ) -> OneStepSD3:
        """Read a diffusers folder or hub name, put the weights of `transformer` into it, and merge the adapters.

        Raises MissingError.
        """
        pipeline = load_pipeline(base, options.t5, dtype)
        merge_files(pipeline, lora, vae_encoder, transformer)
        if pipeline.text_encoder_3 is not None and residence and residence.int8("t5"):
            to_int8(pipeline.text_encoder_3)
        return cls(pipeline, options, device, dtype, residence)

    def _halve_vae(self) -> None:
        """Put the VAE in bfloat16, too, if these weights stay within the tolerance so."""
        with self.using("image"):
            errors = measure_vae_errors(self.vae, self.device)
        if max(errors.values()) <= TOLERANCE["vae"]:
            self._release()
            cast(self.vae, torch.bfloat16)
            if self.residence:
                self.residence.changed["vae"] = f"{self.residence.device('image')} bfloat16"

    def using(self, stage: Stage) -> AbstractContextManager[None]:
        """Hold a stage's weights on the device meanwhile."""
        return self.residence.using(stage) if self.residence else nullcontext()

    @property
    def precision(self) -> tuple[torch.dtype, torch.dtype]:
        """Return the precision of the transformer and of the VAE."""
        return self.dtype, self.vae.dtype

    @property
    def swaps(self) -> bool:
        """Tell whether text encoders have to leave for pictures to be made, so that texts are best encoded together."""
        return self.residence is not None and not {"texts", "image"} <= self.residence.pinned

    def encode_text(self, prompt: str) -> tuple[Tensor, Tensor]:
        """Return sequence (1 x tokens x width) and pooled (1 x width) embeddings, remembered per prompt."""
        return self.encode_texts([prompt])[0]

    def encode_texts(self, prompts: Sequence[str]) -> list[tuple[Tensor, Tensor]]:
        """Return the embeddings of each prompt; new prompts are encoded together, as many as fit at once."""
        embeddings = {prompt: self._texts[prompt] for prompt in prompts if prompt in self._texts}
        missing = [prompt for prompt in dict.fromkeys(prompts) if prompt not in embeddings]
        at_once = self.residence.batch("texts") if self.residence else 1
        if missing:
            with self.using("texts"):
                for start in range(0, len(missing), at_once):
                    batch = missing[start : start + at_once]
                    embeddings.update(zip(batch, self._encode_batch(batch), strict=True))
        self._texts.update(embeddings)
        for prompt in embeddings:
            self._texts.move_to_end(prompt)
        while len(self._texts) > TEXTS:
            self._texts.popitem(last=False)
        return [embeddings[prompt] for prompt in prompts]

    @torch.inference_mode()
    def _encode_batch(self, prompts: list[str]) -> list[tuple[Tensor, Tensor]]:
        sequence, _, pooled, _ = self.pipeline.encode_prompt(
            prompt=prompts,
            prompt_2=prompts,
            prompt_3=prompts,
            device=self.device,
            do_classifier_free_guidance=False,
            max_sequence_length=self.options.t5_tokens,
        )
        device = torch.device("cpu") if self.swaps else self.device  # memory is short where encoders are swapped
        return [(sequence[i : i + 1].to(device), pooled[i : i + 1].to(device)) for i in range(len(prompts))]

    def __call__(self, pictures: Tensor, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """Restore B x 3 x H x W pictures in [-1, 1], float32, sides a multiple of 16; returns the same shape."""
        self.encode_texts(prompts)  # before the encoders have to leave
        z = self.encode(pictures.to(self.device, torch.float32), seeds)
        return self.decode(self.denoise(z, prompts))

    def refine(self, pictures: NDArray[np.uint8], prompts: Sequence[str], seeds: Sequence[int]) -> NDArray[np.float32]:
        """Restore uint8 B x H x W x 3 pictures; float32, same shape, in [0, 1]; NaN stays, for the caller to find."""
        return to_arrays(self(to_tensor(pictures), prompts, seeds))

    @torch.inference_mode()
    def denoise(self, z: Tensor, prompts: Sequence[str]) -> Tensor:
        """Take the step: latents (B x C x H x W, float32, even sides) in and out, a prompt for each."""
        texts = self.encode_texts(prompts)
        with self.using("image"):
            v = self.transformer(
                hidden_states=z.to(self.dtype),
                timestep=self.timestep.expand(len(z)),
                encoder_hidden_states=torch.cat([text[0] for text in texts]).to(self.device, self.dtype),
                pooled_projections=torch.cat([text[1] for text in texts]).to(self.device, self.dtype),
                return_dict=False,
            )[0]
        denoised: Tensor = z - v.float()
        return denoised

    @contextmanager
    def in_float32(self) -> Iterator[None]:
        """Hold what makes pixels in single precision meanwhile, where less overflows than in half.

        The encoders of text, the largest networks, stay as they are unless they gave what is not finite.
        """
        dtype, texts = self.dtype, self._texts
        has_finite_texts = all(bool(part.isfinite().all()) for text in texts.values() for part in text)
        modules = [self.transformer, self.vae]
        if not has_finite_texts:
            modules += self.encoders
        self._release()  # or weights would come back from the host as they were
        # Their places and not the tensors, which would be held on the device when others take their place.
        places = [
            (holder, name, tensor.dtype) for holder, name, tensor in list_slots(modules) if tensor.is_floating_point()
        ]
        try:
            self.dtype = torch.float32
            self._texts = texts if has_finite_texts else OrderedDict()
            for holder, name, _ in places:
                holder[name].data = holder[name].data.float()
            yield
        finally:
            self._release()
            self.dtype, self._texts = dtype, texts
            for holder, name, before in places:
                holder[name].data = holder[name].data.to(before)

    def _release(self) -> None:
        if self.residence:
            self.residence.release()

    @torch.inference_mode()
    def encode(self, pictures: Tensor, seeds: Sequence[int]) -> Tensor:
        """Encode pictures to latents, each posterior sampled from its own seed, on the CPU so that devices agree."""
        with self.using("image"):
            return self.sample(self.vae.encode(pictures.to(self.vae.dtype)).latent_dist, seeds)

    def sample(self, posterior: Any, seeds: Sequence[int]) -> Tensor:
        """Sample scaled latents of the VAE's posterior, the noise of each from its own seed."""
        z = posterior.mode().float()
        if self.options.posterior == "sample":
            noise = [torch.randn(z.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds]
            z = z + posterior.std.float() * torch.stack(noise).to(z)
        shift = self.vae.config.shift_factor or 0.0 if self.options.shift_in else 0.0
        latents: Tensor = (z - shift) * self.vae.config.scaling_factor
        return latents

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents to pictures, about [-1, 1], float32."""
        z = latents / self.vae.config.scaling_factor + (self.vae.config.shift_factor or 0.0)
        with self.using("image"):
            pictures: Tensor = self.vae.decode(z.to(self.vae.dtype), return_dict=False)[0].float()
        return pictures


def to_tensor(pictures: NDArray[np.uint8]) -> Tensor:
    """Turn pictures (uint8, B x H x W x 3) into B x 3 x H x W, float32, in [-1, 1]."""
    # Contiguous, as published: convolutions over another memory layout sum in another order.
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous().float() / 255 * 2 - 1


def to_arrays(pictures: Tensor) -> NDArray[np.float32]:
    """Turn B x 3 x H x W pictures, about [-1, 1], into B x H x W x 3, clamped to [0, 1]; NaN stays."""
    planes = (pictures.clamp(-1, 1) * 0.5 + 0.5).permute(0, 2, 3, 1)
    arrays: NDArray[np.float32] = np.ascontiguousarray(planes.cpu().numpy())
    return arrays


def load_pipeline(base: str, t5: bool, dtype: torch.dtype) -> Any:
    """Read a StableDiffusion3Pipeline from a folder or a hub name, safetensors only. Raises MissingError."""
    without: dict[str, Any] = {} if t5 else {"text_encoder_3": None, "tokenizer_3": None}
    pipeline = read_pipeline("StableDiffusion3Pipeline", base, "Stable Diffusion 3 medium", dtype, **without)
    if not hasattr(pipeline, "transformer") or pipeline.transformer is None:
        raise MissingError(
            f"base model {base} has no transformer; accepted: Stable Diffusion 3 medium; type: coz models"
        )
    return pipeline
