"""Whole pictures through the one-step restorer, tile by tile: stages that are stored, retried and blended.

Every tile goes through the stages of a picture (encoded, denoised, decoded). A finished piece goes into the store under
a name that holds a hash of all it depends on, so that a run which was stopped goes on where it was, and a changed
prompt changes the names of what it changes and of nothing else.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from chain_of_zoom.errors import BackboneError
from chain_of_zoom.imaging.geometry import Box, pixel_box
from chain_of_zoom.imaging.images import enlarge_part
from chain_of_zoom.imaging.tiling import Span, fade_weights
from chain_of_zoom.models.sd3 import OneStepSD3, to_arrays, to_tensor

Array = NDArray[np.float32]
Piece = tuple[Box, Array]
"""A part of the result: its box in pixels, and float32 RGB in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What all tiles of a run share.

    identity: what tells this model, precision and device from others. factor: of the enlargement. batch: tiles computed
    together.
    store: takes and gives finished pieces, and may forget them. on_fallback(number of the tile, what went another way).
    """

    model: OneStepSD3
    identity: str
    factor: int
    seed: int
    batch: int
    store: MutableMapping[str, Array] | None = None
    on_fallback: Callable[[int, str], None] | None = None


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One tile: its place, its rows and columns in pixels of the result, its text.

    names: what the piece of each stage is called in the store; "" is not stored.
    flat: whether its input is so flat that a flat result is none to wonder about.
    """

    number: int
    row: int
    col: int
    rows: Span
    columns: Span
    prompt: str
    names: tuple[str, ...]
    flat: bool

    def __str__(self) -> str:
        box = f"{self.columns.start},{self.rows.start},{self.columns.stop},{self.rows.stop}"
        return f"tile in row {self.row}, column {self.col} (pixels {box})"


def digest(*parts: object) -> str:
    """A hash of arrays and of the text of everything else."""
    hashed = hashlib.sha256()
    for part in parts:
        data = np.ascontiguousarray(part).tobytes() if isinstance(part, np.ndarray) else str(part).encode()
        hashed.update(len(data).to_bytes(8, "big") + data)
    return hashed.hexdigest()[:32]


class TiledPicture(ABC):
    """A picture in tiles, and the stages they go through.

    A stage takes tiles and what the stage before made of them. rows, columns: of tiles, in pixels of the result.
    """

    def __init__(self, run: Run, picture: NDArray[np.uint8], rows: list[Span], columns: list[Span]) -> None:
        self.run, self.model, self.picture = run, run.model, picture
        self.rows, self.columns = rows, columns
        self.stages: list[Callable[[Sequence[Tile], list[Array]], list[Array]]] = [self.encode, self.denoise]

    @abstractmethod
    def encode(self, tiles: Sequence[Tile], _: list[Array]) -> list[Array]:
        """The latents of tiles, each C x h x w."""

    def denoise(self, tiles: Sequence[Tile], latents: list[Array]) -> list[Array]:
        """The one step, each tile with its own prompt."""
        z = torch.from_numpy(np.stack(latents)).to(self.model.device)
        odd = z.shape[-1] % 2, z.shape[-2] % 2  # the transformer takes patches of 2 x 2 latents
        z = torch.nn.functional.pad(z, (0, odd[0], 0, odd[1]), mode="replicate") if any(odd) else z
        made = self.model.denoise(z, [tile.prompt for tile in tiles])
        return list(made[..., : latents[0].shape[-2], : latents[0].shape[-1]].cpu().numpy())

    def name(self, stage: str, row: int, col: int, *depends_on: object) -> str:
        """A name in the store, fit for a file."""
        return f"{stage}-r{row}c{col}-{digest(*depends_on)}"

    def stored(self, name: str) -> Array | None:
        """A finished piece, or None."""
        return self.run.store.get(name) if name and self.run.store is not None else None

    def keep(self, name: str, piece: Array) -> Array:
        """Put a finished piece into the store."""
        if name and self.run.store is not None:
            self.run.store[name] = piece
        return piece

    def pieces(self, stage: int, tiles: Sequence[Tile]) -> list[Array]:
        """What a stage makes of tiles: from the store, or now, and then stored."""
        if stage < 0:
            return []
        pieces = {tile: self.stored(tile.names[stage]) for tile in tiles}
        if missing := [tile for tile, piece in pieces.items() if piece is None]:
            made = self.stages[stage](missing, self.pieces(stage - 1, missing))
            for tile, piece in zip(missing, made, strict=True):
                pieces[tile] = self.keep(tile.names[stage], self.checked(stage, tile, piece))
        return [piece for piece in pieces.values() if piece is not None]

    def checked(self, stage: int, tile: Tile, piece: Array) -> Array:
        """The piece when it is usable, else one more try where float32 is another one. Raises BackboneError."""
        if usable(piece, tile.flat):
            return piece
        tried = str(self.model.dtype).removeprefix("torch.")
        if stage > 0 and self.model.dtype != torch.float32:
            if self.run.on_fallback:
                self.run.on_fallback(tile.number, f"{tile} came out unusable in {tried}; computed again in float32")
            (piece,) = self.pieces(0, [tile])
            with self.model.in_float32():
                for number, again in enumerate(self.stages[1 : stage + 1], 1):
                    (piece,) = again([tile], [piece])
                    if number < stage and usable(piece, tile.flat):
                        self.keep(tile.names[number], piece)
            tried += ", and again in float32"
        if not usable(piece, tile.flat):
            raise BackboneError(
                f"{tile} came out as NaN or flat in {tried}; finished tiles are kept; change its prompt or --seed"
            )
        return piece

    def batches(self, tiles: Sequence[Tile]) -> list[Sequence[Tile]]:
        """Tiles to compute together."""
        return [tiles[start : start + self.run.batch] for start in range(0, len(tiles), self.run.batch)]


class SmoothPicture(TiledPicture):
    """Tiles that are each what a zoom makes of that window, faded into one another as pixels.

    No tile depends on another, so a changed prompt changes its own box alone, and a band as high as a tile is all there
    is in memory. fade: width of the fades, in pixels.
    """

    def __init__(self, run: Run, picture: NDArray[np.uint8], rows: list[Span], columns: list[Span], fade: int) -> None:
        super().__init__(run, picture, rows, columns)
        self.fade = fade
        self.stages.append(self.decode)

    def encode(self, tiles: Sequence[Tile], _: list[Array]) -> list[Array]:
        """Each from the pixels of its box alone, as a window of its own."""
        windows = [self._enlarged(tile.rows, tile.columns) for tile in tiles]
        seeds = [self.run.seed + tile.number for tile in tiles]
        z = self.model.encode(to_tensor(np.stack(windows)).to(self.model.device), seeds)
        return list(z.cpu().numpy())

    def _enlarged(self, rows: Span, columns: Span) -> NDArray[np.uint8]:
        return enlarge_part(self.picture, self.run.factor, slice(*rows[:2]), slice(*columns[:2]))

    def decode(self, _: Sequence[Tile], latents: list[Array]) -> list[Array]:
        """Pixels of tiles."""
        return list(to_arrays(self.model.decode(torch.from_numpy(np.stack(latents)).to(self.model.device))))

    def __call__(self, prompts: Sequence[str]) -> Iterator[Piece]:
        """Bands of the whole width, top to bottom, as soon as no other row of tiles reaches into them."""
        down, across = fade_weights(self.rows, self.fade), fade_weights(self.columns, self.fade)
        width = self.columns[-1].stop
        band = np.zeros((self.rows[0].stop, width, 3), np.float32)
        for row, (rows, column_weights) in enumerate(zip(self.rows, down, strict=True)):
            for tiles in self.batches([self._tile(row, col, prompts) for col in range(len(self.columns))]):
                for tile, pixels in zip(tiles, self.pieces(2, tiles), strict=True):
                    weights = column_weights[:, None, None] * across[tile.col][None, :, None]
                    band[:, tile.columns.start : tile.columns.stop] += weights * pixels
            done = (self.rows[row + 1].start if row + 1 < len(self.rows) else rows.stop) - rows.start
            finished, band = band[:done], np.concatenate([band[done:], np.zeros((done, width, 3), np.float32)])
            yield pixel_box(0, rows.start, width, rows.start + done), np.clip(finished, 0, 1)

    def _tile(self, row: int, col: int, prompts: Sequence[str]) -> Tile:
        rows, columns = self.rows[row], self.columns[col]
        number = row * len(self.columns) + col
        window = self._enlarged(rows, columns)
        prompt = prompts[number]
        encoded = self.name("encoded", row, col, self.run.identity, self.run.seed + number, window.shape, window)
        denoised = self.name("denoised", row, col, encoded, prompt)
        return Tile(
            number=number,
            row=row,
            col=col,
            rows=rows,
            columns=columns,
            prompt=prompt,
            names=(encoded, denoised, self.name("decoded", row, col, denoised)),
            flat=bool(np.ptp(window) <= 8),
        )


def usable(piece: Array, flat: bool) -> bool:
    """Whether a piece is made of numbers, and of more than one unless its input was flat."""
    return bool(np.isfinite(piece).all()) and (flat or float(np.ptp(piece)) > 0)
