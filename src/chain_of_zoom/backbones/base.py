"""The contract between the chain and every super-resolution backbone.

The base class validates, pads, tiles, checks, clamps and crops; a family only computes.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.errors import BackboneError, ShortageError, UsageError
from chain_of_zoom.imaging.geometry import Box, Size
from chain_of_zoom.imaging.images import RGB8, RGBF, Filter, enlarge, size_of
from chain_of_zoom.imaging.tiling import Tile, plan_tiles
from chain_of_zoom.resources import lack_of_memory
from chain_of_zoom.runtime.plan import Need
from chain_of_zoom.runtime.residence import Residence

OnFallback = Callable[[int, str], None]
Blend = Literal["smooth", "published"]
MAX_FACTOR = 64
Pieces = MutableMapping[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class BackboneInfo:
    """Describes a backbone without loading it. Raises UsageError for a factor that no chain can use."""

    name: str
    """Name by which it is chosen."""
    summary: str
    """What it is and does, in one phrase."""
    factor: int
    """Linear enlargement of one pass."""
    text_aware: bool
    """Whether prompts change the result."""
    licence: str
    """Licence of the weights, or of the code where there are none."""
    bytes: int | None = None
    """About how large the weights are that a user has to get; None where there is nothing to get."""
    evidence_limit: float | None = 1.0
    """Output pixels per source pixel up to which its detail was shown to be truer than resampling (docs/evidence.md).

    1 until it has been compared with real pixels; None for plain resampling, which makes nothing up.
    """
    vocabulary: tuple[str, ...] = ()
    """What it knows of words, where that is a list: nothing else in a prompt changes its result."""
    wordless: BackboneInfo | None = None
    """The backbone whose pixels it makes wherever no words are used; None for one that has no such twin."""
    resample: Filter | None = None
    """The filter of plain resampling, which makes nothing up; None for networks."""
    seeded: bool = False
    """Whether another seed gives another result."""
    max_pixels: int | None = None
    """Pixels of the largest window handed to the network at once; larger ones are tiled."""
    halo: int = 0
    """Pixels of context around each tile."""
    chained_halo: int = 0
    """The same where a whole picture that it made is enlarged again, if that takes more."""
    min_side: int = 1
    """Pixels that both sides of a window are padded to at least, by repeating their edge."""
    multiple: int = 1
    """Pixels of which both sides are padded to a multiple, by repeating their edge."""

    def __post_init__(self) -> None:
        if self.factor not in range(2, MAX_FACTOR + 1):
            raise UsageError(
                f"backbone {self.name}: factor {self.factor!r}; accepted: whole numbers from 2 to {MAX_FACTOR}; "
                "for example --set backbone.factor=4"
            )

    def acting_as(self, *, uses_words: bool) -> BackboneInfo:
        """Return the backbone that tests speak of: its twin, where no words were used in the whole chain."""
        return self if uses_words or self.wordless is None else self.wordless

    def is_beyond_evidence(self, scale: float | Fraction) -> bool:
        """Whether detail at `scale` output pixels per source pixel was never shown to be truer than resampling."""
        return self.evidence_limit is not None and scale > self.evidence_limit


class WindowPlace(NamedTuple):
    """Says where a window lies in the picture, for backbones that fix what they make up there."""

    left: int
    """Column of its left edge in the whole picture, in the window's pixels."""
    top: int
    """Row of its upper edge, likewise."""
    scale: float
    """The window's pixels per pixel of the photo; 1 for the photo's own."""


class Backbone(ABC):
    """A super-resolution backbone.

    Call it with a sequence of windows (uint8, h x w x 3, sRGB, any sizes), a prompt and a seed for each;
    it returns, for each, float32 RGB of exactly factor*h x factor*w in [0, 1]. Windows are independent:
    on a CPU the result for one is bitwise the same alone or in company.
    """

    info: BackboneInfo
    loads_quickly: bool = False
    """Whether the weights may be read while the photo is decoded: done in a moment, and no harm if in vain."""
    package: str | None = None
    """Name and version of the package that brings it as a plugin."""

    def __init__(self) -> None:
        self._loaded = False
        self._lock = threading.Lock()
        self._local = threading.local()

    @final
    def load(self) -> None:
        """Read the weights, once; safe to call from another thread. Raises MissingError and ShortageError."""
        with self._lock:
            if not self._loaded:
                self._load()
                self._loaded = True

    def missing(self) -> str | None:
        """Return the command that installs what this backbone lacks here, or None when it can run."""
        return None

    def weights_sha256(self) -> str | None:
        """Return the SHA-256 of the weights, or None for a backbone without weights."""
        return None

    def runs_on(self) -> str | None:
        """Return the device, known once the weights are read; None before, and for a backbone that has no choice."""
        return None

    def needs(self) -> Need | None:
        """Return the sizes of its networks for the policy of `runtime.plan`; None without a choice, and once loaded."""
        return None

    def place(self, residence: Residence) -> None:  # noqa: B027 - most have no choice
        """Take the place for its networks; called before the weights are read, if at all."""

    def workspace(self, size: Size) -> int | None:
        """Predict the bytes that a window of `size` takes beside the weights and what is held already.

        None where it is unknown, as on a GPU. The weights must have been read.
        """
        return None

    @final
    def check_memory(
        self, sizes: Sequence[Size], advice: Callable[[int], str] | None = None, *, at_once: bool = False
    ) -> None:
        """Raises ShortageError unless windows of these sizes, or their tiles, fit into the memory that there is.

        advice: says what to type, for the side of the largest square window that fits; 0 where not even 8 pixels do.
        """
        windows = {
            Size(columns.stop - columns.start, rows.stop - rows.start)
            for size in sizes
            for rows, columns in self._tiles(size, at_once)
        }
        needs = {window: self.workspace(window) or 0 for window in windows}
        largest = max(needs, key=lambda window: needs[window], default=Size(0, 0))
        lack = lack_of_memory(needs[largest]) if needs.get(largest) else None
        if lack:
            sides = range(max(largest) // 8 * 8, 0, -8)
            side = next((side for side in sides if not lack_of_memory(self.workspace(Size(side, side)) or 0)), 0)
            accepted = f"windows up to {side}x{side}" if side else "none here"
            raise ShortageError(
                f"not enough memory for {self.info.name} with windows of {largest} pixels: {lack}; accepted: "
                f"{accepted}; free memory or use {advice(side) if advice else 'smaller windows'}"
            )

    @final
    def __call__(
        self,
        windows: Sequence[RGB8],
        prompts: Sequence[str] | None = None,
        seeds: Sequence[int] | None = None,
        *,
        places: Sequence[WindowPlace] | None = None,
        on_fallback: OnFallback | None = None,
        at_once: bool = False,
    ) -> list[RGBF]:
        """Enlarge every window; `on_fallback(index, note)` receives tiles, retries and the like.

        places: where the windows lie; without them each counts as a photo of its own.
        at_once: hand every window to the network in one piece, though it be larger than `info.max_pixels`.
        Raises MissingError when weights are absent, ShortageError when memory is, and BackboneError when a result is
        unusable.
        """
        prompts = [""] * len(windows) if prompts is None else prompts
        seeds = [0] * len(windows) if seeds is None else seeds
        places = [WindowPlace(0, 0, 1.0)] * len(windows) if places is None else places
        assert len(windows) == len(prompts) == len(seeds) == len(places), "one prompt, seed and place per window"
        for window in windows:
            assert window.dtype == np.uint8, window.dtype
            assert window.ndim == 3, window.shape
            assert window.shape[2] == 3, window.shape
        self.load()
        self.check_memory([size_of(window) for window in windows], at_once=at_once)
        plans = [self._tiles(size_of(window), at_once) for window in windows]
        tiles = [
            (self._pad(window[t.rows.start : t.rows.stop, t.columns.start : t.columns.stop]), prompt, seed)
            for window, prompt, seed, plan in zip(windows, prompts, seeds, plans, strict=True)
            for t in plan
        ]
        self._local.notes = []
        enlarged = iter(self._enlarge([t[0] for t in tiles], [t[1] for t in tiles], [t[2] for t in tiles]))
        results = [self._join(size_of(window), plan, enlarged) for window, plan in zip(windows, plans, strict=True)]
        for index, (window, plan) in enumerate(zip(windows, plans, strict=True)):
            results[index] = result = self._add_detail(window, results[index], prompts[index], places[index])
            if len(plan) > 1 and on_fallback:
                on_fallback(index, f"{len(plan)} tiles (a window of {size_of(window)} px does not fit at once)")
            self._check(window, result)
            np.clip(result, 0, 1, out=result)
        self._pass_notes(on_fallback, [index for index, plan in enumerate(plans) for _ in plan])
        return results

    def _pass_notes(self, on_fallback: OnFallback | None, owners: Sequence[int]) -> None:
        """Pass notes on single tiles to their windows, each note once."""
        if on_fallback:
            for index, note in dict.fromkeys((owners[tile], note) for tile, note in self._local.notes):
                on_fallback(index, note)

    def _tell(self, tile: int, note: str) -> None:
        """Note, within `_enlarge`, of one of its windows what did not go the plain way."""
        self._local.notes.append((tile, note))

    def _load(self) -> None:  # noqa: B027 - families without weights have nothing to read
        """Read the weights; called once."""

    def uses(self, prompt: str, place: WindowPlace, window: RGB8 | None = None) -> bool:
        """Whether a prompt changes the result for a window at this place; without the window, whether it may."""
        return self.info.text_aware and bool(prompt)

    def _add_detail(self, window: RGB8, result: RGBF, prompt: str, place: WindowPlace) -> RGBF:
        """Change the result for a whole window, its tiles joined, by what depends on its place in the picture."""
        return result

    @abstractmethod
    def _enlarge(self, windows: list[RGB8], prompts: list[str], seeds: list[int]) -> list[RGBF]:
        """Enlarge windows that fit at once: float32, factor*h x factor*w x 3, values about [0, 1]."""

    def _tiles(self, size: Size, at_once: bool) -> list[Tile]:
        limit = self.info.max_pixels
        if at_once or limit is None or size.width * size.height <= limit:
            return plan_tiles(size, max(size), 0)
        return plan_tiles(size, int(limit**0.5), self.info.halo)

    def _pad(self, window: RGB8) -> RGB8:
        short = [self._pad_side(side) - side for side in window.shape[:2]]
        if not any(short):
            return np.ascontiguousarray(window)
        return np.pad(window, ((0, short[0]), (0, short[1]), (0, 0)), mode="edge")

    def _pad_side(self, side: int) -> int:
        return -(-max(side, self.info.min_side) // self.info.multiple) * self.info.multiple

    def _join(self, size: Size, plan: list[Tile], enlarged: Iterator[RGBF]) -> RGBF:
        f = self.info.factor
        joined = np.empty((size.height * f, size.width * f, 3), np.float32)
        for tile in plan:
            result = next(enlarged)
            rows, columns = tile.rows, tile.columns
            shape = [self._pad_side(span.stop - span.start) for span in tile]
            if result.shape != (shape[0] * f, shape[1] * f, 3):
                raise BackboneError(f"{self.info.name} returned {result.shape} for a window of {shape}; expected x{f}")
            joined[rows.keep_start * f : rows.keep_stop * f, columns.keep_start * f : columns.keep_stop * f] = result[
                (rows.keep_start - rows.start) * f : (rows.keep_stop - rows.start) * f,
                (columns.keep_start - columns.start) * f : (columns.keep_stop - columns.start) * f,
            ]
        return joined

    def _check(self, window: RGB8, result: RGBF) -> None:
        least, greatest = float(result.min()), float(result.max())  # NaN or infinite if any pixel is
        if not np.isfinite(greatest - least):
            raise BackboneError(f"{self.info.name} returned NaN or infinite pixels; try another --backbone")
        # Networks overshoot on noise, but not in the mean: that is a picture in 0 to 255.
        if max(-least, greatest) > 4 and np.abs(result).mean() > 4:
            raise BackboneError(f"{self.info.name} returned values around {result.mean():.0f}; accepted: about 0 to 1")
        if greatest == least and np.ptp(window) > 8:
            raise BackboneError(f"{self.info.name} returned a flat picture; try another --backbone")


class RefiningBackbone(Backbone):
    """A backbone that starts from the bicubic enlargement and works at the size of the result (one-step diffusion).

    `refine` takes such pictures as they are, which the paper's "direct SR" needs: there the enlargement is by more
    than the factor.
    """

    @final
    def refine(
        self,
        pictures: Sequence[RGB8],
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        on_fallback: OnFallback | None = None,
    ) -> list[RGBF]:
        """Refine pictures (uint8, sides a multiple of factor x multiple) at their own size: float32 in [0, 1]."""
        self.load()
        self._local.notes = []
        results = self._refine(list(pictures), list(prompts), list(seeds))
        for picture, result in zip(pictures, results, strict=True):
            self._check(picture, result)
            np.clip(result, 0, 1, out=result)
        self._pass_notes(on_fallback, range(len(results)))
        return results

    def _enlarge(self, windows: list[RGB8], prompts: list[str], seeds: list[int]) -> list[RGBF]:
        return self._refine([enlarge(window, self.info.factor) for window in windows], prompts, seeds)

    @abstractmethod
    def _refine(self, pictures: list[RGB8], prompts: list[str], seeds: list[int]) -> list[RGBF]:
        """Refine pictures: float32, same shape, values about [0, 1]."""


class WholeTile(NamedTuple):
    """Describes a tile of a whole picture."""

    row: int
    """Row in the grid."""
    col: int
    """Column in the grid."""
    box: Box
    """Box in pixels of the enlarged picture."""


class WholePictureBackbone(Backbone):
    """A backbone that enlarges a whole picture by overlapping tiles, each with a prompt of its own.

    `tile` and `overlap` count latents, as published. Blends: "smooth" (default) fades tiles into their neighbours,
    holding the rows of tiles that overlap; "published" repeats the published script to the letter, with the latent of
    the whole picture in memory.
    """

    @abstractmethod
    def tiles(self, size: Size, *, tile: int = 64, overlap: int = 16, blend: Blend = "smooth") -> list[WholeTile]:
        """Return the tiles for a picture of `size` pixels, row by row: one prompt each. No weights are needed.

        Boxes lie inside `whole_size`. Raises UsageError for a tile or an overlap that makes no sense.
        """

    @abstractmethod
    def whole_size(self, size: Size, blend: Blend = "smooth") -> Size:
        """Return the size of the enlarged picture: exactly factor times; "published" drops a part of a latent."""

    @final
    def enlarge_whole(
        self,
        picture: RGB8,
        prompts: Sequence[str],
        seed: int = 0,
        *,
        tile: int = 64,
        overlap: int = 16,
        blend: Blend = "smooth",
        batch: int | None = None,
        store: Pieces | None = None,
        on_fallback: OnFallback | None = None,
    ) -> Iterator[tuple[Box, RGBF]]:
        """Enlarge a picture (uint8, h x w x 3) piece by piece: (box, float32 RGB in [0, 1]).

        The boxes come top to bottom and partition `whole_size`; "smooth" gives bands of the whole width. prompts: one
        per tile of `tiles(...)`, in its order, each read a row of tiles ahead. batch: tiles computed
        together, by default 1 on a CPU (the bits of the result then do not depend on what is in the store) and 4 on
        a GPU.
        store: every finished piece is put there, under a name fit for a file that changes with all it depends on, and
        taken from there when present; it may forget pieces at any time. on_fallback(index of the tile, note).
        Raises UsageError, MissingError, and BackboneError naming the tile when its result is unusable; pieces finished
        before are in the store then.
        """
        assert picture.dtype == np.uint8, picture.dtype
        assert picture.ndim == 3, picture.shape
        assert picture.shape[2] == 3, picture.shape
        tiles = self.tiles(size_of(picture), tile=tile, overlap=overlap, blend=blend)
        assert len(prompts) == len(tiles), "one prompt per tile"
        if batch is not None and batch < 1:
            raise UsageError(f"batch {batch}; accepted: 1 or more; for example --batch 4")
        self.load()
        return self._enlarge_whole(picture, prompts, seed, tile, overlap, blend, batch, store, on_fallback)

    @abstractmethod
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
        """Do the work of `enlarge_whole`; arguments are checked and the weights are read."""
