"""One tree, one truth: whichever way a person comes to a spot, its tiles have the same bytes."""

from __future__ import annotations

from collections import deque

import msgspec
import numpy as np
import pytest
from conftest import PHOTO
from explorer.sessions import Namer, SmallTiles, photo_pixels, plant
from hypothesis import given, settings
from hypothesis import strategies as st

from chain_of_zoom.api import load_backbone
from chain_of_zoom.chain.restraint import Restraint
from chain_of_zoom.explorer.grid import TilePlace
from chain_of_zoom.explorer.tree import TileRecipe, ZoomTree
from chain_of_zoom.imaging.geometry import PixelRect
from chain_of_zoom.imaging.images import decode_png, enlarge, load, to_uint8

FAKE = SmallTiles()


def walk(tree, steps: list[tuple[int, int]], target: TilePlace) -> list[TilePlace]:
    """Places on a random walk that ends at the target."""
    places = []
    level, column, row = 1, 0, 0
    for turn, amount in steps:
        level = min(max(level + (turn % 3 - 1), 1), 4)
        columns, rows = tree.grid.counts(level)
        column, row = (column + amount) % columns, (row + amount // 7) % rows
        places.append(TilePlace(level, column, row))
    return [*places, target]


STEPS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 999)), max_size=6)


@pytest.mark.slow
@settings(max_examples=100)
@given(
    ways=st.tuples(STEPS, STEPS),
    spot=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
    decided=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 99), st.integers(0, 99)), max_size=2),
)
def test_any_two_ways_to_a_spot_give_identical_tiles(ways, spot, decided):
    """200 walks, with words of a prompter and decisions on single tiles."""
    results = []
    for steps in ways:
        _, plain = plant(None, FAKE, photo_pixels(40, 30))
        counts = {level: plain.grid.counts(level) for level in range(1, 5)}
        places = {TilePlace(level, column % counts[level][0], row % counts[level][1]) for level, column, row in decided}
        tiles = {place: TileRecipe(words=f"{place.column} wings", seed=0, turn="none") for place in places}
        maker, tree = plant(None, FAKE, photo_pixels(40, 30), prompter=Namer(), tiles=tiles)
        target = TilePlace(4, *(int(share * count) for share, count in zip(spot, counts[4], strict=True)))
        for place in walk(tree, steps, target):
            maker.make(tree, place)
        results.append((tree.key(target), maker.store.read(tree.key(target))))
    assert results[0] == results[1]


def test_a_new_start_reads_the_tiles_of_the_one_before(tmp_path):
    maker, tree = plant(tmp_path, FAKE, photo_pixels())
    place = TilePlace(3, 2, 1)
    maker.make(tree, place)
    again, same = plant(tmp_path, FAKE, photo_pixels())
    assert len(again.store) == len(maker.store) > 1
    assert again.has(same, place)
    assert again.encode(same, place) == maker.encode(tree, place)
    np.testing.assert_array_equal(again.pixels(same, place), maker.pixels(tree, place))


@pytest.mark.parametrize("change", ["photo", "words", "seed", "options", "turn"])
def test_whatever_changes_pixels_changes_keys(tmp_path, change):
    import msgspec

    _, tree = plant(tmp_path, FAKE, photo_pixels())
    place = TilePlace(2, 1, 1)
    if change == "photo":
        pixels = photo_pixels()
        pixels[0, 0] += 1
        _, other = plant(tmp_path, FAKE, pixels)
    else:
        value = {"words": "a wing", "seed": 7, "options": {"posterior": "mode"}, "turn": "flip-x"}[change]
        other = ZoomTree(tree.photo, tree.grid, msgspec.structs.replace(tree.recipe, **{change: value}))
    assert other.id != tree.id
    assert other.key(place) != tree.key(place)


def test_keys_follow_the_tiles_they_are_made_from(tmp_path):
    """Keys are names: computed breadth first or at once they are the same, and no two places share one."""
    _, tree = plant(tmp_path, FAKE, photo_pixels())
    _, other = plant(tmp_path, FAKE, photo_pixels())
    queue, names = deque([TilePlace(3, 3, 2)]), {}
    while queue:
        place = queue.popleft()
        names[place] = tree.key(place)
        queue.extend(tree.grid.parents(place))
    assert {place: other.key(place) for place in sorted(names)} == names
    assert len(set(names.values())) == len(names)


def test_neighbours_agree_with_the_whole_level_to_one_grey_level(tmp_path):
    """Plain enlargement has a reach that the halo covers: tiles joined are the untiled result."""
    backbone = load_backbone("bicubic")
    pixels = photo_pixels(300, 220)
    maker, tree = plant(tmp_path, backbone, pixels)
    whole = enlarge(pixels, 4)
    for place in tree.grid.covering(1, PixelRect(0, 0, *tree.grid.size(1))):
        maker.make(tree, place)
    joined = maker.read(tree, 1, PixelRect(0, 0, *tree.grid.size(1)))
    assert np.abs(joined.astype(int) - whole).max() <= 1
    assert len(maker.store) == 12


def test_a_grey_photo_stays_grey(tmp_path):
    pixels = np.repeat(photo_pixels()[..., :1], 3, axis=2)
    maker, tree = plant(tmp_path, FAKE, pixels)
    place = TilePlace(2, 1, 0)
    maker.make(tree, place)
    tile = maker.pixels(tree, place)
    assert (tile[..., 0] == tile[..., 2]).all()


def test_a_tile_says_in_its_file_what_it_is(tmp_path):
    from PIL import Image

    maker, tree = plant(tmp_path, FAKE, photo_pixels())
    place = TilePlace(1, 0, 0)
    maker.make(tree, place)
    (path,) = tmp_path.glob("*/*/*.png")
    with Image.open(path) as image:
        image.load()
        assert "GENERATED by the model fake, not photographed" in image.text["Description"]
        assert image.text["DigitalSourceType"].endswith("trainedAlgorithmicMedia")
    np.testing.assert_array_equal(decode_png(path.read_bytes()), maker.pixels(tree, place))


def test_levels_of_the_photo_are_its_own_pixels(tmp_path):
    pixels = photo_pixels(700, 300)
    maker, tree = plant(tmp_path, FAKE, pixels)
    np.testing.assert_array_equal(maker.pixels(tree, TilePlace(0, 1, 0)), pixels[:, 512:])
    assert tree.grid.shallowest == -2
    small = maker.pixels(tree, TilePlace(-2, 0, 0))
    assert small.shape == (75, 175, 3)
    assert len(maker.store) == 0
    with pytest.raises(KeyError):
        maker.pixels(tree, TilePlace(1, 0, 0))


def test_a_turned_window_is_turned_back(tmp_path):
    """Plain enlargement is the same whichever way the window is turned, but for rounding."""
    import msgspec

    from chain_of_zoom.explorer.tree import ZoomTree
    from chain_of_zoom.imaging.orientation import TURNS

    maker, tree = plant(tmp_path, load_backbone("bicubic"), photo_pixels() // 8 + 100)
    place = TilePlace(1, 0, 0)
    maker.make(tree, place)
    for turn in TURNS[1:]:
        turned = ZoomTree(tree.photo, tree.grid, msgspec.structs.replace(tree.recipe, turn=turn))
        maker.make(turned, place)
        assert np.abs(maker.pixels(turned, place).astype(int) - maker.pixels(tree, place)).max() <= 1


@pytest.mark.slow
def test_tiles_of_a_network_join_without_a_step_and_in_any_order(tmp_path):
    """animevideo, two levels: within 1 grey level of the level in one piece, and the same bytes in another order."""
    backbone = load_backbone("animevideo", device="cpu")
    pixels = load(PHOTO).pixels[60:170, 150:290]
    maker, tree = plant(tmp_path / "a", backbone, pixels)
    whole = PixelRect(0, 0, *tree.grid.size(1))
    places = list(tree.grid.covering(1, whole))
    assert len(places) == 4
    for place in places:
        maker.make(tree, place)
    (untiled,) = backbone([pixels], at_once=True)
    assert np.abs(maker.read(tree, 1, whole).astype(int) - to_uint8(untiled)).max() <= 1
    other, same = plant(tmp_path / "b", backbone, pixels)
    for place in (TilePlace(2, 1, 1), *reversed(places)):
        other.make(same, place)
    assert [other.encode(same, place) for place in places] == [maker.encode(tree, place) for place in places]


def test_faithful_tiles_give_what_they_were_made_from():
    pixels = photo_pixels(60, 40)
    maker, tree = plant(None, FAKE, pixels, restraint=Restraint(faithful=True))
    above = pixels.astype(float)
    for level in (1, 2):
        area = PixelRect(0, 0, *tree.grid.size(level))
        for place in tree.grid.covering(level, area):
            maker.make(tree, place)
        made = maker.read(tree, level, area).astype(float)
        reduced = made.reshape(above.shape[0], 4, above.shape[1], 4, 3).mean(axis=(1, 3))
        assert np.sqrt(((reduced - above) ** 2).mean()) < 0.25  # 60 dB
        above = made


def test_less_detail_is_nearer_to_plain_enlargement():
    pixels, place = photo_pixels(60, 40), TilePlace(1, 0, 0)
    distances = []
    for share in (0.25, 1.0):
        maker, tree = plant(None, FAKE, pixels, restraint=Restraint(detail=share))
        maker.make(tree, place)
        area = tree.grid.area(place)
        plain = enlarge(pixels, 4)[: area.y1, : area.x1]
        distances.append(np.abs(maker.pixels(tree, place).astype(float) - plain).mean())
    assert distances[0] == pytest.approx(distances[1] / 4, rel=0.3)


def test_trees_without_restraint_have_the_names_that_they_had():
    _, tree = plant(None, FAKE, photo_pixels())
    _, held_back = plant(None, FAKE, photo_pixels(), restraint=Restraint(detail=0.5))
    assert b"restraint" not in msgspec.json.encode(tree.recipe)
    assert tree.id != held_back.id
