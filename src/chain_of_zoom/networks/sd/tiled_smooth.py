"""Run whole pictures without seams and in bounded memory: every stage blended before the next, row by row.

Tiles overlap. Latents of neighbours are faded into one another after encoding and again after denoising, pixels after
decoding, always with the same symmetric weights. A picture of few tiles passes the VAE whole. In a larger one the VAE's
group norms take the same statistics in every tile, from samples all over the picture, so that neighbours differ by
little more than what lies outside of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import isqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chain_of_zoom.errors import BackboneError
from chain_of_zoom.imaging.geometry import pixel_box
from chain_of_zoom.imaging.images import enlarge_part
from chain_of_zoom.imaging.tiling import LATENT, Span, fade_weights
from chain_of_zoom.networks.sd.norms import fix_norms, pool_norms
from chain_of_zoom.networks.sd.sd3 import to_arrays, to_tensor
from chain_of_zoom.networks.sd.tiled import (
    DECODED,
    DENOISED,
    ENCODED,
    STAGES,
    Array,
    LatentTile,
    Piece,
    TiledPicture,
    TiledRun,
    digest,
)
from chain_of_zoom.runtime.retry import retry_in_float32
from chain_of_zoom.runtime.shortage import try_in_memory

ROOM = 20
"""Samples of half a tile's side that the VAE takes at once, five tiles' worth: a picture no larger passes it whole."""
LITTLE_ROOM = 4
"""The same where memory is short: one tile's worth."""


@dataclass(frozen=True)
class _Grid:
    """Tiles row by row, and the weights by which their pixels and their latents are blended."""

    tiles: list[list[LatentTile]]
    down: list[Array]
    across: list[Array]
    latents_down: list[Array]
    latents_across: list[Array]


class SmoothPicture(TiledPicture):
    """A picture in tiles that fade into one another over `fade` pixels; one tile alone is what a zoom makes of it.

    room: samples that the VAE takes at once, of which a tile is four; a picture no larger is encoded and decoded whole.
    A prompt changes what is denoised in its own tile, and what is decoded there and in tiles that overlap it.
    In memory are the latents of the rows of tiles that overlap, the tiles of one batch, and a band of pixels.
    """

    def __init__(
        self,
        run: TiledRun,
        picture: NDArray[np.uint8],
        rows: list[Span],
        columns: list[Span],
        fade: int,
        room: int = ROOM,
    ) -> None:
        super().__init__(run, picture, rows, columns)
        self.rows, self.columns, self.fade = rows, columns, fade
        height, width = rows[-1].stop, columns[-1].stop
        self.whole = LatentTile(0, 0, 0, Span(0, height, 0, height), Span(0, width, 0, width))
        self.is_one_tile = self.grid == [[self.whole]]
        self.cut = _lay(self.grid, fade)
        fits = 4 * height * width <= room * rows[0].stop * columns[0].stop
        self.grids = dict.fromkeys((ENCODED, DECODED), _lay([[self.whole]], fade) if fits else self.cut)
        self.grids[DENOISED] = self.cut
        self.samples = [] if self.is_one_tile else _sample_boxes(rows, columns, room)
        self.origin = digest(run.identity, rows, columns, fade, *(self._enlarged(*box) for box in self.samples))
        self._statistics: list[Tensor] = []

    def __call__(self) -> Iterator[Piece]:
        """Yield bands of the whole width, top to bottom, as soon as no other row of tiles reaches into them."""
        for stage in ENCODED, DECODED:
            self._try_whole(stage)
        grid, width = self.grids[DECODED], self.columns[-1].stop
        band = np.zeros((grid.tiles[0][0].rows.stop, width, 3), np.float32)
        for row, tiles in enumerate(grid.tiles):
            for tile, piece in self.finish_in_batches(DECODED, tiles):
                weights = grid.down[row][:, None, None] * grid.across[tile.col][:, None]
                band[:, tile.columns.start : tile.columns.stop] += weights * piece
            top, stop = tiles[0].rows.start, tiles[0].rows.stop
            end = grid.tiles[row + 1][0].rows.start if row + 1 < len(grid.tiles) else stop
            yield pixel_box(0, top, width, end), np.clip(band[: end - top], 0, 1)
            band = np.concatenate([band[end - top :], np.zeros((end - top, width, 3), np.float32)])
            self.live = {key: piece for key, piece in self.live.items() if key[1].rows.stop > end}

    def _try_whole(self, stage: int) -> None:
        """Let the VAE take the whole picture if that is planned; tiles of it where a GPU has no room."""
        if self.grids[stage] is not self.cut and not self.is_one_tile:
            try:
                self.finish(stage, [self.whole])
            except _NoRoomError:
                self.grids[stage] = self.cut
                self._tell(self.whole, f"out of GPU memory; the picture {STAGES[stage]} in tiles")

    def compute_alone(self, tile: LatentTile, compute: Callable[[], list[Array]]) -> Array:
        """Compute a tile that found no room on the GPU. Raises BackboneError; for the whole picture _NoRoomError."""
        if tile == self.whole and not self.is_one_tile:
            raise _NoRoomError
        return super().compute_alone(tile, compute)

    def parts(self, stage: int, tile: LatentTile) -> list[LatentTile]:
        """Return the tile; for the whole picture all tiles that are denoised."""
        return [part for row in self.grid for part in row] if tile == self.whole and stage == DENOISED else [tile]

    def depends_on(self, stage: int, tile: LatentTile) -> tuple[object, ...]:
        """Return pixels and noise; then the pieces of tiles that overlap, and the prompt."""
        if stage == ENCODED:
            window = self._enlarged(tile.rows, tile.columns)
            return self.origin, window.shape, window, self.run.seed + tile.number
        names = [self.name(stage - 1, near) for near in self._near(stage - 1, [tile])]
        return (*names, self.run.prompts[tile.number]) if stage == DENOISED else (self.origin, tile, *names)

    def inputs(self, stage: int, tiles: Sequence[LatentTile]) -> list[NDArray[np.generic]]:
        """Return enlarged pixels, then latents blended from the tiles that overlap."""
        if stage == ENCODED:
            return [self._enlarged(tile.rows, tile.columns) for tile in tiles]
        self.finish(stage - 1, self._near(stage - 1, tiles))
        return [self._blended(stage - 1, tile) for tile in tiles]

    def compute(self, stage: int, tiles: Sequence[LatentTile], inputs: Sequence[NDArray[np.generic]]) -> list[Array]:
        """Compute one stage of tiles."""
        if stage == DENOISED:
            return super().compute(stage, tiles, inputs)
        batch = np.stack(inputs)
        with fix_norms(*self._norms(stage)):
            if stage == DECODED:
                return list(to_arrays(self.model.decode(torch.from_numpy(batch).to(self.model.device))))
            pixels = to_tensor(batch).to(self.model.device)
            return list(self.model.encode(pixels, [self.run.seed + tile.number for tile in tiles]).cpu().numpy())

    def _enlarged(self, rows: Span, columns: Span) -> NDArray[np.uint8]:
        return enlarge_part(self.picture, self.run.factor, slice(*rows[:2]), slice(*columns[:2]))

    def _near(self, stage: int, tiles: Sequence[LatentTile]) -> list[LatentTile]:
        """Return the tiles of a stage that overlap any of these, in order."""

        def meet(a: Span, b: Span) -> bool:
            return a.start < b.stop and b.start < a.stop

        return [
            near
            for row in self.grids[stage].tiles
            for near in row
            if any(meet(near.rows, tile.rows) and meet(near.columns, tile.columns) for tile in tiles)
        ]

    def _blended(self, stage: int, tile: LatentTile) -> Array:
        """Blend the latents under a tile from all tiles that overlap it."""
        rows, columns, grid, overlapping = tile.rows, tile.columns, self.grids[stage], self._near(stage, [tile])
        channels = self.live[stage, overlapping[0]].shape[0]
        height, width = (rows.stop - rows.start) // LATENT, (columns.stop - columns.start) // LATENT
        blended = np.zeros((channels, height, width), np.float32)
        for near in overlapping:
            weights = grid.latents_down[near.row][:, None] * grid.latents_across[near.col]
            here_y, there_y = _common(rows, near.rows)
            here_x, there_x = _common(columns, near.columns)
            blended[:, here_y, here_x] += weights[there_y, there_x] * self.live[stage, near][:, there_y, there_x]
        return blended

    def _norms(self, stage: int) -> tuple[torch.nn.Module, Sequence[Tensor] | None]:
        """Return a half of the VAE, and the statistics for its group norms: its own, when it takes all in one piece."""
        encoder, decoder = self.model.vae.encoder, self.model.vae.decoder
        if len(self.grids[stage].tiles) * len(self.grids[stage].tiles[0]) == 1:
            return encoder if stage == ENCODED else decoder, None
        if self.samples and not self._statistics:
            name = f"norms-{digest(self.origin, self.run.seed)}"
            statistics = self.load_or_compute(name, partial(self._sample_in_memory, encoder, decoder))
            self._statistics = list(torch.from_numpy(statistics).to(self.model.device))
        in_encoder = sum(isinstance(module, torch.nn.GroupNorm) for module in encoder.modules())
        of_net = slice(in_encoder) if stage == ENCODED else slice(in_encoder, None)
        return encoder if stage == ENCODED else decoder, self._statistics[of_net] or None

    def _sample_in_memory(self, encoder: torch.nn.Module, decoder: torch.nn.Module) -> Array:
        """Return the statistics over the samples; over fewer where a GPU has no room for all, which come together."""
        sample = partial(self._sample_statistics, encoder, decoder)
        if len(self.samples) <= LITTLE_ROOM:
            return sample()
        if (statistics := try_in_memory(sample)) is not None:
            return statistics
        count = len(self.samples)
        self.samples = _sample_boxes(self.rows, self.columns, LITTLE_ROOM)
        self._tell(
            self.grid[0][0], f"out of GPU memory; norms shared from {len(self.samples)} samples, not from {count}"
        )
        return sample()

    def _sample_statistics(self, encoder: torch.nn.Module, decoder: torch.nn.Module) -> Array:
        """Return the statistics over the samples, of the encoder and then of the decoder.

        For the decoder they are denoised without a prompt, so that no prompt of a tile reaches beyond it.
        """
        pixels = to_tensor(np.stack([self._enlarged(*box) for box in self.samples])).to(self.model.device)
        with pool_norms(encoder) as of_encoder:
            z = self.model.encode(pixels, range(self.run.seed, self.run.seed + len(pixels)))
        denoised = retry_in_float32(
            self._denoise_samples(z),
            self.model.dtype,
            self.model.in_float32,
            is_usable=_is_finite,
            compute=partial(self._denoise_samples, z),
            tell=lambda _: self._tell(
                self.grid[0][0], "samples for the decoder came out as NaN; computed again in float32"
            ),
        )
        if not _is_finite(denoised):
            raise BackboneError("samples of the picture were denoised to NaN; change --seed, or try --dtype float32")
        with pool_norms(decoder) as of_decoder:
            self.model.decode(denoised)
        return torch.stack(of_encoder + of_decoder).cpu().numpy()

    def _denoise_samples(self, z: Tensor) -> Tensor:
        parts = (z[start : start + self.run.batch] for start in range(0, len(z), self.run.batch))
        return torch.cat([self.model.denoise(part, [""] * len(part)) for part in parts])


def _is_finite(values: Tensor) -> bool:
    return bool(values.isfinite().all())


class _NoRoomError(Exception):
    """A GPU has no room for the VAE to take the whole picture."""


def _lay(tiles: list[list[LatentTile]], fade: int) -> _Grid:
    rows, columns = [row[0].rows for row in tiles], [tile.columns for tile in tiles[0]]
    weights = [fade_weights(spans, fade, unit) for unit in (1, LATENT) for spans in (rows, columns)]
    return _Grid(tiles, *weights)


def _sample_boxes(rows: list[Span], columns: list[Span], room: int) -> list[tuple[Span, Span]]:
    """Return rows and columns of at most `room` samples, spread over the picture from border to border."""

    def spread(spans: list[Span]) -> list[Span]:
        side = max((spans[0].stop - spans[0].start) // 4 // LATENT, 1) * 2 * LATENT
        count = min(isqrt(room), 2 * len(spans))
        starts = ((spans[-1].stop - side) * number // (count - 1) // LATENT * LATENT for number in range(count))
        return [Span(start, start + side, start, start + side) for start in starts]

    return [(y, x) for y in spread(rows) for x in spread(columns)]


def _common(here: Span, there: Span) -> tuple[slice, slice]:
    """Return the latents two spans share, counted from the start of each."""
    start, stop = max(here.start, there.start), min(here.stop, there.stop)
    of_here, of_there = (slice((start - span.start) // LATENT, (stop - span.start) // LATENT) for span in (here, there))
    return of_here, of_there
