"""From a spot and a total magnification to the steps of a zoom (paper, section 3.1; docs/how-it-works.md).

Magnification is linear and relative to the 1x frame. Steps show the photo's own pixels as long as it has
them (1, f, f^2 ..., then one source pixel per output pixel); from there the backbone's factor f is chained,
and the last step is whatever remains.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging.geometry import (
    Box,
    Point,
    Size,
    centred_window,
    fit_scale,
    round_half_up,
    snapped_window,
    whole_picture,
)

MAX_MAGNIFICATION = 1_000_000
PLAN = 3
"""Number of the way in which zooms are planned; runs of another are not resumed.

2: small last steps are reduced first. 3: the smallest are stretched.
"""


class Origin(StrEnum):
    """Says where the pixels of a state come from."""

    MEASURED = "measured"  # at least as many source pixels as output pixels
    INTERPOLATED = "interpolated"  # fewer, and resampled without a model
    GENERATED = "generated"  # made by a backbone


SMALL_PHOTO = "photo smaller than a window: cut from the interpolated 1x state"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One state that is to be made."""

    magnification: Fraction
    """Linear magnification, relative to the 1x frame."""
    source_scale: Fraction
    """Output pixels per source pixel."""
    origin: Origin
    """Where its pixels come from."""
    from_source: bool
    """Whether it is cut from the picture itself; otherwise from the previous state."""
    cut: Box
    """Whole pixels of the picture it is cut from, which a backbone is given."""
    region: Box
    """Part of `cut`, in the same pixels, that fills the output; all but for the last step and odd sizes."""
    window: Box
    """The region in pixels of the source picture; exact."""
    enlarge: bool
    """Whether a backbone makes it, be it one that resamples."""
    fallbacks: tuple[str, ...] = ()
    """Notes about what does not go the plain way."""
    known_scale: Fraction = Fraction(1)
    """Source scale of the pixels that enlarging began with: below 1 in the published loop, which reduces the photo."""

    @property
    def depth(self) -> Fraction:
        """Output pixels per pixel that enlarging began with, on which evidence depends."""
        return self.source_scale / self.known_scale


@dataclass(frozen=True, kw_only=True)
class Aim:
    """Says what to zoom into. Raises UsageError when the spot or the magnification is out of range."""

    picture: Size
    """Size of the source picture, in pixels."""
    output: Size
    """Size of every state, in pixels."""
    spot: Point
    """Middle of the final window, in pixels of the source."""
    magnification: Fraction
    """Linear magnification of the last state."""

    def __post_init__(self) -> None:
        if not 1 <= self.magnification <= MAX_MAGNIFICATION:
            raise UsageError(
                f"magnification {float(self.magnification):g}; accepted: 1 to {MAX_MAGNIFICATION}; "
                "for example --zoom 64"
            )
        if not (0 <= self.spot.x <= self.picture.width and 0 <= self.spot.y <= self.picture.height):
            raise UsageError(
                f"the spot ({float(self.spot.x):g}, {float(self.spot.y):g}) px is outside the picture of "
                f"{self.picture} px; accepted: fractions from 0 to 1, or pixels with px; "
                "for example --at 0.62,0.4 or --at 310px,200px"
            )

    @property
    def fit(self) -> Fraction:
        """Source pixels per output pixel at 1x, which is also the magnification of the native frame (1 to 1)."""
        return fit_scale(self.picture, self.output)

    def window_size(self, magnification: Fraction) -> tuple[Fraction, Fraction]:
        """Return the exact width and height, in source pixels, of the window at a magnification."""
        return self.output.width * self.fit / magnification, self.output.height * self.fit / magnification


def plan_chain(aim: Aim, factor: int, origin: Origin = Origin.GENERATED) -> list[Step]:
    """Return the steps of a zoom by chaining a backbone of `factor`; origin: of the pixels that it makes."""
    steps = [_resample_source(aim, magnification) for magnification in _list_reduced_magnifications(aim, factor)]
    if aim.magnification == 1:
        return steps
    # Enlarging continues the native frame, whose pixels are the source's own: the first cut is from the source.
    reached, parent, parent_size = aim.fit, whole_picture(aim.picture), aim.picture
    fallbacks: tuple[str, ...] = ()
    if aim.fit * factor <= 1:
        reached, parent, parent_size = Fraction(1), steps[0].window, aim.output
        fallbacks = (SMALL_PHOTO,)
    while reached < aim.magnification:
        ratio = min(Fraction(factor), aim.magnification / reached)
        reached *= ratio
        # Whole pixels give a backbone the size it is made for, as long as the next step has room to make up for them.
        room = min(aim.output) * (1 - 1 / min(Fraction(factor), aim.magnification / reached))
        step = _enlarge(aim, reached, parent, parent_size, ratio, origin, fallbacks, snapped=room >= factor)
        steps.append(step)
        parent, parent_size, fallbacks = step.window, aim.output, ()
    return steps


def plan_direct(aim: Aim, origin: Origin = Origin.GENERATED) -> list[Step]:
    """Return the steps of the baseline "direct SR": the 1x frame, then the final window in a single enlargement."""
    steps = [_resample_source(aim, Fraction(1))]
    if aim.magnification == 1:
        return steps
    if aim.magnification <= aim.fit:
        return [*steps, _resample_source(aim, aim.magnification)]
    picture = whole_picture(aim.picture)
    return [*steps, _enlarge(aim, aim.magnification, picture, aim.picture, aim.magnification / aim.fit, origin)]


def plan_published(count: int, side: int, placement: Box, *, from_x0: bool, resampled: bool) -> list[Step]:
    """Return the steps of the published loop (as published): the centre quarter of a square, `count` times.

    side: of that square, x0, in pixels. placement: where it lies in the source picture. from_x0: every state is cut
    from x0 itself (nearest, bicubic, direct) instead of from the state before. resampled: no model makes anything up.
    """
    size = Size(side, side)
    scale = Fraction(side) / placement.width
    origin = Origin.MEASURED if scale <= 1 else Origin.INTERPOLATED
    x0 = whole_picture(size)
    steps = [
        Step(
            magnification=Fraction(1),
            source_scale=scale,
            origin=origin,
            from_source=True,
            cut=x0,
            region=x0,
            window=placement,
            enlarge=False,
        )
    ]
    for i in range(1, count + 1):
        width = side // 4**i if from_x0 else side // 4
        if width < 1:
            raise UsageError(f"at {4**i}x nothing is left of a {side}-pixel frame; accepted: up to 256; use --zoom 256")
        start = (side - width) // 2
        cut = Box(Fraction(start), Fraction(start), Fraction(start + width), Fraction(start + width))
        parent = placement if from_x0 else steps[-1].window
        steps.append(
            Step(
                magnification=Fraction(4) ** i,
                source_scale=scale * 4**i,
                origin=Origin.INTERPOLATED if resampled else Origin.GENERATED,
                from_source=from_x0,
                cut=cut,
                region=cut,
                window=_within(cut, size, parent),
                enlarge=True,
                known_scale=min(scale, Fraction(1)),
            )
        )
    return steps


def _list_reduced_magnifications(aim: Aim, factor: int) -> list[Fraction]:
    """Return 1, f, f^2 ... and last the native scale or the target, whichever comes first."""
    top = min(aim.fit, aim.magnification)
    magnifications = [Fraction(1)]
    while magnifications[-1] * factor <= top:
        magnifications.append(magnifications[-1] * factor)
    return magnifications if top <= magnifications[-1] else [*magnifications, top]


def _resample_source(aim: Aim, magnification: Fraction) -> Step:
    """Plan a state resampled from the source: measured, or interpolated when a small photo lacks the pixels."""
    width, height = aim.window_size(magnification)
    is_measured = magnification <= aim.fit
    if is_measured:
        window = snapped_window(Size(round_half_up(width), round_half_up(height)), aim.spot, aim.picture)
    else:
        window = centred_window(width, height, aim.spot, aim.picture)
    return Step(
        magnification=magnification,
        source_scale=magnification / aim.fit,
        origin=Origin.MEASURED if is_measured else Origin.INTERPOLATED,
        from_source=True,
        cut=window.hull(),
        region=window,
        window=window,
        enlarge=False,
    )


def _enlarge(
    aim: Aim,
    magnification: Fraction,
    parent: Box,
    parent_size: Size,
    ratio: Fraction,
    origin: Origin,
    fallbacks: tuple[str, ...] = (),
    *,
    snapped: bool = False,
) -> Step:
    """Plan a state enlarged `ratio` times from a picture of `parent_size` that shows the box `parent` of the source.

    It is centred on the spot to half a pixel of its own, or when `snapped`, of the picture it is cut from.
    """
    x = (aim.spot.x - parent.x0) * parent_size.width / parent.width
    y = (aim.spot.y - parent.y0) * parent_size.height / parent.height
    # The state's own pixels, where they may be those of the enlarged picture, so that none is resampled.
    own = 1 / ratio if ratio.denominator == 1 else None
    unit = Fraction(1) if snapped else own
    region = centred_window(aim.output.width / ratio, aim.output.height / ratio, Point(x, y), parent_size, unit)
    return Step(
        magnification=magnification,
        source_scale=magnification / aim.fit,
        origin=origin,
        from_source=parent_size == aim.picture and parent == whole_picture(aim.picture),
        cut=region.hull(),
        region=region,
        window=_within(region, parent_size, parent),
        enlarge=True,
        fallbacks=fallbacks,
    )


def _within(region: Box, size: Size, parent: Box) -> Box:
    """Convert a region in pixels of a state of `size` that shows the box `parent` to the units of `parent`."""
    return region.scaled(parent.width / size.width, parent.height / size.height).shifted(parent.x0, parent.y0)
