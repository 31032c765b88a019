"""The order of work: a model of a tree of numbers, where tile n needs tile n // 4."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from chain_of_zoom.explorer.scheduler import CLIENTS, WANTED_PER_CLIENT, TileScheduler


class Tree:
    """Tiles are numbers; the parent of n is n // 4, down to 1, which is there."""

    def __init__(self) -> None:
        self.made: set[int] = set()
        self.scheduler = TileScheduler[int](lambda tile: tile < 4 or tile in self.made, self.parents)

    def parents(self, tile: int) -> list[int]:
        return [tile // 4] if tile >= 16 else []

    def want(self, client: str, *tiles: int) -> None:
        self.scheduler.want(client, [(Fraction(number), tile) for number, tile in enumerate(tiles)])

    def work(self) -> list[int]:
        order = []
        while (tile := self.scheduler.take()) is not None:
            order.append(tile)
            self.made.add(tile)
            self.scheduler.finish(tile)
        return order


def test_ancestors_come_before_and_the_nearest_first():
    tree = Tree()
    tree.want("a", 1000, 17)
    assert len(tree.scheduler.list_waiting("a")) == 6
    assert tree.work() == [15, 62, 250, 1000, 4, 17]
    assert len(tree.scheduler.list_waiting()) == 0


def test_what_went_out_of_sight_is_dropped_before_it_starts():
    tree = Tree()
    tree.want("a", 40, 41, 42)
    first = tree.scheduler.take()
    tree.want("a", 300)
    tree.made.add(first)
    tree.scheduler.finish(first)
    assert 41 not in tree.work()
    assert tree.made >= {first, 300}


def test_what_another_page_still_wants_is_made():
    tree = Tree()
    tree.want("a", 40)
    tree.want("b", 40, 50)
    tree.scheduler.leave("a")
    assert set(tree.work()) == {10, 40, 12, 50}


def test_a_tile_that_fails_twice_is_left_alone_until_somebody_asks_anew():
    tree = Tree()
    tree.want("a", 40, 6)
    assert tree.scheduler.take() == 10
    assert not tree.scheduler.fail(10)
    assert tree.scheduler.take() == 10
    assert tree.scheduler.fail(10)
    assert tree.work() == [6]
    tree.scheduler.forgive()
    assert tree.work() == [10, 40]


def test_one_page_cannot_fill_the_queue_and_pages_are_bounded():
    tree = Tree()
    tree.want("a", *range(10_000, 11_000))
    assert len(tree.scheduler.list_waiting("a")) <= WANTED_PER_CLIENT * 6
    for number in range(CLIENTS + 10):
        tree.want(f"client {number}", 4)
    assert len(tree.scheduler.list_waiting(f"client {CLIENTS + 5}")) == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.lists(st.integers(4, 5000), max_size=8)), max_size=12))
def test_in_the_end_everything_that_is_wanted_exists_and_nothing_else_was_made(views):
    tree = Tree()
    latest: dict[str, list[int]] = {}
    for client, tiles in views:
        latest[client] = tiles
        tree.want(client, *tiles)
    expected: set[int] = set()
    for tile in (tile for tiles in latest.values() for tile in tiles):
        while tile >= 4:
            expected.add(tile)
            tile //= 4
    assert len(tree.scheduler.list_waiting()) == len(expected)
    order = tree.work()
    assert set(order) == expected
    assert len(order) == len(expected)
    assert all(order.index(tile // 4) < order.index(tile) for tile in order if tile >= 16)
