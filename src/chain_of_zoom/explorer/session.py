"""Hold what a server shows: the trees of photos, who looks where, and the threads that make tiles."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.chain.restraint import Restraint
from chain_of_zoom.errors import ChainOfZoomError, UsageError
from chain_of_zoom.explorer.forest import Forest
from chain_of_zoom.explorer.grid import SightRect, TilePlace
from chain_of_zoom.explorer.logbook import Logbook
from chain_of_zoom.explorer.maker import TileMaker
from chain_of_zoom.explorer.scheduler import WANTED_PER_CLIENT, TileScheduler
from chain_of_zoom.explorer.store import TileStore
from chain_of_zoom.explorer.tree import ZoomTree

QUICK_BACKBONES, QUICK_FACTOR = ("span", "zoom", "animevideo"), 4
TILES_IN_SIGHT = WANTED_PER_CLIENT // 2
"""Tiles of a view, each of which may be wanted as a draft, too."""
_DRAFT_FIRST = 1_000
"""Taken off the distance of drafts, so that all of them come first."""

Event = dict[str, Any]


class TileId(NamedTuple):
    """A tile of a tree."""

    tree: str
    """Name of the tree."""
    place: TilePlace
    """Where in it the tile lies."""


@dataclass
class Viewer:
    """A page that is open somewhere."""

    hear: Callable[[Event], None]
    """Called with every event that concerns the page, from any thread."""
    tree: str = ""
    """Name of the tree that it shows."""
    alternatives: frozenset[str] = frozenset()
    """Names of the trees of which it looks at a tile besides."""
    waiting: int = field(default=0)
    """Tiles that it was last told to wait for."""


class ExplorerSession(Forest):
    """A forest with viewers. Call it from any thread; `close` ends the threads that make tiles."""

    def __init__(
        self,
        chain: ChainOfZoom,
        store: TileStore,
        *,
        draft: ChainOfZoom | None = None,
        seed: int = 0,
        restraint: Restraint | None = None,
    ) -> None:
        """Start as many threads that make tiles as the chain has lanes.

        draft: a faster chain of the same factor, which draws first. restraint: how far tiles may go from plain
        enlargement and their parents.
        """
        super().__init__(chain, store, draft, seed, restraint or Restraint())
        self.store = store
        self.maker = TileMaker(chain.backbone, store, chain.prompter)
        self.drafter = TileMaker(draft.backbone, store) if draft else None
        self.logbook = Logbook()
        self._seconds: dict[str, float] = {}
        self._viewers: dict[str, Viewer] = {}
        self._scheduler = TileScheduler[TileId](self._has_tile, self._list_needed)
        self._is_closed = False
        lanes = range(max(chain.lanes, draft.lanes if draft else 1))
        self._workers = [threading.Thread(target=self._work, name="tiles", daemon=True) for _ in lanes]
        for worker in self._workers:
            worker.start()

    def read_tile(self, tree: ZoomTree, place: TilePlace) -> tuple[bytes | None, bool]:
        """Return a tile as PNG, None where it is not made yet, and whether it is only a draft of it."""
        data = self.maker.encode(tree, place)
        if data is None and tree.draft is not None:
            return self.maker.encode(tree.draft, place), True
        return data, False

    # Viewers

    def join(self, hear: Callable[[Event], None]) -> str:
        """Take in a page and give it a name that nobody can guess."""
        name = secrets.token_hex(16)
        with self._change:
            self._viewers[name] = Viewer(hear)
        return name

    def leave(self, name: str) -> None:
        """Let a page go; what it alone wanted is dropped."""
        with self._change:
            self._viewers.pop(name, None)
            self._scheduler.leave(name)

    def has_viewer(self, name: str) -> bool:
        """Whether a page of that name is here."""
        return name in self._viewers

    def count_viewers(self) -> int:
        """Count the pages that are open."""
        return len(self._viewers)

    def look(
        self,
        name: str,
        tree: ZoomTree,
        level: int,
        sight: SightRect,
        place: TilePlace | None = None,
        alternatives: Sequence[str] = (),
    ) -> int:
        """Make what a page has in sight, and nothing that only it had before; return how many tiles that takes.

        place, alternatives: a tile that it looks at in other trees, by their names, too; these are made first.
        """
        level = min(level, tree.grid.deepest)
        tiles = tree.grid.in_sight(level, sight, TILES_IN_SIGHT) if level > 0 else []
        wishes = [(distance, TileId(tree.id, place)) for distance, place in tiles]
        if tree.draft is not None:
            wishes += [
                (distance - _DRAFT_FIRST, TileId(tree.draft.id, place))
                for distance, place in tiles
                if not self.maker.has(tree, place)
            ]
        with self._change:
            trees = [compared for compared in map(self._trees.get, alternatives) if compared]
            if place is not None and tree.grid.has(place):
                first = Fraction(-2 * _DRAFT_FIRST)
                wishes += [(first + number, TileId(compared.id, place)) for number, compared in enumerate(trees)]
            viewer = self._viewers[name]
            viewer.tree = tree.id
            viewer.alternatives = frozenset(compared.id for compared in trees)
            self._scheduler.want(name, wishes)
            self._scheduler.forgive()
            viewer.waiting = len(self._scheduler.list_waiting(name))
            self._change.notify_all()
            return viewer.waiting

    def rest(self, name: str) -> None:
        """Make nothing for a page until it looks again."""
        with self._change:
            self._scheduler.want(name, [])
            viewer = self._viewers[name]
            viewer.waiting = 0
            viewer.hear(self._describe_queue(0))

    def is_working(self) -> bool:
        """Whether the threads that make tiles live."""
        return all(worker.is_alive() for worker in self._workers)

    def count_waiting(self) -> int:
        """Count the tiles that are still to be made for all pages."""
        with self._change:
            return len(self._scheduler.list_waiting())

    def estimate_seconds(self) -> float | None:
        """Say how long everything that waits takes; None as long as nobody knows."""
        with self._change:
            trees = [self._trees.get(tile.tree) for tile in self._scheduler.list_waiting()]
        times = [self._seconds.get(tree.recipe.backbone) for tree in trees if tree is not None]
        total = sum(seconds for seconds in times if seconds is not None)
        return None if None in times else total / len(self._workers)

    def close(self) -> None:
        """Make no more tiles. The one that is being made is dropped, or finished where it is made in this process."""
        with self._change:
            self._is_closed = True
            self._change.notify_all()
        for chain in (self.chain, self.draft):
            if chain:
                chain.close()
        for worker in self._workers:
            worker.join()

    # The threads that make tiles

    def _has_tile(self, tile: TileId) -> bool:
        tree = self._trees.get(tile.tree)
        return tree is None or self.maker.has(tree, tile.place)  # a tree that was let go needs no tile

    def _list_needed(self, tile: TileId) -> Sequence[TileId]:
        tree = self._trees[tile.tree]
        return [TileId(tile.tree, parent) for parent in tree.grid.parents(tile.place)]

    def _work(self) -> None:
        while True:
            with self._change:
                tile = None if self._is_closed else self._scheduler.take()
                while tile is None:
                    if self._is_closed:
                        return
                    self._change.wait()
                    tile = None if self._is_closed else self._scheduler.take()
                tree = self._trees[tile.tree]
            self._make(tile, tree)

    def _make(self, tile: TileId, tree: ZoomTree) -> None:
        """Make one tile and tell the pages that show its tree."""
        started, problem = time.monotonic(), ""
        maker = self.maker if tree.recipe.backbone == self.chain.backbone.info.name else self.drafter
        assert maker is not None
        try:
            maker.make(tree, tile.place)
        except ChainOfZoomError as error:
            problem = str(error)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        if problem and self._is_closed:
            return
        spent = time.monotonic() - started
        event: Event = {"type": "tile", "tile": tile.place}
        with self._change:
            if problem:
                event |= {"type": "failed", "problem": problem, "final": self._scheduler.fail(tile)}
                self._change.notify_all()
                self.logbook.note_failure(tree, tile.place, problem, is_final=event["final"])
            else:
                self._scheduler.finish(tile)
                self._change.notify_all()  # a tile that needs this one may be made now
                self.logbook.note_tile(tree, tile.place, spent)
                name = tree.recipe.backbone
                self._seconds[name] = 0.7 * self._seconds.get(name, spent) + 0.3 * spent
                event["seconds"] = round(spent, 3)
            for name, viewer in self._viewers.items():
                current = self._trees.get(viewer.tree)
                if current is not None and tree in (current, current.draft):
                    viewer.hear({**event, "tree": viewer.tree})
                elif tree.id in viewer.alternatives:
                    viewer.hear({**event, "tree": tree.id})
                waiting = len(self._scheduler.list_waiting(name))
                if waiting or viewer.waiting:
                    viewer.waiting = waiting
                    viewer.hear(self._describe_queue(waiting))

    def _describe_queue(self, waiting: int) -> Event:
        eta = self.estimate_seconds() if waiting else 0
        return {"type": "queue", "waiting": waiting, "eta": None if eta is None else round(eta, 1)}


def choose_draft(chain: ChainOfZoom, name: str, make: Callable[[str], ChainOfZoom] = ChainOfZoom) -> ChainOfZoom | None:
    """Make the chain that draws first: by name, none for "none", what suits for "auto". Raises UsageError."""
    info = chain.backbone.info
    if name == "auto":  # a backbone that takes windows of any size computes next to nothing
        is_slow = info.max_pixels is not None and info.name not in QUICK_BACKBONES and info.factor == QUICK_FACTOR
        name = QUICK_BACKBONES[0] if is_slow else "none"
    if name == "none":
        return None
    draft = make(name)
    if draft.backbone.info.factor != info.factor or name == info.name:
        raise UsageError(
            f"--draft {name}; accepted: another backbone than {info.name} that enlarges by {info.factor}, too; "
            "type: --draft none"
        )
    return draft
