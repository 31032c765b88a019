"""Explorer sessions for tests: a small photo, the fake backbone, a server on a free port in a thread."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest

if "CI" not in os.environ:  # which installs it, so that nothing goes untested
    pytest.importorskip("starlette", reason="needs the extra [web]")

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.backbones.base import Backbone
from chain_of_zoom.backbones.fake import Fake
from chain_of_zoom.chain.restraint import Restraint
from chain_of_zoom.explorer import run
from chain_of_zoom.explorer.client import ExplorerClient, ServerAnswer
from chain_of_zoom.explorer.grid import Grid, TilePlace
from chain_of_zoom.explorer.maker import TileMaker
from chain_of_zoom.explorer.server import ExplorerServer
from chain_of_zoom.explorer.session import ExplorerSession
from chain_of_zoom.explorer.store import TileStore
from chain_of_zoom.explorer.tree import OpenPhoto, Recipe, TileRecipe, ZoomTree
from chain_of_zoom.explorer.uploads import Uploads
from chain_of_zoom.imaging.images import RGB8, RGBF, Picture
from chain_of_zoom.prompters.base import PromptContext, Prompter


class SmallTiles(Fake):
    """The fake backbone with tiles of 96 pixels, which are made in a moment."""

    info = replace(Fake.info, max_pixels=48 * 48, halo=4)


class PlainFake(Fake):
    """The fake backbone as one whose tiles need none of their neighbours, so that a view takes one pass a tile."""

    info = replace(Fake.info, seeded=False)


class HeldTiles(SmallTiles):
    """As SmallTiles, but it makes none until `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def _enlarge(self, windows: list[RGB8], prompts: list[str], seeds: list[int]) -> list[RGBF]:
        assert self.go.wait(60)
        return super()._enlarge(windows, prompts, seeds)


def photo_pixels(width: int = 60, height: int = 40) -> RGB8:
    """A picture whose every pixel is another colour."""
    y, x = np.indices((height, width))
    return np.dstack([x * 4 % 256, y * 6 % 256, (x * 7 + y * 11) % 256]).astype(np.uint8)


class Namer(Prompter):
    """Names what it looks at by the mean of its pixels, and counts how often it was asked."""

    name = "namer"

    def __init__(self) -> None:
        self.contexts: list[PromptContext] = []

    def __call__(self, contexts: Sequence[PromptContext]) -> list[str]:
        self.contexts += contexts
        return [f"shade {int(context.zoomed.mean())} of {int(context.states[-1].mean())}" for context in contexts]


class TilesInMemory(TileStore):
    """A store without a disk, which waits for every file."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.words: dict[str, bytes] = {}

    def __contains__(self, key: str) -> bool:
        return key in self.files

    def read(self, key: str) -> bytes | None:
        return self.files.get(key)

    def write(self, photo_id: str, key: str, data: bytes) -> None:
        self.files[key] = data

    def read_words(self, photo_id: str, key: str) -> bytes | None:
        return self.words.get(key)

    def write_words(self, photo_id: str, key: str, data: bytes) -> None:
        self.words[key] = data


def plant(
    folder: Path | None,
    backbone: Backbone,
    pixels: RGB8,
    words: str = "",
    prompter: Prompter | None = None,
    tiles: Mapping[TilePlace, TileRecipe] | None = None,
    restraint: Restraint | msgspec.UnsetType = msgspec.UNSET,
) -> tuple[TileMaker, ZoomTree]:
    """A tree and what makes its tiles, without a session; without a folder they are held in memory."""
    photo = OpenPhoto(Picture.of_pixels(pixels))
    writer = prompter.name if prompter else ""
    name = backbone.info.name
    recipe = Recipe(
        backbone=name, weights=None, options={}, device=None, words=words, prompter=writer, restraint=restraint
    )
    tree = ZoomTree(photo, Grid.plan(photo.size, backbone.info), recipe, tiles=tiles or {})
    store = TilesInMemory() if folder is None else TileStore(folder)
    return TileMaker(backbone, store, prompter), tree


@contextmanager
def opened_session(
    folder: Path,
    pixels: RGB8 | None = None,
    backbone: str | Backbone = "fake",
    draft: str | None = None,
    prompter: str | Prompter = "null",
) -> Iterator[ExplorerSession]:
    chain = ChainOfZoom(PlainFake() if backbone == "fake" else backbone, prompter)
    session = ExplorerSession(chain, TileStore(folder), draft=ChainOfZoom(draft) if draft else None)
    if pixels is not None:
        session.open_photo(Picture.of_pixels(pixels, "small.png"))
    try:
        yield session
    finally:
        session.close()


def make_server(session: ExplorerSession, **options: Any) -> ExplorerServer:
    return ExplorerServer(session, Uploads(session, session.store.folder), **options)


def connect(server: ExplorerServer) -> ExplorerClient:
    """A client of a server in this process, without a network between them."""

    def send(method: str, path: str, body: bytes, headers: Mapping[str, str]) -> ServerAnswer:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=server.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8642") as client:
                return await client.request(method, path, content=body, headers=headers)

        answer = asyncio.run(ask())
        return ServerAnswer(answer.status_code, answer.headers, answer.content)

    return ExplorerClient("http://127.0.0.1:8642", send=send)


@contextmanager
def served(session: ExplorerSession, port: int = 0, **options: Any) -> Iterator[str]:
    """The address of a server in a thread of its own, without the slash at its end."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    pages = make_server(session, **options)
    server = run.make_server(pages.app)
    pages.is_stopping = lambda: server.should_exit
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    wait_for(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def wait_for(holds: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)
