from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain_of_zoom.chain.schedule import Aim, plan_chain
from chain_of_zoom.imaging.geometry import Point, Size, covers
from chain_of_zoom.movie.camera import Camera, ease_depths

FRACTIONS = st.fractions(0, 1, max_denominator=200)


def windows(spot_x: Fraction, spot_y: Fraction, magnification: int) -> list:
    picture = Size(4000, 3000)
    spot = Point(picture.width * spot_x, picture.height * spot_y)
    aim = Aim(picture=picture, output=Size(512, 512), spot=spot, magnification=Fraction(magnification))
    return [step.window.floats() for step in plan_chain(aim, 4)]


@pytest.mark.slow
@settings(max_examples=40)
@given(FRACTIONS, FRACTIONS, st.integers(2, 4096))
def test_the_path_runs_from_the_first_window_to_the_last_inside_the_first(x, y, magnification):
    found = windows(x, y, magnification)
    camera = Camera(found[0], found[-1])
    assert camera.view(0) == pytest.approx(found[0])
    assert camera.view(1) == pytest.approx(found[-1])
    views = [camera.view(i / 50) for i in range(51)]
    assert all(covers(found[0], view) for view in views)
    ratios = [(b[2] - b[0]) / (a[2] - a[0]) for a, b in pairwise(views)]
    assert ratios == pytest.approx([ratios[0]] * 50), "the relative speed is constant"


@pytest.mark.slow
@settings(max_examples=40)
@given(FRACTIONS, FRACTIONS, st.integers(5, 4096))
def test_the_view_agrees_with_the_windows_of_the_states_between(x, y, magnification):
    found = windows(x, y, magnification)
    camera = Camera(found[0], found[-1])
    for window in found[1:-1]:
        width = window[2] - window[0]
        depth = math.log((found[0][2] - found[0][0]) / width) / math.log(camera.total)
        view = camera.view(depth)
        # A bend around the border's release may leave up to 7% of the view to the state around; else it is snapping.
        assert max(abs(a - b) for a, b in zip(view, window, strict=True)) <= 0.08 * width


@pytest.mark.slow
@settings(max_examples=40)
@given(FRACTIONS, st.integers(16, 4096))
def test_the_spot_never_jumps_on_the_screen(x, magnification):
    found = windows(x, Fraction(1, 2), magnification)
    camera = Camera(found[0], found[-1])
    spot = (found[-1][0] + found[-1][2]) / 2
    views = [camera.view(i / 400) for i in range(401)]
    places = [(spot - view[0]) / (view[2] - view[0]) for view in views]
    moves = [b - a for a, b in pairwise(places)]
    growth = math.log(camera.total) / 400
    assert max(map(abs, moves)) <= 0.51 * growth, "never faster than the picture itself grows at its border"
    assert all(move >= -1e-9 for move in moves) or all(move <= 1e-9 for move in moves), "and never back"


def test_a_spot_in_the_middle_stays_in_the_middle():
    camera = Camera((0, 0, 1024, 1024), (508, 508, 516, 516))
    for depth in (0.1, 0.5, 0.9):
        x0, y0, x1, y1 = camera.view(depth)
        assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((512, 512))


def test_easing_is_smooth_and_constant_in_between():
    depths = ease_depths(1001)
    assert (depths[0], depths[-1]) == (0, 1)
    speeds = [b - a for a, b in pairwise(depths)]
    assert min(speeds) >= 0
    assert speeds[0] < speeds[500] / 100
    assert speeds[200:800] == pytest.approx([speeds[500]] * 600)
    changes = [abs(b - a) for a, b in pairwise(speeds)]
    assert max(changes) < speeds[500] / 100, "no jerk"
