"""Where to zoom."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import noise

from chain_of_zoom.imaging import spots
from chain_of_zoom.imaging.images import RGB8
from chain_of_zoom.imaging.spots import find_centre, find_textured_spots

CELL = 32


@pytest.fixture(autouse=True)
def _small_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spots, "CELL", CELL)


@pytest.fixture(scope="module")
def field() -> RGB8:
    """4 x 4 cells of noise, each weaker than the one before, and 10 px that fill no cell."""
    cells = np.full((4 * CELL, 4 * CELL + 10, 3), 128, np.uint8)
    for i in range(16):
        y, x = divmod(i, 4)
        strength = 1 - i / 16
        grain = 128 + (noise(CELL, CELL, i).astype(np.float64) - 128) * strength
        cells[y * CELL : (y + 1) * CELL, x * CELL : (x + 1) * CELL] = grain.astype(np.uint8)
    return cells


def test_the_first_is_the_most_detailed_and_the_others_are_of_the_best_quarter(field):
    found = find_textured_spots(field, 99)
    assert found[0] == (CELL // 2, CELL // 2)
    assert sorted(found) == [(x * CELL + CELL // 2, CELL // 2) for x in range(4)]


def test_a_longer_list_begins_with_the_shorter_and_the_seed_decides(field):
    assert find_textured_spots(field, 5)[:3] == find_textured_spots(field, 3)
    assert len({tuple(find_textured_spots(field, 4, seed)) for seed in range(6)}) > 1
    assert find_textured_spots(field, 4, 7) == find_textured_spots(field, 4, 7)


def test_small_pictures_have_their_middle():
    assert find_textured_spots(noise(30, 50), 3) == [(15, 15)]
    assert find_centre(noise(30, 50)) == [(25, 15)]
