"""Tiles on disk: whole or absent after a kill, within their budget, the longest unused gone first."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from conftest import ROOT
from explorer.sessions import SmallTiles, photo_pixels, plant

from chain_of_zoom.errors import OutputError, UsageError
from chain_of_zoom.explorer.grid import TilePlace
from chain_of_zoom.explorer.store import TileStore, parse_budget

PHOTO_ID = "a" * 32


def tile_of(number: int, count: int = 1000) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + bytes([number % 256]) * (count - 16) + b"IEND\xaeB`\x82"


def key_of(number: int) -> str:
    return f"{number:032x}"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_forty_kills_leave_no_broken_tile_and_the_tree_goes_on():
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "kills.py", "tiles", "40", "7"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("40 kills")


def test_the_longest_unused_go_first_and_the_order_outlives_the_process(tmp_path):
    store = TileStore(tmp_path, budget=10_000)
    for number in range(10):
        store.write(PHOTO_ID, key_of(number), tile_of(number))
        os.utime(store._tiles[key_of(number)][0], (1000 + number, 1000 + number))
    assert (len(store), store.total) == (10, 10_000)
    assert store.read(key_of(0)) == tile_of(0)
    again = TileStore(tmp_path, budget=10_000)
    again.write(PHOTO_ID, key_of(10), tile_of(10))
    assert again.total <= 9_000
    assert key_of(0) in again
    assert key_of(10) in again
    assert key_of(1) not in again
    assert len(list(tmp_path.rglob("*.png"))) == len(again)


def test_the_same_tile_twice_is_counted_once(tmp_path):
    store = TileStore(tmp_path)
    for _ in range(3):
        store.write(PHOTO_ID, key_of(1), tile_of(1))
    assert (len(store), store.total) == (1, 1000)


@pytest.mark.parametrize("damage", [b"", b"\x89PNG\r\n\x1a\nhalf", tile_of(1)[:-1], None])
def test_a_tile_that_is_broken_or_gone_is_absent_and_can_be_made_again(tmp_path, damage):
    TileStore(tmp_path).write(PHOTO_ID, key_of(1), tile_of(1))
    store = TileStore(tmp_path)
    path = tmp_path / PHOTO_ID / key_of(1)[:2] / f"{key_of(1)}.png"
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    assert store.read(key_of(1)) is None
    assert key_of(1) not in store
    assert store.total == 0
    store.write(PHOTO_ID, key_of(1), tile_of(1))
    assert store.read(key_of(1)) == tile_of(1)


def test_files_of_somebody_else_are_no_tiles(tmp_path):
    (tmp_path / "x" / "y").mkdir(parents=True)
    (tmp_path / "x" / "y" / "holiday.png").write_bytes(tile_of(1))
    (tmp_path / "x" / "y" / f"{key_of(1)}.png").symlink_to("/etc/passwd")
    store = TileStore(tmp_path)
    assert len(store) == 0
    assert store.clear() == 0
    assert (tmp_path / "x" / "y" / "holiday.png").exists()


def test_a_link_is_not_written_through(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "tiles").mkdir()
    (tmp_path / "tiles" / PHOTO_ID).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="is a link"):
        TileStore(tmp_path / "tiles").write(PHOTO_ID, key_of(1), tile_of(1))


def test_a_parent_that_was_removed_for_room_is_made_again(tmp_path):
    maker, tree = plant(tmp_path, SmallTiles(), photo_pixels())
    place = TilePlace(3, 5, 4)
    maker.make(tree, place)
    first = maker.encode(tree, place)
    maker.store.clear()
    maker._pixels.clear()
    maker.make(tree, place)
    assert maker.encode(tree, place) == first


@pytest.mark.parametrize(
    ("text", "count"), [("4G", 4 * 10**9), ("500m", 5 * 10**8), ("1.5GB", 15 * 10**8), ("2000000", 2 * 10**6)]
)
def test_sizes(text, count):
    assert parse_budget(text) == count


@pytest.mark.parametrize("text", ["", "4X", "-1G", "1", "1e99", "nan", "4 G B", "9" * 400])
def test_sizes_that_are_none(text):
    with pytest.raises(UsageError, match="for example 4G"):
        parse_budget(text)
