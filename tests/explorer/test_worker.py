"""The process that makes tiles: its tiles are those of this process, and its end is not the end of the server."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import numpy as np
import pytest
from explorer.mortal import Mortal, build
from explorer.sessions import photo_pixels, plant, wait_for

from chain_of_zoom.cluster.working import WorkingChain
from chain_of_zoom.errors import BackboneError, ShortageError
from chain_of_zoom.explorer.grid import SightRect, TilePlace
from chain_of_zoom.explorer.maker import TileMaker
from chain_of_zoom.explorer.session import ExplorerSession
from chain_of_zoom.explorer.store import TileStore
from chain_of_zoom.explorer.worker import open_worker
from chain_of_zoom.imaging.images import RGB8, Picture

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="signals")]


@pytest.fixture(scope="module")
def chain() -> Iterator[WorkingChain]:
    chain = open_worker(build)
    yield chain
    chain.close()
    assert chain.host.pid is None


def with_corner(*colour: int) -> RGB8:
    pixels = photo_pixels() // 2
    pixels[0, 0] = colour
    return pixels


def test_its_tiles_are_those_of_this_process(tmp_path, chain):
    chain.load(words=False)
    assert chain.host.pid != os.getpid()
    here, tree = plant(tmp_path / "here", Mortal(), photo_pixels())
    there = TileMaker(chain.backbone, TileStore(tmp_path / "there"))
    place = TilePlace(2, 3, 1)
    for maker in (here, there):
        maker.make(tree, place)
    assert len(there.store) == len(here.store) > 1
    assert there.encode(tree, place) == here.encode(tree, place)
    window = photo_pixels(20, 20)
    np.testing.assert_array_equal(chain.backbone([window], [""], [1])[0], Mortal()([window], [""], [1])[0])


def test_its_errors_are_raised_here(chain):
    for colour, kind, message in (
        ((255, 0, 0), ShortageError, "no room for this"),
        ((0, 0, 255), BackboneError, "ZeroDivisionError: a fault of the network"),
    ):
        with pytest.raises(kind, match=message):
            chain.backbone([with_corner(*colour)])
    assert chain.backbone([with_corner(1, 2, 3)])[0].shape == (160, 240, 3)


def test_a_tile_that_kills_it_is_tried_again_and_then_said_and_all_others_are_made(tmp_path, chain):
    session = ExplorerSession(chain, TileStore(tmp_path))
    photo = session.open_photo(Picture.of_pixels(with_corner(255, 255, 255)))
    heard = []
    before = chain.host.pid
    session.look(session.join(heard.append), session.plant(photo), 1, SightRect(0, 0, 1, 1))
    wait_for(lambda: session.count_waiting() == 0)
    failures = [event for event in heard if event["type"] == "failed"]
    assert [event["final"] for event in failures] == [False, True]
    assert {event["tile"] for event in failures} == {TilePlace(1, 0, 0)}
    assert "was ended by signal 9, as a system without memory does" in failures[0]["problem"]
    assert "choose another --backbone" in failures[0]["problem"]
    assert len(session.store) == 5
    assert session.is_working()
    assert chain.host.pid != before


def test_a_kill_while_it_waits_costs_nothing(chain):
    chain.backbone([with_corner(1, 2, 3)])
    before = chain.host.pid
    os.kill(before, signal.SIGKILL)
    os.waitid(os.P_PID, before, os.WEXITED | os.WNOWAIT)
    assert chain.backbone([with_corner(1, 2, 3)])[0].shape == (160, 240, 3)
    assert chain.host.pid != before


def test_a_server_that_stops_waits_for_no_tile(tmp_path):
    chain = open_worker(build)
    session = ExplorerSession(chain, TileStore(tmp_path))
    photo = session.open_photo(Picture.of_pixels(with_corner(0, 255, 0)))
    heard: list[dict[str, object]] = []
    session.look(session.join(heard.append), session.plant(photo), 1, SightRect(0, 0, 0.1, 0.1))
    time.sleep(0.3)
    started = time.monotonic()
    session.close()
    assert time.monotonic() - started < 10
    assert not session.is_working()
    assert chain.host.pid is None
    assert heard == []
    assert list(tmp_path.rglob("*.png")) == []
    with pytest.raises(BackboneError, match="the server stops"):
        chain.backbone([photo_pixels(8, 8)])


def test_what_cannot_be_started_is_an_error_that_names_it(tmp_path):
    chain = open_worker(build)
    chain.host._build = len  # which wants an argument
    with pytest.raises(BackboneError, match="TypeError"):
        chain.load()
    chain.close()
