"""The server: page, photos, tiles, views, events. It opens no path and no address that comes from a client."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache
from importlib.resources import files
from typing import TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from chain_of_zoom.errors import BadInputError, ChainOfZoomError, UsageError
from chain_of_zoom.explorer import decisions
from chain_of_zoom.explorer.export import export_view, plan_export
from chain_of_zoom.explorer.grid import SightRect, TilePlace
from chain_of_zoom.explorer.protocol import (
    BackboneDescription,
    ExportRequest,
    PhotoDescription,
    SessionDescription,
    TreeDescription,
    TreeRequest,
    ViewRequest,
)
from chain_of_zoom.explorer.scheduler import CLIENTS
from chain_of_zoom.explorer.security import Gate, answer_json, refusal
from chain_of_zoom.explorer.session import Event, ExplorerSession
from chain_of_zoom.explorer.tree import ZoomTree
from chain_of_zoom.explorer.uploads import BusyError, TooLargeError, Uploads
from chain_of_zoom.parsing import parse_json

BODY_BYTES = 65_536
"""Bytes of a request that is no upload."""
EVENTS_HELD = 512
"""Events that wait for a page; one that is slower is told to look anew."""
HEARTBEAT = 15.0
"""Seconds after which a silent stream says that it lives."""
PATIENCE = 0.5
"""Seconds after which a stream looks whether the server stops."""
DRAFT_HEADER = "X-Coz-Draft"
"""Names the backbone of a tile that is shown until the real one is made."""
TILE = "/api/trees/{tree}/tiles/{level}/{column}/{row}"
VIEWER_SCRIPT = "openseadragon.min.js"
_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
_NAME = re.compile(r"[0-9a-f]{32}")
_NUMBER = re.compile(r"[0-9]{1,9}")

Body = TypeVar("Body")
Endpoint = Callable[["ExplorerServer", Request], Awaitable[Response]]


@cache
def list_files() -> dict[str, bytes]:
    """Read the files that the page consists of, by name; there is no other file that the server would hand out."""
    folder = files("chain_of_zoom.explorer") / "static"
    contents = {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}
    contents[VIEWER_SCRIPT] = (files("chain_of_zoom.pages") / "vendor" / VIEWER_SCRIPT).read_bytes()
    return {name: data for name, data in contents.items() if name.rpartition(".")[2] in _TYPES}


class ExplorerServer:
    """The endpoints of one session. `app` is the ASGI application, guarded by `Gate`."""

    def __init__(
        self,
        session: ExplorerSession,
        uploads: Uploads,
        *,
        host: str = "127.0.0.1",
        names: tuple[str, ...] = (),
        token: str | None = None,
    ) -> None:
        """Serve a session. host, names, token: as for `Gate`. Set `is_stopping` to what says that the server stops."""
        self.is_stopping: Callable[[], bool] = lambda: False
        self.session = session
        self.uploads = uploads
        self._exporting = asyncio.Lock()
        self.listed = tuple(session.photos.values())
        routes = [
            Route("/", self._answer(ExplorerServer.show_page)),
            Route("/static/{name}", self._answer(ExplorerServer.show_file)),
            Route("/api/health", self._answer(ExplorerServer.show_health)),
            Route("/api/session", self._answer(ExplorerServer.show_session)),
            Route("/api/events", self._answer(ExplorerServer.stream_events)),
            Route("/api/photos", self._answer(ExplorerServer.take_photo), methods=["PUT"]),
            Route("/api/trees", self._answer(ExplorerServer.plant_tree), methods=["POST"]),
            Route(TILE + ".png", self._answer(ExplorerServer.show_tile)),
            Route(TILE, self._answer(decisions.show_decision)),
            Route(TILE, self._answer(decisions.decide), methods=["PUT"]),
            Route(TILE + "/alternatives/{count}", self._answer(decisions.list_alternatives)),
            Route("/api/trees/{tree}/branches", self._answer(decisions.list_branches)),
            Route("/api/trees/{tree}/export", self._answer(ExplorerServer.save_view), methods=["POST"]),
            Route("/api/viewers/{viewer}/view", self._answer(ExplorerServer.take_view), methods=["PUT"]),
            Route("/api/viewers/{viewer}/view", self._answer(ExplorerServer.drop_view), methods=["DELETE"]),
        ]
        self.app = Starlette(routes=routes, middleware=[Middleware(Gate, host=host, names=names, token=token)])

    def _answer(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        """Turn errors of this package into answers with one line."""

        async def answer(request: Request) -> Response:
            try:
                return await endpoint(self, request)
            except TooLargeError as error:
                return refusal(413, str(error))
            except BusyError as error:
                return refusal(503, str(error), **{"Retry-After": "2"})
            except BadInputError as error:
                return refusal(415, str(error))
            except (msgspec.DecodeError, UsageError) as error:
                return refusal(422, str(error))
            except ChainOfZoomError as error:
                return refusal(500, str(error))
            except ClientDisconnect:
                return refusal(400, "the client went away")

        return answer

    # The page

    async def show_page(self, request: Request) -> Response:
        """Return the page."""
        return Response(list_files()["index.html"], media_type="text/html", headers={"Cache-Control": "no-cache"})

    async def show_file(self, request: Request) -> Response:
        """Return a file of the page, by a name of `list_files`."""
        name = request.path_params["name"]
        data = list_files().get(name)
        if data is None:
            return refusal(404, "no such file")
        return Response(data, media_type=_TYPES[name.rpartition(".")[2]], headers={"Cache-Control": "no-cache"})

    async def show_health(self, request: Request) -> Response:
        """Say that the server lives and how much it has to do."""
        session = self.session
        waiting = await run_in_threadpool(session.count_waiting)
        return answer_json(
            {"status": "ok", "viewers": session.count_viewers(), "waiting": waiting, "tiles": len(session.store)}
        )

    async def show_session(self, request: Request) -> Response:
        """Return what a page is told first."""
        return answer_json(
            SessionDescription(
                photos=tuple(map(PhotoDescription.of, self.listed)),
                backbone=BackboneDescription.of(self.session.chain.backbone.info),
                draft=self.session.draft_name,
                prompter=self.session.prompter_name,
                upload_bytes=self.uploads.limit,
            )
        )

    # Photos and tiles

    async def take_photo(self, request: Request) -> Response:
        """Take in a photo: the body is its file, the parameter `name` what it is called."""
        length = request.headers.get("content-length", "")
        announced = int(length) if _NUMBER.fullmatch(length) else self.uploads.limit + 1 if length else None
        name = request.query_params.get("name", "photo")
        photo = await self.uploads.take(name, announced, request.stream())
        return answer_json(PhotoDescription.of(photo), 201)

    async def plant_tree(self, request: Request) -> Response:
        """Return the tree of a photo."""
        wish = await self.read_body(request, TreeRequest)
        photo = await run_in_threadpool(self.uploads.find, wish.photo)
        if photo is None:
            return refusal(404, "no such photo; open it again")
        tree = await run_in_threadpool(self.session.plant, photo, wish.words, wish.candidate, wish.branch)
        return answer_json(TreeDescription.of(tree))

    async def show_tile(self, request: Request) -> Response:
        """Return a tile: 200 with its PNG, 204 as long as it is not made. It never waits."""
        tree, place = self.find_place(request)
        if tree is None or place is None:
            return refusal(404, "no such tile")
        data, is_draft = await run_in_threadpool(self.session.read_tile, tree, place)
        if data is None:
            return Response(status_code=204)
        headers = {"Cache-Control": "private, max-age=31536000, immutable"}
        if is_draft:
            headers = {"Cache-Control": "no-store", DRAFT_HEADER: self.session.draft_name}
        return Response(data, media_type="image/png", headers=headers)

    async def save_view(self, request: Request) -> Response:
        """Return a view as a zip file of states, sheet and record."""
        wish = await self.read_body(request, ExportRequest)
        tree = self.find_tree(request.path_params["tree"])
        if tree is None:
            return refusal(404, "no such tree; open the photo again")
        if self._exporting.locked():
            raise BusyError("another view is being saved; accepted: one at a time; try again in a moment")
        async with self._exporting:
            run = plan_export(self.session.chain, self.session.maker, tree, SightRect(*wish.sight), wish.size)
            name, data = await run_in_threadpool(export_view, run)
        disposition = f'attachment; filename="{name.encode("ascii", "replace").decode().replace("?", "_")}"'
        return Response(data, media_type="application/zip", headers={"Content-Disposition": disposition})

    # Viewers

    async def take_view(self, request: Request) -> Response:
        """Take note of what a page has in sight."""
        view = await self.read_body(request, ViewRequest)
        viewer, tree = request.path_params["viewer"], self.find_tree(view.tree)
        if tree is None or not self.session.has_viewer(viewer):
            return refusal(410, "the page is from before; it has to begin anew")
        level = view.level + tree.grid.shallowest
        place = view.place and TilePlace(view.place[0] + tree.grid.shallowest, *view.place[1:])
        try:
            waiting = await run_in_threadpool(
                self.session.look, viewer, tree, level, SightRect(*view.sight), place, view.alternatives
            )
        except KeyError:  # the page went away in between
            return refusal(410, "the page is from before; it has to begin anew")
        return answer_json({"waiting": waiting}, 202)

    async def drop_view(self, request: Request) -> Response:
        """Make nothing for a page until it looks again."""
        if not self.session.has_viewer(request.path_params["viewer"]):
            return refusal(410, "the page is from before; it has to begin anew")
        await run_in_threadpool(self.session.rest, request.path_params["viewer"])
        return answer_json({"waiting": 0}, 202)

    async def stream_events(self, request: Request) -> Response:
        """Stream what happens to a page: first `hello` with its name, then tiles as they are made."""
        if self.session.count_viewers() >= CLIENTS:
            return refusal(503, f"{CLIENTS} pages are open; close one, or try again later", **{"Retry-After": "10"})
        return StreamingResponse(self._list_events(), media_type="text/event-stream")

    async def _list_events(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Event] = asyncio.Queue(EVENTS_HELD)

        def put(event: Event) -> None:
            if queue.full():  # the page has to look anew, and is told once
                while not queue.empty():
                    queue.get_nowait()
                event = {"type": "anew"}
            queue.put_nowait(event)

        def hear(event: Event) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(put, event)

        viewer = self.session.join(hear)
        try:
            yield _format_event({"type": "hello", "viewer": viewer})
            silent = 0.0
            while not self.is_stopping():
                try:
                    event = await asyncio.wait_for(queue.get(), PATIENCE)
                except TimeoutError:
                    silent += PATIENCE
                    if silent >= HEARTBEAT:
                        silent = 0.0
                        yield b": still here\n\n"
                else:
                    yield _format_event(event)
        finally:
            self.session.leave(viewer)

    def find_place(self, request: Request) -> tuple[ZoomTree | None, TilePlace | None]:
        """Return the tree and the tile that the address of a request names, None where there is none."""
        tree = self.find_tree(request.path_params["tree"])
        texts = [request.path_params[name] for name in ("level", "column", "row")]
        if tree is None or not all(_NUMBER.fullmatch(text) for text in texts):
            return tree, None
        level, column, row = map(int, texts)
        place = TilePlace(level + tree.grid.shallowest, column, row)
        return tree, place if tree.grid.has(place) else None

    def find_tree(self, name: str) -> ZoomTree | None:
        """Return the tree of a name that came from a client, None where there is none."""
        return self.session.find_tree(name) if _NAME.fullmatch(name) else None

    async def read_body(self, request: Request, kind: type[Body]) -> Body:
        """Read a body of bounded length as `kind`. Raises TooLargeError and msgspec.DecodeError."""
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_BYTES:
                raise TooLargeError(f"more than {BODY_BYTES} bytes; accepted: up to that; send less")
        return parse_json(bytes(body), kind)


def _format_event(event: Event) -> bytes:
    name: str = event["type"]
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(event) + b"\n\n"
