"""Count what a server does, for /metrics, and write a line for every tile and every problem.

A line names photos by their keys alone: never the file of a user, never their words.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

from chain_of_zoom.errors import BadInputError, ChainOfZoomError, UsageError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from chain_of_zoom.explorer.grid import TilePlace
    from chain_of_zoom.explorer.tree import ZoomTree

LOGGER = logging.getLogger("chain_of_zoom.explorer")
BUCKETS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Upper bounds in seconds by which the times of tiles are counted."""
LOG_FORMATS = ("plain", "json")
PROBLEM = "coz.problem"
"""Where in the scope of a request its problem is noted: an exception."""


class TileTimes:
    """How long the tiles of one backbone took, in seconds."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count a tile."""
        self.counts[sum(seconds > bound for bound in BUCKETS)] += 1
        self.total += seconds


class Logbook:
    """What happened since the start. Safe to use from several threads."""

    def __init__(self) -> None:
        self.answers: Counter[int] = Counter()
        self.times: dict[str, TileTimes] = {}
        self.failures: Counter[str] = Counter()
        self._lock = threading.Lock()

    def note_tile(self, tree: ZoomTree, place: TilePlace, seconds: float) -> None:
        """Take note of a tile that was made."""
        with self._lock:
            self.times.setdefault(tree.recipe.backbone, TileTimes()).add(seconds)
        _log(logging.INFO, "tile", _describe(tree, place) | {"seconds": round(seconds, 4)})

    def note_failure(self, tree: ZoomTree, place: TilePlace, problem: str, *, is_final: bool) -> None:
        """Take note of a tile that could not be made. is_final: whether it is left alone from now on."""
        with self._lock:
            self.failures[tree.recipe.backbone] += 1
        _log(logging.WARNING, "failed", _describe(tree, place) | {"problem": problem, "final": is_final})

    def note_answer(self, status: int, scope: Scope) -> None:
        """Take note of an answer, and write down what was refused or went wrong."""
        with self._lock:
            self.answers[status] += 1
        if status >= 400:
            problem = scope.get(PROBLEM)
            fields = {"status": status, "method": scope["method"], "endpoint": _name_endpoint(scope)}
            if isinstance(problem, BadInputError | UsageError | msgspec.DecodeError):  # whose texts may name a file
                fields["problem"] = type(problem).__name__
            elif problem is not None:
                fields["problem"] = f"{type(problem).__name__}: {problem}"
            is_bug = problem is not None and not isinstance(problem, ChainOfZoomError | msgspec.DecodeError)
            _log(logging.ERROR if status == 500 else logging.INFO, "error", fields, problem if is_bug else None)


class AnswerWatch:
    """The ASGI middleware that notes the answers in a logbook; the outermost, so that it sees refusals, too."""

    def __init__(self, app: ASGIApp, *, logbook: Logbook) -> None:
        self.app = app
        self.logbook = logbook

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, and note how it is answered."""

        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.logbook.note_answer(message["status"], scope)
            await send(message)

        await self.app(scope, receive, send_noted)


class JsonLines(logging.Formatter):
    """Writes every record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return time, severity and event, and what belongs to it."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "severity": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


class PlainLines(logging.Formatter):
    """Writes every record for a person: the event, and what belongs to it as name=value."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - its name in the standard library
        """Return the line without what follows an exception."""
        fields = getattr(record, "fields", {})
        return " ".join([f"{record.levelname.lower()}: {record.message}", *(f"{k}={v}" for k, v in fields.items())])


def start_logging(kind: str, stream: TextIO) -> None:
    """Write to a stream from now on: "json" a line for every event, "plain" what a person has to know.

    Raises UsageError for another kind.
    """
    if kind not in LOG_FORMATS:
        raise UsageError(f"--log-format {kind}; accepted: {' or '.join(LOG_FORMATS)}; for example --log-format json")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines() if kind == "json" else PlainLines())
    for logger in (LOGGER, logging.getLogger("uvicorn")):
        logger.handlers = [handler]
        logger.propagate = False
    LOGGER.setLevel(logging.INFO if kind == "json" else logging.WARNING)


def log_event(event: str, **fields: Any) -> None:
    """Write a line about the server itself."""
    _log(logging.INFO, event, fields)


def _log(severity: int, event: str, fields: dict[str, Any], problem: BaseException | None = None) -> None:
    LOGGER.log(severity, event, extra={"fields": fields}, exc_info=problem)


def _describe(tree: ZoomTree, place: TilePlace) -> dict[str, Any]:
    return {"photo": tree.photo.id, **place._asdict(), "backbone": tree.recipe.backbone}


def _name_endpoint(scope: Scope) -> str:
    """Name what was asked for; never its address, of which strangers write what they like."""
    return getattr(scope.get("endpoint"), "__name__", "")
