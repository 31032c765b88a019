"""Run the published script for whole pictures to the letter: its grid, Gaussian and tiled VAE (as published).

Kept for comparison: one latent holds the whole picture, tiles are blended as latents, the shift that encoding leaves
out is not added back, and the outermost latents of the corners lose some of their size, as the window is next to
nothing there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from chain_of_zoom.errors import BackboneError
from chain_of_zoom.imaging.geometry import Size, pixel_box
from chain_of_zoom.imaging.images import resize
from chain_of_zoom.imaging.tiling import LATENT, Span, published_vae_spans, published_weights
from chain_of_zoom.networks.sd.norms import fix_norms, pool_norms
from chain_of_zoom.networks.sd.sd3 import to_arrays, to_tensor
from chain_of_zoom.networks.sd.tiled import DENOISED, Array, LatentTile, Piece, TiledPicture, TiledRun, digest
from chain_of_zoom.runtime.retry import is_usable

ENCODER_TILE, ENCODER_PAD = 1024, 32
"""Pixels, as published; up to ENCODER_TILE + 2 * ENCODER_PAD nothing is tiled."""
DECODER_TILE, DECODER_PAD = 128, 11
"""Latents, as published."""


class PublishedPicture(TiledPicture):
    """Tiles cut from one latent of the whole picture, blended with a Gaussian, decoded together."""

    def __init__(self, run: TiledRun, picture: NDArray[np.uint8], rows: list[Span], columns: list[Span]) -> None:
        super().__init__(run, picture, rows, columns)
        self.origin = digest(run.identity, picture.shape, picture)
        self.latent = self._encode_whole()

    def __call__(self) -> Iterator[Piece]:
        """Yield the picture in the pieces the VAE decodes, once every tile is denoised and blended."""
        total, weight = np.zeros_like(self.latent), np.zeros_like(self.latent)
        tiles = [tile for row in self.grid for tile in row]
        for tile, piece in self.finish_in_batches(DENOISED, tiles):
            weights = published_weights(*piece.shape[1:])
            total[:, *_latents(tile)] += piece * weights
            weight[:, *_latents(tile)] += weights
        blended = torch.from_numpy(total / (weight + np.float32(1e-10)))[None]
        yield from self._decode_whole(blended, digest(*(self.name(DENOISED, tile) for tile in tiles)))

    def depends_on(self, stage: int, tile: LatentTile) -> tuple[object, ...]:
        """Return the picture, the noise, the place and the prompt."""
        return self.origin, self.run.seed, tile, self.run.prompts[tile.number]

    def inputs(self, stage: int, tiles: Sequence[LatentTile]) -> list[NDArray[np.generic]]:
        """Cut the tiles from the latent of the whole picture."""
        return [self.latent[:, *_latents(tile)] for tile in tiles]

    def _encode_whole(self) -> Array:
        from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

        vae = self.model.vae
        height, width = (side * self.run.factor for side in self.picture.shape[:2])
        enlarged = resize(self.picture, Size(width, height), "lanczos")
        pixels = to_tensor(enlarged[None]).to(self.model.device)
        channels = 2 * vae.config.latent_channels
        moments = torch.empty(1, channels, height // LATENT, width // LATENT)

        def compute(rows: slice, columns: slice, pass_through: Callable[[], Tensor]) -> Array:
            with self.model.using("image"):
                encoded = pass_through()
                if vae.quant_conv is not None:
                    encoded = run(vae.quant_conv, encoded)
            return encoded[0, :, rows, columns].cpu().numpy()

        for rows, columns, name, pass_through in vae_pieces(vae.encoder, pixels, ENCODER_TILE, ENCODER_PAD):
            y, x = (slice(span.keep_start // LATENT, span.keep_stop // LATENT) for span in (rows, columns))
            top, left_edge = rows.start // LATENT, columns.start // LATENT
            own = slice(y.start - top, y.stop - top), slice(x.start - left_edge, x.stop - left_edge)
            piece = self.load_or_compute(f"encoded-{name}-{self.origin}", partial(compute, *own, pass_through))
            moments[0, :, y, x] = torch.from_numpy(piece)
        latent: Array = self.model.sample(DiagonalGaussianDistribution(moments), [self.run.seed])[0].numpy()
        return latent

    def _decode_whole(self, latent: Tensor, origin: str) -> Iterator[Piece]:
        vae = self.model.vae
        z = latent.to(self.model.device) / vae.config.scaling_factor
        if vae.post_quant_conv is not None:
            with self.model.using("image"):
                z = run(vae.post_quant_conv, z)

        def compute(rows: Span, columns: Span, pass_through: Callable[[], Tensor]) -> Array:
            y, x = (slice((s.keep_start - s.start) * LATENT, (s.keep_stop - s.start) * LATENT) for s in (rows, columns))
            with self.model.using("image"):
                piece: Array = to_arrays(pass_through()[:, :, y, x])[0]
            if not is_usable(piece):  # published: no second try
                raise BackboneError("the picture was decoded to NaN; denoised tiles are kept; change --seed")
            return piece

        for rows, columns, name, pass_through in vae_pieces(vae.decoder, z, DECODER_TILE, DECODER_PAD):
            piece = self.load_or_compute(f"decoded-{name}-{origin}", partial(compute, rows, columns, pass_through))
            x0, y0 = columns.keep_start * LATENT, rows.keep_start * LATENT
            yield pixel_box(x0, y0, x0 + piece.shape[1], y0 + piece.shape[0]), piece


def _latents(tile: LatentTile) -> tuple[slice, slice]:
    """Return the rows and columns of a tile in the latent of the whole picture."""
    rows, columns = tile.rows, tile.columns
    return slice(rows.start // LATENT, rows.stop // LATENT), slice(columns.start // LATENT, columns.stop // LATENT)


VaePiece = tuple[Span, Span, str, Callable[[], Tensor]]


def vae_pieces(net: nn.Module, whole: Tensor, tile: int, pad: int) -> Iterator[VaePiece]:
    """Cut a half of the VAE's work as the published code does: yield rows, columns, a name, and how to compute them.

    Up to tile + 2 * pad in one go. Above that every group norm takes its mean and variance from a pass over the picture
    thinned out to a tile's size, so that all pieces are normed alike; attention sees its own piece alone.
    """
    height, width = whole.shape[-2:]
    if max(height, width) <= tile + 2 * pad:
        yield Span(0, height, 0, height), Span(0, width, 0, width), "whole", partial(run, net, whole)
        return
    statistics: list[Tensor] = []

    def piece(rows: Span, columns: Span) -> Tensor:
        if not statistics:
            with pool_norms(net) as pooled:
                run(net, thin_out(whole, tile))
            statistics.extend(pooled)
        with fix_norms(net, statistics):
            return run(net, whole[:, :, rows.start : rows.stop, columns.start : columns.stop])

    for row, rows in enumerate(published_vae_spans(height, tile, pad)):
        for col, columns in enumerate(published_vae_spans(width, tile, pad)):
            yield rows, columns, f"r{row}c{col}", partial(piece, rows, columns)


@torch.inference_mode()
def run(net: nn.Module, x: Tensor) -> Tensor:
    """Run one pass without gradients, in the precision of the weights; float32 comes out."""
    output: Tensor = net(x.to(next(net.parameters()).dtype))
    return output.float()


def thin_out(whole: Tensor, tile: int) -> Tensor:
    """Take every n-th pixel or latent, so that the long side is about `tile`, with the whole's mean and deviation."""
    small = nn.functional.interpolate(whole, scale_factor=tile / max(whole.shape[-2:]), mode="nearest-exact")
    (deviation, mean), (small_deviation, small_mean) = (
        torch.std_mean(x, dim=(0, 2, 3), keepdim=True) for x in (whole, small)
    )
    return ((small - small_mean) / small_deviation * deviation + mean).clamp(whole.min(), whole.max())
