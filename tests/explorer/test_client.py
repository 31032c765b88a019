"""The client in Python: it has what the endpoints have, over a network, and says what goes wrong."""

from __future__ import annotations

import re

import numpy as np
import pytest
from explorer.sessions import HeldTiles, SmallTiles, connect, make_server, opened_session, photo_pixels, served
from explorer.test_server import TOKEN, png_of

from chain_of_zoom.errors import ChainOfZoomError, DownError, UsageError
from chain_of_zoom.explorer.client import ExplorerClient, RefusedError
from chain_of_zoom.explorer.endpoints import ENDPOINTS
from chain_of_zoom.explorer.events import HelloEvent, QueueEvent, ServerEvent
from chain_of_zoom.explorer.protocol import ExportRequest, TileDecision, ViewRequest
from chain_of_zoom.imaging.images import decode_png

WHOLE = (0.0, 0.0, 1.0, 1.0)


def test_a_program_sends_a_photo_and_has_tiles_made(tmp_path):
    pixels = photo_pixels(70, 50)
    (tmp_path / "cat.png").write_bytes(png_of(pixels))
    with opened_session(tmp_path / "tiles", None, SmallTiles()) as session, served(session, token=TOKEN) as address:
        client = ExplorerClient(f"{address}/?token={TOKEN}")
        photo = client.send_photo(tmp_path / "cat.png")
        assert (photo.name, photo.width, photo.height) == ("cat.png", 70, 50)
        tree = client.plant(photo.id)
        places = list(client.make(tree, tree.native + 2, (0.4, 0.4, 0.6, 0.6)))
        assert len(places) == len(set(places)) == len(session.store) > 4
        assert {level for level, _, _ in places} == {tree.native + 1, tree.native + 2}
        for place in places:
            assert decode_png(client.read_tile(tree.id, *place).png).ndim == 3
        assert list(client.make(tree, tree.native + 2, (0.4, 0.4, 0.6, 0.6))) == []
        own = client.read_tile(tree.id, tree.native, 0, 0)
        np.testing.assert_array_equal(decode_png(own.png), pixels)
        assert client.read_metrics()['coz_tile_seconds_count{backbone="fake"}'] == len(places)
        assert client.is_healthy()


def test_there_is_a_method_for_every_endpoint(tmp_path, monkeypatch):
    with opened_session(tmp_path, photo_pixels(), SmallTiles()) as session:
        client = connect(make_server(session))
        requests: list[str] = []
        send = client._send
        monkeypatch.setattr(
            client, "_send", lambda *request: requests.append(f"{request[0]} {request[1]}") or send(*request)
        )
        (photo,) = client.read_session().photos
        assert client.send_photo(png_of(photo_pixels())).id == photo.id
        tree = client.plant(photo.id)
        place = tree.id, tree.native + 1, 0, 0
        assert client.read_blur(tree.id).blur
        assert client.read_tile(*place) is None
        decided = client.decide(*place, TileDecision(words="a wing"))
        assert client.describe_tile(decided.id, *place[1:]).words == "a wing"
        assert [branch.name for branch in client.list_branches(tree.id)] == [decided.branch]
        assert client.plant(photo.id, branch=decided.branch).id == decided.id
        alternatives = client.list_alternatives(*place, 3)
        assert len({alternative.tree for alternative in alternatives}) == 3
        request = ExportRequest(sight=(0.25, 0.25, 0.5, 0.5), size=(240, 160))
        assert [state.magnification for state in client.list_states(tree.id, request)] == [1, 4]
        assert client.save_view(tree.id, request)[:2] == b"PK"
        viewer = session.join(lambda event: None)
        assert client.look(viewer, ViewRequest(tree=tree.id, level=0, sight=WHOLE)) == 0
        client.rest(viewer)
        asked = [
            endpoint
            for endpoint in ENDPOINTS
            if endpoint.path.startswith("/api/") and endpoint.gives is not ServerEvent
        ]
        for endpoint in asked:
            pattern = f"{endpoint.method} {re.sub('{.*?}', '[^/]+', endpoint.path)}([?].*)?"
            assert any(re.fullmatch(pattern, request) for request in requests), pattern


def test_a_page_can_be_heard_of_while_it_waits_and_stops(tmp_path):
    backbone = HeldTiles()
    with opened_session(tmp_path, photo_pixels(), backbone) as session, served(session) as address:
        client = ExplorerClient(address)
        tree = client.plant(session.photos.copy().popitem()[0])
        events = client.listen()
        hello = next(events)
        assert isinstance(hello, HelloEvent)
        assert client.look(hello.viewer, ViewRequest(tree=tree.id, level=tree.native + 1, sight=WHOLE)) == 6
        client.rest(hello.viewer)
        assert next(events) == QueueEvent(waiting=0, eta=0)
        backbone.go.set()
        events.close()


def test_a_tile_that_cannot_be_made_is_an_error_of_the_program(tmp_path, monkeypatch):
    backbone = SmallTiles()
    monkeypatch.setattr(backbone, "_enlarge", lambda *arguments: 1 / 0)
    with opened_session(tmp_path, photo_pixels(), backbone) as session, served(session) as address:
        client = ExplorerClient(address)
        tree = client.plant(client.read_session().photos[0].id)
        with pytest.raises(ChainOfZoomError, match="division by zero"):
            list(client.make(tree, tree.native + 1, WHOLE))


def test_refusals_and_silence_are_errors_that_say_so(tmp_path):
    with opened_session(tmp_path, photo_pixels(), SmallTiles()) as session, served(session, token=TOKEN) as address:
        client = ExplorerClient(address)
        for act in (client.read_session, lambda: next(client.listen())):
            with pytest.raises(RefusedError, match="asks for its token") as refused:
                act()
            assert refused.value.status == 401
        with pytest.raises(RefusedError, match="no such photo"):
            ExplorerClient(address, TOKEN).plant("0" * 32)
    with pytest.raises(DownError, match="does not answer"):
        client.read_session()
    with pytest.raises(UsageError, match="for example http"):
        ExplorerClient("localhost:8642")
