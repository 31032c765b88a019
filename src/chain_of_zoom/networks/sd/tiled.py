"""Whole pictures through the one-step restorer, tile by tile: stages that are stored, retried and blended.

Every tile is encoded, denoised and decoded. A finished piece goes into the store under a name that holds a hash of all
it depends on, so that a run which was stopped goes on where it was, and a changed prompt changes the names of what it
changes and of nothing else.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from chain_of_zoom.errors import BackboneError
from chain_of_zoom.imaging.geometry import Box
from chain_of_zoom.imaging.tiling import Span
from chain_of_zoom.networks.sd.sd3 import TEXTS, OneStepSD3
from chain_of_zoom.runtime.shortage import compute_in_batches, try_in_memory

Array = NDArray[np.float32]
Piece = tuple[Box, Array]
"""A part of the result: its box in pixels, and float32 RGB in [0, 1]."""
ENCODED, DENOISED, DECODED = range(3)
STAGES = "encoded", "denoised", "decoded"


@dataclass(frozen=True, kw_only=True)
class Run:
    """How a picture is run.

    identity: what tells this model, precision and device from others. factor: of the enlargement. prompts: of the
    tiles, row by row. batch: tiles computed together. store: takes and gives finished pieces, and may forget them.
    on_fallback(number of the tile, what went another way).
    """

    model: OneStepSD3
    identity: str
    factor: int
    prompts: Sequence[str]
    seed: int
    batch: int
    store: MutableMapping[str, Array] | None = None
    on_fallback: Callable[[int, str], None] | None = None


class Tile(NamedTuple):
    """One tile: its number and place in the grid, and its rows and columns in pixels of the result."""

    number: int
    row: int
    col: int
    rows: Span
    columns: Span

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
    """A picture in tiles, and the stages they go through. rows, columns: of tiles, in pixels of the result."""

    def __init__(self, run: Run, picture: NDArray[np.uint8], rows: list[Span], columns: list[Span]) -> None:
        self.run, self.model, self.picture = run, run.model, picture
        self.batch = run.batch
        self.grid = [
            [Tile(row * len(columns) + col, row, col, y, x) for col, x in enumerate(columns)]
            for row, y in enumerate(rows)
        ]
        self.live: dict[tuple[int, Tile], Array] = {}
        self._names: dict[tuple[int, Tile], str] = {}

    @abstractmethod
    def depends_on(self, stage: int, tile: Tile) -> tuple[object, ...]:
        """All that the piece of a stage depends on."""

    @abstractmethod
    def inputs(self, stage: int, tiles: Sequence[Tile]) -> list[NDArray[np.generic]]:
        """What a stage starts from."""

    def compute(self, stage: int, tiles: Sequence[Tile], inputs: Sequence[NDArray[np.generic]]) -> list[Array]:
        """One stage of tiles of one size, together; here the one step, each tile with its own prompt."""
        assert stage == DENOISED
        z = torch.from_numpy(np.stack(inputs)).to(self.model.device)
        height, width = z.shape[-2:]
        if height % 2 or width % 2:  # the transformer takes patches of 2 x 2 latents
            z = torch.nn.functional.pad(z, (0, width % 2, 0, height % 2), mode="replicate")
        if self.model.swaps:  # the texts of the row together, or encoders and transformer would take turns
            row = [tile.number for tile in self.grid[tiles[0].row] if tile.number >= tiles[0].number]
            self.model.encode_texts([self.run.prompts[number] for number in row[:TEXTS]])
        made = self.model.denoise(z, [self.run.prompts[tile.number] for tile in tiles])
        return list(made[..., :height, :width].cpu().numpy())

    def flat(self, tile: Tile) -> bool:
        """Whether the input of a tile is so flat that a flat result is none to wonder about."""
        rows, columns = (slice(s.start // self.run.factor, -(-s.stop // self.run.factor)) for s in tile[-2:])
        return bool(np.ptp(self.picture[rows, columns]) <= 8)

    def name(self, stage: int, tile: Tile) -> str:
        """What the piece is called in the store: fit for a file."""
        if (stage, tile) not in self._names:
            self._names[stage, tile] = f"{STAGES[stage]}-r{tile.row}c{tile.col}-{digest(*self.depends_on(stage, tile))}"
        return self._names[stage, tile]

    def stored(self, name: str) -> Array | None:
        """A finished piece, or None."""
        return None if self.run.store is None else self.run.store.get(name)

    def keep(self, name: str, piece: Array) -> None:
        """Put a finished piece into the store."""
        if self.run.store is not None:
            self.run.store[name] = piece

    def finish(self, stage: int, tiles: Sequence[Tile]) -> None:
        """Have the pieces of a stage in `live`: from the store, or computed now in batches, and then stored."""
        missing = []
        for tile in tiles:
            if (stage, tile) not in self.live:
                piece = self.stored(self.name(stage, tile))
                if piece is None:
                    missing.append(tile)
                else:
                    self.live[stage, tile] = piece

        def compute(numbers: list[int]) -> list[Array]:
            batch = [missing[number] for number in numbers]
            made = [
                self._usable(stage, tile, piece)
                for tile, piece in zip(batch, self.compute(stage, batch, self.inputs(stage, batch)), strict=True)
            ]
            for tile, piece in zip(batch, made, strict=True):
                self.live[stage, tile] = piece
                self.keep(self.name(stage, tile), piece)
            return made

        def alone(number: int) -> Array:
            residence = self.model.residence
            if residence and residence.offload("image"):
                self._tell(missing[number], "out of GPU memory; all other models moved off the GPU")
                if (made := try_in_memory(partial(compute, [number]))) is not None:
                    return made[0]
            raise BackboneError(
                f"{missing[number]} does not fit into the memory of the GPU; accepted: smaller tiles, or other "
                "programs off the GPU; type: --tile 32, or --device cpu"
            )

        numbers = range(len(missing))
        _, self.batch = compute_in_batches(
            numbers, self.batch, compute, lambda i, what: self._tell(missing[i], what), alone
        )

    def _tell(self, tile: Tile, what: str) -> None:
        if self.run.on_fallback:
            self.run.on_fallback(tile.number, what)

    def _usable(self, stage: int, tile: Tile, piece: Array) -> Array:
        """The piece when it is usable, else one more try where float32 is another one. Raises BackboneError."""
        if self._is_usable(tile, piece):
            return piece
        tried = str(self.model.dtype).removeprefix("torch.")
        if self.model.dtype != torch.float32:
            self._tell(tile, f"{tile} came out unusable in {tried}; computed again in float32")
            with self.model.in_float32():
                for again in range(min(stage, DENOISED), stage + 1):
                    (piece,) = self.compute(again, [tile], self.inputs(again, [tile]))
                    if again < stage and self._is_usable(tile, piece):
                        self.live[again, tile] = piece
                        self.keep(self.name(again, tile), piece)
            tried += ", and again in float32"
        if not self._is_usable(tile, piece):
            raise BackboneError(
                f"{tile} was {STAGES[stage]} to NaN or a flat piece in {tried}; "
                "finished tiles are kept; change its prompt or --seed"
            )
        return piece

    def _is_usable(self, tile: Tile, piece: Array) -> bool:
        return bool(np.isfinite(piece).all()) and (float(np.ptp(piece)) > 0 or self.flat(tile))
