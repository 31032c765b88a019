"""Run the server until it is interrupted."""

from __future__ import annotations

import importlib.util
import re
import secrets
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from chain_of_zoom.errors import MissingError, OutputError, UsageError

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp

TOKEN_BYTES = 24
PORTS_TRIED = 20


def choose_token(host: str, token: str | None) -> str | None:
    """Check the token of a server that others can reach; one for this machine alone needs none. Raises UsageError."""
    from chain_of_zoom.explorer.security import is_loopback

    if token is None and not is_loopback(host):
        raise UsageError(
            f"--host {host} lets others in; accepted: with a token that they have to know; "
            f"for example --token {secrets.token_urlsafe(TOKEN_BYTES)}"
        )
    if token is not None and (len(token) < 16 or not token.isascii() or not token.isprintable() or " " in token):
        raise UsageError(
            f"a token of {len(token)} characters; accepted: at least 16, ASCII, without spaces; "
            f"for example --token {secrets.token_urlsafe(TOKEN_BYTES)}"
        )
    return token


def check_frame(site: str | None) -> str | None:
    """Check the site whose pages may hold the page in a frame. Raises UsageError."""
    if site is not None and not re.fullmatch(r"https://[a-z0-9.-]+(:[0-9]+)?", site):
        raise UsageError(f"--frame-in {site}; accepted: a site with https; for example https://huggingface.co")
    return site


def bind(host: str, port: int | None) -> socket.socket:
    """Open the socket to listen on; without a port the first free one from 8642. Raises OutputError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    ports = [port] if port is not None else [*range(8642, 8642 + PORTS_TRIED), 0]
    for number in ports:
        listener = socket.socket(family, socket.SOCK_STREAM)
        # What this means on Windows, another server on the same port, is what its own option forbids.
        kind = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
        listener.setsockopt(socket.SOL_SOCKET, kind, 1)
        try:
            listener.bind((host.strip("[]"), number))
        except (OSError, OverflowError) as error:
            listener.close()
            problem = error
        else:
            return listener
    raise OutputError(
        f"cannot listen on {host} ({problem}); accepted: a free port of this machine; name another --port"
    )


def address_of(listener: socket.socket, host: str, token: str | None) -> str:
    """Return the address of the page, token included."""
    name = f"[{host}]" if ":" in host else host
    if host in ("0.0.0.0", "::"):
        name = socket.gethostname()
    return f"http://{name}:{listener.getsockname()[1]}/" + (f"?token={token}" if token else "")


def check_extra() -> None:
    """Raise MissingError where the extra [web] is not installed."""
    for package in ("starlette", "uvicorn"):
        if importlib.util.find_spec(package) is None:
            raise MissingError(f"coz explore needs {package}; type: pip install 'chain-of-zoom[web]'")


def make_server(app: ASGIApp) -> uvicorn.Server:
    """Make the HTTP server of an ASGI application; its `run` serves, and its `should_exit` ends that."""
    import uvicorn

    config = uvicorn.Config(
        app,
        log_config=None,  # `logbook.start_logging` says where lines go
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=3,
        timeout_keep_alive=30,
        limit_concurrency=256,
        h11_max_incomplete_event_size=32_768,
    )
    return uvicorn.Server(config)


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the block, which is no error."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)  # the server raises the signal again once everything is closed
    try:
        yield
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGTERM, before)
