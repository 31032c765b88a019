"""The endpoints for whoever runs the server, and for programs that speak with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from chain_of_zoom.explorer.metrics import MEDIA_TYPE, format_metrics
from chain_of_zoom.explorer.protocol import HealthDescription
from chain_of_zoom.explorer.security import answer_json, refusal

if TYPE_CHECKING:
    from chain_of_zoom.explorer.server import ExplorerServer


async def show_health(server: ExplorerServer, request: Request) -> Response:
    """Say whether the server makes tiles. Asks for no token, and says nothing else."""
    if server.is_stopping():
        return refusal(503, "the server stops")
    if not server.session.is_working():
        return refusal(503, "no tile can be made any more; start the server anew")
    return answer_json(HealthDescription(status="ok"))


async def show_metrics(server: ExplorerServer, request: Request) -> Response:
    """Return counts of tiles, their seconds, failures, answers, pages and bytes, for Prometheus."""
    text = await run_in_threadpool(format_metrics, server.session)
    return Response(text, media_type=MEDIA_TYPE)


async def show_openapi(server: ExplorerServer, request: Request) -> Response:
    """Return the description of all endpoints."""
    from chain_of_zoom.explorer.openapi import describe_endpoints  # which describes this one, too

    return answer_json(describe_endpoints())
