"""The server: one session behind the endpoints of `endpoints.py`. It opens no path and no address of a client."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from chain_of_zoom.errors import BadInputError, ChainOfZoomError, MissingError, UsageError
from chain_of_zoom.explorer.endpoints import ENDPOINTS, Handler
from chain_of_zoom.explorer.grid import TilePlace
from chain_of_zoom.explorer.logbook import PROBLEM, AnswerWatch
from chain_of_zoom.explorer.security import Gate, refusal
from chain_of_zoom.explorer.session import ExplorerSession
from chain_of_zoom.explorer.tree import ZoomTree
from chain_of_zoom.explorer.uploads import BusyError, TooLargeError, Uploads
from chain_of_zoom.parsing import parse_json

BODY_BYTES = 65_536
"""Bytes of a request that is no upload."""
NUMBER = re.compile(r"[0-9]{1,9}")
_NAME = re.compile(r"[0-9a-f]{32}")

Body = TypeVar("Body")


class ExplorerServer:
    """What the endpoints of one session share. `app` is the ASGI application, guarded by `Gate`."""

    def __init__(
        self,
        session: ExplorerSession,
        uploads: Uploads,
        *,
        host: str = "127.0.0.1",
        names: tuple[str, ...] = (),
        token: str | None = None,
        frame: str | None = None,
    ) -> None:
        """Serve a session; set `is_stopping` to what says that the server stops.

        host, names, token, frame: as for `Gate`.
        """
        self.is_stopping: Callable[[], bool] = lambda: False
        self.session = session
        self.uploads = uploads
        self.exporting = asyncio.Lock()
        self.listed = tuple(session.photos.values())
        routes = [Route(endpoint.path, self._answer(endpoint.act), methods=[endpoint.method]) for endpoint in ENDPOINTS]
        watch = Middleware(AnswerWatch, logbook=session.logbook)
        gate = Middleware(Gate, host=host, names=names, token=token, frame=frame)
        self.app = Starlette(routes=routes, middleware=[watch, gate])

    def _answer(self, act: Handler) -> Callable[[Request], Awaitable[Response]]:
        """Turn errors into answers with one line."""

        @wraps(act)
        async def answer(request: Request) -> Response:
            try:
                return await act(self, request)
            except Exception as error:
                request.scope[PROBLEM] = error
                return _explain(error)

        return answer

    def find_place(self, request: Request) -> tuple[ZoomTree | None, TilePlace | None]:
        """Return the tree and the tile that the address of a request names, None where there is none."""
        tree = self.find_tree(request.path_params["tree"])
        texts = [request.path_params[name] for name in ("level", "column", "row")]
        if tree is None or not all(NUMBER.fullmatch(text) for text in texts):
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


def _explain(error: Exception) -> Response:
    """Answer with what went wrong; what nobody foresaw is in the log alone."""
    match error:
        case TooLargeError():
            return refusal(413, str(error))
        case BusyError():
            return refusal(503, str(error), **{"Retry-After": "2"})
        case BadInputError():
            return refusal(415, str(error))
        case msgspec.DecodeError() | UsageError() | MissingError():
            return refusal(422, str(error))
        case ChainOfZoomError():
            return refusal(500, str(error))
        case ClientDisconnect():
            return refusal(400, "the client went away")
        case _:
            return refusal(500, "the server failed; its log says why")
