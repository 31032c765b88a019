"""The prompter `remote`: asks a vision-language model behind any OpenAI-compatible server (vLLM, llama.cpp, OpenAI...).

The questions and their layout are those of the local models (prompters.base.chat, as published).
"""

from __future__ import annotations

import base64
import json
import math
import os
import random
import re
import ssl
import zlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from typing import Any, TypeVar

import anyio
import httpx
from anyio import to_thread
from anyio.from_thread import start_blocking_portal

from chain_of_zoom.errors import DownError, MissingError, UsageError
from chain_of_zoom.imaging.encode import encode_png
from chain_of_zoom.imaging.images import RGB8
from chain_of_zoom.prompters.base import Messages, PromptContext, Prompter, chat

Result = TypeVar("Result")

EXAMPLE = "http://127.0.0.1:8000/v1"
RETRIED = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS)
REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
LONGEST_PAUSE = 30.0  # seconds between two tries, whatever the server asks for
MAX_ANSWER = 4_000_000  # bytes, unpacked; a server that never stops sending must not fill the memory
MAX_TEXT = 100_000  # characters; a record of a picture is no place for books


class Remote(Prompter):
    """Prompts from a model served over HTTP, all pictures of a batch at once.

    url: the base of the API, such as http://127.0.0.1:8000/v1. model: its name on that server.
    multi_scale: show the previous state too (paper, section 3.2). max_new_tokens: sent as max_tokens, the only
    sampling argument. timeout: seconds for one whole answer. retries: tries after the first. concurrency: requests
    in flight at most. key_variable: the environment variable that holds the key; the key is never kept or shown.
    Raises UsageError for options that make no sense.
    """

    name = "remote"

    def __init__(
        self,
        url: str,
        model: str,
        multi_scale: bool = True,
        max_new_tokens: int = 32,
        timeout: float = 60.0,
        retries: int = 3,
        concurrency: int = 8,
        key_variable: str = "OPENAI_API_KEY",
        *,
        _base_delay: float = 0.5,
    ) -> None:
        self.url = _base_url(url)
        _require(isinstance(model, str) and bool(model.strip()), f"model {model!r}", "a name that the server knows")
        counts = {"max_new_tokens": (max_new_tokens, 1), "retries": (retries, 0), "concurrency": (concurrency, 1)}
        for option, (value, least) in counts.items():
            _require(type(value) is int and value >= least, f"{option} {value!r}", f"whole numbers from {least}")
        in_time = isinstance(timeout, int | float) and math.isfinite(timeout) and timeout > 0
        _require(in_time, f"timeout {timeout!r}", "seconds above 0, for example 60")
        # Capitals only, and not shown: people paste the key itself here, and those hold small letters.
        is_name = isinstance(key_variable, str) and re.fullmatch("[A-Z_][A-Z0-9_]*", key_variable) is not None
        _require(is_name, "key_variable", "the NAME of an environment variable in capitals, such as OPENAI_API_KEY")
        self.model = model
        self.multi_scale = multi_scale
        self.max_new_tokens = max_new_tokens
        self.timeout = timeout
        self.retries = retries
        self.concurrency = concurrency
        self.key_variable = key_variable
        self._base_delay = _base_delay
        self._jitter = random.Random()  # its own generator: retries must not shift anybody's seed

    def __call__(self, contexts: Sequence[PromptContext]) -> list[str]:
        """Return one text per context, in order; empty where the model said nothing.

        Raises MissingError as soon as one picture fails for good; the requests of the others are cancelled.
        """
        return self.ask([chat(context, multi_scale=self.multi_scale) for context in contexts])

    def ask(self, conversations: Sequence[Messages]) -> list[str]:
        """Return one answer per conversation (see `chat`), in order. Raises as a call; DownError if it may pass."""
        return self._run(lambda client: self._ask_all(client, conversations)) if conversations else []

    def check(self) -> list[str]:
        """Return the names of the models that the server lists, asked once. Raises the MissingErrors of a call."""
        answer = self._run(lambda client: self._send(client, "GET", "/models", tries=1))
        try:
            return [self._shorten(str(model["id"])) for model in answer["data"]]
        except (LookupError, TypeError):
            raise self._unusable("lacks data[].id") from None

    def _run(self, work: Callable[[httpx.AsyncClient], Awaitable[Result]]) -> Result:
        """Do `work` in an event loop of its own thread: notebooks have one already, and Ctrl-C cancels the work."""

        async def with_client() -> Result:
            async with self._client() as client:
                return await work(client)

        with start_blocking_portal() as portal:
            return portal.call(with_client)

    def _client(self) -> httpx.AsyncClient:
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if key := self._key():
            headers["Authorization"] = f"Bearer {key}"
        try:
            # The deadline is ours, for the whole answer: httpx's own restarts with every byte that trickles in.
            return httpx.AsyncClient(headers=headers, timeout=None, verify=_certificates())
        except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
            problem = type(error).__name__  # its text may hold the password of a proxy
        raise MissingError(
            f"no connection to {self.url} can be set up ({problem}); accepted: proxies and certificates that httpx "
            "understands; check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE"
        )

    def _key(self) -> str:
        key = os.environ.get(self.key_variable, "").strip()
        if not (key.isascii() and key.isprintable()):  # HTTP libraries quote such a header in their errors
            raise MissingError(
                f"the key in {self.key_variable} cannot be sent; accepted: printable ASCII on one line; "
                f"type: export {self.key_variable}=..."
            )
        return key

    async def _ask_all(self, client: httpx.AsyncClient, conversations: Sequence[Messages]) -> list[str]:
        texts = [""] * len(conversations)
        slots = anyio.Semaphore(self.concurrency)

        async def ask(index: int) -> None:
            async with slots:
                body = await to_thread.run_sync(self._body, conversations[index])  # PNG takes a while: not in the loop
                texts[index] = self._text(await self._send(client, "POST", "/chat/completions", body))

        try:
            async with anyio.create_task_group() as group:
                for index in range(len(conversations)):
                    group.start_soon(ask, index)
        except ExceptionGroup as failures:
            first = failures.exceptions[0]
        else:
            return texts
        raise first

    def _body(self, conversation: Messages) -> bytes:
        messages = [{"role": turn["role"], "content": _content(turn["content"])} for turn in conversation]
        request = {"model": self.model, "messages": messages, "max_tokens": self.max_new_tokens}
        return json.dumps(request).encode()

    async def _send(
        self, client: httpx.AsyncClient, method: str, path: str, body: bytes | None = None, tries: int | None = None
    ) -> Any:
        """Return the JSON of a good answer. Raises MissingError once the tries are spent, or retrying cannot help."""
        tries = tries or self.retries + 1
        error: type[MissingError] = DownError
        for attempt in range(1, tries + 1):
            pause: float | None = None
            try:
                with anyio.fail_after(self.timeout):
                    status, pause, content = await self._exchange(client, method, path, body)
            except TimeoutError:
                problem = f"{self.url} gave no whole answer within {self.timeout:g} s"
                advice = "an answer in time; check the load of the server, raise timeout or lower concurrency"
            except httpx.HTTPError as broken:
                problem = f"no usable connection to {self.url} ({self._shorten(str(broken) or type(broken).__name__)})"
                advice = f"a running OpenAI-compatible server; check that it runs, or type: curl {self.url}/models"
            else:
                if 200 <= status < 300:
                    return self._decoded(content)
                problem, advice = f"{self.url} answered {status}{self._reason(status, content)}", self._advice(status)
                if status < 500 and status not in RETRIED:
                    error = MissingError
                    break
            if attempt < tries:
                await anyio.sleep(self._choose_pause(attempt, pause))
        count = f", {attempt} tries" if attempt > 1 else ""
        raise error(f"{problem}{count}; accepted: {advice}")

    async def _exchange(
        self, client: httpx.AsyncClient, method: str, path: str, body: bytes | None
    ) -> tuple[int, float | None, bytes]:
        """Return status, seconds to wait (Retry-After) and body of one answer."""
        async with client.stream(method, self.url + path, content=body) as response:
            content = bytearray()
            async for piece in response.aiter_raw():  # httpx would unpack a few bytes to any number of them
                content += piece
                if len(content) > MAX_ANSWER:
                    raise self._unusable(f"is larger than {MAX_ANSWER // 1_000_000} MB")
            plain = self._unpacked(bytes(content), response.headers.get("Content-Encoding", ""))
            return response.status_code, _retry_after(response.headers.get("Retry-After", "")), plain

    def _unpacked(self, content: bytes, packing: str) -> bytes:
        """Unpack an answer that a server packed, unasked. Raises MissingError for any packing that is not known."""
        if packing.strip().lower() in ("", "identity"):
            return content
        unpacker = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)  # gzip, or deflate in a zlib stream
        with suppress(zlib.error):
            plain = unpacker.decompress(content, MAX_ANSWER)
            if unpacker.eof and packing.strip().lower() in ("gzip", "deflate"):
                return plain
        raise self._unusable(f"is packed as {self._shorten(packing)!r} and cannot be unpacked to {MAX_ANSWER} bytes")

    def _choose_pause(self, attempt: int, least: float | None) -> float:
        """Return the seconds before the next try: doubling, with jitter so that not all pictures come back at once."""
        backoff = self._base_delay * 2.0 ** min(attempt - 1, 10) * self._jitter.uniform(0.5, 1.0)
        return min(max(backoff, least or 0.0), LONGEST_PAUSE)

    def _decoded(self, content: bytes) -> Any:
        with suppress(ValueError, RecursionError):
            return json.loads(content)
        raise self._unusable(f"is not JSON (it begins with {self._shorten(content.decode(errors='replace'))[:15]!r})")

    def _reason(self, status: int, content: bytes) -> str:
        if status in REFUSED:  # servers like to quote the refused key, or parts of it
            return ""
        with suppress(ValueError, RecursionError):
            return self._words(json.loads(content))
        return ""

    def _text(self, answer: Any) -> str:
        try:
            content = answer["choices"][0]["message"]["content"]
        except (LookupError, TypeError):
            raise self._unusable(f"lacks choices[0].message.content{self._words(answer)}") from None
        if content is None:
            return ""
        if isinstance(content, str) and len(content) > MAX_TEXT:
            raise self._unusable(f"has {len(content)} characters of text, more than {MAX_TEXT}")
        if not isinstance(content, str) or re.search("[\ud800-\udfff]", content):  # half characters fit in no file
            raise self._unusable("has something else than text as choices[0].message.content")
        return content

    def _unusable(self, why: str) -> MissingError:
        return MissingError(
            f"the answer of {self.url} {why}; accepted: chat completions as OpenAI's API sends them; "
            f"check that url is the base of such an API, for example {EXAMPLE}"
        )

    def _advice(self, status: int) -> str:
        if status in REFUSED:
            state = "is set but refused" if self._key() else "is not set"
            return f"a key in {self.key_variable}, which {state}; type: export {self.key_variable}=..."
        if status == HTTPStatus.NOT_FOUND:
            return (
                f"a model it serves (not {self.model!r}?) and a url that is its base, such as {EXAMPLE}; "
                f"type: curl {self.url}/models"
            )
        if status in RETRIED or status >= 500:
            return "a server that is ready; see its log, wait a little, or lower concurrency"
        if status < 400:
            return f"the base of the API itself, such as {EXAMPLE}; check url"
        return f"a chat model that takes pictures; check that {self.model!r} is one"

    def _words(self, answer: Any) -> str:
        """Return what the server says of its error, in brackets."""
        try:
            error = answer.get("error") or answer.get("message") or answer.get("detail")
            words = error["message"] if isinstance(error, dict) else error
        except (LookupError, AttributeError):
            return ""
        return f" ({self._shorten(words)})" if isinstance(words, str) and words else ""

    def _shorten(self, words: str) -> str:
        """Make foreign text fit for an error: without the key, on one line, short."""
        if key := self._key():
            words = words.replace(key, "***")
        words = " ".join("".join(letter if letter.isprintable() else " " for letter in words).split())
        return words if len(words) <= 160 else words[:159] + "…"


@cache
def _certificates() -> ssl.SSLContext:
    """Read the certificates, once: it takes httpx longer (0.1 s) than many an answer does."""
    return httpx.create_ssl_context()


def _content(parts: Sequence[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Write a turn of text alone as a string: more servers take that than a list of parts."""
    if all(part["type"] == "text" for part in parts):
        return "".join(part["text"] for part in parts)
    return [_picture(part["image"]) if part["type"] == "image" else part for part in parts]


def _picture(pixels: RGB8) -> dict[str, Any]:
    """Write a picture as the API wants it: a lossless PNG inside the request."""
    data = base64.b64encode(encode_png(pixels)).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}


def _retry_after(value: str) -> float | None:
    """Return the seconds that a Retry-After header asks for, as a number or a date; None where it is neither."""
    try:
        if value.isdecimal():
            return float(value)
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return max(0.0, ((date if date.tzinfo else date.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())


def _base_url(url: str) -> str:
    """Return `url` without a slash at its end. Raises UsageError, which shows nothing that could be a secret."""
    accepted = f"the bare base of an API over http or https, for example {EXAMPLE}"
    secret = "a url with a user, a query or a fragment (a key goes into the variable named by key_variable)"
    _require(not any(mark in str(url) for mark in "@?#"), secret, accepted)
    try:
        parsed = httpx.URL(url)
        parsed.host.encode("idna")
        port_fits = parsed.port is None or 0 < parsed.port < 65536
        good = parsed.scheme in ("http", "https") and bool(parsed.host) and port_fits
    except (httpx.InvalidURL, UnicodeError, TypeError):
        good = False
    _require(good and " " not in url, f"url {url!r}", accepted)
    return str(parsed).rstrip("/")


def _require(good: bool, what: str, accepted: str) -> None:
    if not good:
        raise UsageError(f"{what} makes no sense; accepted: {accepted}")
