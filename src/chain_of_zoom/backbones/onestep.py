"""One-step diffusion: OSEDiff on Stable Diffusion 3, the paper's own backbone."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np

from chain_of_zoom.backbones.base import (
    BackboneInfo,
    Blend,
    OnFallback,
    Pieces,
    RefiningBackbone,
    WholePictureBackbone,
    WholeTile,
)
from chain_of_zoom.errors import MissingError, UsageError
from chain_of_zoom.imaging.geometry import Box, Size, pixel_box
from chain_of_zoom.imaging.images import RGB8, RGBF, size_of
from chain_of_zoom.imaging.tiling import LATENT, Span, published_spans, spread_spans
from chain_of_zoom.models.files import combined_sha256

if TYPE_CHECKING:
    from chain_of_zoom.models.sd3 import OneStepSD3

DEFAULT_BASE = "stabilityai/stable-diffusion-3-medium-diffusers"


class OneStepDiffusion(RefiningBackbone, WholePictureBackbone):
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
        self.info = replace(self.info, seeded=posterior == "sample")
        self.posterior, self.shift_in, self.t5, self.t5_tokens = posterior, shift_in, t5, t5_tokens
        self.device, self.dtype = device, dtype

    def missing(self) -> str | None:
        """The pip command when torch or diffusers is not installed."""
        absent = any(importlib.util.find_spec(package) is None for package in ("torch", "diffusers", "transformers"))
        return "pip install 'chain-of-zoom[diffusion]'" if absent else None

    def weights_sha256(self) -> str | None:
        """SHA-256 over the base model's weight files and the adapters."""
        return self._weights

    @cached_property
    def _weights(self) -> str | None:
        folder = Path(self.base)
        weights = sorted(folder.rglob("*.safetensors")) if folder.is_dir() else []
        return combined_sha256([*weights, *map(Path, self.files)])

    def runs_on(self) -> str | None:
        """ "cpu", or "cuda:0" and the like."""
        return str(self.model.device) if self._loaded else None

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

    def tiles(self, size: Size, *, tile: int = 64, overlap: int = 16, blend: Blend = "smooth") -> list[WholeTile]:
        """The grid of the blend, in pixels of the result; smooth tiles end where the picture does."""
        width, height = self.whole_size(size, blend)
        rows, columns = self._spans(size, tile, overlap, blend)
        return [
            WholeTile(row, col, pixel_box(x.start, y.start, min(x.stop, width), min(y.stop, height)))
            for row, y in enumerate(rows)
            for col, x in enumerate(columns)
        ]

    def whole_size(self, size: Size, blend: Blend = "smooth") -> Size:
        """Four times the size; "published" in whole latents only, so up to 4 pixels less."""
        width, height = (side * self.info.factor for side in size)
        return (
            Size(width // LATENT * LATENT, height // LATENT * LATENT) if blend == "published" else Size(width, height)
        )

    def _spans(self, size: Size, tile: int, overlap: int, blend: Blend) -> tuple[list[Span], list[Span]]:
        """Rows and columns of tiles, in pixels of the result; smooth ones reach into its padding."""
        if blend not in get_args(Blend):
            raise UsageError(f"blend {blend!r}; accepted: {', '.join(get_args(Blend))}; type: --blend smooth")
        if not 8 <= tile <= 192 or tile % 2:
            raise UsageError(f"tile {tile}; accepted: an even number of latents, 8 to 192; for example --tile 64")
        if not 0 <= overlap < tile:
            raise UsageError(f"overlap {overlap}; accepted: 0 to {tile - 1}, less than the tile; type: --overlap 16")
        tile, overlap = tile * LATENT, overlap * LATENT
        if blend == "published":
            width, height = self.whole_size(size, blend)
            return published_spans(height, tile, overlap), published_spans(width, tile, overlap)
        width, height = (self._padded_side(side) * self.info.factor for side in size)
        return spread_spans(height, tile, overlap, LATENT), spread_spans(width, tile, overlap, LATENT)

    def _enlarge_whole(
        self,
        picture: RGB8,
        prompts: Sequence[str],
        seed: int,
        tile: int,
        overlap: int,
        blend: Blend,
        batch: int | None,
        store: Pieces | None,
        on_fallback: OnFallback | None,
    ) -> Iterator[tuple[Box, RGBF]]:
        from chain_of_zoom.models.tiled import Run, digest
        from chain_of_zoom.models.tiled_published import PublishedPicture
        from chain_of_zoom.models.tiled_smooth import SmoothPicture

        size = size_of(picture)
        spans = self._spans(size, tile, overlap, blend)
        run = Run(
            model=self.model,
            identity=digest(self._weights, self.model.options, self.model.dtype, self.model.device.type),
            factor=self.info.factor,
            prompts=prompts,
            seed=seed,
            batch=batch or (1 if self.model.device.type == "cpu" else 4),
            store=store,
            on_fallback=on_fallback,
        )
        if blend == "published":
            yield from PublishedPicture(run, picture, *spans)()
            return
        # Half the overlap is faded, so that what a tile makes near its own edge is never seen.
        fade = overlap * LATENT // 2
        width, height = self.whole_size(size)
        for band, pixels in SmoothPicture(run, self._padded(picture), *spans, fade)():
            top = int(band.y0)
            shown = pixels[: height - top, :width]
            yield pixel_box(0, top, width, top + len(shown)), shown
