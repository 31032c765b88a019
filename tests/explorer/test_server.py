"""The endpoints, in process: what they answer, and what they refuse."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from explorer.sessions import HeldTiles, SmallTiles, make_server, opened_session, photo_pixels, wait_for
from PIL import Image

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.errors import OutputError, UsageError
from chain_of_zoom.explorer.grid import SightRect, TilePlace
from chain_of_zoom.explorer.run import bind, check_frame, choose_token
from chain_of_zoom.explorer.server import ExplorerServer
from chain_of_zoom.explorer.session import ExplorerSession, choose_draft
from chain_of_zoom.explorer.uploads import Uploads, clean_name
from chain_of_zoom.imaging.images import decode_png

HERE = "http://127.0.0.1:8642"
TOKEN = "correct-horse-battery"


@pytest.fixture
def session(tmp_path) -> Iterator[ExplorerSession]:
    with opened_session(tmp_path / "tiles", photo_pixels(), SmallTiles()) as session:
        yield session


@pytest.fixture
def server(session) -> ExplorerServer:
    return make_server(session)


def ask(server: ExplorerServer, method: str, path: str, base: str = HERE, **options: Any) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=server.app)
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            return await client.request(method, path, **options)

    return asyncio.run(send())


def plant(server: ExplorerServer, words: str = "") -> dict[str, Any]:
    (photo,) = server.session.photos
    return ask(server, "POST", "/api/trees", json={"photo": photo, "words": words}).json()


def png_of(pixels, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", **options)
    return buffer.getvalue()


def test_the_page_and_its_files(server):
    page = ask(server, "GET", "/")
    assert page.status_code == 200
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    for name, kind in (
        ("main.js", "text/javascript"),
        ("style.css", "text/css"),
        ("openseadragon.min.js", "text/javascript"),
    ):
        answer = ask(server, "GET", f"/static/{name}")
        assert answer.headers["content-type"].startswith(kind)


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/..%2fserver.py",
        "/static/%2e%2e/server.py",
        "/static//etc/passwd",
        "/static/__init__.py",
        "/api/trees/../../etc/tiles/1/0/0.png",
        "/nothing",
    ],
)
def test_no_other_file_is_handed_out(server, path):
    assert ask(server, "GET", path).status_code == 404


def test_a_tile_is_absent_until_it_is_made_and_then_never_changes(server):
    tree = plant(server)
    level = tree["native"] + 2
    path = f"/api/trees/{tree['id']}/tiles/{level}/1/1.png"
    assert ask(server, "GET", path).status_code == 204
    heard: list[dict[str, Any]] = []
    viewer = server.session.join(heard.append)
    view = {"tree": tree["id"], "level": level, "sight": [0, 0, 0.4, 0.4]}
    answer = ask(server, "PUT", f"/api/viewers/{viewer}/view", json=view)
    assert answer.status_code == 202
    assert answer.json()["waiting"] > 4
    wait_for(lambda: ask(server, "GET", path).status_code == 200)
    wait_for(lambda: heard[-1] == {"type": "queue", "waiting": 0, "eta": 0})
    tile = ask(server, "GET", path)
    assert "immutable" in tile.headers["cache-control"]
    assert decode_png(tile.content).shape == (96, 96, 3)
    assert {"type": "tile", "tree": tree["id"]}.items() <= next(e for e in heard if e["type"] == "tile").items()
    photo = ask(server, "GET", f"/api/trees/{tree['id']}/tiles/{tree['native']}/0/0.png")
    np.testing.assert_array_equal(decode_png(photo.content), photo_pixels())


def test_a_draft_is_shown_first_and_is_never_taken_for_the_tile(tmp_path):
    backbone = HeldTiles()
    with opened_session(tmp_path / "tiles", photo_pixels(), backbone, draft="bicubic") as session:
        server = make_server(session)
        tree = plant(server)
        viewer = session.join(lambda event: None)
        level = tree["native"] + 1
        path = f"/api/trees/{tree['id']}/tiles/{level}/0/0.png"
        ask(
            server,
            "PUT",
            f"/api/viewers/{viewer}/view",
            json={"tree": tree["id"], "level": level, "sight": [0, 0, 1, 1]},
        )
        wait_for(lambda: ask(server, "GET", path).status_code == 200)
        draft = ask(server, "GET", path)
        assert (draft.headers["x-coz-draft"], draft.headers["cache-control"]) == ("bicubic", "no-store")
        backbone.go.set()
        wait_for(lambda: "x-coz-draft" not in ask(server, "GET", path).headers)
        assert ask(server, "GET", path).content != draft.content
        assert ask(server, "GET", "/api/session").json()["draft"] == "bicubic"


def test_which_backbone_draws_first():
    assert choose_draft(ChainOfZoom("realsr"), "auto").backbone.info.name == "span"
    for name in ("span", "animevideo", "bicubic", "fake"):
        assert choose_draft(ChainOfZoom(name), "auto") is None
    assert choose_draft(ChainOfZoom("realsr"), "none") is None
    with pytest.raises(UsageError, match="--draft none"):
        choose_draft(ChainOfZoom("realsr"), "realsr")


def test_words_make_another_tree_and_the_first_one_stays(server):
    first, second = plant(server), plant(server, "a wing")
    assert first["id"] != second["id"]
    assert second["words"] == "a wing"
    assert plant(server)["id"] == first["id"]
    assert ask(server, "GET", "/api/session").json()["backbone"]["reads_words"]


def test_versions_are_trees_of_their_own(server):
    (photo,) = server.session.photos
    asked = [
        ask(server, "POST", "/api/trees", json={"photo": photo, "candidate": number}) for number in (1, 2, 8, 9, 0)
    ]
    assert [answer.status_code for answer in asked] == [200, 200, 200, 422, 422]
    assert len({answer.json()["id"] for answer in asked[:3]}) == 3
    assert asked[0].json()["id"] == plant(server)["id"]
    assert "accepted: 1 to 8" in asked[3].json()["error"]


def test_stopping_drops_what_waits(server):
    tree = plant(server)
    viewer = server.session.join(lambda event: None)
    with server.session._change:  # the thread that makes tiles cannot take one meanwhile
        server.session.look(viewer, server.session.find_tree(tree["id"]), 4, _whole())
        assert server.session.count_waiting() > 64
        server.session.rest(viewer)
        assert server.session.count_waiting() == 0
    assert ask(server, "DELETE", f"/api/viewers/{viewer}/view").status_code == 202


def _whole():

    return SightRect(0, 0, 1, 1)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 422),
        (b'{"tree": "x"}', 422),
        (b'{"tree": "%s", "level": -1, "sight": [0,0,1,1]}' % (b"a" * 32), 422),
        (b'{"tree": "%s", "level": 1, "sight": [0,0,1,NaN]}' % (b"a" * 32), 422),
        (b'{"tree": "%s", "level": 1, "sight": [0,0,1,1], "path": "/etc/passwd"}' % (b"a" * 32), 422),
        (b'{"tree": "%s", "level": 1, "sight": [0,0,1,1]}' % (b"a" * 32), 410),
        (b"[" * 60_000, 422),
        (b" " * 70_000, 413),
    ],
)
def test_hostile_bodies(server, body, status):
    viewer = server.session.join(lambda event: None)
    answer = ask(server, "PUT", f"/api/viewers/{viewer}/view", content=body)
    assert answer.status_code == status
    assert "error" in answer.json()


@pytest.mark.parametrize("path", ["9999999999/0/0", "-1/0/0", "0/0/1", "3/99999/0", "a/0/0", "٣/0/0"])
def test_tiles_that_cannot_be(server, path):
    assert ask(server, "GET", f"/api/trees/{plant(server)['id']}/tiles/{path}.png").status_code == 404


def test_a_photo_is_uploaded_and_remembered(server, tmp_path):
    pixels = photo_pixels(70, 50)
    answer = ask(server, "PUT", "/api/photos?name=../../My%20cat.png", content=png_of(pixels))
    assert answer.status_code == 201
    described = answer.json()
    assert (described["name"], described["width"], described["height"]) == ("My cat.png", 70, 50)
    with opened_session(tmp_path / "tiles") as again:
        uploads = Uploads(again, again.store.folder)
        assert uploads.find(described["id"]).name == "My cat.png"
        np.testing.assert_array_equal(again.photos[described["id"]].picture.pixels, pixels)
        assert uploads.find("0" * 32) is None


@pytest.mark.slow
def test_uploads_are_bounded_before_they_are_decoded(session):
    small = ExplorerServer(session, Uploads(session, None, limit=10_000))
    assert ask(small, "PUT", "/api/photos", content=b"x" * 10_001).status_code == 413

    async def chunks():
        for _ in range(20):
            yield b"x" * 1000

    assert ask(small, "PUT", "/api/photos", content=chunks()).status_code == 413
    assert ask(small, "PUT", "/api/photos", headers={"content-length": "9" * 400}, content=b"").status_code == 413
    bomb = png_of(np.zeros((12_000, 9_000), np.uint8))
    server = make_server(session)
    answer = ask(server, "PUT", "/api/photos?name=bomb.png", content=bomb)
    assert answer.status_code == 415
    assert "pixels" in answer.json()["error"]


@pytest.mark.parametrize(
    "data", [b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"GIF89a", b"\x89PNG\r\n\x1a\n" + b"x" * 99]
)
def test_what_is_no_picture_is_refused_without_a_word_of_this_machine(server, data):
    answer = ask(server, "PUT", "/api/photos?name=evil.svg", content=data)
    assert answer.status_code == 415
    assert "/tmp" not in answer.json()["error"]
    assert "coz-explore" not in answer.json()["error"]


def test_where_a_photo_was_taken_is_not_handed_on(server):
    exif = Image.Exif()
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 29.0)})
    exif[0x010F] = "Secret camera"
    described = ask(server, "PUT", "/api/photos", content=png_of(photo_pixels(), exif=exif)).json()
    tree = ask(server, "POST", "/api/trees", json={"photo": described["id"]}).json()
    tile = ask(server, "GET", f"/api/trees/{tree['id']}/tiles/{tree['native']}/0/0.png").content
    with Image.open(io.BytesIO(tile)) as image:
        assert not image.getexif()
    assert b"Secret camera" not in tile


# Who may come in


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8642", "127.0.0.1.evil.example", "10.0.0.5:8642", "", "user@127.0.0.1"]
)
def test_other_names_are_refused(server, host):
    assert ask(server, "GET", "/api/session", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1:8642", "localhost:1", "LOCALHOST", "[::1]:8642", "127.0.0.1"])
def test_own_names_are_not(server, host):
    assert ask(server, "GET", "/metrics", headers={"host": host}).status_code == 200


def test_a_proxy_has_a_name_of_its_own(session):
    server = make_server(session, host="0.0.0.0", names=("zoom.example",), token=TOKEN)
    bearer = {"authorization": f"Bearer {TOKEN}"}
    for host, status in (
        ("zoom.example", 200),
        ("Zoom.example:443", 200),
        ("evil.example", 421),
        ("10.1.2.3:8642", 200),
    ):
        assert ask(server, "GET", "/metrics", headers={**bearer, "host": host}).status_code == status
    origin = {"host": "zoom.example", "origin": "https://zoom.example"}
    assert ask(server, "POST", "/api/trees", headers={**bearer, **origin}, content=b"{").status_code == 422


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/api/trees"), ("PUT", "/api/photos"), ("GET", "/api/session"), ("DELETE", "/api/viewers/x/view")],
)
def test_other_sites_are_refused_whatever_they_ask(server, headers, method, path):
    assert ask(server, method, path, headers=headers).status_code == 403


def test_a_link_from_another_site_opens_the_page_and_nothing_else(server):
    visit = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert ask(server, "GET", "/", headers=visit).status_code == 200
    assert ask(server, "GET", "/api/session", headers=visit).status_code == 403


def test_own_origin_is_accepted(server):
    (photo,) = server.session.photos
    headers = {"origin": HERE, "sec-fetch-site": "same-origin"}
    assert ask(server, "POST", "/api/trees", json={"photo": photo}, headers=headers).status_code == 200


def test_methods_that_are_not_meant(server):
    for method, path in (
        ("POST", "/"),
        ("DELETE", "/api/photos"),
        ("GET", "/api/trees"),
        ("OPTIONS", "/api/session"),
        ("TRACE", "/"),
    ):
        answer = ask(server, method, path)
        assert answer.status_code == 405
        assert "access-control-allow-origin" not in answer.headers


def test_a_token_is_asked_of_everybody_and_becomes_a_cookie(session):
    server = make_server(session, host="0.0.0.0", token=TOKEN)
    for path in ("/", "/api/session", "/static/main.js", "/api/events", "/?token=wrong-horse-battery"):
        assert ask(server, "GET", path).status_code == 401
    answer = ask(server, "GET", f"/?token={TOKEN}", base="http://192.168.7.7:8642")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert ask(server, "GET", "/", headers={"cookie": cookie.partition(";")[0]}).status_code == 200
    assert ask(server, "GET", "/", headers={"cookie": "coz_explore=nonsense-of-20-letters"}).status_code == 401
    assert ask(server, "GET", "/metrics", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert ask(server, "GET", "/metrics", headers={"authorization": "Bearer ü".encode("latin-1")}).status_code == 401
    assert ask(server, "GET", f"/?token={TOKEN}", headers={"host": "evil.example"}).status_code == 421


def test_a_person_without_the_token_can_type_it(session):
    server = make_server(session, host="0.0.0.0", token=TOKEN)
    accept = {"accept": "text/html,*/*"}
    page = ask(server, "GET", "/", headers=accept)
    assert page.status_code == 401
    assert '<input name="token"' in page.text
    assert "form-action 'self'" in page.headers["content-security-policy"]
    assert "Wrong token" in ask(server, "GET", "/?token=wrong-horse-battery", headers=accept).text
    assert ask(server, "GET", "/metrics", headers=accept).json()["error"].startswith("this server asks")
    assert ask(server, "GET", "/", headers=accept, base=HERE).headers["x-frame-options"] == "DENY"


def test_one_site_may_show_the_page_in_a_frame_and_its_cookie_goes_along(session):
    server = make_server(session, host="0.0.0.0", token=TOKEN, frame="https://huggingface.co")
    visit = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "accept": "text/html"}
    page = ask(server, "GET", "/", headers=visit)
    assert "frame-ancestors https://huggingface.co" in page.headers["content-security-policy"]
    assert "x-frame-options" not in page.headers
    cookie = ask(server, "GET", f"/?token={TOKEN}", headers=visit).headers["set-cookie"]
    assert cookie.endswith("HttpOnly; Path=/; SameSite=None; Secure; Partitioned")
    signed = {"cookie": cookie.partition(";")[0]}
    assert ask(server, "GET", "/api/session", headers=signed | {"sec-fetch-site": "same-origin"}).status_code == 200
    assert ask(server, "GET", "/api/session", headers=signed | {"sec-fetch-site": "cross-site"}).status_code == 403
    for site in ("http://a.example", "https://a.example/x", "*", "https://*.example", "https://a 'unsafe-inline'"):
        with pytest.raises(UsageError, match="for example https://"):
            check_frame(site)


def test_a_server_for_others_needs_a_token_and_a_good_one():
    assert choose_token("127.0.0.1", None) is None
    assert choose_token("localhost", None) is None
    assert choose_token("0.0.0.0", TOKEN) == TOKEN
    for host, token in (
        ("0.0.0.0", None),
        ("192.168.0.9", None),
        ("::", None),
        ("0.0.0.0", "short"),
        ("127.0.0.1", "with a space in it all"),
    ):
        with pytest.raises(UsageError, match="for example --token"):
            choose_token(host, token)


def test_the_command_refuses_a_server_for_others_without_a_token(coz, tmp_path):
    done = coz("explore", "--host", "0.0.0.0", "--cache", tmp_path / "tiles", "--no-browser")
    assert done.returncode == 2
    assert "--token" in done.stderr


def test_a_port_that_is_taken(tmp_path):
    listener = bind("127.0.0.1", 0)
    listener.listen()
    with pytest.raises(OutputError, match="name another --port"):
        bind("127.0.0.1", listener.getsockname()[1])
    other = bind("127.0.0.1", None)
    assert other.getsockname()[1] != listener.getsockname()[1]
    other.close()
    listener.close()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", "a.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\x\\y.jpg", "y.jpg"),
        ("", "photo"),
        ("..", "photo"),
        ("a\x00b\nc", "a_b_c"),
        ("x" * 300, "x" * 100),
        ("<img src=x>", "_img src_x_"),
        ("日本.png", "日本.png"),
    ],
)
def test_names_of_photos_are_names_and_no_paths(name, expected):
    assert clean_name(name) == expected


def test_clearing(coz, tmp_path: Path):
    with opened_session(tmp_path / "tiles", photo_pixels(), SmallTiles()) as session:
        server = make_server(session)
        tree = session.find_tree(plant(server)["id"])
        session.maker.make(tree, TilePlace(1, 0, 0))
    stranger = tmp_path / "tiles" / "notes.txt"
    stranger.write_text("mine")
    done = coz("explore", "--clear", "--cache", tmp_path / "tiles")
    assert (done.returncode, done.stdout.startswith("1 tiles removed")) == (0, True)
    assert [path.name for path in (tmp_path / "tiles").iterdir()] == ["notes.txt"]
