"""The description of the endpoints holds: whatever is asked, the answer has a status and a body that it names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest
from explorer.sessions import SmallTiles, make_server, opened_session, photo_pixels
from explorer.test_server import ask, png_of
from hypothesis import given, settings
from hypothesis import strategies as st

from chain_of_zoom.explorer.endpoints import ENDPOINTS, Endpoint
from chain_of_zoom.explorer.events import ServerEvent
from chain_of_zoom.explorer.grid import SightRect
from chain_of_zoom.explorer.openapi import describe_endpoints
from chain_of_zoom.explorer.server import ExplorerServer

DESCRIPTION = json.loads(json.dumps(describe_endpoints()))
ASKED = [endpoint for endpoint in ENDPOINTS if endpoint.gives is not ServerEvent]  # which never ends
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.lists(st.floats())
SIGHTS = [(0, 0, 1, 1), (0.2, 0.3, 0.4, 0.5), (0.5, 0.5, 0.5, 0.6), (-9, -9, 9, 9), (1, 1, 0, 0)]


def mostly(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Values that make sense, and now and then others."""
    return st.integers(0, 19).flatmap(lambda number: VALUES if number == 19 else values)


FIELDS = {
    "words": mostly(st.text(max_size=9)),
    "candidate": mostly(st.integers(0, 9)),
    "branch": mostly(st.just("")),
    "level": mostly(st.integers(0, 9)),
    "sight": mostly(
        st.sampled_from([(0, 0, 1, 1), (0.2, 0.3, 0.4, 0.5), (0.5, 0.5, 0.5, 0.6), (-9, -9, 9, 9), (1, 1, 0, 0)])
    ),
    "place": mostly(st.none() | st.lists(st.integers(0, 5), min_size=3, max_size=3)),
    "alternatives": mostly(st.just([])),
    "kind": mostly(st.sampled_from(["png", "sheet"])),
    "size": mostly(st.lists(st.integers(1, 99), min_size=2, max_size=2)),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[ExplorerServer]:
    with opened_session(tmp_path_factory.mktemp("tiles"), photo_pixels(), SmallTiles()) as session:
        tree = session.plant(next(iter(session.photos.values())))
        viewer = session.join(lambda event: None)
        session.look(viewer, tree, 1, SightRect(0, 0, 1, 1))
        server = make_server(session)
        server.names = {"tree": tree.id, "viewer": viewer, "photo": tree.photo.id}
        yield server


def check(endpoint: Endpoint, answer: httpx.Response) -> None:
    """Whether the answer is one of those described for the endpoint."""
    operation = DESCRIPTION["paths"][endpoint.path][endpoint.method.lower()]
    described = operation["responses"].get(str(answer.status_code))
    assert described, f"{endpoint.method} {endpoint.path}: {answer.status_code} is not described ({answer.text[:200]})"
    assert answer.status_code != 500, answer.text
    if "$ref" in described:
        described = DESCRIPTION["components"]["responses"][described["$ref"].rpartition("/")[2]]
    content = described.get("content")
    if content is None:
        assert answer.content == b""
        return
    kind = answer.headers["content-type"].partition(";")[0]
    kinds = [name.partition(";")[0] for name in content]
    assert kind in kinds or "application/octet-stream" in kinds, (kind, kinds)
    if kind == "application/json" and "schema" in content[kind]:
        schema = {**content[kind]["schema"], "components": DESCRIPTION["components"]}
        jsonschema.Draft202012Validator(schema).validate(answer.json())


@pytest.mark.slow
@settings(max_examples=400)
@given(st.data())
def test_whatever_is_asked_the_answer_is_one_that_is_described(server, data):
    endpoint = data.draw(st.sampled_from(ASKED))
    parts = {**server.names, "name": "main.js"}
    parts |= {name: str(data.draw(st.integers(0, 6))) for name in ("level", "column", "row", "count")}
    path = endpoint.path
    for name in re.findall(r"{(\w+)}", path):
        strange = data.draw(st.sampled_from(["x", "-1", "0" * 32, "9" * 20, "%00"]))
        path = path.replace(f"{{{name}}}", strange if data.draw(st.integers(0, 9)) == 9 else parts[name])
    options: dict[str, Any] = {}
    if isinstance(endpoint.takes, str):
        options["content"] = data.draw(st.sampled_from([png_of(photo_pixels()), b"", b"GIF89a"]))
    elif endpoint.takes is not None:
        strategies = {name: FIELDS.get(name, st.just(parts.get(name))) for name in endpoint.takes.__struct_fields__}
        body = {name: data.draw(values) for name, values in strategies.items()}
        options["content"] = json.dumps(body).encode()
    check(endpoint, ask(server, endpoint.method, path, **options))
