"""One-step diffusion: OSEDiff on Stable Diffusion 3, the paper's own backbone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
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
from chain_of_zoom.backbones.local import LocalBackbone
from chain_of_zoom.errors import MissingError, UsageError
from chain_of_zoom.imaging.geometry import Box, Size, pixel_box
from chain_of_zoom.imaging.images import RGB8, RGBF, size_of
from chain_of_zoom.imaging.tiling import LATENT, Span, published_spans, spread_spans
from chain_of_zoom.runtime.plan import NetworkPart
from chain_of_zoom.runtime.residence import Residence
from chain_of_zoom.runtime.retry import is_usable, retry_in_float32
from chain_of_zoom.weights.catalog import ITEMS
from chain_of_zoom.weights.files import TRAINED, count_parameters, is_quantisable, trained_about
from chain_of_zoom.weights.hub import find_model

if TYPE_CHECKING:
    from chain_of_zoom.networks.sd.sd3 import OneStepSD3

TILE, OVERLAP = 32, 8
"""Latents of the tiles that a picture is cut into when it does not fit into memory at once."""
DEFAULT_BASE = ITEMS["sd3"].source


class OneStepDiffusion(LocalBackbone, RefiningBackbone, WholePictureBackbone):
    """OSEDiff on SD3 with the published adapters merged.

    base: a diffusers folder or a downloaded hub name. transformer: a file or a folder of weights in place of the base
    model's transformer, such as OracleZoom's; where it has the adapters in it, `lora` is not merged again.
    lora: the transformer adapters, or a folder of `coz train`, which
    has both adapters. vae_encoder: the adapted encoder. Without them the base model's own weights are used, and the
    record's hash says so. posterior, shift_in, t5, t5_tokens: see OneStepOptions; the last three are by default as the
    adapters were trained, which for the published ones means OneStepOptions' own. device, dtype, memory: see
    docs/performance.md, Placement. Out of memory, fewer pictures are computed at once, then one in tiles, then with all
    other models off the GPU; a result that is NaN or flat is computed once more in float32. Raises UsageError for a
    value that makes no sense.
    """

    model: OneStepSD3
    info = BackboneInfo(
        name="osediff-sd3",
        summary="the paper's backbone: one-step diffusion on Stable Diffusion 3, reads prompts",
        factor=4,
        text_aware=True,
        licence="weights of SD3-medium: non-commercial (Stability AI); adapters: MIT",
        bytes=ITEMS["sd3"].bytes,
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
        shift_in: bool | None = None,
        t5: bool | None = None,
        t5_tokens: int | None = None,
        device: str = "auto",
        dtype: str = "auto",
        memory: str = "auto",
        transformer: str | Path | None = None,
    ) -> None:
        if posterior not in ("sample", "mode"):
            raise UsageError(f"posterior {posterior!r}; accepted: sample, mode; type: --set backbone.posterior=mode")
        if lora and Path(lora).is_dir():
            lora = Path(lora) / TRAINED
        self.lora, self.vae_encoder = (str(path) if path else None for path in (lora, vae_encoder))
        self.transformer = str(transformer) if transformer else None
        files = [path for path in (self.lora, self.vae_encoder) if path] + _list_weights(self.transformer)
        super().__init__(base, files, device, dtype, memory)
        for path in self.files:
            if not Path(path).is_file():
                raise MissingError(
                    f"weights {path} are not there; accepted: a weight file; check the path, or see coz models"
                )
        about = trained_about(lora) if lora else {}
        if about and vae_encoder:
            raise UsageError(
                f"{lora} brings an encoder of its own, and vae_encoder is another; accepted: one; leave vae_encoder out"
            )
        used = {"shift_in": False, "t5": True, "t5_tokens": 512} | about.get("use", {})
        self.shift_in: bool = used["shift_in"] if shift_in is None else shift_in
        self.t5: bool = used["t5"] if t5 is None else t5
        self.t5_tokens: int = used["t5_tokens"] if t5_tokens is None else t5_tokens
        if not 1 <= self.t5_tokens <= 512:
            raise UsageError(f"t5_tokens {t5_tokens}; accepted: 1 to 512; type: --set backbone.t5_tokens=77")
        self.info = replace(self.info, seeded=posterior == "sample")
        self.posterior = posterior

    def _list_parts(self) -> tuple[NetworkPart, ...]:
        return sd3_parts(find_model(self.base) or Path(self.base), t5=self.t5)

    def _read(self, residence: Residence) -> None:
        from chain_of_zoom.networks.sd.sd3 import OneStepOptions, OneStepSD3
        from chain_of_zoom.runtime.placement import choose_device, find_dtype

        device, dtype = choose_device(residence.device("image")), find_dtype(residence.dtype("transformer"))
        options = OneStepOptions(posterior=self.posterior, shift_in=self.shift_in, t5=self.t5, t5_tokens=self.t5_tokens)
        self.model = OneStepSD3.load(
            self.base, self.lora, self.vae_encoder, options, device, dtype, residence, self.transformer
        )

    def _refine(self, pictures: list[RGB8], prompts: list[str], seeds: list[int]) -> list[RGBF]:
        from chain_of_zoom.networks.sd.sd3 import TEXTS
        from chain_of_zoom.runtime.shortage import group_by_size, try_in_memory

        def compute(indices: list[int]) -> list[RGBF]:
            batch = np.stack([pictures[i] for i in indices])
            return list(self.model.refine(batch, [prompts[i] for i in indices], [seeds[i] for i in indices]))

        def alone(index: int) -> RGBF:
            if max(pictures[index].shape) > TILE * LATENT:
                self._tell(index, f"out of GPU memory; in tiles of {TILE * LATENT} px")
                return self._refine_in_tiles(index, pictures[index], prompts[index], seeds[index])
            return self._compute_offloaded(partial(compute, [index]), partial(self._tell, index))[0]

        def compute_all(chosen: list[int]) -> dict[int, RGBF]:
            words = [prompts[index] for index in chosen]
            for start in range(0, len(words), TEXTS):  # together, before the encoders may have to leave
                try_in_memory(partial(self.model.encode_texts, words[start : start + TEXTS]))
            computed: dict[int, RGBF] = {}
            for group in group_by_size([pictures[index] for index in chosen]):
                computed.update(self._compute([chosen[number] for number in group], compute, self._tell, alone))
            return computed

        def find_unusable(results: dict[int, RGBF]) -> list[int]:
            return [
                index
                for index, picture in enumerate(pictures)
                if not is_usable(results[index], may_be_flat=bool(np.ptp(picture) <= 8))
            ]

        def compute_again() -> dict[int, RGBF]:
            batch = self._batch
            self._batch = max(batch // 2, 1)  # everything is twice as large now, and as before afterwards
            try:
                return results | compute_all(unusable)
            finally:
                self._batch = batch

        def tell_of_retry(dtype: str) -> None:
            for index in unusable:
                self._tell(index, f"came out unusable in {dtype}; computed again in float32")

        results = compute_all(list(range(len(pictures))))
        unusable = find_unusable(results)
        results = retry_in_float32(
            results,
            self.model.dtype,
            self.model.in_float32,
            is_usable=lambda _: not unusable,
            compute=compute_again,
            tell=tell_of_retry,
        )
        return [results[index] for index in range(len(pictures))]

    def _refine_in_tiles(self, index: int, picture: RGB8, prompt: str, seed: int) -> RGBF:
        """Refine a picture in tiles that fade into one another."""
        from chain_of_zoom.networks.sd.tiled import TiledRun
        from chain_of_zoom.networks.sd.tiled_smooth import LITTLE_ROOM, SmoothPicture

        rows, columns = (spread_spans(side, TILE * LATENT, OVERLAP * LATENT, LATENT) for side in picture.shape[:2])
        prompts = [prompt] * (len(rows) * len(columns))
        run = TiledRun(
            model=self.model,
            identity="",
            factor=1,
            prompts=prompts,
            seed=seed,
            batch=1,
            on_fallback=lambda _, note: self._tell(index, note),
        )
        tiled = SmoothPicture(run, picture, rows, columns, OVERLAP * LATENT // 2, room=LITTLE_ROOM)
        return np.concatenate([pixels for _, pixels in tiled()])

    def tiles(self, size: Size, *, tile: int = 64, overlap: int = 16, blend: Blend = "smooth") -> list[WholeTile]:
        """Return the grid of the blend, in pixels of the result; smooth tiles end where the picture does."""
        width, height = self.whole_size(size, blend)
        rows, columns = self._spans(size, tile, overlap, blend)
        return [
            WholeTile(row, col, pixel_box(x.start, y.start, min(x.stop, width), min(y.stop, height)))
            for row, y in enumerate(rows)
            for col, x in enumerate(columns)
        ]

    def whole_size(self, size: Size, blend: Blend = "smooth") -> Size:
        """Return four times the size; "published" in whole latents only, so up to 4 pixels less."""
        width, height = (side * self.info.factor for side in size)
        return (
            Size(width // LATENT * LATENT, height // LATENT * LATENT) if blend == "published" else Size(width, height)
        )

    def _spans(self, size: Size, tile: int, overlap: int, blend: Blend) -> tuple[list[Span], list[Span]]:
        """Return rows and columns of tiles, in pixels of the result; smooth ones reach into its padding."""
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
        width, height = (self._pad_side(side) * self.info.factor for side in size)
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
        from chain_of_zoom.networks.sd.tiled import TiledRun, digest
        from chain_of_zoom.networks.sd.tiled_published import PublishedPicture
        from chain_of_zoom.networks.sd.tiled_smooth import SmoothPicture

        size = size_of(picture)
        spans = self._spans(size, tile, overlap, blend)
        run = TiledRun(
            model=self.model,
            identity=digest(self._weights, self.model.options, *self.model.precision, self.model.device.type),
            factor=self.info.factor,
            prompts=prompts,
            seed=seed,
            batch=batch or min(self._batch, 4),
            store=store,
            on_fallback=on_fallback,
        )
        if blend == "published":
            yield from PublishedPicture(run, picture, *spans)()
            return
        # Half the overlap is faded, so that what a tile makes near its own edge is never seen.
        fade = overlap * LATENT // 2
        width, height = self.whole_size(size)
        for band, pixels in SmoothPicture(run, self._pad(picture), *spans, fade)():
            top = int(band.y0)
            visible = pixels[: height - top, :width]
            yield pixel_box(0, top, width, top + len(visible)), visible


def _list_weights(transformer: str | None) -> list[str]:
    """Return the files of a transformer's weights; the path itself where it is no folder with any."""
    if transformer is None:
        return []
    return [str(path) for path in sorted(Path(transformer).glob("*.safetensors"))] or [transformer]


def sd3_parts(folder: Path, *, t5: bool = True) -> tuple[NetworkPart, ...]:
    """Return the networks of Stable Diffusion 3 in a folder of diffusers layout, with their sizes."""
    # Work for a picture of 512 x 512 px: as benchmarks/placement.py measures it, doubled, as kernels take room too.
    encoders = [
        NetworkPart(
            name="clip",
            stage="texts",
            parameters=count_parameters(folder / "text_encoder") + count_parameters(folder / "text_encoder_2"),
            work=10_000_000,
        )
    ]
    if t5:
        count, large = (count_parameters(folder / "text_encoder_3", counts) for counts in (bool, is_quantisable))
        encoders.append(NetworkPart(name="t5", stage="texts", parameters=count, quantisable=large, work=200_000_000))
    transformer, vae = (count_parameters(folder / name) for name in ("transformer", "vae"))
    return (
        *encoders,
        NetworkPart(name="transformer", stage="image", parameters=transformer, work=560_000_000),
        NetworkPart(name="vae", stage="image", parameters=vae, work=1_610_000_000, dtype="float32"),
    )
