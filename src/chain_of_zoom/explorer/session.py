"""Hold what a server shows: photos, their trees, who looks where, and the one thread that makes tiles."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.chain.choice import Variant
from chain_of_zoom.errors import ChainOfZoomError, UsageError
from chain_of_zoom.explorer.grid import Grid, SightRect, TilePlace
from chain_of_zoom.explorer.maker import TileMaker
from chain_of_zoom.explorer.protocol import count_candidates
from chain_of_zoom.explorer.scheduler import WANTED_PER_CLIENT, TileScheduler
from chain_of_zoom.explorer.store import TileStore
from chain_of_zoom.explorer.tree import OpenPhoto, Recipe, ZoomTree
from chain_of_zoom.imaging.images import Picture

MAX_WORDS = 2_000
"""Characters of a prompt."""
TREES_HELD = 64
PHOTOS_HELD = 16
QUICK_BACKBONES, QUICK_FACTOR = ("span", "animevideo"), 4
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
    waiting: int = field(default=0)
    """Tiles that it was last told to wait for."""


class ExplorerSession:
    """Photos, trees and viewers. Call it from any thread; `close` ends the thread that makes tiles."""

    def __init__(
        self, chain: ChainOfZoom, store: TileStore, *, draft: ChainOfZoom | None = None, seed: int = 0
    ) -> None:
        """Start the thread that makes tiles. draft: a faster chain of the same factor, which draws first."""
        self.chain = chain
        self.draft = draft
        self.store = store
        self.seed = seed
        self.maker = TileMaker(chain.backbone, store)
        self.drafter = TileMaker(draft.backbone, store) if draft else None
        self.photos: OrderedDict[str, OpenPhoto] = OrderedDict()
        self._seconds: dict[str, float] = {}
        self._trees: OrderedDict[str, ZoomTree] = OrderedDict()
        self._viewers: dict[str, Viewer] = {}
        self._scheduler = TileScheduler[TileId](self._has_tile, self._list_needed)
        self._change = threading.Condition(threading.RLock())
        self._is_closed = False
        self._worker = threading.Thread(target=self._work, name="tiles", daemon=True)
        self._worker.start()

    @property
    def draft_name(self) -> str:
        """The name of the backbone that draws first; empty where there is none."""
        return self.draft.backbone.info.name if self.draft else ""

    # Photos and trees

    def open_photo(self, picture: Picture) -> OpenPhoto:
        """Take a photo among those that can be looked at; of more than PHOTOS_HELD the oldest is let go."""
        photo = OpenPhoto(picture)
        with self._change:
            photo = self.photos.setdefault(photo.id, photo)
            self.photos.move_to_end(photo.id)
            while len(self.photos) > PHOTOS_HELD:
                oldest, _ = self.photos.popitem(last=False)
                for name in [name for name, tree in self._trees.items() if tree.photo.id == oldest]:
                    del self._trees[name]
        return photo

    def plant(self, photo: OpenPhoto, words: str = "", candidate: int = 1) -> ZoomTree:
        """Return the tree of a photo with these words.

        candidate: number of the alternative, as for `coz zoom`; 1 is the plain one. Raises UsageError for words that
        are too long, and for a candidate that there is not.
        """
        if len(words) > MAX_WORDS:
            raise UsageError(f"{len(words)} characters of words; accepted: up to {MAX_WORDS}; shorten them")
        grid = Grid.plan(photo.size, self.chain.backbone.info)
        draft = self._register(ZoomTree(photo, grid, self._write_recipe(self.draft, words, 1))) if self.draft else None
        return self._register(ZoomTree(photo, grid, self._write_recipe(self.chain, words, candidate), draft))

    def _write_recipe(self, chain: ChainOfZoom, words: str, candidate: int) -> Recipe:
        """Say what tiles are made with; the weights are read, since it is only then that the device is known."""
        chain.load(words=False)
        info, options = chain.backbone.info, chain.options["backbone"]
        if candidate > count_candidates(info):
            raise UsageError(f"candidate {candidate}; accepted: 1 to {count_candidates(info)}; choose another version")
        variant = Variant.of(candidate, self.seed, seeded=info.seeded)
        return Recipe(
            backbone=info.name,
            weights=chain.backbone_record.weights_sha256,
            options={name: value for name, value in options.items() if name not in ("device", "threads")},
            device=chain.backbone.runs_on(),
            words=words if info.text_aware else "",
            seed=variant.seed if info.seeded else 0,
            turn=variant.turn,
        )

    def _register(self, tree: ZoomTree) -> ZoomTree:
        """Hold a tree, or return the one of the same name; of more than TREES_HELD the oldest is let go."""
        with self._change:
            tree = self._trees.setdefault(tree.id, tree)
            self._trees.move_to_end(tree.id)
            while len(self._trees) > TREES_HELD:
                self._trees.popitem(last=False)
        return tree

    def find_tree(self, name: str) -> ZoomTree | None:
        """Return the tree of that name, None where there is none."""
        with self._change:
            return self._trees.get(name)

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

    def look(self, name: str, tree: ZoomTree, level: int, sight: SightRect) -> int:
        """Make what a page has in sight, and nothing that only it had before; return how many tiles that takes."""
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
            viewer = self._viewers[name]
            viewer.tree = tree.id
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

    def count_waiting(self) -> int:
        """Count the tiles that are still to be made for all pages."""
        with self._change:
            return len(self._scheduler.list_waiting())

    def estimate_seconds(self) -> float | None:
        """Say how long everything that waits takes; None as long as nobody knows."""
        with self._change:
            trees = [self._trees.get(tile.tree) for tile in self._scheduler.list_waiting()]
        times = [self._seconds.get(tree.recipe.backbone) for tree in trees if tree is not None]
        return None if None in times else sum(seconds for seconds in times if seconds is not None)

    def close(self) -> None:
        """Make no more tiles; the one that is being made is finished first."""
        with self._change:
            self._is_closed = True
            self._change.notify_all()
        self._worker.join()

    # The thread that makes tiles

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
        spent = time.monotonic() - started
        event: Event = {"type": "tile", "tile": tile.place}
        with self._change:
            if problem:
                event |= {"type": "failed", "problem": problem, "final": self._scheduler.fail(tile)}
            else:
                self._scheduler.finish(tile)
                name = tree.recipe.backbone
                self._seconds[name] = 0.7 * self._seconds.get(name, spent) + 0.3 * spent
                event["seconds"] = round(spent, 3)
            for name, viewer in self._viewers.items():
                current = self._trees.get(viewer.tree)
                if current is not None and tree in (current, current.draft):
                    viewer.hear({**event, "tree": viewer.tree})
                waiting = len(self._scheduler.list_waiting(name))
                if waiting or viewer.waiting:
                    viewer.waiting = waiting
                    viewer.hear(self._describe_queue(waiting))

    def _describe_queue(self, waiting: int) -> Event:
        eta = self.estimate_seconds() if waiting else 0
        return {"type": "queue", "waiting": waiting, "eta": None if eta is None else round(eta, 1)}


def choose_draft(chain: ChainOfZoom, name: str) -> ChainOfZoom | None:
    """Make the chain that draws first: by name, none for "none", what suits for "auto". Raises UsageError."""
    info = chain.backbone.info
    if name == "auto":  # a backbone that takes windows of any size computes next to nothing
        is_slow = info.max_pixels is not None and info.name not in QUICK_BACKBONES and info.factor == QUICK_FACTOR
        name = QUICK_BACKBONES[0] if is_slow else "none"
    if name == "none":
        return None
    draft = ChainOfZoom(name)
    if draft.backbone.info.factor != info.factor or name == info.name:
        raise UsageError(
            f"--draft {name}; accepted: another backbone than {info.name} that enlarges by {info.factor}, too; "
            "type: --draft none"
        )
    return draft
