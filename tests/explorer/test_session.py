"""The session: who hears what, what a failure does, and what is let go."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from explorer.sessions import SmallTiles, opened_session, photo_pixels, wait_for

from chain_of_zoom.errors import BackboneError, OutputError
from chain_of_zoom.explorer.forest import PHOTOS_HELD
from chain_of_zoom.explorer.grid import SightRect, TilePlace
from chain_of_zoom.explorer.session import ExplorerSession
from chain_of_zoom.imaging.images import RGB8, RGBF, Picture

WHOLE = SightRect(0, 0, 1, 1)


class Failing(SmallTiles):
    """Fails for windows with a bright corner; its tiles do not fade into each other."""

    info = replace(SmallTiles.info, text_aware=False, seeded=False, max_pixels=32 * 32)

    def _enlarge(self, windows: list[RGB8], prompts: list[str], seeds: list[int]) -> list[RGBF]:
        if windows[0][0, 0].max() > 250:
            raise BackboneError("no tile of this; try another --backbone")
        return super()._enlarge(windows, prompts, seeds)


def look(session: ExplorerSession, level: int = 1) -> tuple[str, list[dict[str, Any]]]:
    heard: list[dict[str, Any]] = []
    viewer = session.join(heard.append)
    tree = session.plant(next(iter(session.photos.values())))
    session.look(viewer, tree, level, WHOLE)
    return viewer, heard


def test_a_tile_that_fails_twice_is_said_and_the_others_are_made(tmp_path):
    pixels = photo_pixels(60, 40) // 2
    pixels[0, 0] = 255
    with opened_session(tmp_path, pixels, Failing()) as session:
        viewer, heard = look(session)
        wait_for(lambda: session.count_waiting() == 0)
        failures = [event for event in heard if event["type"] == "failed"]
        assert [event["final"] for event in failures] == [False, True]
        assert {event["tile"] for event in failures} == {TilePlace(1, 0, 0)}
        assert "try another --backbone" in failures[0]["problem"]
        assert len([event for event in heard if event["type"] == "tile"]) == len(session.store) == 5
        assert heard[-1] == {"type": "queue", "waiting": 0, "eta": 0}
        session.look(viewer, session.plant(next(iter(session.photos.values()))), 1, WHOLE)
        wait_for(lambda: len([event for event in heard if event["type"] == "failed"]) == 4)


def test_a_disk_that_was_full_for_a_moment(tmp_path, monkeypatch):
    with opened_session(tmp_path, photo_pixels(), SmallTiles()) as session:
        write, calls = session.store.write, []

        def fail_once(*arguments: Any) -> None:
            calls.append(arguments)
            if len(calls) == 1:
                raise OutputError("cannot write x (No space left on device); name another folder with -o")
            write(*arguments)

        monkeypatch.setattr(session.store, "write", fail_once)
        _, heard = look(session)
        wait_for(lambda: session.count_waiting() == 0)
        assert [event["final"] for event in heard if event["type"] == "failed"] == [False]
        assert len(session.store) == 6


def test_a_page_hears_of_its_own_tree_and_what_is_left_for_it(tmp_path):
    with opened_session(tmp_path, photo_pixels(), SmallTiles()) as session:
        other = session.open_photo(Picture.of_pixels(photo_pixels(30, 30)))
        strange: list[dict[str, Any]] = []
        stranger = session.join(strange.append)
        session.look(stranger, session.plant(other), -1, WHOLE)
        viewer, heard = look(session, 2)
        wait_for(lambda: session.count_waiting() == 0)
        assert {event["type"] for event in strange} <= {"queue"}
        waits = [event["waiting"] for event in heard if event["type"] == "queue"]
        assert waits == sorted(waits, reverse=True)
        assert all(event["eta"] is not None for event in heard if event["type"] == "queue")
        session.leave(viewer)
        assert session.count_viewers() == 1


def test_what_nobody_looks_at_any_more_is_let_go(tmp_path):
    with opened_session(tmp_path, photo_pixels(), SmallTiles()) as session:
        first = session.plant(next(iter(session.photos.values())))
        for number in range(PHOTOS_HELD):
            session.open_photo(Picture.of_pixels(photo_pixels(20 + number, 20)))
        assert len(session.photos) == PHOTOS_HELD
        assert session.find_tree(first.id) is None
        viewer = session.join(lambda event: None)
        assert session.look(viewer, first, 2, WHOLE) == 0  # its tiles are not made any more
