"""One-step diffusion: OSEDiff on Stable Diffusion 3, the paper's own backbone."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chain_of_zoom.backbones.base import BackboneInfo, RefiningBackbone
from chain_of_zoom.errors import MissingError, UsageError
from chain_of_zoom.imaging.images import RGB8, RGBF
from chain_of_zoom.models.files import combined_sha256

if TYPE_CHECKING:
    from chain_of_zoom.models.sd3 import OneStepSD3

DEFAULT_BASE = "stabilityai/stable-diffusion-3-medium-diffusers"


class OneStepDiffusion(RefiningBackbone):
    """OSEDiff on SD3 with the published adapters merged.

    base: a diffusers folder or a downloaded hub name. lora: the transformer adapters. vae_encoder: the adapted
    encoder. Either may be left out (the base model's own weights are used then, and the record's hash says so).
    posterior, shift_in, t5, t5_tokens: see OneStepOptions. Raises UsageError for a value that makes no sense.
    """

    info = BackboneInfo(
        name="osediff-sd3",
        summary="the paper's backbone: one-step diffusion on Stable Diffusion 3, reads prompts",
        factor=4,
        text_aware=True,
        licence="weights of SD3-medium: non-commercial (Stability AI); adapters: MIT",
        evidence_limit=1.0,  # not compared with real pixels here yet
        max_pixels=192 * 192,
        halo=16,
        min_side=16,
        multiple=4,
    )

    def __init__(
        self,
        base: str | Path = DEFAULT_BASE,
        lora: str | Path | None = None,
        vae_encoder: str | Path | None = None,
        posterior: str = "sample",
        shift_in: bool = False,
        t5: bool = True,
        t5_tokens: int = 512,
        device: str = "auto",
        dtype: str = "auto",
    ) -> None:
        super().__init__()
        if posterior not in ("sample", "mode"):
            raise UsageError(f"posterior {posterior!r}; accepted: sample, mode; type: --set backbone.posterior=mode")
        if not 1 <= t5_tokens <= 512:
            raise UsageError(f"t5_tokens {t5_tokens}; accepted: 1 to 512; type: --set backbone.t5_tokens=77")
        self.base = str(base)
        self.files = [str(path) for path in (lora, vae_encoder) if path]
        for path in self.files:
            if not Path(path).is_file():
                raise MissingError(
                    f"weights {path} are not there; accepted: a weight file; check the path, or see coz models"
                )
        self.lora, self.vae_encoder = (str(path) if path else None for path in (lora, vae_encoder))
        self.posterior, self.shift_in, self.t5, self.t5_tokens = posterior, shift_in, t5, t5_tokens
        self.device, self.dtype = device, dtype

    def missing(self) -> str | None:
        """The pip command when torch or diffusers is not installed."""
        absent = any(importlib.util.find_spec(package) is None for package in ("torch", "diffusers", "transformers"))
        return "pip install 'chain-of-zoom[diffusion]'" if absent else None

    def weights_sha256(self) -> str | None:
        """SHA-256 over the base model's weight files and the adapters."""
        folder = Path(self.base)
        weights = sorted(folder.rglob("*.safetensors")) if folder.is_dir() else []
        return combined_sha256([*weights, *map(Path, self.files)])

    def _load(self) -> None:
        if command := self.missing():
            raise MissingError(f"backbone {self.info.name} needs torch and diffusers; type: {command}")
        from chain_of_zoom.models.placement import choose_device, choose_dtype
        from chain_of_zoom.models.sd3 import OneStepOptions, OneStepSD3

        device = choose_device(self.device)
        dtype = choose_dtype(self.dtype, device)
        options = OneStepOptions(posterior=self.posterior, shift_in=self.shift_in, t5=self.t5, t5_tokens=self.t5_tokens)
        self.model: OneStepSD3 = OneStepSD3.load(self.base, self.lora, self.vae_encoder, options, device, dtype)

    def _refine(self, pictures: list[RGB8], prompts: list[str], seeds: list[int]) -> list[RGBF]:
        # On a CPU one at a time, so that company changes no bit; on a GPU pictures of a size go together.
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, picture in enumerate(pictures):
            groups.setdefault((index,) if self.model.device.type == "cpu" else picture.shape, []).append(index)
        results: dict[int, RGBF] = {}
        for indices in groups.values():
            batch = np.stack([pictures[i] for i in indices])
            made = self.model.refine(batch, [prompts[i] for i in indices], [seeds[i] for i in indices])
            results.update(zip(indices, made, strict=True))
        return [results[index] for index in range(len(pictures))]
