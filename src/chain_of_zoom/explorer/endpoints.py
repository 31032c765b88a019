"""All endpoints, in one table: the server routes by it, and `openapi.py` describes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chain_of_zoom.explorer import answers, decisions, operations, viewing
from chain_of_zoom.explorer.events import ServerEvent
from chain_of_zoom.explorer.metrics import MEDIA_TYPE
from chain_of_zoom.explorer.protocol import (
    AlternativeDescription,
    BlurDescription,
    BranchDescription,
    ExportRequest,
    HealthDescription,
    PhotoDescription,
    QueueDescription,
    SessionDescription,
    StateDescription,
    TileDecision,
    TileDescription,
    TreeDescription,
    TreeRequest,
    ViewRequest,
)
from chain_of_zoom.explorer.security import OPEN_PATH

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from chain_of_zoom.explorer.server import ExplorerServer

Handler = Callable[["ExplorerServer", "Request"], "Awaitable[Response]"]
TILE = "/api/trees/{tree}/tiles/{level}/{column}/{row}"
ANY_FILE = "application/octet-stream"


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Something that a client may ask for."""

    method: str
    """Method of HTTP."""
    path: str
    """Its path; names in braces stand for a part of it each."""
    act: Handler
    """Answers a request; its docstring says how."""
    takes: Any = None
    """What the body of a request is: a type, as JSON, or a media type; None for nothing."""
    gives: Any = None
    """What the body of the answer is, likewise."""
    status: int = 200
    """Status of the answer."""
    besides: tuple[int, ...] = ()
    """Further statuses, but for those that every request may meet."""


ENDPOINTS = (
    Endpoint(method="GET", path="/", act=answers.show_page, gives="text/html"),
    Endpoint(method="GET", path="/static/{name}", act=answers.show_file, gives=ANY_FILE, besides=(404,)),
    Endpoint(method="GET", path=OPEN_PATH, act=operations.show_health, gives=HealthDescription, besides=(503,)),
    Endpoint(method="GET", path="/metrics", act=operations.show_metrics, gives=MEDIA_TYPE),
    Endpoint(method="GET", path="/openapi.json", act=operations.show_openapi, gives=dict[str, Any]),
    Endpoint(method="GET", path="/api/session", act=answers.show_session, gives=SessionDescription),
    Endpoint(
        method="PUT",
        path="/api/photos",
        act=answers.take_photo,
        takes=ANY_FILE,
        gives=PhotoDescription,
        status=201,
        besides=(413, 415, 503),
    ),
    Endpoint(
        method="POST",
        path="/api/trees",
        act=answers.plant_tree,
        takes=TreeRequest,
        gives=TreeDescription,
        besides=(404, 413, 422),
    ),
    Endpoint(method="GET", path="/api/trees/{tree}/blur", act=answers.show_blur, gives=BlurDescription, besides=(404,)),
    Endpoint(method="GET", path=TILE + ".png", act=answers.show_tile, gives="image/png", besides=(204, 304, 404)),
    Endpoint(method="GET", path=TILE, act=decisions.show_decision, gives=TileDescription, besides=(404,)),
    Endpoint(
        method="PUT",
        path=TILE,
        act=decisions.decide,
        takes=TileDecision,
        gives=TreeDescription,
        besides=(404, 413, 422),
    ),
    Endpoint(
        method="GET",
        path=TILE + "/alternatives/{count}",
        act=decisions.list_alternatives,
        gives=list[AlternativeDescription],
        besides=(404, 422),
    ),
    Endpoint(
        method="GET",
        path="/api/trees/{tree}/branches",
        act=decisions.list_branches,
        gives=list[BranchDescription],
        besides=(404,),
    ),
    Endpoint(
        method="POST",
        path="/api/trees/{tree}/states",
        act=answers.list_states,
        takes=ExportRequest,
        gives=list[StateDescription],
        besides=(404, 413, 422),
    ),
    Endpoint(
        method="POST",
        path="/api/trees/{tree}/export",
        act=answers.save_view,
        takes=ExportRequest,
        gives=ANY_FILE,
        besides=(404, 413, 422, 503),
    ),
    Endpoint(method="GET", path="/api/events", act=viewing.stream_events, gives=ServerEvent, besides=(503,)),
    Endpoint(
        method="PUT",
        path="/api/viewers/{viewer}/view",
        act=viewing.take_view,
        takes=ViewRequest,
        gives=QueueDescription,
        status=202,
        besides=(410, 413, 422),
    ),
    Endpoint(
        method="DELETE",
        path="/api/viewers/{viewer}/view",
        act=viewing.drop_view,
        gives=QueueDescription,
        status=202,
        besides=(410,),
    ),
)
