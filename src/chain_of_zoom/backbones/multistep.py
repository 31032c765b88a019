"""Diffusion in many steps: Stable Diffusion's x4 upscaler, which reads prompts (Rombach et al., CVPR 2022)."""

from __future__ import annotations

import importlib.util
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from chain_of_zoom.backbones.base import Backbone, BackboneInfo
from chain_of_zoom.errors import MissingError, UsageError
from chain_of_zoom.imaging.images import RGB8, RGBF
from chain_of_zoom.runtime.plan import Memory, Need, check_memory
from chain_of_zoom.runtime.residence import Residence
from chain_of_zoom.weights.files import combined_sha256
from chain_of_zoom.weights.sizes import find_hub_folder, sdx4_parts

if TYPE_CHECKING:
    from chain_of_zoom.networks.sd.sdx4 import Upscaler

DEFAULT_BASE = "stabilityai/stable-diffusion-x4-upscaler"
NOISE_LEVELS = 350  # as the pipeline is configured; a model of its own may take fewer
AT_ONCE = 4  # windows, where memory allows: more save nothing


class MultiStepDiffusion(Backbone):
    """Stable Diffusion's x4 upscaler: the window beside noise, denoised in `steps` steps towards window and prompt.

    base: a diffusers folder or a downloaded hub name; nothing is downloaded. steps: of denoising. guidance: how much
    more the prompt weighs than no prompt; up to 1 it is read without that comparison, in half the time. noise_level:
    noise on the window, 0 to 350; more of it leaves more to the model. Defaults are those of diffusers.
    Large windows become tiles that know nothing of one another but their halo. device, dtype, memory: as for
    osediff-sd3; nothing of it is stored in int8. Raises UsageError for bad values.
    """

    info = BackboneInfo(
        name="sd-x4",
        summary="Stable Diffusion's x4 upscaler: diffusion in many steps, reads prompts",
        factor=4,
        text_aware=True,
        licence="weights: CreativeML Open RAIL++-M (commercial use allowed, some uses forbidden)",
        evidence_limit=1.0,  # not compared with real pixels here yet
        seeded=True,
        max_pixels=192 * 192,
        halo=32,
        min_side=64,
        multiple=8,
    )

    def __init__(
        self,
        base: str | Path = DEFAULT_BASE,
        steps: int = 75,
        guidance: float = 9.0,
        noise_level: int = 20,
        device: str = "auto",
        dtype: str = "auto",
        memory: str = "auto",
    ) -> None:
        super().__init__()
        for name, value, least, most, kind in (
            ("steps", steps, 1, 1000, int),
            ("guidance", guidance, 0, 100, (int, float)),
            ("noise_level", noise_level, 0, NOISE_LEVELS, int),
        ):
            if not isinstance(value, kind) or isinstance(value, bool) or not least <= value <= most:
                whole = "whole numbers, " if kind is int else ""
                raise UsageError(
                    f"{name} {value!r}; accepted: {whole}{least} to {most}; for example --set backbone.{name}=20"
                )
        self.base = str(base)
        self.steps, self.guidance, self.noise_level = steps, float(guidance), noise_level
        self.device, self.dtype = device, dtype
        self.memory: Memory = check_memory(memory)
        self._residence: Residence | None = None

    def missing(self) -> str | None:
        """The pip command when torch or diffusers is not installed."""
        absent = any(importlib.util.find_spec(package) is None for package in ("torch", "diffusers", "transformers"))
        return "pip install 'chain-of-zoom[diffusion]'" if absent else None

    def weights_sha256(self) -> str | None:
        """SHA-256 over the model's weight files; None for a name in the Hugging Face cache."""
        return self._weights

    @cached_property
    def _weights(self) -> str | None:
        folder = Path(self.base)
        return combined_sha256(sorted(folder.rglob("*.safetensors")) if folder.is_dir() else [])

    def runs_on(self) -> str | None:
        """ "cpu", or "cuda:0" and the like."""
        return str(self.model.device) if self._loaded else None

    def needs(self) -> Need | None:
        """The size of the networks, which work together, read from the headers of their files."""
        return None if self._loaded or self.missing() else self._needs()

    def _needs(self) -> Need:
        parts = sdx4_parts(find_hub_folder(self.base) or Path(self.base))
        return Need(parts=parts, device=self.device, dtype=self.dtype, memory=self.memory)

    def place(self, residence: Residence) -> None:
        """Take the place that was planned together with a prompter's."""
        self._residence = residence

    def _load(self) -> None:
        if command := self.missing():
            raise MissingError(f"backbone {self.info.name} needs torch and diffusers; type: {command}")
        from chain_of_zoom.networks.sd.sdx4 import Upscaler
        from chain_of_zoom.runtime.placement import find_dtype, place

        residence = self._residence = self._residence or place([self._needs()])
        model = Upscaler.load(self.base, residence, find_dtype(residence.dtype("unet")))
        self._batch = min(residence.batch("image"), AT_ONCE)
        if self.noise_level > model.noise_levels:
            raise UsageError(
                f"noise_level {self.noise_level}; accepted by this model: 0 to {model.noise_levels}; "
                "type: --set backbone.noise_level=20"
            )
        self.model: Upscaler = model

    def _enlarge(self, windows: list[RGB8], prompts: list[str], seeds: list[int]) -> list[RGBF]:
        from chain_of_zoom.runtime.shortage import compute_in_batches, group_by_size, make_full_error, try_in_memory

        def compute(indices: list[int]) -> list[RGBF]:
            return self.model(
                [windows[i] for i in indices],
                [prompts[i] for i in indices],
                [seeds[i] for i in indices],
                steps=self.steps,
                guidance=self.guidance,
                noise_level=self.noise_level,
            )

        def alone(index: int) -> RGBF:
            assert self._residence
            if self._residence.offload("image"):
                self._tell(index, "out of GPU memory; all other models moved off the GPU")
                if (made := try_in_memory(partial(compute, [index]))) is not None:
                    return made[0]
            raise make_full_error()

        results: dict[int, RGBF] = {}
        for indices in group_by_size(windows):
            made, self._batch = compute_in_batches(indices, self._batch, compute, self._tell, alone)
            results.update(made)
        for index, prompt in enumerate(prompts):
            if cut := self.model.words_cut(prompt):
                self._tell(
                    index, f"the prompt was cut by {cut} tokens, beyond the {self.model.tokens} that the model reads"
                )
        return [results[index] for index in range(len(windows))]
