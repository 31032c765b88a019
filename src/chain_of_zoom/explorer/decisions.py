"""The endpoints for single tiles: their words, what a person decides about them, alternatives and branches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from chain_of_zoom.explorer.branches import Decision
from chain_of_zoom.explorer.protocol import (
    AlternativeDescription,
    BranchDescription,
    TileDecision,
    TileDescription,
    TreeDescription,
)
from chain_of_zoom.explorer.security import answer_json, refusal
from chain_of_zoom.explorer.session import ExplorerSession
from chain_of_zoom.explorer.tree import ZoomTree

if TYPE_CHECKING:
    from chain_of_zoom.explorer.grid import TilePlace
    from chain_of_zoom.explorer.server import ExplorerServer

NO_TILE = "no such generated tile; accepted: one beyond the photo's own pixels; zoom in"


async def show_decision(server: ExplorerServer, request: Request) -> Response:
    """Return by which words a tile is made, and what else was decided about it."""
    tree, place = server.find_place(request)
    if tree is None or place is None or place.level <= 0:
        return refusal(404, NO_TILE)
    return answer_json(await run_in_threadpool(_describe, server.session, tree, place))


def _describe(session: ExplorerSession, tree: ZoomTree, place: TilePlace) -> TileDescription:
    words, tile = session.maker.find_words(tree, place), tree.settle(place)
    return TileDescription(
        is_made=session.maker.has(tree, place),
        words=words.text if words else "",
        by=words.by if words else tree.recipe.prompter,
        note=words.note if words else "",
        is_decided=place in tree.decided_tiles,
        seed=tree.seed(place),
        turn=tile.turn,
    )


async def decide(server: ExplorerServer, request: Request) -> Response:
    """Decide about a tile: return the tree in which it, and what grows from it, is another."""
    wish = await server.read_body(request, TileDecision)
    tree, place = server.find_place(request)
    if tree is None or place is None:
        return refusal(404, NO_TILE)
    decision = Decision(place=place, words=wish.words, candidate=wish.candidate)
    return answer_json(TreeDescription.of(await run_in_threadpool(server.session.decide, tree, decision)))


async def list_alternatives(server: ExplorerServer, request: Request) -> Response:
    """Return the trees that differ in one tile; they are made once a page says that it looks at them."""
    tree, place = server.find_place(request)
    if tree is None or place is None or place.level <= 0:
        return refusal(404, NO_TILE)
    count = request.path_params["count"]
    alternatives = await run_in_threadpool(server.session.branch_out, tree, place, int(count) if count.isdigit() else 0)
    return answer_json(
        [
            AlternativeDescription(
                candidate=number,
                tree=alternative.id,
                seed=alternative.seed(place),
                turn=alternative.settle(place).turn,
                is_current=alternative.settle(place) == tree.settle(place),
            )
            for number, alternative in enumerate(alternatives, 1)
        ]
    )


async def list_branches(server: ExplorerServer, request: Request) -> Response:
    """Return the branches of the photo of a tree, the newest first."""
    tree = server.find_tree(request.path_params["tree"])
    if tree is None:
        return refusal(404, "no such tree; open the photo again")
    branches = await run_in_threadpool(server.session.branches.list, tree.photo.id)
    return answer_json(
        [
            BranchDescription(
                name=name,
                decisions=len(decisions),
                scale=float(tree.grid.scale(decisions[-1].place.level)),
                words=decisions[-1].words,
                candidate=decisions[-1].candidate,
            )
            for name, decisions in branches
        ]
    )
