from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain_of_zoom import load_backbone
from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.upscaling.plan import OVERSIZE, choose_halo, choose_side, plan_steps, plan_tiles, plan_upscale
from chain_of_zoom.upscaling.request import UpscaleRequest

SCALES = st.fractions(Fraction(51, 50), 300, max_denominator=50)


@pytest.mark.slow
@given(width=st.integers(1, 9000), height=st.integers(1, 9000), scale=SCALES, factor=st.sampled_from([2, 4]))
def test_steps_lead_from_the_photo_to_the_scale(width, height, scale, factor):
    steps = plan_steps(Size(width, height), scale, factor)
    assert steps[0].source == Size(width, height)
    for before, after in pairwise(steps):
        assert after.source == before.output
        assert before.exact
        assert before.output == Size(before.source.width * factor, before.source.height * factor)
    last = steps[-1]
    assert last.scale == scale
    assert abs(last.output.width - width * scale) <= Fraction(1, 2)
    assert abs(last.output.height - height * scale) <= Fraction(1, 2)
    assert len(steps) == 1 or last.source.width < width * scale
    assert last.source.width * factor >= width * scale


@pytest.mark.slow
@settings(max_examples=60)
@given(
    width=st.integers(1, 700),
    height=st.integers(1, 700),
    scale=st.fractions(Fraction(31, 30), 4, max_denominator=30),
    reach=st.integers(1, 20),
    extra=st.integers(10, 90),
)
def test_boxes_partition_the_output_and_windows_hold_them_with_their_halo(width, height, scale, reach, extra):
    (step,) = plan_steps(Size(width, height), scale, 4)
    side = 2 * reach + extra
    tiles = plan_tiles(step, side, reach)
    columns = {tile.col: (tile.box.x0, tile.box.x1) for tile in tiles}
    rows = {tile.row: (tile.box.y0, tile.box.y1) for tile in tiles}
    assert len(tiles) == len(rows) * len(columns)
    for spans, length in ((columns, step.output.width), (rows, step.output.height)):
        ordered = [spans[i] for i in range(len(spans))]
        assert ordered[0][0] == 0
        assert ordered[-1][1] == length
        assert all(before[1] == after[0] for before, after in pairwise(ordered))
        assert all(start < stop for start, stop in ordered)
    across, down = step.ratio
    for tile in tiles:
        window, box = tile.window, tile.box
        assert window.x1 - window.x0 <= side
        assert window.y1 - window.y0 <= side
        for first, last, start, stop, ratio, length in (
            (window.x0, window.x1, box.x0, box.x1, across, width),
            (window.y0, window.y1, box.y0, box.y1, down, height),
        ):
            assert first == 0 or first <= start / ratio - reach
            assert last == length or last >= stop / ratio + reach


@pytest.mark.parametrize(("name", "most"), [("animevideo", 1.2), ("realsr", 2.5), ("realesrgan", 2.5)])
@pytest.mark.parametrize("size", [Size(6000, 4000), Size(3333, 2222), Size(1000, 700), Size(513, 177)])
def test_halos_cost_what_was_promised(name, most, size):
    info = load_backbone(name).info
    (step,) = plan_steps(size, Fraction(4), info.factor)
    assert 1 <= replace(step, tiles=plan_tiles(step, choose_side(info), choose_halo(info))).overhead <= most


@pytest.mark.parametrize(
    ("name", "wider", "most"), [("animevideo", 0, 1.2), ("realsr", 16, 3.5), ("realesrgan", 16, 3.5)]
)
def test_chained_steps_have_wider_halos_around_the_same_cores_where_the_network_sees_far(name, wider, most):
    info = load_backbone(name).info
    side, around = choose_side(info, chained=True), choose_halo(info, chained=True)
    assert around == choose_halo(info) + wider
    assert side == choose_side(info) + 2 * wider
    assert info.max_pixels * OVERSIZE >= side * side, "or the backbone would cut it again"
    _, step = plan_steps(Size(1500, 1000), Fraction(16), info.factor)
    assert 1 <= replace(step, tiles=plan_tiles(step, side, around)).overhead <= most
    with pytest.raises(UsageError, match="accepted"):
        choose_side(info, 2 * around, chained=True)


def test_a_tile_that_is_all_halo_is_refused():
    with pytest.raises(UsageError, match=r"--tile 40; accepted with realsr: from 72; for example --tile 176"):
        choose_side(load_backbone("realsr").info, 40)


@pytest.mark.parametrize(
    ("scale", "sizes", "stretched"),
    [
        ("1.3", [(400, 300)], False),
        ("2", [(280, 210)], False),
        ("3.2", [(400, 300)], False),
        ("5", [(400, 300), (1600, 1200)], True),
        ("8", [(400, 300), (800, 600)], False),
    ],
)
def test_no_pass_makes_many_times_what_is_shown(scale, sizes, stretched):
    """A last step reads its source whole, reduced, or without a network: the rule of zooms."""
    steps = plan_upscale(Size(400, 300), UpscaleRequest(scale=float(scale)), load_backbone("span"))
    assert [step.input for step in steps] == sizes
    assert steps[-1].is_stretch == stretched
    plain = plan_upscale(Size(400, 300), UpscaleRequest(scale=float(scale), detail=0), load_backbone("span"))
    assert not any(step.reduced or step.is_stretch for step in plain)
