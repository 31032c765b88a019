"""Run whole pictures through the one-step restorer, tile by tile: stages that are stored, retried and blended.

Every tile is encoded, denoised and decoded. A finished piece goes into the store under a name that holds a hash of all
it depends on, so that a run which was stopped goes on where it was, and a changed prompt changes the names of the
pieces that it changes and of no others.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, MutableMapping, Sequence
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
from chain_of_zoom.runtime.retry import is_usable, name_dtype, retry_in_float32
from chain_of_zoom.runtime.shortage import compute_in_batches, try_in_memory

Array = NDArray[np.float32]
Piece = tuple[Box, Array]
"""A part of the result: its box in pixels, and float32 RGB in [0, 1]."""
ENCODED, DENOISED, DECODED = range(3)
STAGES = "encoded", "denoised", "decoded"


@dataclass(frozen=True, kw_only=True)
class TiledRun:
    """Everything that tiles of one picture are run with."""

    model: OneStepSD3
    """The restorer."""
    identity: str
    """Tells this model, precision and device from others, for the names of stored pieces."""
    factor: int
    """Linear enlargement of the picture before it is restored."""
    prompts: Sequence[str]
    """Prompts of the tiles, row by row."""
    seed: int
    """Seed of the first tile."""
    batch: int
    """Tiles that are computed together."""
    store: MutableMapping[str, Array] | None = None
    """Takes and gives finished pieces, and may forget them."""
    on_fallback: Callable[[int, str], None] | None = None
    """Receives the number of a tile and what did not go the plain way."""


class LatentTile(NamedTuple):
    """One tile of the grid."""

    number: int
    """Its number, row by row."""
    row: int
    """Its row, from 0."""
    col: int
    """Its column, from 0."""
    rows: Span
    """Its rows in pixels of the result."""
    columns: Span
    """Its columns in pixels of the result."""

    def __str__(self) -> str:
        box = f"{self.columns.start},{self.rows.start},{self.columns.stop},{self.rows.stop}"
        return f"tile in row {self.row}, column {self.col} (pixels {box})"


def digest(*parts: object) -> str:
    """Return a hash of arrays and of the text of everything else."""
    sha256 = hashlib.sha256()
    for part in parts:
        data = np.ascontiguousarray(part).tobytes() if isinstance(part, np.ndarray) else str(part).encode()
        sha256.update(len(data).to_bytes(8, "big") + data)
    return sha256.hexdigest()[:32]


class TiledPicture(ABC):
    """A picture in tiles, and the stages they go through. rows, columns: of tiles, in pixels of the result."""

    def __init__(self, run: TiledRun, picture: NDArray[np.uint8], rows: list[Span], columns: list[Span]) -> None:
        self.run, self.model, self.picture = run, run.model, picture
        self.batch = run.batch
        self.grid = [
            [LatentTile(row * len(columns) + col, row, col, y, x) for col, x in enumerate(columns)]
            for row, y in enumerate(rows)
        ]
        self.live: dict[tuple[int, LatentTile], Array] = {}
        self._names: dict[tuple[int, LatentTile], str] = {}

    @abstractmethod
    def depends_on(self, stage: int, tile: LatentTile) -> tuple[object, ...]:
        """Return everything that the piece of a stage depends on."""

    @abstractmethod
    def inputs(self, stage: int, tiles: Sequence[LatentTile]) -> list[NDArray[np.generic]]:
        """Return the input of a stage for every tile."""

    def parts(self, stage: int, tile: LatentTile) -> list[LatentTile]:
        """Return the tiles of a stage that a tile of this or a later stage consists of."""
        return [tile]

    def compute(self, stage: int, tiles: Sequence[LatentTile], inputs: Sequence[NDArray[np.generic]]) -> list[Array]:
        """Compute one stage of tiles of one size, together; here the one step, each tile with its own prompt."""
        assert stage == DENOISED
        z = torch.from_numpy(np.stack(inputs)).to(self.model.device)
        height, width = z.shape[-2:]
        if height % 2 or width % 2:  # the transformer takes patches of 2 x 2 latents
            z = torch.nn.functional.pad(z, (0, width % 2, 0, height % 2), mode="replicate")
        if self.model.swaps:  # the texts of the row together, or encoders and transformer would take turns
            row = [tile.number for tile in self.grid[tiles[0].row] if tile.number >= tiles[0].number]
            self.model.encode_texts([self.run.prompts[number] for number in row[:TEXTS]])
        denoised = self.model.denoise(z, [self.run.prompts[tile.number] for tile in tiles])
        return list(denoised[..., :height, :width].cpu().numpy())

    def is_flat(self, tile: LatentTile) -> bool:
        """Return whether the picture under a tile is so flat that a flat result is no fault."""
        rows, columns = (slice(s.start // self.run.factor, -(-s.stop // self.run.factor)) for s in tile[-2:])
        return bool(np.ptp(self.picture[rows, columns]) <= 8)

    def name(self, stage: int, tile: LatentTile) -> str:
        """Return the name of a piece in the store: fit for a file."""
        if (stage, tile) not in self._names:
            self._names[stage, tile] = f"{STAGES[stage]}-r{tile.row}c{tile.col}-{digest(*self.depends_on(stage, tile))}"
        return self._names[stage, tile]

    def load_or_compute(self, name: str, compute: Callable[[], Array]) -> Array:
        """Return a finished piece from the store, or compute it and put it there."""
        piece = None if self.run.store is None else self.run.store.get(name)
        if piece is None:
            piece = compute()
            self._put(name, piece)
        return piece

    def _put(self, name: str, piece: Array) -> None:
        if self.run.store is not None:
            self.run.store[name] = piece

    def finish_in_batches(self, stage: int, tiles: Sequence[LatentTile]) -> Iterator[tuple[LatentTile, Array]]:
        """Yield tiles with their finished pieces of a stage, which then leave the memory."""
        for start in range(0, len(tiles), self.run.batch):
            batch = tiles[start : start + self.run.batch]
            self.finish(stage, batch)
            for tile in batch:
                yield tile, self.live.pop((stage, tile))

    def finish(self, stage: int, tiles: Sequence[LatentTile]) -> None:
        """Put the pieces of a stage into `live`: from the store, or computed now in batches, and then stored."""
        missing = []
        for tile in tiles:
            if (stage, tile) not in self.live:
                piece = None if self.run.store is None else self.run.store.get(self.name(stage, tile))
                if piece is None:
                    missing.append(tile)
                else:
                    self.live[stage, tile] = piece

        def compute(numbers: list[int]) -> list[Array]:
            batch = [missing[number] for number in numbers]
            computed = self.compute(stage, batch, self.inputs(stage, batch))
            pieces = [self._make_usable(stage, tile, piece) for tile, piece in zip(batch, computed, strict=True)]
            for tile, piece in zip(batch, pieces, strict=True):
                self._keep(stage, tile, piece)
            return pieces

        def compute_alone(number: int) -> Array:
            return self.compute_alone(missing[number], partial(compute, [number]))

        def tell(number: int, detour: str) -> None:
            self._tell(missing[number], detour)

        _, self.batch = compute_in_batches(range(len(missing)), self.batch, compute, tell, compute_alone)

    def compute_alone(self, tile: LatentTile, compute: Callable[[], list[Array]]) -> Array:
        """Compute a tile that found no room on the GPU, with all other models off it. Raises BackboneError."""
        residence = self.model.residence
        if residence and residence.offload("image"):
            self._tell(tile, "out of GPU memory; all other models moved off the GPU")
            if (pieces := try_in_memory(compute)) is not None:
                return pieces[0]
        raise BackboneError(
            f"{tile} does not fit into the memory of the GPU; accepted: smaller tiles, or other "
            "programs off the GPU; type: --tile 32, or --device cpu"
        )

    def _keep(self, stage: int, tile: LatentTile, piece: Array) -> None:
        self.live[stage, tile] = piece
        self._put(self.name(stage, tile), piece)

    def _tell(self, tile: LatentTile, detour: str) -> None:
        if self.run.on_fallback:
            self.run.on_fallback(tile.number, detour)

    def _make_usable(self, stage: int, tile: LatentTile, piece: Array) -> Array:
        """Return the piece when it is usable, else one computed in float32. Raises BackboneError when neither is."""

        def check(piece: Array) -> bool:
            return is_usable(piece, may_be_flat=self.is_flat(tile))

        def compute() -> Array:
            for again in range(min(stage, DENOISED), stage + 1):
                for part in self.parts(again, tile):
                    (piece,) = self.compute(again, [part], self.inputs(again, [part]))
                    if again < stage and check(piece):
                        self._keep(again, part, piece)
            return piece

        piece = retry_in_float32(
            piece,
            self.model.dtype,
            self.model.in_float32,
            is_usable=check,
            compute=compute,
            tell=lambda dtype: self._tell(tile, f"{tile} came out unusable in {dtype}; computed again in float32"),
        )
        if not check(piece):
            dtype = name_dtype(self.model.dtype)
            again = "" if dtype == "float32" else ", and again in float32"
            raise BackboneError(
                f"{tile} was {STAGES[stage]} to NaN or a flat piece in {dtype}{again}; "
                "finished tiles are kept; change its prompt or --seed"
            )
        return piece
