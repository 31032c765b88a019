"""Speak with a server of the explorer from Python: the same endpoints as the page, with types. Needs no extra.

client = ExplorerClient("http://127.0.0.1:8642")
tree = client.plant(client.send_photo(Path("photo.jpg")).id)
for tile in client.make(tree, level=tree.native + 2, sight=(0.4, 0.4, 0.6, 0.6)):
    print(tile, len(client.read_tile(tree.id, *tile).png))
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from chain_of_zoom.errors import ChainOfZoomError, DownError, UsageError
from chain_of_zoom.explorer.events import AnewEvent, FailureEvent, HelloEvent, QueueEvent, ServerEvent, TileEvent
from chain_of_zoom.explorer.protocol import (
    AlternativeDescription,
    BlurDescription,
    BranchDescription,
    ExportRequest,
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
from chain_of_zoom.parsing import parse_json, parse_whole

TIMEOUT = 60.0
"""Seconds of silence after which a server counts as gone."""
DRAFT_HEADER = "x-coz-draft"
_SAMPLE = re.compile(r"(\w+(?:{.*})?) (\S+)")

Body = TypeVar("Body")
Sight = tuple[float, float, float, float]


class ServerAnswer(NamedTuple):
    """What a server answered."""

    status: int
    """Status of HTTP."""
    headers: Mapping[str, str]
    """Headers, their names in lower case."""
    body: bytes
    """The body."""


class TileAnswer(NamedTuple):
    """A tile."""

    png: bytes
    """Its file."""
    draft: str
    """The backbone that drew it for the time being; empty for the real one."""


Send = Callable[[str, str, bytes, Mapping[str, str]], ServerAnswer]


class RefusedError(ChainOfZoomError):
    """An answer that is a refusal; `status` says of which kind, `retry_after` when to ask again, in seconds."""

    def __init__(self, answer: ServerAnswer) -> None:
        try:
            problem = msgspec.json.decode(answer.body, type=dict[str, str])["error"]
        except (msgspec.DecodeError, KeyError):
            problem = answer.body[:200].decode("utf-8", "replace")
        super().__init__(f"the server answers {answer.status}: {problem}")
        self.status = answer.status
        self.retry_after = parse_whole(answer.headers.get("retry-after", ""))


class ExplorerClient:
    """A client of one server. Every request has a connection of its own, so that it serves several threads."""

    def __init__(self, address: str, token: str | None = None, *, send: Send | None = None) -> None:
        """Take the address that the server printed, and its token, which may stand in the address.

        send: what carries requests instead of the network: method, path, body and headers to an answer.
        """
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"{address}; accepted: the address of a server; for example http://127.0.0.1:8642")
        self.address = f"{parts.scheme}://{parts.netloc}"
        match = re.search(r"(?:^|&)token=([^&]+)", parts.query)
        token = token or (match[1] if match else None)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._send = send or self._send_alone

    # The server

    def is_healthy(self) -> bool:
        """Whether the server makes tiles."""
        try:
            return self.ask("GET", "/healthz").status == 200
        except RefusedError:
            return False

    def read_metrics(self) -> dict[str, float]:
        """Return what the server counts, by name with labels: `coz_answers_total{status="200"}`."""
        text = self.ask("GET", "/metrics").body.decode()
        matches = [_SAMPLE.fullmatch(line) for line in text.splitlines()]
        return {match[1]: float(match[2]) for match in matches if match}

    def read_session(self) -> SessionDescription:
        """Return the photos that the server began with, and what makes the tiles."""
        return self._read("GET", "/api/session", SessionDescription)

    # Photos, trees and tiles

    def send_photo(self, photo: Path | bytes, name: str = "photo") -> PhotoDescription:
        """Send the file of a photo. name: what it is called, where it is not a path."""
        data, name = (photo.read_bytes(), photo.name) if isinstance(photo, Path) else (photo, name)
        return self._read("PUT", f"/api/photos?name={quote(name)}", PhotoDescription, data)

    def plant(self, photo: str, words: str = "", candidate: int = 1, branch: str = "") -> TreeDescription:
        """Return the tree of a photo, by its id."""
        request = TreeRequest(photo=photo, words=words, candidate=candidate, branch=branch)
        return self._read("POST", "/api/trees", TreeDescription, request)

    def read_blur(self, tree: str) -> BlurDescription:
        """Read how blurred the photo of a tree is, place by place."""
        return self._read("GET", f"/api/trees/{tree}/blur", BlurDescription)

    def read_tile(self, tree: str, level: int, column: int, row: int) -> TileAnswer | None:
        """Return a tile, None as long as it is not made. level: its index, 0 for the shallowest."""
        answer = self.ask("GET", f"{_tile_path(tree, level, column, row)}.png")
        return TileAnswer(answer.body, answer.headers.get(DRAFT_HEADER, "")) if answer.status == 200 else None

    def describe_tile(self, tree: str, level: int, column: int, row: int) -> TileDescription:
        """Return by which words a generated tile is made, and what was decided about it."""
        return self._read("GET", _tile_path(tree, level, column, row), TileDescription)

    def decide(self, tree: str, level: int, column: int, row: int, decision: TileDecision) -> TreeDescription:
        """Decide about a generated tile: return the tree in which it, and what grows from it, is another."""
        return self._read("PUT", _tile_path(tree, level, column, row), TreeDescription, decision)

    def list_alternatives(
        self, tree: str, level: int, column: int, row: int, count: int
    ) -> list[AlternativeDescription]:
        """Return trees that differ in one generated tile."""
        path = f"{_tile_path(tree, level, column, row)}/alternatives/{count}"
        return self._read("GET", path, list[AlternativeDescription])

    def list_branches(self, tree: str) -> list[BranchDescription]:
        """Return the branches of the photo of a tree, the newest first."""
        return self._read("GET", f"/api/trees/{tree}/branches", list[BranchDescription])

    def list_states(self, tree: str, request: ExportRequest) -> list[StateDescription]:
        """Return the states on the way to a view."""
        return self._read("POST", f"/api/trees/{tree}/states", list[StateDescription], request)

    def save_view(self, tree: str, request: ExportRequest) -> bytes:
        """Return a view as a file."""
        return self.ask("POST", f"/api/trees/{tree}/export", msgspec.json.encode(request)).body

    # Views

    def listen(self) -> Generator[ServerEvent]:
        """Yield what happens to a page, `HelloEvent` with its name first, until the server or the caller ends it.

        Raises DownError where the server goes away, and RefusedError where too many pages are open.
        """
        with closing(self._connect()) as connection, _explain_silence(self.address):
            connection.request("GET", "/api/events", headers=self._headers)
            response = connection.getresponse()
            if response.status != 200:
                raise RefusedError(_read_answer(response))
            for line in response:
                if line.startswith(b"data: "):
                    yield parse_json(line[6:], ServerEvent)  # type: ignore[arg-type]  # a union is no class

    def look(self, viewer: str, view: ViewRequest) -> int:
        """Say what a page has in sight; return how many tiles are to be made for it."""
        return self._read("PUT", f"/api/viewers/{viewer}/view", QueueDescription, view).waiting

    def rest(self, viewer: str) -> None:
        """Let nothing be made for a page until it looks again."""
        self.ask("DELETE", f"/api/viewers/{viewer}/view")

    def make(self, tree: TreeDescription, level: int, sight: Sight) -> Iterator[tuple[int, int, int]]:
        """Have all tiles in sight made, and yield level index, column and row of each as it is made, ancestors too.

        sight: left, top, right and bottom as fractions of the photo. Drafts are not yielded. Raises ChainOfZoomError
        for a tile that cannot be made.
        """
        view = ViewRequest(tree=tree.id, level=level, sight=sight)
        viewer, places = "", set()
        with closing(self.listen()) as events:
            for event in events:
                match event:
                    case HelloEvent() | AnewEvent():
                        viewer = event.viewer if isinstance(event, HelloEvent) else viewer
                        if self.look(viewer, view) == 0:
                            return
                    case TileEvent():
                        place = event.tile[0] + tree.native, event.tile[1], event.tile[2]
                        tile = self.read_tile(tree.id, *place)
                        if tile and not tile.draft and place not in places:
                            places.add(place)
                            yield place
                    case FailureEvent(final=True):
                        raise ChainOfZoomError(event.problem)
                    case QueueEvent(waiting=0):
                        return

    # Requests

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> ServerAnswer:
        """Send a request. Raises RefusedError for a refusal, and DownError where no server answers."""
        answer = self._send(method, path, body, {**self._headers, **headers})
        if answer.status >= 400:
            raise RefusedError(answer)
        return answer

    def _read(self, method: str, path: str, kind: type[Body], body: Any = b"") -> Body:
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return parse_json(self.ask(method, path, data).body, kind)

    def _connect(self) -> HTTPConnection:
        parts = urlsplit(self.address)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        return kind(parts.hostname or "", parts.port, timeout=TIMEOUT)

    def _send_alone(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> ServerAnswer:
        with closing(self._connect()) as connection, _explain_silence(self.address):
            connection.request(method, path, body or None, dict(headers))
            return _read_answer(connection.getresponse())


def _tile_path(tree: str, level: int, column: int, row: int) -> str:
    return f"/api/trees/{tree}/tiles/{level}/{column}/{row}"


def _read_answer(response: HTTPResponse) -> ServerAnswer:
    headers = {name.lower(): value for name, value in response.getheaders()}
    return ServerAnswer(response.status, headers, response.read())


@contextmanager
def _explain_silence(address: str) -> Iterator[None]:
    try:
        yield
    except (OSError, HTTPException) as error:
        raise DownError(
            f"{address} does not answer ({error or type(error).__name__}); accepted: the address of a running server; "
            "type: coz explore"
        ) from error
