from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain_of_zoom.imaging.geometry import Point, Size, fit_scale, round_half_up, snapped_window

sides = st.integers(1, 5000)
sizes = st.builds(Size, sides, sides)
fractions = st.fractions(0, 1)


@pytest.mark.slow
@given(picture=sizes, share=st.tuples(fractions, fractions), at=st.tuples(fractions, fractions))
def test_a_window_is_whole_inside_and_as_centred_as_the_border_allows(picture, share, at):
    size = Size(max(1, int(picture.width * share[0])), max(1, int(picture.height * share[1])))
    spot = Point(picture.width * at[0], picture.height * at[1])
    box = snapped_window(size, spot, picture)
    assert box.is_whole
    assert (box.width, box.height) == size
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= picture.width
    assert box.y1 <= picture.height
    for centre, wanted, low, high, limit in (
        (box.centre.x, spot.x, box.x0, box.x1, picture.width),
        (box.centre.y, spot.y, box.y0, box.y1, picture.height),
    ):
        assert abs(centre - wanted) <= Fraction(1, 2) or low == 0 or high == limit


@pytest.mark.slow
@given(picture=sizes, output=sizes)
def test_the_1x_frame_touches_one_pair_of_borders_and_fits(picture, output):
    scale = fit_scale(picture, output)
    width, height = output.width * scale, output.height * scale
    assert width <= picture.width
    assert height <= picture.height
    assert width == picture.width or height == picture.height


def test_halves_round_up():
    assert [round_half_up(Fraction(n, 2)) for n in (-1, 1, 3, 5)] == [0, 1, 2, 3]
