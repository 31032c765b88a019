"""Work ahead: in order, as many at a time as there are lanes, and nothing after an error."""

from __future__ import annotations

import threading
from itertools import count

import pytest

from chain_of_zoom.runs.ahead import work_ahead


@pytest.mark.parametrize("lanes", [1, 3])
def test_results_come_in_order(lanes):
    assert list(work_ahead(lambda number: number**2, range(10), lanes)) == [(n, n**2) for n in range(10)]


def test_as_many_are_at_work_as_there_are_lanes():
    barrier = threading.Barrier(3)
    assert [number for number, _ in work_ahead(lambda _: barrier.wait(10), range(6), 3)] == [*range(6)]


@pytest.mark.parametrize("lanes", [1, 2])
def test_an_error_comes_in_its_turn_and_ends_what_is_at_work(lanes):
    begun, stopped = [], threading.Event()

    def act(number: int) -> int:
        begun.append(number)
        if number == 2:
            raise ValueError("two")
        if number == 3:
            assert stopped.wait(10)
        return number

    results = work_ahead(act, count(), lanes, stopped.set)
    assert [next(results), next(results)] == [(0, 0), (1, 1)]
    with pytest.raises(ValueError, match="two"):
        next(results)
    assert max(begun) <= 3
    assert stopped.is_set() == (lanes > 1)
