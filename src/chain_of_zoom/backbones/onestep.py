"""One-step diffusion: OSEDiff on Stable Diffusion 3, the paper's own backbone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from chain_of_zoom.backbones.base import BackboneInfo, RefiningBackbone
from chain_of_zoom.errors import MissingError, UsageError
from chain_of_zoom.imaging.images import RGB8, RGBF
from chain_of_zoom.models.checkpoints import combined_sha256
from chain_of_zoom.models.placement import choose_device, choose_dtype
from chain_of_zoom.models.sd3 import OneStepOptions, OneStepSD3

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
        licence="SD3-medium weights: Stability Community Licence (not free for every commercial use); adapters MIT",
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
        self.options = OneStepOptions(posterior=posterior, shift_in=shift_in, t5=t5, t5_tokens=t5_tokens)
        self.device = choose_device(device)
        self.dtype = choose_dtype(dtype, self.device)

    def weights_sha256(self) -> str | None:
        """SHA-256 over the base model's weight files and the adapters."""
        folder = Path(self.base)
        weights = sorted(folder.rglob("*.safetensors")) if folder.is_dir() else []
        return combined_sha256([*weights, *map(Path, self.files)])

    def _load(self) -> None:
        self.model = OneStepSD3.load(self.base, self.lora, self.vae_encoder, self.options, self.device, self.dtype)

    def _refine(self, pictures: list[RGB8], prompts: list[str], seeds: list[int]) -> list[RGBF]:
        # On a CPU one at a time, so that company changes no bit; on a GPU pictures of a size go together.
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, picture in enumerate(pictures):
            groups.setdefault((index,) if self.device.type == "cpu" else picture.shape, []).append(index)
        results: dict[int, RGBF] = {}
        for indices in groups.values():
            batch = torch.stack([_to_tensor(pictures[i]) for i in indices])
            restored = self.model(batch, [prompts[i] for i in indices], [seeds[i] for i in indices])
            results.update(zip(indices, _to_arrays(restored), strict=True))
        return [results[index] for index in range(len(pictures))]


def _to_tensor(picture: RGB8) -> torch.Tensor:
    """uint8 H x W x 3 to float32 3 x H x W in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).float() / 255 * 2 - 1


def _to_arrays(pictures: torch.Tensor) -> list[RGBF]:
    """B x 3 x H x W in about [-1, 1] to float32 H x W x 3 arrays in [0, 1]; NaN stays NaN, for the base to find."""
    unit = (pictures.clamp(-1, 1) * 0.5 + 0.5).permute(0, 2, 3, 1)
    return list(np.ascontiguousarray(unit.cpu().numpy()))
