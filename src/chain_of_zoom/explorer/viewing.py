"""The endpoints for open pages: what each has in sight, and the events that it hears."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from chain_of_zoom.explorer.grid import SightRect, TilePlace
from chain_of_zoom.explorer.protocol import QueueDescription, ViewRequest
from chain_of_zoom.explorer.scheduler import CLIENTS
from chain_of_zoom.explorer.security import answer_json, refusal
from chain_of_zoom.explorer.session import Event

if TYPE_CHECKING:
    from chain_of_zoom.explorer.server import ExplorerServer

EVENTS_HELD = 512
"""Events that wait for a page; one that is slower is told to look anew."""
HEARTBEAT = 15.0
"""Seconds after which a silent stream says that it lives."""
PATIENCE = 0.5
"""Seconds after which a stream looks whether the server stops."""


async def take_view(server: ExplorerServer, request: Request) -> Response:
    """Take note of what a page has in sight."""
    view = await server.read_body(request, ViewRequest)
    viewer, tree = request.path_params["viewer"], server.find_tree(view.tree)
    if tree is None or not server.session.has_viewer(viewer):
        return refusal(410, "the page is from before; it has to begin anew")
    level = view.level + tree.grid.shallowest
    place = view.place and TilePlace(view.place[0] + tree.grid.shallowest, *view.place[1:])
    try:
        waiting = await run_in_threadpool(
            server.session.look, viewer, tree, level, SightRect(*view.sight), place, view.alternatives
        )
    except KeyError:  # the page went away in between
        return refusal(410, "the page is from before; it has to begin anew")
    return answer_json(QueueDescription(waiting=waiting), 202)


async def drop_view(server: ExplorerServer, request: Request) -> Response:
    """Make nothing for a page until it looks again."""
    if not server.session.has_viewer(request.path_params["viewer"]):
        return refusal(410, "the page is from before; it has to begin anew")
    await run_in_threadpool(server.session.rest, request.path_params["viewer"])
    return answer_json(QueueDescription(waiting=0), 202)


async def stream_events(server: ExplorerServer, request: Request) -> Response:
    """Stream what happens to a page: first `hello` with its name, then tiles as they are made."""
    if server.session.count_viewers() >= CLIENTS:
        return refusal(503, f"{CLIENTS} pages are open; close one, or try again later", **{"Retry-After": "10"})
    return StreamingResponse(_list_events(server), media_type="text/event-stream")


async def _list_events(server: ExplorerServer) -> AsyncIterator[bytes]:
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

    viewer = server.session.join(hear)
    try:
        yield _format_event({"type": "hello", "viewer": viewer})
        silent = 0.0
        while not server.is_stopping():
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
        server.session.leave(viewer)


def _format_event(event: Event) -> bytes:
    name: str = event["type"]
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(event) + b"\n\n"
