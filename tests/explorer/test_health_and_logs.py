"""What whoever runs a server sees of it: health, metrics, log lines, and the description of its endpoints."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator

import jsonschema
import pytest
from conftest import ROOT
from explorer.sessions import SmallTiles, make_server, opened_session, photo_pixels, wait_for
from explorer.test_server import TOKEN, ask, plant, png_of

from chain_of_zoom.errors import BackboneError, UsageError
from chain_of_zoom.explorer import answers
from chain_of_zoom.explorer.endpoints import ENDPOINTS
from chain_of_zoom.explorer.grid import SightRect
from chain_of_zoom.explorer.logbook import LOGGER, start_logging
from chain_of_zoom.explorer.openapi import describe_endpoints, format_openapi
from chain_of_zoom.explorer.server import ExplorerServer
from chain_of_zoom.imaging.images import RGB8, RGBF

WHOLE = SightRect(0, 0, 1, 1)


class Broken(SmallTiles):
    """Makes nothing."""

    def _enlarge(self, windows: list[RGB8], prompts: list[str], seeds: list[int]) -> list[RGBF]:
        raise BackboneError("out of order; try another --backbone")


@pytest.fixture
def server(tmp_path) -> Iterator[ExplorerServer]:
    with opened_session(tmp_path / "tiles", photo_pixels(), SmallTiles()) as session:
        yield make_server(session)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    loggers = (LOGGER, logging.getLogger("uvicorn"))
    before = [(logger.handlers, logger.propagate, logger.level) for logger in loggers]
    stream = io.StringIO()
    start_logging("json", stream)
    yield stream
    for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def read_lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def look(server: ExplorerServer) -> None:
    viewer = server.session.join(lambda event: None)
    server.session.look(viewer, server.session.find_tree(plant(server)["id"]), 1, WHOLE)
    wait_for(lambda: server.session.count_waiting() == 0)


def read_metrics(server: ExplorerServer) -> dict[str, float]:
    """The samples by name and labels; every line has to be one of the text format."""
    text = ask(server, "GET", "/metrics").text
    line = re.compile(r"# (HELP|TYPE) \w+ .+|(\w+(?:{(?:\w+=\"[^\"]*\",?)+})?) (\d+(?:\.\d+)?)")
    matches = [line.fullmatch(row) for row in text.splitlines()]
    assert all(matches)
    return {match[2]: float(match[3]) for match in matches if match and match[2]}


def test_metrics_count_tiles_seconds_answers_and_bytes(server):
    before = read_metrics(server)
    assert before["coz_cache_tiles"] == before["coz_tiles_waiting"] == 0
    look(server)
    ask(server, "GET", "/nothing")
    after = read_metrics(server)
    assert (
        after['coz_tile_seconds_count{backbone="fake"}'] == after["coz_cache_tiles"] == len(server.session.store) == 6
    )
    assert after['coz_tile_seconds_bucket{backbone="fake",le="+Inf"}'] == 6
    buckets = [after[name] for name in after if "_bucket" in name]
    assert buckets == sorted(buckets)
    assert 0 < after['coz_tile_seconds_sum{backbone="fake"}'] < 60
    assert after["coz_cache_bytes"] == server.session.store.total
    assert after['coz_answers_total{status="404"}'] == 1
    assert after['coz_answers_total{status="200"}'] == 2  # the first metrics, and the tree
    assert after["coz_pages"] == 1
    assert 10e6 < after["process_resident_memory_bytes"] < 100e9


def test_health_asks_for_no_token_and_says_when_no_tile_can_be_made(server):
    guarded = make_server(server.session, host="0.0.0.0", token=TOKEN)
    health = ask(guarded, "GET", "/healthz")
    assert (health.status_code, health.json()) == (200, {"status": "ok"})
    assert ask(guarded, "GET", "/metrics").status_code == 401
    assert ask(guarded, "GET", "/healthz", headers={"host": "evil.example"}).status_code == 421
    guarded.is_stopping = lambda: True
    assert ask(guarded, "GET", "/healthz").status_code == 503
    server.session.close()
    assert "start the server anew" in ask(server, "GET", "/healthz").json()["error"]


def test_a_line_for_every_tile_and_none_names_a_file_of_a_user(server, log):
    ask(server, "PUT", "/api/photos?name=My%20secret.png", content=png_of(photo_pixels()))
    ask(server, "PUT", "/api/photos?name=My%20secret.png", content=b"no picture")
    ask(server, "GET", "/My%20secret.png")
    ask(server, "GET", "/metrics", headers={"host": "secret.example"})
    look(server)
    lines = read_lines(log)
    tiles = [line for line in lines if line["event"] == "tile"]
    assert {(line["column"], line["row"]) for line in tiles} == {(x, y) for x in range(3) for y in range(2)}
    assert {line["photo"] for line in tiles} == {plant(server)["photo"]["id"]}
    errors = [line for line in lines if line["event"] == "error"]
    assert [(line["status"], line["endpoint"], line.get("problem")) for line in errors] == [
        (415, "take_photo", "BadInputError"),
        (404, "", None),
        (421, "", None),
    ]
    assert all({"time", "severity"} <= line.keys() for line in lines)
    assert "secret" not in log.getvalue()


def test_failures_are_lines_and_counts(tmp_path, log):
    with opened_session(tmp_path / "tiles", photo_pixels(), Broken()) as session:
        server = make_server(session)
        look(server)
        failures = [line for line in read_lines(log) if line["event"] == "failed"]
        assert len(failures) == 12
        assert {line["final"] for line in failures} == {False, True}
        assert failures[0]["problem"] == "out of order; try another --backbone"
        assert failures[0]["severity"] == "warning"
        assert read_metrics(server)['coz_tiles_failed_total{backbone="fake"}'] == 12


def test_a_fault_of_the_server_is_answered_in_one_line_and_traced_in_the_log(server, log, monkeypatch):
    monkeypatch.setattr(answers, "list_files", lambda: 1 / 0)
    answer = ask(server, "GET", "/")
    assert (answer.status_code, answer.json()) == (500, {"error": "the server failed; its log says why"})
    (line,) = read_lines(log)
    assert line["severity"] == "error"
    assert line["problem"] == "ZeroDivisionError: division by zero"
    assert "list_files" in line["trace"]


def test_logs_for_a_person(server, capsys, log):
    stream = io.StringIO()
    start_logging("plain", stream)
    look(server)
    assert stream.getvalue() == ""
    LOGGER.warning("failed", extra={"fields": {"problem": "no room"}})
    assert stream.getvalue() == "warning: failed problem=no room\n"
    with pytest.raises(UsageError, match="accepted: plain or json"):
        start_logging("xml", stream)


def test_the_description_of_the_endpoints_is_current_and_says_what_the_server_routes():
    description = json.loads(format_openapi())
    stored = (ROOT / "docs" / "openapi.json").read_bytes()
    assert stored == format_openapi(), "run python -m chain_of_zoom.explorer.openapi"
    operations = [operation for path in description["paths"].values() for operation in path.values()]
    assert len(operations) == len(ENDPOINTS) == len({operation["operationId"] for operation in operations})
    assert all(operation["summary"].endswith(".") for operation in operations)
    for schema in description["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_the_server_routes_what_is_described_and_nothing_else(server):
    described = {
        (method.upper(), path) for path, methods in describe_endpoints()["paths"].items() for method in methods
    }
    routed = {(method, route.path) for route in server.app.routes for method in route.methods - {"HEAD"}}
    assert routed == described
    assert ask(server, "GET", "/openapi.json").json() == json.loads(format_openapi())
