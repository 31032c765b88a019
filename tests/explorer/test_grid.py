"""The grid: every pixel has one owner, and a tile is made from one window that holds all it needs."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain_of_zoom.api import load_backbone
from chain_of_zoom.errors import UsageError
from chain_of_zoom.explorer.blending import blend_pieces
from chain_of_zoom.explorer.grid import Grid, SightRect, TilePlace
from chain_of_zoom.imaging.geometry import PixelRect, Size

INFOS = [load_backbone(name).info for name in ("realsr", "animevideo", "bicubic", "fake", "osediff-sd3")]
INFOS += [replace(INFOS[2], factor=factor) for factor in (2, 3, 8)]

grids = st.builds(
    lambda width, height, info: Grid.plan(Size(width, height), info),
    st.integers(1, 9000),
    st.integers(1, 9000),
    st.sampled_from(INFOS),
)


@st.composite
def places(draw: st.DrawFn, generated: bool = False) -> tuple[Grid, TilePlace]:
    grid = draw(grids)
    level = draw(st.integers(1 if generated else grid.shallowest, grid.deepest))
    columns, rows = grid.counts(level)
    return grid, TilePlace(level, draw(st.integers(0, columns - 1)), draw(st.integers(0, rows - 1)))


@given(places())
def test_tiles_partition_their_level(case):
    grid, place = case
    area, size = grid.area(place), grid.size(place.level)
    assert grid.has(place)
    assert 0 <= area.x0 < area.x1 <= size.width
    assert 0 <= area.y0 < area.y1 <= size.height
    corner = PixelRect(area.x1 - 1, area.y1 - 1, area.x1, area.y1)
    assert list(grid.covering(place.level, area)) == [place]
    assert list(grid.covering(place.level, corner)) == [place]
    columns, rows = grid.counts(place.level)
    assert not grid.has(place._replace(column=columns))
    assert not grid.has(place._replace(row=rows))


@given(places(generated=True))
def test_a_window_holds_the_tile_with_its_halo_or_ends_at_the_edge(case):
    grid, place = case
    window, area, above = grid.window(place), grid.area(place), grid.size(place.level - 1)
    halo, factor = grid.halo(place.level), grid.factor
    assert window.x0 == 0 or window.x0 == area.x0 // factor - halo
    assert window.y1 == above.height or window.y1 * factor >= area.y1 + halo * factor
    kept = grid.crop(place)
    reach = grid.reach(place)
    assert kept.size == reach.size
    assert all(outer <= inner for outer, inner in zip(reach[:2], area[:2], strict=True))
    assert all(outer >= inner for outer, inner in zip(reach[2:], area[2:], strict=True))
    assert 0 <= kept.x0 < kept.x1 <= window.size.width * factor
    assert 0 <= kept.y0 < kept.y1 <= window.size.height * factor


@given(places(generated=True))
def test_a_tile_needs_at_most_two_by_two_tiles_of_every_level_above(case):
    grid, place = case
    most = 4 if grid.factor >= 4 else 9
    needed = {place}
    for level in range(place.level, 1, -1):
        needed = {parent for tile in needed for parent in grid.parents(tile)}
        assert all(tile.level == level - 1 and grid.has(tile) for tile in needed)
        assert len(needed) <= most
    assert all(grid.parents(tile) == () for tile in needed if tile.level == 1)


@given(places(generated=True))
def test_the_weights_of_the_pieces_of_a_tile_add_up_to_one(case):
    """Pieces of one grey level each give a tile of it; with levels of their own no pixel leaves their range."""
    grid, place = case
    near = grid.blending(place)
    assert place in near
    assert len(near) <= (9 if grid.fade else 1)
    sizes = {piece: grid.reach(piece).size for piece in near}
    if max(side for size in sizes.values() for side in size) > 500:
        return
    same = {piece: np.full((height, width, 3), 200, np.uint8) for piece, (width, height) in sizes.items()}
    assert (blend_pieces(grid, place, same) == 200).all()
    levels = {piece: np.full_like(pixels, 20 * number) for number, (piece, pixels) in enumerate(same.items())}
    blended = blend_pieces(grid, place, levels).astype(int)
    assert blended.max() <= 20 * (len(near) - 1)


def test_a_tile_joins_each_neighbour_without_a_step():
    """Pieces that differ by 160 grey levels, next to each other: no step across a border is larger than the ramp's."""
    grid = Grid.plan(Size(400, 300), load_backbone("fake").info)
    assert grid.fade == 8
    area = PixelRect(0, 0, *grid.size(1))
    joined = np.empty((area.size.height, area.size.width, 3), np.uint8)
    for place in grid.covering(1, area):
        sizes = {piece: grid.reach(piece).size for piece in grid.blending(place)}
        pieces = {
            piece: np.full((height, width, 3), 40 * (piece.column % 3 + 2 * (piece.row % 2)), np.uint8)
            for piece, (width, height) in sizes.items()
        }
        owned = grid.area(place)
        joined[owned.y0 : owned.y1, owned.x0 : owned.x1] = blend_pieces(grid, place, pieces)
    assert np.ptp(joined) >= 120
    for axis in (0, 1):
        assert np.abs(np.diff(joined.astype(int), axis=axis)).max() <= 160 / (grid.fade * grid.factor) + 1


@pytest.mark.parametrize("info", INFOS, ids=lambda info: f"{info.name}-{info.factor}")
def test_windows_fit_into_one_pass(info):
    grid = Grid.plan(Size(5000, 4000), info)
    for level in (1, 2, 3):
        side = grid.core(level) + 2 * grid.halo(level)
        assert info.max_pixels is None or side * side <= info.max_pixels


def test_halos_of_a_network_that_sees_far_are_wider_where_it_sees_its_own_work():
    grid = Grid.plan(Size(1000, 800), load_backbone("realsr").info)
    assert (grid.cores, grid.halos) == ((96, 64), (32, 48))
    assert [grid.side(level) for level in (0, 1, 2, 3)] == [512, 384, 256, 256]


def test_a_backbone_without_room_between_its_halos_is_refused():
    info = replace(INFOS[0], max_pixels=100 * 100)
    with pytest.raises(UsageError, match=r"leave no room.*--backbone realsr"):
        Grid.plan(Size(100, 100), info)


@given(grids)
def test_levels_reach_from_a_thumbnail_far_past_the_last_pixel(grid):
    smallest = grid.size(grid.shallowest)
    assert max(smallest) <= 256
    assert grid.shallowest == 0 or max(grid.size(grid.shallowest + 1)) > 256
    assert grid.scale(grid.deepest) <= 65536 < grid.scale(grid.deepest) * grid.factor
    assert grid.size(0) == grid.photo
    assert grid.size(2) == Size(*(side * grid.factor**2 for side in grid.photo))


@given(places(), st.floats(0.001, 1), st.floats(0.001, 1), st.integers(1, 64))
def test_what_is_in_sight_is_the_nearest_to_the_centre(case, width, height, limit):
    grid, place = case
    area, size = grid.area(place), grid.size(place.level)
    x, y = (area.x0 + area.x1) / 2 / size.width, (area.y0 + area.y1) / 2 / size.height
    sight = SightRect(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    tiles = grid.in_sight(place.level, sight, limit)
    assert len(tiles) <= limit
    assert len({tile for _, tile in tiles}) == len(tiles)
    assert all(grid.has(tile) for _, tile in tiles)
    assert [distance for distance, _ in tiles] == sorted(distance for distance, _ in tiles)
    everything = grid.in_sight(place.level, sight, 10**6) if max(grid.counts(place.level)) < 20 else tiles
    assert [distance for distance, _ in everything[:limit]] == [distance for distance, _ in tiles]


def test_nothing_is_in_sight_beside_the_photo():
    grid = Grid.plan(Size(100, 100), INFOS[0])
    assert grid.in_sight(2, SightRect(1.5, 0, 2, 1), 64) == []
    assert grid.in_sight(2, SightRect(0.5, 0.9, 0.5, 0.1), 64) == []
    (centre, *_) = grid.in_sight(2, SightRect(0.0, 0.0, 1.0, 1.0), 64)
    assert centre[0] <= Fraction(1)
