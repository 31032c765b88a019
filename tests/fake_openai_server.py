"""A small OpenAI-compatible server, a process of its own: prints its port, answers from a script, keeps a log.

By default the text is the SHA-256 of the last picture's bytes, so that a test can tell the answers apart.
POST /script: a JSON list of replies, given out in the order of arrival; the last one stays. A reply may hold
status, headers, body (text is sent as it is, anything else as JSON), gzip (how often it is packed), sleep (seconds,
before the answer), trickle (seconds between its bytes), and drop (close the connection instead). GET /log: what came
in, and the largest number of requests that were in the server at once. It ends when its standard input does.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import json
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODELS = {"object": "list", "data": [{"id": "tiny", "object": "model"}, {"id": "other", "object": "model"}]}


@dataclass
class State:
    """Of one script: what still sleeps from an earlier one counts there."""

    script: list[dict[str, Any]] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    inside: int = 0
    most: int = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    lock = threading.Lock()
    state = State()

    def do_GET(self) -> None:
        if self.path == "/log":
            with self.lock:
                self._send({"body": {"requests": self.state.log, "most": self.state.most}})
        else:
            self._serve(None)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/script":
            Handler.state = State(body)
            self._send({"body": {}})
        else:
            self._serve(body)

    def _serve(self, body: Any) -> None:
        entry = {"method": self.command, "path": self.path, "headers": dict(self.headers), "body": body}
        with self.lock:
            state = self.state
            state.log.append({**entry, "time": time.monotonic()})
            reply = state.script.pop(0) if len(state.script) > 1 else (state.script or [{}])[0]
            state.inside += 1
            state.most = max(state.most, state.inside)
        time.sleep(reply.get("sleep", 0))
        with self.lock:
            state.inside -= 1
        if reply.get("drop"):
            self.close_connection = True
        elif "body" in reply or "status" in reply:
            self._send(reply)
        else:
            self._send({**reply, "body": MODELS if body is None else answer(self.look(body))})

    def look(self, body: dict[str, Any]) -> str:
        """What is said where the script says nothing."""
        return last_picture(body)

    def _send(self, reply: dict[str, Any]) -> None:
        body = reply.get("body", "")
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        for _ in range(reply.get("gzip", 0)):
            data = gzip.compress(data)
        with contextlib.suppress(OSError):  # a client may hang up
            self.send_response(reply.get("status", 200))
            for name, value in reply.get("headers", {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            pieces = [data[i : i + 1] for i in range(len(data))] if "trickle" in reply else [data]
            for piece in pieces:
                self.wfile.write(piece)
                time.sleep(reply.get("trickle", 0))

    def log_message(self, *_: object) -> None: ...


class Server(ThreadingHTTPServer):
    request_queue_size = 64
    daemon_threads = True


def answer(content: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": content}}]}


def last_picture(body: dict[str, Any]) -> str:
    url = body["messages"][-1]["content"][-1]["image_url"]["url"]
    return hashlib.sha256(base64.b64decode(url.partition(",")[2])).hexdigest()


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
