"""Describe the endpoints as OpenAPI 3.1, from their table, their docstrings and the types of `protocol.py`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from chain_of_zoom.explorer.endpoints import ENDPOINTS, Endpoint
from chain_of_zoom.explorer.events import ServerEvent
from chain_of_zoom.explorer.protocol import Name
from chain_of_zoom.json_bytes import format_json

VERSION = "1"
"""Counts up when a client of before would be misled."""
EVENTS = "text/event-stream"
PARTS = {
    "tree": (Name, "Name of a tree."),
    "viewer": (Name, "Name of a page, as `hello` says it."),
    "level": (int, "Index of the level; 0 is the shallowest."),
    "column": (int, "Column in the level, from 0 at the left."),
    "row": (int, "Row in the level, from 0 at the top."),
    "count": (int, "How many alternatives, from 2."),
    "name": (str, "Name of a file."),
}
"""The parts of paths: type and meaning."""
MEANINGS = {
    200: "The answer.",
    201: "Taken in.",
    202: "Taken note of.",
    204: "Not made yet; an event says when it is.",
    304: "As the client has it already.",
    401: "No token, or a wrong one.",
    403: "The request comes from another site.",
    404: "No such thing.",
    410: "The page is from before; it has to listen to events anew.",
    413: "More bytes than are accepted.",
    415: "No picture that is read here.",
    421: "The server is not called that.",
    422: "A body or a value that makes no sense.",
    500: "Something failed here.",
    503: "Too much is going on; Retry-After says when to ask again.",
}
ALWAYS = (401, 403, 421, 500)
"""Statuses that every request may meet."""
STORED = "docs/openapi.json"
_REFUSAL = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}


@cache
def describe_endpoints() -> dict[str, Any]:
    """Return the description, ready for JSON."""
    types = [kind for endpoint in ENDPOINTS for kind in (endpoint.takes, endpoint.gives) if _is_type(kind)]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    by_type = dict(zip(map(str, types), schemas, strict=True))
    paths: dict[str, Any] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _describe_endpoint(endpoint, by_type)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Chain-of-Zoom explorer",
            "version": VERSION,
            "description": "Photos, trees of tiles, and what pages have in sight. Times are seconds, sizes pixels.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())) | {"Refusal": _REFUSAL},
            "responses": {str(status): _describe_status(status) for status in MEANINGS},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _describe_endpoint(endpoint: Endpoint, schemas: dict[str, Any]) -> dict[str, Any]:
    summary, _, more = (inspect.getdoc(endpoint.act) or "").partition("\n\n")
    description: dict[str, Any] = {
        "operationId": endpoint.act.__name__,
        "summary": summary,
        "parameters": list(_list_parameters(endpoint)),
        "responses": dict(_list_answers(endpoint, schemas)),
    }
    if more:
        description["description"] = more
    if endpoint.takes is not None:
        description["requestBody"] = {"required": True, "content": _describe_body(endpoint.takes, schemas)}
    return description


def _list_parameters(endpoint: Endpoint) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", endpoint.path):
        kind, meaning = PARTS[name]
        schema = msgspec.json.schema(kind)
        yield {"name": name, "in": "path", "required": True, "description": meaning, "schema": schema}
    if endpoint.path == "/api/photos":
        yield {"name": "name", "in": "query", "description": "What the photo is called.", "schema": {"type": "string"}}


def _list_answers(endpoint: Endpoint, schemas: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    yield (
        str(endpoint.status),
        {
            "description": MEANINGS[endpoint.status],
            "content": _describe_body(endpoint.gives, schemas),
        },
    )
    for status in map(str, sorted({*endpoint.besides, *ALWAYS})):
        yield status, {"$ref": f"#/components/responses/{status}"}


def _describe_status(status: int) -> dict[str, Any]:
    description: dict[str, Any] = {"description": MEANINGS[status]}
    if status >= 400:
        description["content"] = {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}}
    return description


def _describe_body(kind: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """Describe a body by its media type; of a stream of events what follows `data:` is described."""
    if isinstance(kind, str):
        return {kind: {}}
    return {EVENTS if kind == ServerEvent else "application/json": {"schema": schemas[str(kind)]}}


def _is_type(kind: Any) -> bool:
    return kind is not None and not isinstance(kind, str)


def format_openapi() -> bytes:
    """Return the description as it is stored for readers."""
    return format_json(describe_endpoints())


if __name__ == "__main__":
    Path(STORED).write_bytes(format_openapi())
