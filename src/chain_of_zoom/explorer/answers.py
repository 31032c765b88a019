"""The endpoints for the page itself, photos, trees, tiles and saved views."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from chain_of_zoom.explorer.export import export_view, plan_export
from chain_of_zoom.explorer.grid import SightRect
from chain_of_zoom.explorer.protocol import (
    BackboneDescription,
    BlurDescription,
    ExportRequest,
    PhotoDescription,
    SessionDescription,
    StateDescription,
    TreeDescription,
    TreeRequest,
)
from chain_of_zoom.explorer.security import answer_json, refusal
from chain_of_zoom.explorer.uploads import BusyError
from chain_of_zoom.movie.encoding import find_ffmpeg
from chain_of_zoom.parsing import parse_whole

if TYPE_CHECKING:
    from chain_of_zoom.explorer.server import ExplorerServer

DRAFT_HEADER = "X-Coz-Draft"
"""Names the backbone of a tile that is shown until the real one is made."""
VIEWER_SCRIPT = "openseadragon.min.js"
_SAVED_TYPES = {".zip": "application/zip", ".png": "image/png", ".webp": "image/webp", ".mp4": "video/mp4"}
_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}


@cache
def list_files() -> dict[str, bytes]:
    """Read the files that the page consists of, by name; there is no other file that the server would hand out."""
    folder = files("chain_of_zoom.explorer") / "static"
    contents = {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}
    contents[VIEWER_SCRIPT] = (files("chain_of_zoom.pages") / "vendor" / VIEWER_SCRIPT).read_bytes()
    return {name: data for name, data in contents.items() if name.rpartition(".")[2] in _TYPES}


# The page


async def show_page(server: ExplorerServer, request: Request) -> Response:
    """Return the page."""
    return Response(list_files()["index.html"], media_type="text/html", headers={"Cache-Control": "no-cache"})


async def show_file(server: ExplorerServer, request: Request) -> Response:
    """Return a file of the page, by a name of `list_files`."""
    name = request.path_params["name"]
    data = list_files().get(name)
    if data is None:
        return refusal(404, "no such file")
    return Response(data, media_type=_TYPES[name.rpartition(".")[2]], headers={"Cache-Control": "no-cache"})


async def show_session(server: ExplorerServer, request: Request) -> Response:
    """Return what a page is told first."""
    return answer_json(
        SessionDescription(
            photos=tuple(map(PhotoDescription.of, server.listed)),
            backbone=BackboneDescription.of(server.session.chain.backbone.info),
            draft=server.session.draft_name,
            prompter=server.session.prompter_name,
            makes_films=find_ffmpeg() is not None,
            upload_bytes=server.uploads.limit,
        )
    )


# Photos and tiles


async def take_photo(server: ExplorerServer, request: Request) -> Response:
    """Take in a photo: the body is its file, the parameter `name` what it is called."""
    announced = parse_whole(request.headers.get("content-length", "0"))
    if announced is None:  # more digits than any number of bytes
        announced = server.uploads.limit + 1
    name = request.query_params.get("name", "photo")
    photo = await server.uploads.take(name, announced, request.stream())
    return answer_json(PhotoDescription.of(photo), 201)


async def plant_tree(server: ExplorerServer, request: Request) -> Response:
    """Return the tree of a photo."""
    wish = await server.read_body(request, TreeRequest)
    photo = await run_in_threadpool(server.uploads.find, wish.photo)
    if photo is None:
        return refusal(404, "no such photo; open it again")
    tree = await run_in_threadpool(server.session.plant, photo, wish.words, wish.candidate, wish.branch)
    return answer_json(TreeDescription.of(tree))


async def show_blur(server: ExplorerServer, request: Request) -> Response:
    """Return how blurred the photo of a tree is, place by place."""
    tree = server.find_tree(request.path_params["tree"])
    if tree is None:
        return refusal(404, "no such tree; open the photo again")
    return answer_json(await run_in_threadpool(BlurDescription.of, tree.photo))


async def show_tile(server: ExplorerServer, request: Request) -> Response:
    """Return a tile as PNG, nothing as long as it is not made. It never waits."""
    tree, place = server.find_place(request)
    if tree is None or place is None:
        return refusal(404, "no such tile")
    tag = f'"{tree.name_tile(place)}"'
    if request.headers.get("if-none-match") == tag:  # only tiles that are there, and never change, have one
        return Response(status_code=304)
    data, is_draft = await run_in_threadpool(server.session.read_tile, tree, place)
    if data is None:
        return Response(status_code=204)
    headers = {"Cache-Control": "private, max-age=31536000, immutable", "ETag": tag}
    if is_draft:
        headers = {"Cache-Control": "no-store", DRAFT_HEADER: server.session.draft_name}
    return Response(data, media_type="image/png", headers=headers)


async def list_states(server: ExplorerServer, request: Request) -> Response:
    """Return the states on the way to a view, from 1x on, which are those that it is saved with."""
    wish = await server.read_body(request, ExportRequest)
    tree = server.find_tree(request.path_params["tree"])
    if tree is None:
        return refusal(404, "no such tree; open the photo again")
    run = plan_export(server.session.chain, server.session.maker, tree, SightRect(*wish.sight), wish.size)
    width, height = tree.photo.size
    windows = [step.window.scaled(Fraction(1, width), Fraction(1, height)).floats() for step in run.steps]
    return answer_json(
        [
            StateDescription(magnification=float(step.magnification), sight=window)
            for step, window in zip(run.steps, windows, strict=True)
        ]
    )


async def save_view(server: ExplorerServer, request: Request) -> Response:
    """Return a view as a file: states, sheet and record in a zip, an animation, or what is in sight."""
    wish = await server.read_body(request, ExportRequest)
    tree = server.find_tree(request.path_params["tree"])
    if tree is None:
        return refusal(404, "no such tree; open the photo again")
    if server.exporting.locked():
        raise BusyError("another view is being saved; accepted: one at a time; try again in a moment")
    async with server.exporting:
        run = plan_export(server.session.chain, server.session.maker, tree, SightRect(*wish.sight), wish.size)
        name, data = await run_in_threadpool(export_view, run, wish.kind)
    disposition = f'attachment; filename="{name.encode("ascii", "replace").decode().replace("?", "_")}"'
    return Response(data, media_type=_SAVED_TYPES[Path(name).suffix], headers={"Content-Disposition": disposition})
