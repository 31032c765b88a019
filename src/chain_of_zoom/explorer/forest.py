"""Plant the trees of photos: by which recipe, with which decisions on single tiles, and which of them are held."""

from __future__ import annotations

import threading
from collections import OrderedDict

import msgspec

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.chain.choice import Variant
from chain_of_zoom.chain.restraint import Restraint
from chain_of_zoom.errors import UsageError
from chain_of_zoom.explorer.branches import MAX_WORDS, BranchShelf, Decision, Decisions, add_decision, name_branch
from chain_of_zoom.explorer.grid import Grid, TilePlace
from chain_of_zoom.explorer.protocol import MAX_ALTERNATIVES, count_candidates
from chain_of_zoom.explorer.store import TileStore
from chain_of_zoom.explorer.tree import OpenPhoto, Recipe, TileRecipe, ZoomTree
from chain_of_zoom.explorer.words import is_asked
from chain_of_zoom.imaging.images import Picture

TREES_HELD = 64
PHOTOS_HELD = 16


class Forest:
    """Photos and their trees. Call it from any thread."""

    def __init__(
        self, chain: ChainOfZoom, store: TileStore, draft: ChainOfZoom | None, seed: int, restraint: Restraint
    ) -> None:
        """Begin without photos. draft: a faster chain of the same factor, which draws first."""
        self.chain = chain
        self.draft = draft
        self.seed = seed
        self.restraint = restraint
        self.asks_prompter = is_asked(chain.prompter, chain.backbone)
        self.branches = BranchShelf(store.folder)
        self.photos: OrderedDict[str, OpenPhoto] = OrderedDict()
        self._trees: OrderedDict[str, ZoomTree] = OrderedDict()
        self._change = threading.Condition(threading.RLock())

    @property
    def draft_name(self) -> str:
        """The name of the backbone that draws first; empty where there is none."""
        return self.draft.backbone.info.name if self.draft else ""

    @property
    def prompter_name(self) -> str:
        """The name of the prompter that writes the words of tiles; empty where none is asked."""
        return self.chain.prompter.name if self.asks_prompter else ""

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

    def plant(self, photo: OpenPhoto, words: str = "", candidate: int = 1, branch: str = "") -> ZoomTree:
        """Return the tree of a photo with these words; without, the prompter writes them, if there is one.

        candidate: number of the alternative, as for `coz zoom`; 1 is the plain one. branch: name of the decisions on
        single tiles. Raises UsageError for words that are too long, and for a candidate or branch that there is not.
        """
        _check_words(words)
        decisions = self.branches.read(photo.id, branch)
        grid = Grid.plan(photo.size, self.chain.backbone.info)
        draft = None
        if self.draft:
            draft = self._register(ZoomTree(photo, grid, self._write_recipe(self.draft, words, 1)))
        recipe = self._write_recipe(self.chain, words, candidate)
        tiles = {decision.place: self._write_tile_recipe(recipe, decision) for decision in decisions}
        return self._register(ZoomTree(photo, grid, recipe, draft, branch=branch, tiles=tiles))

    def decide(self, tree: ZoomTree, decision: Decision) -> ZoomTree:
        """Return the tree in which a person decided about one tile; the branch of this one is kept.

        Raises UsageError for words that the backbone does not read, for a candidate and a place that there is not.
        """
        info = self.chain.backbone.info
        if decision.place.level <= 0 or not tree.grid.has(decision.place):
            raise UsageError("no such generated tile; accepted: one beyond the photo's own pixels; zoom in")
        if decision.words is not None and not info.text_aware:
            raise UsageError(f"{info.name} ignores words; accepted: a backbone that reads them; see coz backbones")
        _check_words(decision.words or "")
        self._check_candidate(decision.candidate or 1)
        decisions = add_decision(self.branches.read(tree.photo.id, tree.branch), decision)
        self.branches.write(tree.photo.id, decisions)
        return self._grow(tree, decisions)

    def branch_out(self, tree: ZoomTree, place: TilePlace, count: int) -> list[ZoomTree]:
        """Return trees that differ in one generated tile, each with another alternative of it, the plain one first.

        None of them is kept as a branch; `decide` does that. count: 2 to MAX_ALTERNATIVES. Raises UsageError.
        """
        available = min(count_candidates(self.chain.backbone.info), MAX_ALTERNATIVES)
        if not 2 <= count <= available:
            accepted = f"2 to {available}" if available > 1 else "none, since this backbone makes nothing up"
            raise UsageError(f"{count} alternatives; accepted: {accepted}; ask for fewer")
        decisions = self.branches.read(tree.photo.id, tree.branch)
        words = next((decision.words for decision in decisions if decision.place == place), None)
        return [
            self._grow(tree, add_decision(decisions, Decision(place=place, words=words, candidate=number)))
            for number in range(1, count + 1)
        ]

    def _grow(self, tree: ZoomTree, decisions: Decisions) -> ZoomTree:
        branch = name_branch(decisions)
        tiles = {decision.place: self._write_tile_recipe(tree.recipe, decision) for decision in decisions}
        return self._register(ZoomTree(tree.photo, tree.grid, tree.recipe, tree.draft, branch=branch, tiles=tiles))

    def _write_recipe(self, chain: ChainOfZoom, words: str, candidate: int) -> Recipe:
        """Say what tiles are made with; the weights are read, since it is only then that the device is known."""
        asks = chain is self.chain and self.asks_prompter and not words
        chain.load(words=asks)
        info, options = chain.backbone.info, chain.options["backbone"]
        if chain is self.chain:
            self._check_candidate(candidate)
        variant = Variant.of(candidate, self.seed, seeded=info.seeded)
        return Recipe(
            backbone=info.name,
            weights=chain.backbone_record.weights_sha256,
            options={name: value for name, value in options.items() if name not in ("device", "threads")},
            device=chain.backbone.runs_on(),
            words=words if info.text_aware else "",
            prompter=chain.prompter.name if asks else "",
            prompter_details=_describe_prompter(chain) if asks else {},
            seed=variant.seed if info.seeded else 0,
            turn=variant.turn,
            restraint=msgspec.UNSET if self.restraint.is_none else self.restraint,
        )

    def _write_tile_recipe(self, recipe: Recipe, decision: Decision) -> TileRecipe:
        """Say what the tile of a decision is made with; what this backbone cannot follow is left to the tree."""
        info, number = self.chain.backbone.info, decision.candidate
        words = decision.words if info.text_aware else None
        if number is None or number > count_candidates(info):
            return TileRecipe(words=words, seed=recipe.seed, turn=recipe.turn)
        variant = Variant.of(number, self.seed, seeded=info.seeded)
        return TileRecipe(words=words, seed=variant.seed if info.seeded else 0, turn=variant.turn)

    def _check_candidate(self, candidate: int) -> None:
        count = count_candidates(self.chain.backbone.info)
        if candidate > count:
            raise UsageError(f"candidate {candidate}; accepted: 1 to {count}; choose another version")

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


def _check_words(words: str) -> None:
    if len(words) > MAX_WORDS:
        raise UsageError(f"{len(words)} characters of words; accepted: up to {MAX_WORDS}; shorten them")


def _describe_prompter(chain: ChainOfZoom) -> dict[str, str]:
    """Return all that the words of a prompter depend on, but what it looks at."""
    options = {name: value for name, value in chain.options["prompter"].items() if name not in ("device", "threads")}
    return options | {f"sha256 of {role}": digest for role, digest in chain.prompter.weights_sha256().items()}
