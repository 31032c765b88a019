from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chain_of_zoom.pages.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axes, nice_ticks


@pytest.mark.slow
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=10))
@example([5e-324])
@example([1e6, 1e6 + 2e-10])
@example([-5e-324, 0.0])
def test_ticks_enclose_their_values(values):
    ticks = nice_ticks(values)
    assert 2 <= len(ticks) <= 9
    assert ticks == sorted(set(ticks))
    slack = 1e-9 * max(map(abs, values))
    assert ticks[0] <= min(values) + slack
    assert ticks[-1] >= max(values) - slack


def test_values_lie_between_the_margins():
    axes = Axes(x_range=(1, 3), y_ticks=[0, 5, 10])
    assert (axes.x(1), axes.x(3)) == (LEFT, WIDTH - RIGHT)
    assert (axes.y(0), axes.y(10)) == (HEIGHT - BOTTOM, TOP)
    middle = (axes.x(2), axes.y(5))
    assert middle == (pytest.approx((LEFT + WIDTH - RIGHT) / 2), pytest.approx((TOP + HEIGHT - BOTTOM) / 2))
    assert axes.points([(2, 5)]) == f"{middle[0]:.1f},{middle[1]:.1f}"
    assert [text for _, text in axes.y_labels()] == ["0", "5", "10"]
