from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import noise
from fake_openai_server import answer

pytest.importorskip("httpx", reason="needs the extra [remote]")

from chain_of_zoom.errors import DownError, MissingError, UsageError
from chain_of_zoom.imaging.encode import encode_png
from chain_of_zoom.imaging.images import decode_png
from chain_of_zoom.prompters.base import MULTI_SCALE, SINGLE_SCALE, PromptContext
from chain_of_zoom.prompters.remote import LONGEST_PAUSE, Remote, _retry_after

SERVER = Path(__file__).parents[1] / "fake_openai_server.py"
KEY = "sk-very/secret+key"


def context(seed: int = 0) -> PromptContext:
    return PromptContext([noise(8, 12, seed), noise(8, 12, seed + 1)], noise(8, 12, seed + 2), 16.0)


def expected(of: PromptContext) -> str:
    return hashlib.sha256(encode_png(of.zoomed)).hexdigest()


class Server:
    """The server process as the tests see it."""

    def __init__(self, port: int) -> None:
        self.root = f"http://127.0.0.1:{port}"
        self.url = self.root + "/v1"

    def script(self, *replies: dict[str, Any]) -> None:
        data = json.dumps(replies).encode()
        urllib.request.urlopen(urllib.request.Request(self.root + "/script", data), timeout=10).close()

    def log(self) -> dict[str, Any]:
        with urllib.request.urlopen(self.root + "/log", timeout=10) as answer:
            log: dict[str, Any] = json.load(answer)
        return log

    def requests(self) -> list[dict[str, Any]]:
        requests: list[dict[str, Any]] = self.log()["requests"]
        return requests

    def remote(self, **options: Any) -> Remote:
        return Remote(self.url, "tiny", **{"_base_delay": 0.01, **options})


@pytest.fixture(scope="module")
def process() -> Iterator[Server]:
    with subprocess.Popen(
        [sys.executable, SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        yield Server(int(running.stdout.readline()))
        running.stdin.close()
        assert running.wait(10) == 0


@pytest.fixture
def server(process: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    for name in ("HTTP_PROXY", "ALL_PROXY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    process.script()
    return process


def failure(remote: Remote, contexts: int = 1) -> str:
    with pytest.raises(MissingError) as caught:
        remote([context(10 * index) for index in range(contexts)])
    assert "\n" not in str(caught.value)
    assert "; accepted: " in str(caught.value)
    return str(caught.value)


def pictures(request: dict[str, Any]) -> list[np.ndarray]:
    parts = request["body"]["messages"][1]["content"]
    assert [part["type"] for part in parts] == ["image_url"] * len(parts)
    heads, data = zip(*(part["image_url"]["url"].split(",") for part in parts), strict=True)
    assert set(heads) == {"data:image/png;base64"}
    return [decode_png(base64.b64decode(each, validate=True)) for each in data]


def test_what_is_sent(server: Server) -> None:
    shown = context()
    assert server.remote()([shown]) == [expected(shown)]
    (request,) = server.requests()
    assert (request["method"], request["path"]) == ("POST", "/v1/chat/completions")
    assert request["headers"]["Content-Type"] == "application/json"
    assert set(request["body"]) == {"model", "messages", "max_tokens"}
    assert (request["body"]["model"], request["body"]["max_tokens"]) == ("tiny", 32)
    assert request["body"]["messages"][0] == {"role": "system", "content": MULTI_SCALE}
    assert [message["role"] for message in request["body"]["messages"]] == ["system", "user"]
    first, second = pictures(request)
    np.testing.assert_array_equal(first, shown.states[-1])
    np.testing.assert_array_equal(second, shown.zoomed)
    assert "Authorization" not in request["headers"]


def test_single_scale_and_options(server: Server) -> None:
    server.remote(multi_scale=False, max_new_tokens=16)([context()])
    (request,) = server.requests()
    assert request["body"]["messages"][0]["content"] == SINGLE_SCALE
    assert request["body"]["max_tokens"] == 16
    (only,) = pictures(request)
    np.testing.assert_array_equal(only, context().zoomed)


@pytest.mark.slow
def test_order_and_bounded_concurrency(server: Server) -> None:
    server.script(*({"sleep": 1.5 - index / 10} for index in range(8)))  # the first to arrive is answered last
    contexts = [context(10 * index) for index in range(8)]
    start = time.monotonic()
    texts = server.remote()(contexts)
    assert time.monotonic() - start < 9.2  # one after the other
    assert texts == [expected(each) for each in contexts]
    assert server.log()["most"] == 8
    server.script({"sleep": 0.2})
    assert server.remote(concurrency=3)(contexts) == texts
    assert server.log()["most"] == 3


def test_nothing_to_ask_asks_nothing(server: Server) -> None:
    assert server.remote()([]) == []
    assert server.requests() == []


def test_inside_a_running_event_loop(server: Server) -> None:
    async def notebook() -> list[str]:
        return server.remote()([context()])

    assert asyncio.run(notebook()) == [expected(context())]


@pytest.mark.parametrize("content", [None, "", " fur,\nhair ", "fourrure 🦊"])
def test_the_text_is_returned_as_it_is(server: Server, content: str | None) -> None:
    server.script({"body": answer(content)})
    assert server.remote()([context()]) == [content or ""]


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_passing_trouble_is_retried(server: Server, status: int) -> None:
    server.script({"status": status}, {"drop": True}, {})
    assert server.remote()([context()]) == [expected(context())]
    assert len(server.requests()) == 3


def test_retries_end(server: Server) -> None:
    server.script({"status": 503, "body": {"error": {"message": "Loading\n\x1b[31m model"}}})
    message = failure(server.remote(retries=2))
    assert "answered 503 (Loading [31m model), 3 tries" in message
    assert len(server.requests()) == 3


def test_retry_after_is_waited_for(server: Server) -> None:
    server.script({"status": 429, "headers": {"Retry-After": "1"}}, {})
    server.remote()([context()])
    first, second = server.requests()
    assert second["time"] - first["time"] >= 1


def test_pauses_double_and_have_a_ceiling(server: Server) -> None:
    remote = server.remote(_base_delay=2.0)
    for attempt, whole in ((1, 2), (2, 4), (3, 8)):
        assert whole / 2 <= remote._choose_pause(attempt, None) <= whole
    assert remote._choose_pause(5000, None) == LONGEST_PAUSE
    assert remote._choose_pause(1, 1e9) == LONGEST_PAUSE
    assert remote._choose_pause(1, 20.0) == 20


def test_retry_after_in_all_its_spellings() -> None:
    assert _retry_after("7") == 7
    later = datetime.now(UTC) + timedelta(seconds=100)
    assert 90 < (_retry_after(format_datetime(later, usegmt=True)) or 0) <= 100
    assert _retry_after("Thu, 01 Jan 1970 00:00:00 -0000") == 0
    for nonsense in ("", "soon", "nan", "-1", "1.5.2", "Thu, 99 Jan 2030 00:00:00 GMT"):
        assert _retry_after(nonsense) is None, nonsense


@pytest.mark.parametrize("status", [301, 400, 404, 413, 422])
def test_what_retrying_cannot_help_is_asked_once(server: Server, status: int) -> None:
    words = {"error": {"message": "no pictures here"}}
    server.script({"status": status, "body": words, "headers": {"Location": "/v2"}})
    message = failure(server.remote())
    assert f"answered {status} (no pictures here); accepted" in message
    assert len(server.requests()) == 1


def test_what_may_pass_has_an_error_of_its_own(server: Server) -> None:
    for reply, kind in (({"status": 503}, DownError), ({"drop": True}, DownError), ({"status": 400}, MissingError)):
        server.script(reply)
        with pytest.raises(MissingError) as caught:
            server.remote(retries=0)([context()])
        assert type(caught.value) is kind, reply


def test_any_conversation_can_be_asked(server: Server) -> None:
    server.script({"body": answer("85")})
    content = [{"type": "image", "image": noise(8, 8)}, {"type": "text", "text": "Rate it."}]
    assert server.remote().ask([[{"role": "user", "content": content}]]) == ["85"]
    [turn] = server.requests()[0]["body"]["messages"]
    assert [part["type"] for part in turn["content"]] == ["image_url", "text"]
    assert turn["content"][1] == {"type": "text", "text": "Rate it."}


def test_a_wrong_path_or_model_says_how_to_list_them(server: Server) -> None:
    server.script({"status": 404, "body": "<html>"})
    message = failure(server.remote())
    assert "'tiny'" in message
    assert message.endswith(f"type: curl {server.url}/models")


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_names_its_variable(server: Server, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    server.script({"status": status, "body": {"error": {"message": "wrong key sk-v****key"}}})
    message = failure(server.remote(key_variable="MY_KEY"))
    assert message.endswith("a key in MY_KEY, which is not set; type: export MY_KEY=...")
    monkeypatch.setenv("MY_KEY", KEY)
    message = failure(server.remote(key_variable="MY_KEY"))
    assert "MY_KEY, which is set but refused" in message
    assert "sk-v" not in message
    assert len(server.requests()) == 2


def test_the_key_is_sent_and_never_shown(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")
    remote = server.remote()
    remote([context()])
    assert server.requests()[0]["headers"]["Authorization"] == f"Bearer {KEY}"
    for reply in (
        {"status": 400, "body": {"error": f"bad {KEY}"}},
        {"body": f"bad {KEY}"},
        {"body": {"error": {"message": f"bad {KEY}"}}},
    ):
        server.script(reply)
        assert "bad ***" in failure(remote)
    assert any(record.name.startswith("httpcore") for record in caplog.records)
    assert KEY not in caplog.text + repr(remote) + repr(vars(remote))


@pytest.mark.parametrize("key", ["sk-secret\nX: 1", "sk-secrét", "sk-secret\x00"])
def test_a_key_that_no_header_can_hold(server: Server, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    if "\x00" in key:
        monkeypatch.setattr(os, "environ", {"OPENAI_API_KEY": key})
    else:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    message = failure(server.remote())
    assert "OPENAI_API_KEY" in message
    assert "secr" not in message


def test_a_slow_server(server: Server) -> None:
    server.script({"sleep": 1.5})
    assert "no whole answer within 0.2 s, 2 tries" in failure(server.remote(timeout=0.2, retries=1))
    server.script({"trickle": 0.1})  # every byte is in time, the whole is not
    assert "no whole answer within 0.3 s; accepted" in failure(server.remote(timeout=0.3, retries=0))
    server.script({"sleep": 1.5}, {})
    assert server.remote(timeout=0.5)([context()]) == [expected(context())]


def test_a_server_that_is_not_there(server: Server) -> None:
    with socket.socket() as held:  # bound and not listening: nobody else can take the port
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}/v1"
        message = failure(Remote(url, "tiny", retries=1, _base_delay=0.01), contexts=3)
    assert f"no usable connection to {url}" in message
    assert message.endswith(f"type: curl {url}/models")


def test_a_server_without_tls(server: Server) -> None:
    remote = Remote(server.url.replace("http", "https"), "tiny", retries=0)
    assert "no usable connection to https://127.0.0.1" in failure(remote)


@pytest.mark.parametrize(
    "body",
    [
        "<html>hello",
        "",
        "[" * 100_000,
        '{"a":' * 900 + "1" + "}" * 900,
        '{"choices": [',
        "[]",
        "null",
        "7",
        '"text"',
        {},
        {"choices": []},
    ]
    + [{"choices": {}}, {"choices": [{}]}, {"choices": [{"message": {}}]}, {"choices": [{"message": "hair"}]}]
    + [
        answer(7),
        answer(["hair"]),
        answer({"text": "hair"}),
        answer("\ud800"),
        {"error": {"message": 3}},
        {"error": 1},
    ],
    ids=lambda body: str(body)[:20].encode("ascii", "replace").decode(),
)
def test_answers_that_are_none(server: Server, body: Any) -> None:
    server.script({"body": body})
    assert f"the answer of {server.url} " in failure(server.remote())
    assert len(server.requests()) == 1


def test_an_answer_without_end(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain_of_zoom.prompters.remote.MAX_ANSWER", 1_000_000)
    server.script({"body": "x" * 1_000_001})
    assert "larger than 1 MB" in failure(server.remote())


@pytest.mark.parametrize("packing", ["gzip", "GZIP "])
def test_an_answer_that_is_packed_unasked(server: Server, packing: str) -> None:
    server.script({"body": answer("moss"), "gzip": 1, "headers": {"Content-Encoding": packing}})
    assert server.remote()([context()]) == ["moss"]
    (request,) = server.requests()
    assert request["headers"]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        ({"gzip": 2, "headers": {"Content-Encoding": "gzip, gzip"}}, "is packed as 'gzip, gzip'"),
        ({"gzip": 2, "headers": {"Content-Encoding": "gzip"}}, "is not JSON"),
        ({"headers": {"Content-Encoding": "gzip"}}, "is packed as 'gzip'"),
        ({"gzip": 1, "headers": {"Content-Encoding": "br"}}, "is packed as 'br'"),
        ({"gzip": 1, "body": " " * 5_000_000, "headers": {"Content-Encoding": "gzip"}}, "is packed as 'gzip'"),
        ({"body": answer("x" * 15_000_000)}, "is larger than 4 MB"),
        ({"body": answer("x" * 200_000)}, "has 200000 characters"),
        ({"body": "[" * 200_000}, "is not JSON"),
    ],
)
def test_answers_that_are_too_much(server: Server, reply: dict[str, Any], says: str) -> None:
    server.script({"body": answer("moss"), **reply})
    assert says in failure(server.remote(retries=0))


@pytest.mark.parametrize(
    "value", ["-1", "1e999", "nan", "9" * 5000, "Wed, 21 Oct 99999 07:28:00 GMT", "x" * 9000]
    + ["Wed, 21 Oct 2015 07:28:00 +99999999999999", "Wed, 21 Oct 9999 23:59:59 -2359", "\u0661"],
)  # fmt: skip
def test_times_that_no_server_can_mean(server: Server, value: str) -> None:
    pause = server.remote()._choose_pause(1, _retry_after(value))
    assert 0 <= pause <= LONGEST_PAUSE


def test_one_failure_ends_the_call_and_cancels_the_others(server: Server) -> None:
    server.script({"sleep": 30}, {"sleep": 0.2, "status": 400}, {"sleep": 30})
    start = time.monotonic()
    assert "answered 400" in failure(server.remote(concurrency=4), contexts=6)
    assert time.monotonic() - start < 10
    assert len(server.requests()) <= 4 + 1  # those behind them were never sent, but one may have had the free slot


@pytest.mark.slow
def test_ctrl_c_ends_at_once(server: Server) -> None:
    server.script({"sleep": 30})
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from test_remote import *\n"
        f"Remote({server.url!r}, 'tiny')([context(), context(1)])"
    )
    folders = os.pathsep.join([str(Path(__file__).parent), str(SERVER.parent)])
    environment = {**os.environ, "PYTHONPATH": folders}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=subprocess.PIPE) as running:
        while len(server.requests()) < 2 and running.poll() is None:
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        try:
            _, errors = running.communicate(timeout=10)
        finally:
            running.kill()
    assert running.returncode == -signal.SIGINT
    assert b"KeyboardInterrupt" in errors


def test_check(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert server.remote().check() == ["tiny", "other"]
    (request,) = server.requests()
    assert (request["method"], request["path"], request["body"]) == ("GET", "/v1/models", None)
    assert request["headers"]["Authorization"] == f"Bearer {KEY}"
    for reply, words in (
        ({"status": 401}, "set but refused"),
        ({"status": 503}, "answered 503; accepted"),
        ({"body": "hello"}, "is not JSON"),
        ({"body": {"data": [3]}}, "lacks data"),
        ({"body": []}, "lacks data"),
    ):
        server.script(reply)
        with pytest.raises(MissingError, match=words.replace("[", "\\[")):
            server.remote().check()
        assert len(server.requests()) == 1


def test_proxies_and_certificates_that_cannot_be_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "nonsense://user:secret@127.0.0.1")
    message = failure(server.remote())
    assert "HTTP_PROXY" in message
    assert "secret" not in message


def test_it_has_no_weights_and_a_name() -> None:
    remote = Remote("http://127.0.0.1:8000/v1/", "tiny")
    assert (remote.name, remote.weights_sha256(), remote.url) == ("remote", {}, "http://127.0.0.1:8000/v1")


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:8000/v1", "ftp://host/v1", "http://", "http://host:0/v1", "http://host:70000/v1"]
    + ["http://a..b/v1", "http://a b/v1", "http://[::1/v1", "http://host/v1\n", None]
    + ["http://user:secret@host/v1", "http://host/v1?key=secret", "https://host/v1#secret"],
)
def test_urls_that_are_none(url: Any) -> None:
    with pytest.raises(UsageError, match="accepted: the bare base of an API over http or https") as caught:
        Remote(url, "tiny")
    assert "secret" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{"model": " "}, {"max_new_tokens": 0}, {"max_new_tokens": True}, {"timeout": 0}, {"timeout": float("nan")}]
    + [{"timeout": float("inf")}, {"timeout": "60"}, {"retries": -1}, {"retries": 1.5}, {"concurrency": 0}]
    + [{"key_variable": ""}, {"key_variable": "sk-secret"}, {"key_variable": "hf_secret"}],
)
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))) as caught:
        Remote(**{"url": "http://127.0.0.1:8000/v1", "model": "tiny", **options})
    assert "secret" not in str(caught.value)
