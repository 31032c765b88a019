from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chain_of_zoom.chain.schedule import Aim, Origin, plan_chain, plan_direct, plan_published
from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging.geometry import Box, Point, Size, fit_scale, whole_picture

sides = st.integers(1, 7000)
outputs = st.builds(Size, st.integers(1, 1024), st.integers(1, 1024))


@st.composite
def aims(draw: st.DrawFn) -> Aim:
    picture = Size(draw(sides), draw(sides))
    spot = Point(picture.width * draw(st.fractions(0, 1)), picture.height * draw(st.fractions(0, 1)))
    magnification = draw(st.fractions(1, 5000, max_denominator=100))
    return Aim(picture=picture, output=draw(outputs), spot=spot, magnification=magnification)


def aim_of(picture: tuple[int, int], output: tuple[int, int], spot: tuple[Fraction, Fraction], zoom: str | int) -> Aim:
    return Aim(picture=Size(*picture), output=Size(*output), spot=Point(*spot), magnification=Fraction(zoom))


@st.composite
def bordering_aims(draw: st.DrawFn) -> Aim:
    """Spots in corners, on borders, on pixels and between; magnifications at and just above powers."""
    picture = Size(draw(sides), draw(sides))

    def coordinate(side: int) -> Fraction:
        shares = st.sampled_from([Fraction(0), Fraction(1, 3), Fraction(1, 2), Fraction(1)]) | st.fractions(0, 1)
        pixels = st.integers(0, side).map(Fraction)
        return draw(shares.map(lambda share: share * side) | pixels)

    power = draw(st.sampled_from([1, 2, 3, 4, 9, 16, 64, 256]))
    beyond = draw(st.sampled_from([Fraction(1), Fraction("1.0001"), Fraction("1.01")]) | st.fractions(1, 4))
    # The native frame is reached at aim.fit, so that powers of it are as special as those of 1.
    output = draw(outputs)
    base = draw(st.sampled_from([Fraction(1), max(Fraction(1), fit_scale(picture, output))]))
    spot = Point(coordinate(picture.width), coordinate(picture.height))
    return Aim(picture=picture, output=output, spot=spot, magnification=power * beyond * base)


def inside(inner: Box, outer: Box) -> bool:
    return inner.x0 >= outer.x0 and inner.y0 >= outer.y0 and inner.x1 <= outer.x1 and inner.y1 <= outer.y1


@pytest.mark.slow
@given(aim=aims(), factor=st.sampled_from([2, 3, 4]))
def test_what_holds_of_every_plan(aim, factor):
    steps = plan_chain(aim, factor)
    assert steps[0].magnification == 1
    assert steps[-1].magnification == aim.magnification
    for before, after in pairwise(steps):
        assert (
            before.magnification < after.magnification <= before.magnification * factor
            or not after.enlarge
            or (aim.fit * factor > 1)
        )
    parent = whole_picture(aim.picture)
    for i, step in enumerate(steps):
        of = whole_picture(aim.picture if step.from_source else aim.output)
        assert step.cut.is_whole
        assert inside(step.cut, of)
        assert inside(step.region, step.cut)
        assert inside(step.window, whole_picture(aim.picture))
        assert (step.origin is Origin.MEASURED) == (step.source_scale <= 1)
        assert step.source_scale == step.magnification / aim.fit
        if step.enlarge:
            assert step.origin is Origin.GENERATED
            # One pass is enough, and the region has exactly the shape and size that the magnification says.
            assert aim.output.width <= step.region.width * factor
            per_pixel = (1 / step.source_scale, 1 / step.source_scale)
            assert (step.window.width, step.window.height) == (
                aim.output.width * per_pixel[0],
                aim.output.height * per_pixel[1],
            )
            if not step.from_source:
                assert inside(step.window, steps[i - 1].window)
        parent = step.window
    assert parent == steps[-1].window


@pytest.mark.slow
@given(aim=bordering_aims(), factor=st.sampled_from([2, 3, 4]), direct=st.booleans())
@example(aim=aim_of((512, 512), (64, 64), (Fraction("153.6"), Fraction("358.4")), "16.01"), factor=4, direct=False)
@example(aim=aim_of((512, 512), (64, 64), (Fraction("153.6"), Fraction("358.4")), "4.0001"), factor=4, direct=False)
@example(aim=aim_of((512, 512), (64, 64), (Fraction(0), Fraction(0)), 13), factor=4, direct=True)
@example(aim=aim_of((512, 512), (64, 64), (Fraction("10.3"), Fraction(9)), 64), factor=4, direct=True)
@example(aim=aim_of((32, 33), (512, 512), (Fraction(16), Fraction("16.5")), "1.0001"), factor=4, direct=False)
def test_every_window_holds_the_spot_and_is_centred_on_it_to_half_a_pixel(aim, factor, direct):
    """Half a pixel of the last state, however long the chain; only the border of the picture moves it further."""
    steps = plan_direct(aim) if direct else plan_chain(aim, factor)
    for step in steps:
        assert inside(step.window, whole_picture(aim.picture))
        for axis in (0, 1):
            start, stop, spot = step.window[axis], step.window[axis + 2], aim.spot[axis]
            pixel = (stop - start) / aim.output[axis]
            if step.enlarge and step is not steps[-1]:  # whole pixels of what it is cut from
                pixel *= factor
            exact = (stop - start) / 2
            nearest = min(max(spot, exact), aim.picture[axis] - exact)
            assert start <= spot <= stop
            assert abs((start + stop) / 2 - nearest) <= pixel / 2


@pytest.mark.slow
@given(aim=bordering_aims(), factor=st.sampled_from([2, 3, 4]))
def test_full_steps_are_cut_out_of_the_enlarged_window_without_resampling(aim, factor):
    for step in plan_chain(aim, factor):
        if step.enlarge and aim.output.width == factor * step.region.width:
            assert step.region.scaled(factor, factor).is_whole
            assert step.cut == step.region.hull()


@pytest.mark.slow
@given(aim=aims(), corner=st.tuples(st.booleans(), st.booleans()))
def test_a_corner_is_reached_exactly(aim, corner):
    spot = Point(Fraction(aim.picture.width * corner[0]), Fraction(aim.picture.height * corner[1]))
    aim = Aim(picture=aim.picture, output=aim.output, spot=spot, magnification=aim.magnification)
    for step in plan_chain(aim, 4):
        assert (step.window.x1 if corner[0] else step.window.x0) == spot.x
        assert (step.window.y1 if corner[1] else step.window.y0) == spot.y


def test_a_24_megapixel_photo_at_64x():
    aim = Aim(
        picture=Size(6000, 4000),
        output=Size(512, 512),
        spot=Point(Fraction(3720), Fraction(1600)),
        magnification=Fraction(64),
    )
    steps = plan_chain(aim, 4)
    assert [(float(s.magnification), s.origin.value, s.from_source) for s in steps] == [
        (1, "measured", True),
        (4, "measured", True),
        (7.8125, "measured", True),
        (31.25, "generated", True),
        (64, "generated", False),
    ]
    native, first, last = steps[2:]
    assert native.window == Box(Fraction(3464), Fraction(1344), Fraction(3976), Fraction(1856))
    assert first.cut == Box(Fraction(3656), Fraction(1536), Fraction(3784), Fraction(1664))
    assert last.region.width == 250


def test_the_last_step_may_be_less_than_the_factor():
    aim = Aim(
        picture=Size(512, 512),
        output=Size(512, 512),
        spot=Point(Fraction(256), Fraction(256)),
        magnification=Fraction("12.8"),
    )
    last = plan_chain(aim, 4)[-1]
    assert last.region.width == 160
    assert last.window.width == 40


def test_a_small_photo_starts_interpolated_and_keeps_to_its_own_pixels():
    aim = Aim(
        picture=Size(300, 300),
        output=Size(512, 512),
        spot=Point(Fraction(150), Fraction(150)),
        magnification=Fraction(16),
    )
    steps = plan_chain(aim, 4)
    assert [s.origin.value for s in steps] == ["interpolated", "generated", "generated", "generated"]
    assert steps[1].from_source
    assert steps[1].cut.width == 128
    assert steps[1].source_scale == 4


def test_a_tiny_photo_starts_from_the_interpolated_frame_and_says_so():
    aim = Aim(
        picture=Size(32, 32), output=Size(512, 512), spot=Point(Fraction(16), Fraction(16)), magnification=Fraction(4)
    )
    first = plan_chain(aim, 4)[1]
    assert not first.from_source
    assert first.fallbacks


def test_direct_is_one_resample_and_one_pass():
    aim = Aim(
        picture=Size(512, 512),
        output=Size(512, 512),
        spot=Point(Fraction(256), Fraction(256)),
        magnification=Fraction(64),
    )
    steps = plan_direct(aim)
    assert len(steps) == 2
    assert steps[1].region.width == 8
    assert [
        s.origin.value
        for s in plan_direct(
            Aim(
                picture=Size(4096, 4096),
                output=Size(512, 512),
                spot=Point(Fraction(0), Fraction(0)),
                magnification=Fraction(8),
            )
        )
    ] == ["measured"] * 2


def test_the_published_windows():
    x0 = whole_picture(Size(512, 512))
    chained = plan_published(4, 512, x0, from_x0=False, resampled=False)
    assert [step.cut.x0 for step in chained[1:]] == [192] * 4
    assert chained[-1].window == Box(Fraction(255), Fraction(255), Fraction(257), Fraction(257))
    assert [step.cut.width for step in plan_published(4, 512, x0, from_x0=True, resampled=True)] == [512, 128, 32, 8, 2]


@pytest.mark.parametrize("magnification", [Fraction(0), Fraction(-3), Fraction(10**12)])
def test_magnification_out_of_range(magnification):
    with pytest.raises(UsageError, match="magnification"):
        Aim(picture=Size(9, 9), output=Size(9, 9), spot=Point(Fraction(0), Fraction(0)), magnification=magnification)


def test_a_spot_outside():
    with pytest.raises(UsageError, match="outside"):
        Aim(picture=Size(9, 9), output=Size(9, 9), spot=Point(Fraction(10), Fraction(0)), magnification=Fraction(1))
