"""Say which tile is made next: what is in sight first, nearest the centre first, ancestors before their children.

Pure: no clock, no thread, no HTTP. Its tiles are whatever names them; what exists and what is needed is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from fractions import Fraction
from typing import Generic, TypeVar

WANTED_PER_CLIENT = 128
CLIENTS = 32
FAILURES = 2
"""After so many failures a tile is left alone until somebody asks for it anew."""

Tile = TypeVar("Tile", bound=Hashable)


class TileScheduler(Generic[Tile]):
    """The tiles that clients want, and the order in which they are made."""

    def __init__(self, exists: Callable[[Tile], bool], needed: Callable[[Tile], Iterable[Tile]]) -> None:
        """Ask of a tile whether it `exists`, and which tiles are `needed` to make it."""
        self._exists = exists
        self._needed = needed
        self._wanted: dict[str, list[tuple[Fraction, Tile]]] = {}
        self._failures: dict[Tile, int] = {}
        self._at_work: set[Tile] = set()

    def want(self, client: str, tiles: Sequence[tuple[Fraction, Tile]]) -> None:
        """Replace what a client wants by these tiles, each with its distance; work nobody wants any more is dropped.

        Beyond WANTED_PER_CLIENT the farthest are left out. A client that is new while there are CLIENTS gets nothing.
        """
        if client not in self._wanted and len(self._wanted) >= CLIENTS:
            return
        self._wanted[client] = sorted(tiles, key=lambda entry: entry[0])[:WANTED_PER_CLIENT]

    def leave(self, client: str) -> None:
        """Forget a client and what it wants."""
        self._wanted.pop(client, None)

    def take(self) -> Tile | None:
        """Choose the tile to make now; None where nothing is to be made. Call `finish` or `fail` with it in the end.

        Several may be at work at a time; a tile waits as long as one that it needs is at work.
        """
        for tile in self._in_order():
            missing = self._first_missing(tile)
            if missing is not None and missing not in self._at_work:
                self._at_work.add(missing)
                return missing
        return None

    def finish(self, tile: Tile) -> None:
        """Take note that a tile was made."""
        self._at_work.discard(tile)
        self._failures.pop(tile, None)

    def fail(self, tile: Tile) -> bool:
        """Take note that a tile could not be made; whether that was the last try."""
        self._at_work.discard(tile)
        self._failures[tile] = self._failures.get(tile, 0) + 1
        return self._failures[tile] >= FAILURES

    def forgive(self) -> None:
        """Let tiles that failed be tried again."""
        self._failures.clear()

    def list_waiting(self, client: str | None = None) -> set[Tile]:
        """List the tiles still to be made for a client, or for all, ancestors included."""
        clients = self._wanted.values() if client is None else [self._wanted.get(client, [])]
        missing: set[Tile] = set()
        stack = [tile for wishes in clients for _, tile in wishes]
        while stack:
            tile = stack.pop()
            if tile not in missing and not self._exists(tile) and not self._is_given_up(tile):
                missing.add(tile)
                stack += self._needed(tile)
        return missing

    def _in_order(self) -> list[Tile]:
        """List what all clients want, the nearest to anybody's centre first."""
        nearest: dict[Tile, Fraction] = {}
        for wishes in self._wanted.values():
            for distance, tile in wishes:
                nearest[tile] = min(distance, nearest.get(tile, distance))
        return sorted(nearest, key=nearest.__getitem__)

    def _first_missing(self, tile: Tile) -> Tile | None:
        """Find the tile to make first on the way to this one; None where it exists or cannot be made."""
        if self._exists(tile):
            return None
        if self._is_given_up(tile):
            return None
        missing: Tile | None = tile
        for parent in self._needed(tile):
            if not self._exists(parent):
                missing = self._first_missing(parent)
                break
        return missing

    def _is_given_up(self, tile: Tile) -> bool:
        return self._failures.get(tile, 0) >= FAILURES
